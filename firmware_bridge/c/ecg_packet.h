/* Packets of the ecg-edge wire format, version 1: one struct for both directions.
 *
 *     packet = COBS(body) 00
 *     body   = header (12 bytes) | payload | CRC (2 bytes)
 *     header = version u8 | type u8 | sequence u16 | device time u64 in microseconds
 *
 * All numbers are big-endian. PROTOCOL.md is the whole layout and who says what when.
 *
 * To send, fill an ecg_packet_t and call ecg_packet_encode; what it writes goes to the UART as it
 * is. `sequence` counts the packets that one sender has sent, of all types, and wraps. `time_us`
 * is microseconds since the device started, on the clock that also times the sampling; for
 * ECG_SAMPLES it is the instant of the first frame. It never goes back.
 *
 *     uint8_t out[ECG_PACKET_BYTES(ECG_STATUS_BYTES)];
 *     ecg_packet_t packet = {ECG_STATUS, sequence++, now_us(), {{0}}};
 *     packet.as.status.state = ECG_STREAMING;
 *     uart_write(out, ecg_packet_encode(&packet, out, sizeof out));
 *
 * To receive, give every byte to ecg_decoder_push (ecg_decoder.h), which hands the same struct
 * back. Samples travel as 24-bit big-endian bytes, which is how ADS129x converters deliver them:
 * point `counts` at the converter's data, or use ecg_put_i24.
 *
 * Nothing here allocates, keeps state or calls anything but memcpy. */
#ifndef ECG_PACKET_H
#define ECG_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "ecg_cobs.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_VERSION 1u
#define ECG_MAX_CHANNELS 16u /* bits of the lead-off mask */
#define ECG_MAX_FIRMWARE 32u /* bytes of the firmware text */
#define ECG_HEADER_BYTES 12u
#define ECG_CRC_BYTES 2u
#define ECG_MAX_CONTENT 4093u /* header and payload; within it the CRC finds any 3 wrong bits */
#define ECG_MAX_PACKET ECG_COBS_BOUND(ECG_MAX_CONTENT + ECG_CRC_BYTES) /* without final zero */

/* Bytes of a payload, and the most bytes of a packet, final zero included, around it. */
#define ECG_HELLO_BYTES(channels, text) (8u + (channels) + (text))
#define ECG_SAMPLES_BYTES(frames, channels) (8u + 3u * (frames) * (channels))
#define ECG_STATUS_BYTES 7u
#define ECG_SET_RATE_BYTES 2u
#define ECG_ACK_BYTES 4u
#define ECG_PACKET_BYTES(payload) \
    (ECG_COBS_BOUND(ECG_HEADER_BYTES + (payload) + ECG_CRC_BYTES) + 1u)

/* Types of packets. */
enum {
    ECG_HELLO = 0x01,
    ECG_SAMPLES = 0x02,
    ECG_STATUS = 0x03,
    ECG_IDENTIFY = 0x10,
    ECG_START = 0x11,
    ECG_STOP = 0x12,
    ECG_SET_RATE = 0x13,
    ECG_ACK = 0x1F
};

/* States in ECG_STATUS. */
enum { ECG_IDLE = 0, ECG_STREAMING = 1, ECG_ENDED = 2 };

/* Results in ECG_ACK. */
enum { ECG_DONE = 0, ECG_UNSUPPORTED = 1, ECG_BAD_ARGUMENT = 2 };

/* The device and the format of its samples. */
typedef struct {
    uint16_t rate;                   /* frames per second, not 0 */
    uint32_t pv_per_lsb;             /* picovolts per count, not 0, the same for all channels */
    uint8_t channels;                /* 1 to 16 */
    uint8_t leads[ECG_MAX_CHANNELS]; /* of each channel: ECG_LEAD_..., 12 and more: not named */
    uint8_t text_length;             /* bytes of text, at most 32 */
    const char *text;                /* firmware, UTF-8, no final NUL; NULL when length is 0 */
} ecg_hello_t;

/* Consecutive frames, a frame being one sample of each channel, that share one lead-off mask. */
typedef struct {
    uint32_t index;        /* number of the first frame in the run; dropped frames count too */
    uint8_t frames;        /* at least 1 */
    uint8_t channels;      /* 1 to 16, as in HELLO */
    uint16_t lead_off;     /* bit c: channel c has no valid sample in any of these frames */
    const uint8_t *counts; /* frames * channels samples of 3 bytes, frame by frame */
} ecg_samples_t;

/* What the device is doing, about once a second of a run. */
typedef struct {
    uint8_t state;       /* ECG_IDLE, ECG_STREAMING, ECG_ENDED */
    uint32_t overruns;   /* frames of this run that the device had to drop */
    uint16_t battery_mv; /* 0 when not known */
} ecg_status_t;

/* What became of a command. */
typedef struct {
    uint8_t command;           /* its type */
    uint16_t command_sequence; /* its sequence number */
    uint8_t result;            /* ECG_DONE, ECG_UNSUPPORTED, ECG_BAD_ARGUMENT */
} ecg_ack_t;

/* A packet. IDENTIFY, START and STOP have nothing in `as`. */
typedef struct {
    uint8_t type;
    uint16_t sequence;
    uint64_t time_us;
    union {
        ecg_hello_t hello;
        ecg_samples_t samples;
        ecg_status_t status;
        ecg_ack_t ack;
        uint16_t set_rate; /* frames per second from the next run on */
    } as;
} ecg_packet_t;

/* What ecg_packet_open finds. */
typedef enum {
    ECG_OPEN_OK = 0,
    ECG_OPEN_BAD_HEADER,    /* too short or too long for a packet */
    ECG_OPEN_BAD_CRC,       /* damaged */
    ECG_OPEN_OTHER_VERSION, /* of another version of the wire format */
    ECG_OPEN_OTHER_TYPE,    /* of a type not known here: type, sequence and time are set */
    ECG_OPEN_BAD_PAYLOAD    /* right checksum, but a payload that breaks the layout */
} ecg_open_t;

/* Return the most frames that one SAMPLES packet of `channels` channels carries; 0 for 0. */
uint8_t ecg_max_frames(uint8_t channels);

/* Write the packet, final zero included, to out and return its bytes.
 * Returns 0, with out left as it was, for a field out of range, a type not known, or a `size`
 * below ECG_PACKET_BYTES(payload): the bound, which the packet itself may stay below.
 * Bytes of out behind the packet and below that bound are undefined. counts and text must not
 * lie in out. */
size_t ecg_packet_encode(const ecg_packet_t *packet, uint8_t *out, size_t size);

/* Read a body, COBS taken off. On ECG_OPEN_OK all of *packet is set; counts and text point into
 * body, so they hold as long as it does. Otherwise *packet is undefined but for the fields named
 * at ecg_open_t. The payload's exact length is checked: a packet whose CRC ends in 00 passes the
 * CRC also with that byte cut off. Mask bits beyond the channels are cleared. */
ecg_open_t ecg_packet_open(const uint8_t *body, size_t length, ecg_packet_t *packet);

/* Write the low 24 bits of `value` to 3 bytes. A value beyond 24 bits signed wraps. */
void ecg_put_i24(uint8_t *bytes, int32_t value);

/* Return the 24-bit two's complement number in 3 bytes. */
int32_t ecg_get_i24(const uint8_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
