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
    if (kernels->steps % 2) { /* two go together */
        kernels->place[kernels->steps] = 0;
        kernels->change[kernels->steps++] = 0.0;
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
