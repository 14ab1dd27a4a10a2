#include "ecg_stft.h"

#include "ecg_shift.h"

#define N ECG_STFT_LENGTH
#define HALF (N / 2u)
#define QUARTER (N / 4u)

/* Return the bits of x, 0 for 0. */
static int32_t bits_of(uint64_t x)
{
    uint32_t word = (uint32_t)(x >> 32); /* 32-bit processors shift one word in one instruction */
    int32_t bits = word != 0 ? 32 : 0;
    if (word == 0) {
        word = (uint32_t)x;
    }
    for (int32_t step = 16; step > 0; step /= 2) {
        if (word >> step != 0) {
            word >>= step;
            bits += step;
        }
    }
    return bits + (word != 0);
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

/* What cosine and sine of one angle are multiplied with. */
typedef struct {
    int32_t of_cosine;
    int32_t of_sine;
} folded_t;

/* Return sample n, shifted up and under the window. */
static int32_t weighted(const int16_t *frame, int32_t scale, unsigned n)
{
    int64_t product = (int64_t)(frame[n] * scale) * ecg_stft_window[n];
    return (int32_t)ecg_round_shift(product, ECG_STFT_TABLE_BITS);
}

/* Weight and fold a frame twice, so that a bin needs N / 4 + 1 products instead of N for each of
 * re and im. Exact: all sums fit 27 bits, sign included.
 *
 * About N / 2 the cosine is even and the sine odd, so samples n and N - n share a product, as sum
 * and as difference. About N / 4 the cosine is even in even bins and odd in odd ones, the sine the
 * reverse: n and N / 2 - n share again, in x[n] for even bins, in x[N / 2 - n] for odd ones.
 * Samples 0 and N / 2 have no partner: what they leave in of_sine meets a sine of zero. */
static void fold(const int16_t *frame, int32_t scale, folded_t x[HALF + 1u])
{
    for (unsigned n = 0; n <= HALF; n++) {
        int32_t low = weighted(frame, scale, n);
        int32_t high = n % HALF != 0 ? weighted(frame, scale, N - n) : 0;
        x[n].of_cosine = low + high;
        x[n].of_sine = low - high;
    }
    for (unsigned n = 0; n < QUARTER; n++) {
        folded_t low = x[n];
        folded_t high = x[HALF - n];
        x[n].of_cosine = low.of_cosine + high.of_cosine;
        x[n].of_sine = low.of_sine - high.of_sine;
        x[HALF - n].of_cosine = low.of_cosine - high.of_cosine;
        x[HALF - n].of_sine = low.of_sine + high.of_sine;
    }
}

void ecg_stft_transform(const int16_t *frame, ecg_spectrum_t *spectrum)
{
    folded_t x[HALF + 1u];
    uint32_t peak = peak_of(frame);
    int32_t up = peak != 0 ? ECG_STFT_MAGNITUDE_BITS - bits_of(peak) : 0;

    fold(frame, (int32_t)1 << up, x);
    for (unsigned k = 0; k < ECG_STFT_BINS; k++) {
        const folded_t *place = k % 2u != 0 ? x + HALF : x;
        int step = k % 2u != 0 ? -1 : 1;
        int64_t re = 0;
        int64_t im = 0;
        for (unsigned n = 0; n <= QUARTER; n++) {
            unsigned angle = n * k;
            re += (int64_t)place->of_cosine * ecg_stft_cosine[angle % N];
            im += (int64_t)place->of_sine * ecg_stft_cosine[(angle + QUARTER) % N]; /* -sin */
            place += step;
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
