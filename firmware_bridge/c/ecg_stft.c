#include "ecg_stft.h"

#include "ecg_shift.h"

#define N ECG_STFT_LENGTH
#define QUARTER (N / 4u)

/* Return the bits of the magnitude of x, 0 for 0. */
static int32_t bits_of(uint64_t x)
{
    int32_t bits = 0;
    for (int32_t step = 32; step > 0; step /= 2) {
        if (x >> step != 0) {
            x >>= step;
            bits += step;
        }
    }
    return bits + (x != 0);
}

/* Return the largest magnitude in the frame. */
static uint32_t peak_of(const int16_t *frame)
{
    int32_t peak = 0;
    for (unsigned n = 0; n < N; n++) {
        int32_t x = frame[n] < 0 ? -frame[n] : frame[n];
        peak = x > peak ? x : peak;
    }
    return (uint32_t)peak;
}

void ecg_stft_transform(const int16_t *frame, ecg_spectrum_t *spectrum)
{
    int32_t x[N];
    uint32_t peak = peak_of(frame);
    int32_t up = peak != 0 ? ECG_STFT_MAGNITUDE_BITS - bits_of(peak) : 0;
    int32_t scale = (int32_t)1 << up;

    for (unsigned n = 0; n < N; n++) {
        int64_t weighted = (int64_t)(frame[n] * scale) * ecg_stft_window[n];
        x[n] = (int32_t)ecg_round_shift(weighted, ECG_STFT_TABLE_BITS);
    }
    /* The cosine is even and the sine odd about N / 2: x[n] and x[N - n] share a product. Sums
     * replace the first half, differences the second; exact, since both fit 26 bits. */
    for (unsigned n = 1; n < N / 2u; n++) {
        int32_t low = x[n];
        int32_t high = x[N - n];
        x[n] = low + high;
        x[N - n] = low - high;
    }
    for (unsigned k = 0; k < ECG_STFT_BINS; k++) {
        int64_t middle = (int64_t)x[N / 2u] * ecg_stft_cosine[k * (N / 2u) % N];
        int64_t re = (int64_t)x[0] * ecg_stft_cosine[0] + middle;
        int64_t im = 0;
        for (unsigned n = 1; n < N / 2u; n++) {
            unsigned angle = n * k % N; /* cos(a + pi / 2) is -sin(a) */
            re += (int64_t)x[n] * ecg_stft_cosine[angle];
            im += (int64_t)x[N - n] * ecg_stft_cosine[(angle + QUARTER) % N];
        }
        spectrum->re[k] = (int32_t)ecg_round_shift(re, ECG_STFT_SHIFT);
        spectrum->im[k] = (int32_t)ecg_round_shift(im, ECG_STFT_SHIFT);
    }
    spectrum->up = up;
}

uint8_t ecg_stft_log(int32_t re, int32_t im, int32_t up)
{
    uint64_t power = (uint64_t)((int64_t)re * re) + (uint64_t)((int64_t)im * im);
    int32_t octave = bits_of(power) - 1;
    uint32_t leading;
    int32_t steps;

    if (power == 0) {
        return 0;
    }
    leading = (uint32_t)(octave >= 8 ? power >> (octave - 8) : power << (8 - octave)) & 0xFFu;
    steps = ECG_STFT_LOG_STEPS * (octave - 2 * up) + ecg_stft_log_fraction[leading];
    steps -= ECG_STFT_LOG_OFFSET;
    return (uint8_t)(steps < 0 ? 0 : steps > 255 ? 255 : steps);
}

void ecg_stft_frame(const int16_t *frame, uint8_t *log_power)
{
    ecg_spectrum_t spectrum;

    ecg_stft_transform(frame, &spectrum);
    for (unsigned k = 0; k < ECG_STFT_BINS; k++) {
        log_power[k] = ecg_stft_log(spectrum.re[k], spectrum.im[k], spectrum.up);
    }
}
