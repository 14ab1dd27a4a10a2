/* Packets on stdin, a line each as decode.c prints them; of each its bytes in hex on stdout, or
 * "refused". Buffers are exact, so that the sanitizer sees any byte beyond them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecg_packet.h"

static unsigned long long number(void)
{
    return strtoull(strtok(NULL, " \n"), NULL, 10);
}

static size_t hex(uint8_t *out)
{
    const char *text = strtok(NULL, " \n");
    size_t length = 0;
    for (; text[0] != '-' && text[0] != 0 && text[1] != 0; text += 2) {
        char digits[3] = {text[0], text[1], 0};
        out[length++] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return length;
}

int main(void)
{
    static char line[16384];
    static uint8_t counts[8192];
    static uint8_t text[256];

    while (fgets(line, sizeof line, stdin) != NULL) {
        ecg_packet_t p;
        size_t payload = 0;
        size_t length;
        uint8_t *out;
        memset(&p, 0, sizeof p);
        p.type = (uint8_t)strtoul(strtok(line, " \n"), NULL, 10);
        p.sequence = (uint16_t)number();
        p.time_us = number();
        switch (p.type) {
        case ECG_HELLO:
            p.as.hello.rate = (uint16_t)number();
            p.as.hello.pv_per_lsb = (uint32_t)number();
            p.as.hello.channels = (uint8_t)hex(text);
            memcpy(p.as.hello.leads, text, ECG_MAX_CHANNELS);
            p.as.hello.text_length = (uint8_t)hex(text);
            p.as.hello.text = (const char *)text;
            payload = ECG_HELLO_BYTES((size_t)p.as.hello.channels, (size_t)p.as.hello.text_length);
            break;
        case ECG_SAMPLES:
            p.as.samples.index = (uint32_t)number();
            p.as.samples.frames = (uint8_t)number();
            p.as.samples.channels = (uint8_t)number();
            p.as.samples.lead_off = (uint16_t)number();
            hex(counts);
            p.as.samples.counts = counts;
            payload = ECG_SAMPLES_BYTES((size_t)p.as.samples.frames, (size_t)p.as.samples.channels);
            break;
        case ECG_STATUS:
            p.as.status.state = (uint8_t)number();
            p.as.status.overruns = (uint32_t)number();
            p.as.status.battery_mv = (uint16_t)number();
            payload = ECG_STATUS_BYTES;
            break;
        case ECG_ACK:
            p.as.ack.command = (uint8_t)number();
            p.as.ack.command_sequence = (uint16_t)number();
            p.as.ack.result = (uint8_t)number();
            payload = ECG_ACK_BYTES;
            break;
        case ECG_SET_RATE:
            p.as.set_rate = (uint16_t)number();
            payload = ECG_SET_RATE_BYTES;
            break;
        default:
            break;
        }
        out = malloc(ECG_PACKET_BYTES(payload));
        if (ecg_packet_encode(&p, out, ECG_PACKET_BYTES(payload) - 1u) != 0) {
            return 1; /* it must refuse a buffer that is too small */
        }
        length = ecg_packet_encode(&p, out, ECG_PACKET_BYTES(payload));
        for (size_t i = 0; i < length; i++) {
            printf("%02x", out[i]);
        }
        puts(length > 0 ? "" : "refused");
        free(out);
    }
    return 0;
}
