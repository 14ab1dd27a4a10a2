/* The loops that are compiled for more than one width of processor; loops.inc has them. */
#ifndef ECG_EDGE_LOOPS_H
#define ECG_EDGE_LOOPS_H

#include "front_end.h"
#include "rhythm.h"

typedef struct {
    int width; /* doubles at once */

    /* Return whether every value lies between -limit and limit, neither of them included. */
    bool (*within)(const double *values, size_t count, double limit);

    /* Add an offset to each channel of (rows, channels). */
    void (*shift)(double *values, size_t rows, size_t channels, const double *offsets);

    /* Resample, derive the leads, and round twice. in: (samples, channels); start, kernel: of each row, its first
     * input and its taps; out: (rows, LEADS). Returns how many samples were clipped. */
    size_t (*resample)(const Resampler *resampler, const double *in, const int32_t *start, const int32_t *kernel,
                       size_t rows, double *out);

    /* High-pass `rows` rows to microvolts: the signal minus two moving averages of `boxcar` samples, one after the
     * other. in: (2 * (boxcar - 1) + rows, LEADS) in 1/16 microvolt, boxcar a power of two; out: (rows, LEADS).
     * Samples beyond 32767 are clipped; returns how many in the rows from `first` to `last`. */
    size_t (*highpass)(const double *in, size_t rows, size_t boxcar, int16_t *out, size_t first, size_t last);

    /* signal: the first sample of the first frame; power: (frames, bins). */
    void (*transform_frames)(const Transform *transform, const int16_t *signal, size_t frames, uint8_t *power);

    /* signal: (2 * HALF + rows, leads) in 1/16 microvolt; wave: `leads` rows, `stride` apart; squares: those of the
     * envelopes at 18 and at 9 Hz, (2, rows, leads). */
    void (*filter_rows)(const Kernels *kernels, const double *signal, size_t leads, size_t rows, double *wave,
                        size_t stride, double *squares);

    /* Of count squares of either kind: both roots, and the strength, which is their geometric mean. */
    void (*strengths)(const double *squares, size_t count, double *strength, double *upper, double *lower);

    /* Fill in the power of each bin of POINTS points; room for a multiple of four bins. */
    void (*measure_power)(const Spectrum *spectrum, const double *points, double *power);
} Loops;

const Loops *narrow_loops(void);
const Loops *wide_loops(void); /* NULL where this processor cannot run them */

extern const Loops *loops; /* those in use */

/* Return those to use for so many channels or leads side by side: where they are few, two at once are more. */
const Loops *loops_for(size_t abreast);

#endif
