/* Streams on stdin, each as uint32 length, uint32 size of the decoder's buffer, bytes; of each, its
 * packets and then its counters as lines on stdout. Buffers are exact, so that the sanitizer sees
 * any byte beyond them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ecg_decoder.h"

static void print_hex(const uint8_t *data, size_t length)
{
    putchar(' ');
    if (length == 0) {
        putchar('-');
    }
    for (size_t i = 0; i < length; i++) {
        putchar("0123456789abcdef"[data[i] >> 4]);
        putchar("0123456789abcdef"[data[i] & 15]);
    }
}

/* Print a number that not every embedded printf can. */
static void print_u64(uint64_t value)
{
    if (value >= 10) {
        print_u64(value / 10);
    }
    putchar('0' + (int)(value % 10));
}

static void print_packet(const ecg_packet_t *p)
{
    printf("%u %u ", (unsigned)p->type, (unsigned)p->sequence);
    print_u64(p->time_us);
    switch (p->type) {
    case ECG_HELLO:
        printf(" %u %" PRIu32, (unsigned)p->as.hello.rate, p->as.hello.pv_per_lsb);
        print_hex(p->as.hello.leads, p->as.hello.channels);
        print_hex((const uint8_t *)p->as.hello.text, p->as.hello.text_length);
        break;
    case ECG_SAMPLES:
        printf(" %" PRIu32 " %u %u %u", p->as.samples.index, (unsigned)p->as.samples.frames,
               (unsigned)p->as.samples.channels, (unsigned)p->as.samples.lead_off);
        print_hex(p->as.samples.counts, 3u * p->as.samples.frames * p->as.samples.channels);
        break;
    case ECG_STATUS:
        printf(" %u %" PRIu32 " %u", (unsigned)p->as.status.state, p->as.status.overruns,
               (unsigned)p->as.status.battery_mv);
        break;
    case ECG_ACK:
        printf(" %u %u %u", (unsigned)p->as.ack.command, (unsigned)p->as.ack.command_sequence,
               (unsigned)p->as.ack.result);
        break;
    case ECG_SET_RATE:
        printf(" %u", (unsigned)p->as.set_rate);
        break;
    default:
        break;
    }
    putchar('\n');
}

int main(void)
{
    uint32_t header[2];

    while (fread(header, sizeof header, 1, stdin) == 1) {
        uint8_t *buffer = malloc(header[1]);
        ecg_decoder_t decoder;
        ecg_sequence_t sequence;
        const ecg_link_counters_t *c = &decoder.counters;
        ecg_sequence_init(&sequence);
        ecg_decoder_init(&decoder, buffer, header[1], &sequence);
        for (uint32_t i = 0; i < header[0]; i++) {
            ecg_packet_t packet;
            if (ecg_decoder_push(&decoder, (uint8_t)getchar(), &packet)) {
                print_packet(&packet);
            }
        }
        printf("counters");
        printf(" %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32, c->bytes, c->packets, c->bad_cobs,
               c->bad_header);
        printf(" %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32, c->bad_crc,
               c->bad_payload, c->overlong, c->other_version, c->other_type);
        printf(" %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n", sequence.gaps,
               sequence.missing, sequence.duplicates, sequence.late, sequence.restarts);
        free(buffer);
    }
    return 0;
}
