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

WIDE_LOOPS void filter_rows(const Kernels *kernels, const double *signal, size_t leads, size_t rows, double *wave, size_t stride,
                 double *squares)
{
    wave_rows(kernels, signal, leads, rows, wave, stride);
    const double *middle = signal + HALF * leads;
    double *high = squares, *low = squares + rows * leads;
    for (size_t row = 0; row < rows; row++, middle += leads, high += leads, low += leads) {
        double sums[4][LEADS];
        for (size_t lead = 0; lead < leads; lead++) {
            sums[0][lead] = kernels->wavelet[0][0] * middle[lead];
            sums[1][lead] = kernels->wavelet[1][0] * middle[lead];
            sums[2][lead] = sums[3][lead] = 0.0;
        }
        for (size_t k = 1; k <= SHORT_HALF; k++) {
            const double *after = middle + k * leads, *before = middle - k * leads;
            const double a = kernels->wavelet[0][k], b = kernels->wavelet[1][k];
            const double c = kernels->wavelet[2][k], d = kernels->wavelet[3][k];
            for (size_t lead = 0; lead < leads; lead++) {
                const double both = after[lead] + before[lead], between = after[lead] - before[lead];
                sums[0][lead] += a * both;
                sums[1][lead] += b * both;
                sums[2][lead] += c * between;
                sums[3][lead] += d * between;
            }
        }
        for (size_t lead = 0; lead < leads; lead++) {
            high[lead] = sums[0][lead] * sums[0][lead] + sums[2][lead] * sums[2][lead];
            low[lead] = sums[1][lead] * sums[1][lead] + sums[3][lead] * sums[3][lead];
        }
    }
}
