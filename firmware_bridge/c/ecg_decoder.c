#include "ecg_decoder.h"

#include <string.h>

void ecg_decoder_init(ecg_decoder_t *d, uint8_t *buffer, size_t size, ecg_sequence_t *sequence)
{
    memset(d, 0, sizeof *d);
    d->buffer = buffer;
    d->size = size;
    d->sequence = sequence;
}

/* Return whether the piece in buffer[0..length) is a packet to hand out; count it where not. */
static int take(ecg_decoder_t *d, size_t length, ecg_packet_t *packet)
{
    ecg_link_counters_t *counters = &d->counters;
    size_t bytes = ecg_cobs_decode(d->buffer, length);
    ecg_open_t found;

    if (bytes == ECG_COBS_ERROR) {
        counters->bad_cobs++;
        return 0;
    }
    found = ecg_packet_open(d->buffer, bytes, packet);
    switch (found) {
    case ECG_OPEN_BAD_HEADER:
        counters->bad_header++;
        return 0;
    case ECG_OPEN_BAD_CRC:
        counters->bad_crc++;
        return 0;
    case ECG_OPEN_OTHER_VERSION:
        counters->other_version++;
        return 0;
    case ECG_OPEN_BAD_PAYLOAD:
        counters->bad_payload++;
        return 0;
    case ECG_OPEN_OTHER_TYPE: /* keeps its place in the sequence */
    case ECG_OPEN_OK:
        break;
    }
    if (d->sequence != NULL &&
        !ecg_sequence_place(d->sequence, packet->sequence, packet->time_us, d->buffer, bytes)) {
        return 0;
    }
    if (found == ECG_OPEN_OTHER_TYPE) {
        counters->other_type++;
        return 0;
    }
    counters->packets++;
    return 1;
}

int ecg_decoder_push(ecg_decoder_t *d, uint8_t byte, ecg_packet_t *packet)
{
    size_t length = d->filled;

    d->counters.bytes++;
    if (byte != 0) {
        if (!d->skipping && length < d->size) {
            d->buffer[d->filled++] = byte;
        } else if (!d->skipping) {
            d->counters.overlong++;
            d->skipping = 1;
        }
        return 0;
    }
    d->filled = 0;
    if (d->skipping || length == 0) {
        d->skipping = 0;
        return 0;
    }
    return take(d, length, packet);
}
