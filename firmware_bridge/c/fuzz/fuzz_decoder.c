/* Fuzzes the decoder and the encoder with libFuzzer; the README has the command.
 *
 * The first two bytes choose the size of the decoder's buffer and what the rest is: a stream of
 * bytes, or contents of packets, each after a byte with its length, to be sealed with a right
 * checksum. Checked besides what the sanitizers see: every piece between zeros is handed out or
 * counted once, and every packet that is handed out is written again and read back the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ecg_crc.h"
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

/* A decoder under test and what it must have counted. */
typedef struct {
    ecg_decoder_t decoder;
    ecg_sequence_t sequence;
    uint32_t bytes;
    uint32_t pieces; /* between zeros, not empty */
    size_t run;      /* bytes since the last zero */
} link_t;

static void feed(link_t *link, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        ecg_packet_t packet;
        if (ecg_decoder_push(&link->decoder, data[i], &packet)) {
            round_trip(&packet);
        }
        link->bytes++;
        link->run = data[i] != 0 ? link->run + 1u : 0u;
        link->pieces += link->run == 1u;
    }
}

/* Feed header and payload in a packet whose checksum is right, which mutation alone seldom finds.
 */
static void feed_sealed(link_t *link, const uint8_t *content, size_t length)
{
    uint8_t body[255 + ECG_CRC_BYTES];
    uint8_t out[ECG_COBS_BOUND(sizeof body) + 1u];
    uint16_t crc = ecg_crc16(content, length);
    size_t bytes;

    memcpy(body, content, length);
    body[length] = (uint8_t)(crc >> 8);
    body[length + 1u] = (uint8_t)(crc & 0xFFu);
    bytes = ecg_cobs_encode(body, length + ECG_CRC_BYTES, out);
    out[bytes] = 0;
    feed(link, out, bytes + 1u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    link_t link;
    const ecg_link_counters_t *c = &link.decoder.counters;
    size_t size;
    uint8_t *buffer;

    if (length < 2) {
        return 0;
    }
    memset(&link, 0, sizeof link);
    size = 1u + ((size_t)(data[0] & 0x7Fu) << 8 | data[1]) % ECG_MAX_PACKET;
    buffer = malloc(size); /* exact, so that the sanitizer sees any byte beyond it */
    require(buffer != NULL);
    ecg_sequence_init(&link.sequence);
    ecg_decoder_init(&link.decoder, buffer, size, &link.sequence);
    if ((data[0] & 0x80u) == 0) {
        feed(&link, data + 2, length - 2u);
    } else {
        size_t at = 2;
        while (at < length) {
            size_t bytes = data[at++];
            bytes = bytes < length - at ? bytes : length - at;
            feed_sealed(&link, data + at, bytes);
            at += bytes;
        }
    }
    /* The last piece has not ended, and is counted already only if it is overlong. */
    link.pieces -= link.run > 0 && link.run <= size;
    require(c->bytes == link.bytes);
    require(link.pieces == c->packets + c->bad_cobs + c->bad_header + c->bad_crc + c->bad_payload +
                               c->overlong + c->other_version + c->other_type +
                               link.sequence.duplicates);
    free(buffer);
    return 0;
}
