/* For a Cortex-M in QEMU with -icount shift=0, where an instruction takes 1 ns: prints how many
 * instructions the library's main steps take, by the SysTick timer at 25 MHz, 40 a tick. */
#include <stdio.h>

#include "ecg_conditioner.h"
#include "ecg_decoder.h"
#include "ecg_stft.h"

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define PER_TICK 40u
#define WORDS ECG_CONDITIONER_WORDS(ECG_RESAMPLER_500_TAPS, 8u, 12u)

static const uint8_t CODES[8] = {ECG_LEAD_I,  ECG_LEAD_II, ECG_LEAD_V1, ECG_LEAD_V2,
                                 ECG_LEAD_V3, ECG_LEAD_V4, ECG_LEAD_V5, ECG_LEAD_V6};

static int32_t memory[WORDS];
static ecg_conditioner_t conditioner;
static ecg_decoder_t decoder;
static ecg_sequence_t sequence;
static uint8_t buffer[ECG_MAX_PACKET];

static uint32_t elapsed(uint32_t since)
{
    return ((since - SYSTICK_VALUE) & 0xFFFFFFu) * PER_TICK;
}

int main(void)
{
    int16_t signal[1000];
    uint8_t log_power[ECG_STFT_BINS];
    uint8_t counts[240];
    uint8_t line[ECG_PACKET_BYTES(ECG_SAMPLES_BYTES(10u, 8u))];
    ecg_packet_t packet = {ECG_SAMPLES, 0, 0, {.samples = {0, 10, 8, 0, counts}}};
    size_t length = 0;
    uint32_t start;
    uint32_t seed = 1;

    SYSTICK_RELOAD = 0xFFFFFFu;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, from the processor's clock, no interrupt */

    for (unsigned n = 0; n < 1000; n++) {
        seed = seed * 1664525u + 1013904223u;
        signal[n] = (int16_t)((int32_t)(seed >> 20) - 2048);
    }
    for (unsigned n = 0; n < sizeof counts; n++) {
        seed = seed * 1664525u + 1013904223u;
        counts[n] = (uint8_t)(seed >> 24);
    }

    start = SYSTICK_VALUE;
    for (unsigned f = 0; f < 40; f++) {
        ecg_stft_frame(signal + f * ECG_STFT_HOP, log_power);
    }
    printf("stft_frame %u\n", (unsigned)(elapsed(start) / 40u));

    if (!ecg_conditioner_init(&conditioner, &ecg_resampler_500, 47684, CODES, 8, memory, WORDS)) {
        return 1;
    }
    start = SYSTICK_VALUE;
    for (unsigned n = 0; n < 1500; n++) {
        int32_t frame[8];
        ecg_conditioned_t out;
        for (unsigned c = 0; c < 8; c++) {
            frame[c] = signal[(n + 31u * c) % 1000u];
        }
        if (n == 1000) { /* past the lead-in */
            start = SYSTICK_VALUE;
        }
        (void)ecg_conditioner_push(&conditioner, frame, 0, &out);
    }
    printf("conditioner_second %u\n", (unsigned)elapsed(start));

    start = SYSTICK_VALUE;
    for (unsigned n = 0; n < 20; n++) {
        length = ecg_packet_encode(&packet, line, sizeof line);
    }
    printf("encode_samples %u\n", (unsigned)(elapsed(start) / 20u));

    ecg_sequence_init(&sequence);
    ecg_decoder_init(&decoder, buffer, sizeof buffer, &sequence);
    start = SYSTICK_VALUE;
    for (unsigned n = 0; n < 20; n++) {
        packet.sequence++;
        for (size_t i = 0; i < length; i++) {
            ecg_packet_t found;
            (void)ecg_decoder_push(&decoder, line[i], &found);
        }
    }
    printf("decode_samples %u\n", (unsigned)(elapsed(start) / 20u));
    printf("conditioner_bytes %u\n", (unsigned)(sizeof conditioner + sizeof memory));
    printf("decoder_bytes %u\n", (unsigned)(sizeof decoder + sizeof sequence + sizeof buffer));
    return decoder.counters.packets == 0;
}
