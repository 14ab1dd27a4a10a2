#include <string.h>

#include "rhythm.h"

void set_wave(Kernels *kernels, const double *wave)
{
    memcpy(kernels->wave, wave, sizeof kernels->wave);
    kernels->steps = 0;
    for (int k = 0; k <= 2 * HALF + 1; k++) {
        double change = (k ? wave[k - 1] : 0.0) - (k <= 2 * HALF ? wave[k] : 0.0);
        if (change != 0.0) {
            kernels->place[kernels->steps] = k;
            kernels->change[kernels->steps++] = change;
        }
    }
}

/* Long stretches of `wave`'s kernel are flat, so each sum is that before it and what the changes make of it. Samples
 * and taps are whole numbers of their units, so this is as exact as the whole sum. */
WIDE_LOOPS static void wave_rows(const Kernels *kernels, const double *signal, size_t leads, size_t rows, double *wave,
                      size_t stride)
{
    double sum[LEADS] = {0.0};
    for (size_t k = 0; k <= 2 * HALF; k++)
        for (size_t lead = 0; lead < leads; lead++)
            sum[lead] += kernels->wave[k] * signal[k * leads + lead];
    for (size_t lead = 0; lead < leads; lead++)
        wave[lead * stride] = sum[lead];
    for (size_t row = 1; row < rows; row++) {
        const double *before = signal + (row - 1) * leads;
        for (int step = 0; step < kernels->steps; step++) {
            const double *sample = before + (size_t)kernels->place[step] * leads, change = kernels->change[step];
            for (size_t lead = 0; lead < leads; lead++)
                sum[lead] += change * sample[lead];
        }
        for (size_t lead = 0; lead < leads; lead++)
            wave[lead * stride + row] = sum[lead];
    }
}

static inline void square_four(const Kernels *kernels, const double *middle, size_t leads, double *high, double *low)
{
    const Four here = *(const Four *)middle;
    Four even_high = kernels->wavelet[0][0] * here, even_low = kernels->wavelet[1][0] * here;
    Four odd_high = {0.0}, odd_low = {0.0};
    for (size_t k = 1; k <= SHORT_HALF; k++) {
        const Four after = *(const Four *)(middle + k * leads), before = *(const Four *)(middle - k * leads);
        const Four both = after + before, between = after - before;
        even_high += kernels->wavelet[0][k] * both;
        even_low += kernels->wavelet[1][k] * both;
        odd_high += kernels->wavelet[2][k] * between;
        odd_low += kernels->wavelet[3][k] * between;
    }
    *(Four *)high = even_high * even_high + odd_high * odd_high;
    *(Four *)low = even_low * even_low + odd_low * odd_low;
}

static inline void square_one(const Kernels *kernels, const double *middle, size_t leads, double *high, double *low)
{
    double even_high = kernels->wavelet[0][0] * *middle, even_low = kernels->wavelet[1][0] * *middle;
    double odd_high = 0.0, odd_low = 0.0;
    for (size_t k = 1; k <= SHORT_HALF; k++) {
        const double after = middle[k * leads], before = *(middle - k * leads);
        even_high += kernels->wavelet[0][k] * (after + before);
        even_low += kernels->wavelet[1][k] * (after + before);
        odd_high += kernels->wavelet[2][k] * (after - before);
        odd_low += kernels->wavelet[3][k] * (after - before);
    }
    *high = even_high * even_high + odd_high * odd_high;
    *low = even_low * even_low + odd_low * odd_low;
}

WIDE_LOOPS void filter_rows(const Kernels *kernels, const double *signal, size_t leads, size_t rows, double *wave,
                            size_t stride, double *squares)
{
    wave_rows(kernels, signal, leads, rows, wave, stride);
    const double *middle = signal + HALF * leads;
    double *high = squares, *low = squares + rows * leads;
    const size_t fours = leads / 4 * 4;
    for (size_t row = 0; row < rows; row++, middle += leads, high += leads, low += leads) {
        for (size_t lead = 0; lead < fours; lead += 4)
            square_four(kernels, middle + lead, leads, high + lead, low + lead);
        for (size_t lead = fours; lead < leads; lead++)
            square_one(kernels, middle + lead, leads, high + lead, low + lead);
    }
}

void span_columns(const double *rows, size_t count, size_t leads, size_t step, double *spans)
{
    double high[LEADS], low[LEADS];
    memcpy(high, rows, leads * sizeof(double));
    memcpy(low, rows, leads * sizeof(double));
    for (size_t row = step; row < count; row += step)
        for (size_t lead = 0; lead < leads; lead++) {
            const double value = rows[row * leads + lead];
            high[lead] = value > high[lead] ? value : high[lead];
            low[lead] = value < low[lead] ? value : low[lead];
        }
    for (size_t lead = 0; lead < leads; lead++)
        spans[lead] = high[lead] - low[lead];
}
