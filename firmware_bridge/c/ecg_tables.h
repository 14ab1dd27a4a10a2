/* Made by `python -m ecg_edge.runtime.c_tables`; do not edit. */
/* Every number that the device and the model's training must agree on.
 * Signal contract 0a28295084e75cb87344c2853e64172529f597853b208e7d5b659cdb307c3636. */
#ifndef ECG_TABLES_H
#define ECG_TABLES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_MODEL_RATE 100
#define ECG_HIGHPASS_BOXCAR 128u
#define ECG_HIGHPASS_BITS 18u
#define ECG_LEAD_IN 23u
#define ECG_COEFFICIENT_BITS 20u
#define ECG_FRACTION_BITS 4u
#define ECG_SIXTEENTHS_LIMIT 134217727
#define ECG_STFT_LENGTH 64u
#define ECG_STFT_HOP 20u
#define ECG_STFT_BINS 24u
#define ECG_STFT_MAGNITUDE_BITS 24
#define ECG_STFT_TABLE_BITS 20u
#define ECG_STFT_SHIFT 23u
#define ECG_STFT_LOG_STEPS 8
#define ECG_STFT_LOG_OFFSET (-16)

/* A low-pass evaluated at the output instants: `phases` kernels of `taps` taps, kernel p for an
 * output that lies p / phases of an output period behind a frame, times the frame rate. */
typedef struct {
    uint32_t rate;          /* frames per second */
    uint32_t taps;          /* of each kernel; they sum to 2^20 */
    uint32_t phases;        /* kernels */
    const int32_t *kernels; /* phases * taps */
} ecg_resampler_t;

extern const ecg_resampler_t ecg_resampler_250;
extern const ecg_resampler_t ecg_resampler_360;
extern const ecg_resampler_t ecg_resampler_500;
extern const ecg_resampler_t ecg_resampler_1000;
#define ECG_RESAMPLER_250_TAPS 102u
#define ECG_RESAMPLER_360_TAPS 146u
#define ECG_RESAMPLER_500_TAPS 202u
#define ECG_RESAMPLER_1000_TAPS 402u

extern const int32_t ecg_stft_window[ECG_STFT_LENGTH]; /* periodic Hann, Q20 */
extern const int32_t ecg_stft_cosine[ECG_STFT_LENGTH]; /* of 2 pi n / length, same scale */
extern const uint8_t ecg_stft_log_fraction[256]; /* floor(8 log2(1 + m / 256)) */

#ifdef __cplusplus
}
#endif

#endif
