/* CRC-16/CCITT-FALSE, the checksum of every packet: polynomial 0x1021, start 0xFFFF, nothing
 * reflected or inverted. The CRC of "123456789" is 0x29B1; the CRC of anything followed by its
 * own CRC, high byte first, is 0. No table: about a dozen instructions a byte. */
#ifndef ECG_CRC_H
#define ECG_CRC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Return the CRC of data[0..length). Reads nothing else; length may be 0, and data then NULL. */
uint16_t ecg_crc16(const uint8_t *data, size_t length);

#ifdef __cplusplus
}
#endif

#endif
