#include "ecg_cobs.h"

#define FULL_BLOCK 0xFFu /* code of a block of 254 bytes with no zero after it */

size_t ecg_cobs_encode(const uint8_t *data, size_t length, uint8_t *out)
{
    size_t code_at = 0; /* where the code of the block under way belongs */
    size_t end = 1;
    uint8_t code = 1;

    for (size_t i = 0; i < length; i++) {
        uint8_t byte = data[i];
        if (code == FULL_BLOCK) { /* opened only here, so a full last block gets no empty one */
            out[code_at] = code;
            code_at = end++;
            code = 1;
        }
        if (byte == 0) {
            out[code_at] = code;
            code_at = end++;
            code = 1;
        } else {
            out[end++] = byte;
            code++;
        }
    }
    out[code_at] = code;
    return end;
}

size_t ecg_cobs_decode(uint8_t *buffer, size_t length)
{
    size_t from = 0;
    size_t to = 0;

    if (length == 0) {
        return ECG_COBS_ERROR;
    }
    while (from < length) {
        uint8_t code = buffer[from++];
        size_t count = (size_t)code - 1u;
        if (code == 0 || count > length - from) {
            return ECG_COBS_ERROR;
        }
        while (count-- > 0) {
            uint8_t byte = buffer[from++];
            if (byte == 0) {
                return ECG_COBS_ERROR;
            }
            buffer[to++] = byte;
        }
        if (code != FULL_BLOCK && from < length) {
            buffer[to++] = 0;
        }
    }
    return to;
}
