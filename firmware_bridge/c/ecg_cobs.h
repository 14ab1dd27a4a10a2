/* COBS byte stuffing (Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2), 1999).
 *
 * It rewrites any bytes without the value zero, at a cost of one byte in 254, so that a zero byte
 * on the line can only be the end of a packet. Both directions work in place or between buffers,
 * need no other memory, and leave the zero that ends a packet to the caller. */
#ifndef ECG_COBS_H
#define ECG_COBS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most bytes that COBS adds to `length` bytes, and most that it makes of them. */
#define ECG_COBS_OVERHEAD(length) ((length) == 0u ? 1u : ((length) + 253u) / 254u)
#define ECG_COBS_BOUND(length) ((length) + ECG_COBS_OVERHEAD(length))

/* What ecg_cobs_decode returns for bytes that no encoder writes. */
#define ECG_COBS_ERROR ((size_t)-1)

/* Write data[0..length) in COBS to out and return the number of bytes written, at most
 * ECG_COBS_BOUND(length), none of them zero. out must have room for that bound.
 * In place: data may lie in the same buffer at out + ECG_COBS_OVERHEAD(length) or behind; it is
 * overwritten then. Otherwise the two must not overlap and data is left as it was. */
size_t ecg_cobs_encode(const uint8_t *data, size_t length, uint8_t *out);

/* Take COBS off buffer[0..length), a packet without its final zero, in place.
 * Returns the number of bytes now at the start of buffer, always less than length; the rest of
 * buffer[0..length) is then undefined. Returns ECG_COBS_ERROR when length is 0, when a byte is
 * zero or when the packet ends inside a block; buffer[0..length) is then undefined. */
size_t ecg_cobs_decode(uint8_t *buffer, size_t length);

#ifdef __cplusplus
}
#endif

#endif
