/* Frames of int16 on stdin; of each, re[], im[], the shift (int32) and the log power on stdout. */
#include <stdio.h>

#include "ecg_stft.h"

int main(void)
{
    int16_t frame[ECG_STFT_LENGTH];

    while (fread(frame, sizeof frame, 1, stdin) == 1) {
        ecg_spectrum_t spectrum;
        uint8_t log_power[ECG_STFT_BINS];
        ecg_stft_transform(frame, &spectrum);
        ecg_stft_frame(frame, log_power);
        fwrite(spectrum.re, sizeof spectrum.re, 1, stdout);
        fwrite(spectrum.im, sizeof spectrum.im, 1, stdout);
        fwrite(&spectrum.up, sizeof spectrum.up, 1, stdout);
        fwrite(log_power, sizeof log_power, 1, stdout);
    }
    return 0;
}
