#include "ecg_crc.h"

uint16_t ecg_crc16(const uint8_t *data, size_t length)
{
    uint32_t crc = 0xFFFFu;

    for (size_t i = 0; i < length; i++) {
        /* The eight steps of the bitwise form at once: 0x1021 has bits 12, 5 and 0. */
        uint32_t x = (crc >> 8) ^ data[i];
        x ^= x >> 4;
        crc = ((crc << 8) ^ (x << 12) ^ (x << 5) ^ x) & 0xFFFFu;
    }
    return (uint16_t)crc;
}
