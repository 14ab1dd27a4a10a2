/* Fuzzes the decoder and the encoder with libFuzzer; the README has the command.
 *
 * The first two bytes choose the size of the decoder's buffer, the rest is the stream. Checked
 * besides what the sanitizers see: every piece between zeros is handed out or counted once, and
 * every packet that is handed out is written again and read back as the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ecg_decoder.h"
#include "ecg_leads.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static size_t payload_bytes(const ecg_packet_t *p)
{
    switch (p->type) {
    case ECG_HELLO:
        return ECG_HELLO_BYTES((size_t)p->as.hello.channels, (size_t)p->as.hello.text_length);
    case ECG_SAMPLES:
        return ECG_SAMPLES_BYTES((size_t)p->as.samples.frames, (size_t)p->as.samples.channels);
    case ECG_STATUS:
        return ECG_STATUS_BYTES;
    case ECG_ACK:
        return ECG_ACK_BYTES;
    case ECG_SET_RATE:
        return ECG_SET_RATE_BYTES;
    default:
        return 0;
    }
}

static void require_same(const ecg_packet_t *a, const ecg_packet_t *b)
{
    const ecg_samples_t *s = &a->as.samples;
    require(a->type == b->type && a->sequence == b->sequence && a->time_us == b->time_us);
    switch (a->type) {
    case ECG_HELLO:
        require(a->as.hello.rate == b->as.hello.rate);
        require(a->as.hello.pv_per_lsb == b->as.hello.pv_per_lsb);
        require(a->as.hello.channels == b->as.hello.channels);
        require(memcmp(a->as.hello.leads, b->as.hello.leads, ECG_MAX_CHANNELS) == 0);
        require(a->as.hello.text_length == b->as.hello.text_length);
        require(a->as.hello.text_length == 0 ||
                memcmp(a->as.hello.text, b->as.hello.text, a->as.hello.text_length) == 0);
        break;
    case ECG_SAMPLES:
        require(s->index == b->as.samples.index && s->lead_off == b->as.samples.lead_off);
        require(s->frames == b->as.samples.frames && s->channels == b->as.samples.channels);
        require(memcmp(s->counts, b->as.samples.counts, 3u * s->frames * s->channels) == 0);
        break;
    case ECG_STATUS:
        require(a->as.status.state == b->as.status.state);
        require(a->as.status.overruns == b->as.status.overruns);
        require(a->as.status.battery_mv == b->as.status.battery_mv);
        break;
    case ECG_ACK:
        require(a->as.ack.command == b->as.ack.command && a->as.ack.result == b->as.ack.result);
        require(a->as.ack.command_sequence == b->as.ack.command_sequence);
        break;
    case ECG_SET_RATE:
        require(a->as.set_rate == b->as.set_rate);
        break;
    default:
        break;
    }
}

/* Write the packet, read it back, and require the same. */
static void round_trip(const ecg_packet_t *packet)
{
    ecg_packet_t again = *packet;
    ecg_packet_t read;
    size_t size = ECG_PACKET_BYTES(payload_bytes(packet));
    uint8_t *out = malloc(size);
    size_t bytes;

    require(out != NULL);
    if (packet->type == ECG_HELLO) { /* codes of leads not known here cannot be sent */
        for (unsigned c = 0; c < ECG_MAX_CHANNELS; c++) {
            if (again.as.hello.leads[c] >= ECG_LEADS) {
                again.as.hello.leads[c] = ECG_LEAD_UNKNOWN;
            }
        }
    }
    bytes = ecg_packet_encode(&again, out, size);
    require(bytes > 1 && bytes <= size && memchr(out, 0, bytes) == out + bytes - 1);
    bytes = ecg_cobs_decode(out, bytes - 1);
    require(bytes != ECG_COBS_ERROR && ecg_packet_open(out, bytes, &read) == ECG_OPEN_OK);
    require_same(&again, &read);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    size_t size;
    uint8_t *buffer;
    ecg_sequence_t sequence;
    ecg_decoder_t decoder;
    const ecg_link_counters_t *c = &decoder.counters;
    uint32_t pieces = 0;
    size_t run = 0;

    if (length < 2) {
        return 0;
    }
    size = 1u + ((size_t)data[0] << 8 | data[1]) % ECG_MAX_PACKET;
    buffer = malloc(size); /* exact, so that the sanitizer sees any byte beyond it */
    require(buffer != NULL);
    ecg_sequence_init(&sequence);
    ecg_decoder_init(&decoder, buffer, size, &sequence);
    for (size_t i = 2; i < length; i++) {
        ecg_packet_t packet;
        if (ecg_decoder_push(&decoder, data[i], &packet)) {
            round_trip(&packet);
        }
        run = data[i] != 0 ? run + 1u : 0u;
        pieces += run == 1u;
    }
    pieces -= run > 0 && run <= size; /* the last one has not ended and is not yet overlong */
    require(pieces == c->packets + c->bad_cobs + c->bad_header + c->bad_crc + c->bad_payload +
                          c->overlong + c->other_version + c->other_type + sequence.duplicates);
    require(c->bytes == length - 2u);
    free(buffer);
    return 0;
}
