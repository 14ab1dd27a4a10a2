/* Fixed-point short-time Fourier transform: 64 int16 samples in, 24 bytes of log power out, the
 * integers that the host computes and that the model was trained on.
 *
 * A frame is shifted up to 24 magnitude bits by one exponent of its own, multiplied by a Q20 Hann
 * window and rounded, turned by a direct DFT with Q20 twiddles in 64-bit sums, and rounded once.
 * Nothing can overflow and no stage scales, so a quiet signal comes out as accurate as a loud one.
 * The power is below 2^53; its log2 is looked up from the leading bit and the eight after it, in
 * steps of 1/8 octave (0.376 dB), from 2^4 to 2^36 microvolts squared.
 *
 * Feed it a frame every ECG_STFT_HOP samples of each conditioned lead. No state, no heap; less
 * than 600 bytes of stack. */
#ifndef ECG_STFT_H
#define ECG_STFT_H

#include <stdint.h>

#include "ecg_tables.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The transform of one frame: (re + j im) * 2^(3 - up), in units of the input. */
typedef struct {
    int32_t re[ECG_STFT_BINS]; /* at most 27 bits each, sign included */
    int32_t im[ECG_STFT_BINS];
    int32_t up; /* bits by which the frame was shifted up; 0 for a frame of zeros */
} ecg_spectrum_t;

/* Transform frame[0..ECG_STFT_LENGTH), which is left as it was. All of *spectrum is set. */
void ecg_stft_transform(const int16_t *frame, ecg_spectrum_t *spectrum);

/* Return the 8-bit log of power re^2 + im^2 of a spectrum that was shifted up by `up`. */
uint8_t ecg_stft_log(int32_t re, int32_t im, int32_t up);

/* Both: write ECG_STFT_BINS bytes to log_power, from DC up. */
void ecg_stft_frame(const int16_t *frame, uint8_t *log_power);

#ifdef __cplusplus
}
#endif

#endif
