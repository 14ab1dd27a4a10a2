/* One recording on stdin, all int32: rate, picovolts per count, channels, code of each channel,
 * then frames of channels + 1 numbers, the last being the mask of what is missing. On stdout each
 * output sample as 12 int16 and the uint16 mask; at the end saturated and invalid samples, uint32.
 * The memory is exact, so that the sanitizer sees any word beyond it. */
#include <stdio.h>
#include <stdlib.h>

#include "ecg_conditioner.h"

static const ecg_resampler_t *const TABLES[] = {&ecg_resampler_250, &ecg_resampler_360,
                                                &ecg_resampler_500, &ecg_resampler_1000};

static void write_sample(const ecg_conditioned_t *sample)
{
    fwrite(sample->microvolts, sizeof sample->microvolts, 1, stdout);
    fwrite(&sample->invalid, sizeof sample->invalid, 1, stdout);
}

int main(void)
{
    static ecg_conditioner_t conditioner;
    int32_t header[3];
    int32_t codes[ECG_BRIDGE_CHANNELS];
    uint8_t code[ECG_BRIDGE_CHANNELS];
    int32_t frame[ECG_BRIDGE_CHANNELS + 1];
    const ecg_resampler_t *table = NULL;
    ecg_leads_t leads;
    ecg_conditioned_t sample;
    unsigned channels;
    size_t words;
    size_t present = 0;
    int32_t *memory;

    if (fread(header, sizeof header, 1, stdin) != 1) {
        return 1;
    }
    channels = (unsigned)header[2];
    for (unsigned k = 0; k < sizeof TABLES / sizeof TABLES[0]; k++) {
        if (TABLES[k]->rate == (uint32_t)header[0]) {
            table = TABLES[k];
        }
    }
    if (table == NULL || fread(codes, sizeof codes[0], channels, stdin) != channels) {
        return 1;
    }
    for (unsigned c = 0; c < channels; c++) {
        code[c] = (uint8_t)codes[c];
    }
    if (!ecg_leads_init(&leads, code, channels)) {
        return 1;
    }
    for (unsigned k = 0; k < ECG_LEADS; k++) {
        present += leads.present >> k & 1u;
    }
    words = ECG_CONDITIONER_WORDS(table->taps, channels, present);
    memory = malloc(words * sizeof *memory);
    if (ecg_conditioner_init(&conditioner, table, (uint32_t)header[1], code, channels, memory,
                             words - 1u)) {
        return 1; /* it must refuse memory that is too small */
    }
    if (!ecg_conditioner_init(&conditioner, table, (uint32_t)header[1], code, channels, memory,
                              words)) {
        return 1;
    }
    while (fread(frame, sizeof frame[0], channels + 1u, stdin) == channels + 1u) {
        if (ecg_conditioner_push(&conditioner, frame, (uint16_t)frame[channels], &sample)) {
            write_sample(&sample);
        }
    }
    while (ecg_conditioner_flush(&conditioner, &sample)) {
        write_sample(&sample);
    }
    fwrite(&conditioner.saturated, sizeof conditioner.saturated, 1, stdout);
    fwrite(&conditioner.bridge.invalid_samples, sizeof(uint32_t), 1, stdout);
    free(memory);
    return 0;
}
