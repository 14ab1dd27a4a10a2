/* From bytes to packets: whatever arrives, good packets come out and the rest is counted.
 *
 * Give it every byte that the UART receives. It collects up to the next zero, takes COBS off, and
 * checks length, CRC, version, type and payload, in that order. No state survives a zero, so
 * damage costs the packet that it hits. No input makes it read or write outside `buffer`, and
 * every piece between two zeros is either handed out or counted.
 *
 *     static uint8_t buffer[ECG_COMMAND_BUFFER];
 *     static ecg_decoder_t decoder;
 *     ecg_decoder_init(&decoder, buffer, sizeof buffer, NULL);
 *     ...
 *     ecg_packet_t packet;
 *     if (ecg_decoder_push(&decoder, byte, &packet)) {
 *         handle(&packet);
 *     }
 *
 * A device receives commands of 17 bytes at most and needs no sequence numbers: 32 bytes and NULL
 * do. A host wants ECG_MAX_PACKET bytes and an ecg_sequence_t; it then counts exactly as
 * decoder.py does, whose LinkCounters has the same names. */
#ifndef ECG_DECODER_H
#define ECG_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "ecg_packet.h"
#include "ecg_sequence.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_COMMAND_BUFFER 32u /* holds any command of version 1, and a short new one */

/* What came over a link and what became of it; the counters wrap. */
typedef struct {
    uint32_t bytes;         /* received */
    uint32_t packets;       /* handed out */
    uint32_t bad_cobs;      /* pieces between zeros that no COBS encoder writes */
    uint32_t bad_header;    /* pieces too short or too long for a packet */
    uint32_t bad_crc;       /* packets with a wrong checksum */
    uint32_t bad_payload;   /* right checksum, but a payload that breaks the layout */
    uint32_t overlong;      /* runs without a zero that outgrew the buffer */
    uint32_t other_version; /* packets of another version of the wire format */
    uint32_t other_type;    /* packets of a type not known here */
} ecg_link_counters_t;

typedef struct {
    ecg_link_counters_t counters;
    /* State, not for the caller. */
    uint8_t *buffer;
    size_t size;
    size_t filled;
    ecg_sequence_t *sequence;
    uint8_t skipping;
} ecg_decoder_t;

/* Begin at any place of a stream, all counters zero.
 * buffer[0..size) belongs to the decoder from now on; a packet longer than `size` is dropped and
 * counted as overlong. sequence: an initialized one, to drop and count duplicates and to count
 * what is missing; NULL to do neither. */
void ecg_decoder_init(ecg_decoder_t *d, uint8_t *buffer, size_t size, ecg_sequence_t *sequence);

/* Take one byte. Returns 1 when it completes a packet: *packet then holds it, and what it points
 * to lies in the buffer and holds until the next call. Otherwise returns 0 and *packet is
 * undefined. */
int ecg_decoder_push(ecg_decoder_t *d, uint8_t byte, ecg_packet_t *packet);

#ifdef __cplusplus
}
#endif

#endif
