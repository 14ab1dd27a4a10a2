/* Pieces of bytes on stdin, each as uint32 length, bytes; of each its CRC, its COBS encoding, and
 * what COBS decoding makes of it ("error" where it refuses), as a line of hex on stdout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecg_cobs.h"
#include "ecg_crc.h"

static void print_hex(const uint8_t *data, size_t length)
{
    putchar(' ');
    for (size_t i = 0; i < length; i++) {
        printf("%02x", data[i]);
    }
}

int main(void)
{
    uint32_t length;

    while (fread(&length, sizeof length, 1, stdin) == 1) {
        size_t bound = ECG_COBS_BOUND((size_t)length);
        uint8_t *data = malloc(length > 0 ? length : 1u);
        uint8_t *out = malloc(bound);
        size_t encoded;
        size_t decoded;
        if (fread(data, 1, length, stdin) != length) {
            return 1;
        }
        printf("%04x", (unsigned)ecg_crc16(data, length));
        encoded = ecg_cobs_encode(data, length, out);
        print_hex(out, encoded);
        memset(out, 0xA5, bound); /* and once more in place */
        memcpy(out + ECG_COBS_OVERHEAD((size_t)length), data, length);
        print_hex(out, ecg_cobs_encode(out + ECG_COBS_OVERHEAD((size_t)length), length, out));
        decoded = ecg_cobs_decode(data, length);
        if (decoded == ECG_COBS_ERROR) {
            printf(" error");
        } else {
            print_hex(data, decoded);
        }
        putchar('\n');
        free(data);
        free(out);
    }
    return 0;
}
