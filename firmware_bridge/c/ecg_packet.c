#include "ecg_packet.h"

#include <string.h>

#include "ecg_crc.h"

#define KNOWN_LEADS 12u
#define UNKNOWN_LEAD 255u

static void put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)(v & 0xFFu);
}

static void put_u32(uint8_t *p, uint32_t v)
{
    put_u16(p, (uint16_t)(v >> 16));
    put_u16(p + 2, (uint16_t)(v & 0xFFFFu));
}

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)((uint32_t)p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

void ecg_put_i24(uint8_t *bytes, int32_t value)
{
    uint32_t v = (uint32_t)value;
    bytes[0] = (uint8_t)(v >> 16 & 0xFFu);
    bytes[1] = (uint8_t)(v >> 8 & 0xFFu);
    bytes[2] = (uint8_t)(v & 0xFFu);
}

int32_t ecg_get_i24(const uint8_t *bytes)
{
    int32_t v = (int32_t)((uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2]);
    return v >= 0x800000 ? v - 0x1000000 : v;
}

uint8_t ecg_max_frames(uint8_t channels)
{
    uint32_t most;

    if (channels == 0) {
        return 0;
    }
    most = (ECG_MAX_CONTENT - ECG_HEADER_BYTES - ECG_SAMPLES_BYTES(0u, 0u)) / (3u * channels);
    return (uint8_t)(most < 255u ? most : 255u);
}

/* Return the payload bytes of a packet whose fields are all in range, -1 for one with others. */
static int payload_bytes(const ecg_packet_t *packet)
{
    const ecg_hello_t *hello = &packet->as.hello;
    const ecg_samples_t *samples = &packet->as.samples;

    switch (packet->type) {
    case ECG_HELLO:
        if (hello->rate == 0 || hello->pv_per_lsb == 0 || hello->channels == 0 ||
            hello->channels > ECG_MAX_CHANNELS || hello->text_length > ECG_MAX_FIRMWARE) {
            return -1;
        }
        for (unsigned c = 0; c < hello->channels; c++) {
            if (hello->leads[c] >= KNOWN_LEADS && hello->leads[c] != UNKNOWN_LEAD) {
                return -1;
            }
        }
        return (int)ECG_HELLO_BYTES((unsigned)hello->channels, (unsigned)hello->text_length);
    case ECG_SAMPLES:
        if (samples->channels == 0 || samples->channels > ECG_MAX_CHANNELS ||
            samples->frames == 0 || samples->frames > ecg_max_frames(samples->channels) ||
            (uint32_t)samples->lead_off >> samples->channels != 0) {
            return -1;
        }
        return (int)ECG_SAMPLES_BYTES((unsigned)samples->frames, (unsigned)samples->channels);
    case ECG_STATUS:
        return packet->as.status.state <= ECG_ENDED ? (int)ECG_STATUS_BYTES : -1;
    case ECG_ACK:
        return packet->as.ack.result <= ECG_BAD_ARGUMENT ? (int)ECG_ACK_BYTES : -1;
    case ECG_SET_RATE:
        return (int)ECG_SET_RATE_BYTES;
    case ECG_IDENTIFY:
    case ECG_START:
    case ECG_STOP:
        return 0;
    default:
        return -1;
    }
}

static void put_payload(const ecg_packet_t *packet, uint8_t *p, size_t bytes)
{
    const ecg_hello_t *hello = &packet->as.hello;
    const ecg_samples_t *samples = &packet->as.samples;

    switch (packet->type) {
    case ECG_HELLO:
        put_u16(p, hello->rate);
        p[2] = hello->channels;
        put_u32(p + 3, hello->pv_per_lsb);
        memcpy(p + 7, hello->leads, hello->channels);
        p[7 + hello->channels] = hello->text_length;
        if (hello->text_length > 0) {
            memcpy(p + 8 + hello->channels, hello->text, hello->text_length);
        }
        break;
    case ECG_SAMPLES:
        put_u32(p, samples->index);
        p[4] = samples->frames;
        p[5] = samples->channels;
        put_u16(p + 6, samples->lead_off);
        memcpy(p + 8, samples->counts, bytes - 8u);
        break;
    case ECG_STATUS:
        p[0] = packet->as.status.state;
        put_u32(p + 1, packet->as.status.overruns);
        put_u16(p + 5, packet->as.status.battery_mv);
        break;
    case ECG_ACK:
        p[0] = packet->as.ack.command;
        put_u16(p + 1, packet->as.ack.command_sequence);
        p[3] = packet->as.ack.result;
        break;
    case ECG_SET_RATE:
        put_u16(p, packet->as.set_rate);
        break;
    default: /* IDENTIFY, START, STOP: no payload */
        break;
    }
}

size_t ecg_packet_encode(const ecg_packet_t *packet, uint8_t *out, size_t size)
{
    int payload = payload_bytes(packet);
    size_t content;
    size_t length;
    uint8_t *body;

    if (payload < 0 || size < ECG_PACKET_BYTES((size_t)payload)) {
        return 0;
    }
    content = ECG_HEADER_BYTES + (size_t)payload;
    /* The body is made where COBS can then be written over it from the front. */
    body = out + ECG_COBS_OVERHEAD(content + ECG_CRC_BYTES);
    body[0] = ECG_VERSION;
    body[1] = packet->type;
    put_u16(body + 2, packet->sequence);
    put_u32(body + 4, (uint32_t)(packet->time_us >> 32));
    put_u32(body + 8, (uint32_t)(packet->time_us & 0xFFFFFFFFu));
    put_payload(packet, body + ECG_HEADER_BYTES, (size_t)payload);
    put_u16(body + content, ecg_crc16(body, content));
    length = ecg_cobs_encode(body, content + ECG_CRC_BYTES, out);
    out[length] = 0;
    return length + 1u;
}

static ecg_open_t open_hello(const uint8_t *p, size_t bytes, ecg_hello_t *hello)
{
    if (bytes < ECG_HELLO_BYTES(0u, 0u)) {
        return ECG_OPEN_BAD_PAYLOAD;
    }
    hello->rate = get_u16(p);
    hello->channels = p[2];
    hello->pv_per_lsb = get_u32(p + 3);
    if (hello->rate == 0 || hello->pv_per_lsb == 0 || hello->channels == 0 ||
        hello->channels > ECG_MAX_CHANNELS ||
        bytes < ECG_HELLO_BYTES((size_t)hello->channels, 0u)) {
        return ECG_OPEN_BAD_PAYLOAD;
    }
    hello->text_length = p[7 + hello->channels];
    if (hello->text_length > ECG_MAX_FIRMWARE ||
        bytes != ECG_HELLO_BYTES((size_t)hello->channels, (size_t)hello->text_length)) {
        return ECG_OPEN_BAD_PAYLOAD;
    }
    memset(hello->leads, (int)UNKNOWN_LEAD, sizeof hello->leads);
    memcpy(hello->leads, p + 7, hello->channels);
    hello->text = hello->text_length > 0 ? (const char *)(p + 8 + hello->channels) : NULL;
    return ECG_OPEN_OK;
}

static ecg_open_t open_samples(const uint8_t *p, size_t bytes, ecg_samples_t *samples)
{
    if (bytes < ECG_SAMPLES_BYTES(0u, 0u)) {
        return ECG_OPEN_BAD_PAYLOAD;
    }
    samples->index = get_u32(p);
    samples->frames = p[4];
    samples->channels = p[5];
    if (samples->frames == 0 || samples->channels == 0 || samples->channels > ECG_MAX_CHANNELS ||
        bytes != ECG_SAMPLES_BYTES((size_t)samples->frames, (size_t)samples->channels)) {
        return ECG_OPEN_BAD_PAYLOAD;
    }
    samples->lead_off = (uint16_t)(get_u16(p + 6) & ((1u << samples->channels) - 1u));
    samples->counts = p + 8;
    return ECG_OPEN_OK;
}

static ecg_open_t open_payload(const uint8_t *p, size_t bytes, ecg_packet_t *packet)
{
    int ok;

    switch (packet->type) {
    case ECG_HELLO:
        return open_hello(p, bytes, &packet->as.hello);
    case ECG_SAMPLES:
        return open_samples(p, bytes, &packet->as.samples);
    case ECG_STATUS:
        ok = bytes == ECG_STATUS_BYTES && p[0] <= ECG_ENDED;
        if (ok) {
            packet->as.status.state = p[0];
            packet->as.status.overruns = get_u32(p + 1);
            packet->as.status.battery_mv = get_u16(p + 5);
        }
        break;
    case ECG_ACK:
        ok = bytes == ECG_ACK_BYTES && p[3] <= ECG_BAD_ARGUMENT;
        if (ok) {
            packet->as.ack.command = p[0];
            packet->as.ack.command_sequence = get_u16(p + 1);
            packet->as.ack.result = p[3];
        }
        break;
    case ECG_SET_RATE:
        ok = bytes == ECG_SET_RATE_BYTES;
        if (ok) {
            packet->as.set_rate = get_u16(p);
        }
        break;
    case ECG_IDENTIFY:
    case ECG_START:
    case ECG_STOP:
        ok = bytes == 0;
        break;
    default:
        return ECG_OPEN_OTHER_TYPE;
    }
    return ok ? ECG_OPEN_OK : ECG_OPEN_BAD_PAYLOAD;
}

ecg_open_t ecg_packet_open(const uint8_t *body, size_t length, ecg_packet_t *packet)
{
    if (length < ECG_HEADER_BYTES + ECG_CRC_BYTES || length > ECG_MAX_CONTENT + ECG_CRC_BYTES) {
        return ECG_OPEN_BAD_HEADER;
    }
    if (ecg_crc16(body, length) != 0) {
        return ECG_OPEN_BAD_CRC;
    }
    if (body[0] != ECG_VERSION) {
        return ECG_OPEN_OTHER_VERSION;
    }
    packet->type = body[1];
    packet->sequence = get_u16(body + 2);
    packet->time_us = (uint64_t)get_u32(body + 4) << 32 | get_u32(body + 8);
    return open_payload(body + ECG_HEADER_BYTES, length - ECG_HEADER_BYTES - ECG_CRC_BYTES, packet);
}
