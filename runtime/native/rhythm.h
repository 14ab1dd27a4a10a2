/* The rhythm rules' loops: what the modules of runtime/rhythm/ of the same names do with NumPy and lists. */
#ifndef ECG_EDGE_RHYTHM_H
#define ECG_EDGE_RHYTHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sizes.h"

/* filters.py */

#define HALF 27       /* samples on either side of the middle of `wave`'s kernel */
#define SHORT_HALF 9  /* and of the wavelets' */
#define STEPS (4 * HALF + 4)

typedef struct {
    double wave[2 * HALF + 1]; /* kernel, in microvolts of 1/16 microvolt */
    int steps;                 /* places at which it changes from one tap to the next */
    int place[STEPS];
    double change[STEPS];
    double wavelet[4][SHORT_HALF + 1]; /* even of high and low, odd of both: middle and one side */
} Kernels;

void set_wave(Kernels *kernels, const double *wave);

/* readable.py */

/* How far each column of (count, leads) goes, by every `step`th row. */
void span_columns(const double *rows, size_t count, size_t leads, size_t step, double *spans);

/* voting.py */

#define HISTORY 300
#define KEPT (HISTORY + ROWS)
#define LOOK_BACK 200
#define WEIGH_BLOCKS 2

typedef struct {
    size_t leads;
    long end, lively_until;
    size_t fresh;                     /* rows that came last */
    bool usable[LEADS];               /* at the last weighing */
    double level[LEADS], limit[LEADS], weight[LEADS];
    double part[3][ROWS * LEADS];     /* strength, upper, lower of the rows that came last */
    double history[LEADS][KEPT + ROOM * BLOCK];
    size_t filled;                    /* samples of it */
} Votes;

void votes_init(Votes *votes, size_t leads);
void votes_relearn(Votes *votes);
void votes_push(Votes *votes, const double *squares, size_t rows);

/* Join blocks from `block` on, up to the next weighing; joined: room for 3 * WEIGH_BLOCKS * BLOCK.
 *
 * Returns how many blocks. voices: set to who has one where the leads were weighed, and then *weighed is. */
size_t votes_join(Votes *votes, size_t block, const bool *usable, bool learning, double *joined, bool *voices,
                  bool *weighed);
void votes_beat(Votes *votes, long age, long later, const bool *usable);

/* beats.py */

#define MEMORY 8
#define RISE 6
#define JOINED (3 * GROUP * BLOCK)

typedef struct {
    long sample;
    double height, upper, lower;
} Peak;

typedef struct {
    long sample;
    double height, sharpness;
} Beat;

typedef struct {
    double value[MEMORY];
    int count;
} Recent;

typedef struct {
    double level, noise;
    long end, learned_at;
    double upper, lower;
    double highest; /* while learning */
    Recent heights, noises, intervals;
    double interval, threshold, noisiness;
    bool rising, has_pending, has_missed, has_last;
    double last_height;
    Peak pending, missed;
    Beat last;
    double joined[JOINED], earlier[JOINED];
    size_t joined_count, earlier_count; /* of each of the three */
    long start;
} Detector;

void detector_init(Detector *detector);
void detector_forget(Detector *detector);
void detector_skip(Detector *detector, long samples);
void detector_relearn(Detector *detector);
void detector_take(Detector *detector, const double *joined, size_t count);
long detector_searched(const Detector *detector);
bool detector_settled(const Detector *detector);

#define MOST_BEATS 8 /* that one block can make known: five peaks, one more by searching back, one taken back */
size_t detector_walk(Detector *detector, long samples, bool trust_wide, Beat *found);

/* fibrillation.py */

/* Measure `looks` windows of (leads, samples), rows `stride` apart, every `step`th sample of it.
 *
 * size: (leads, looks) sums of absolute values; highest: (leads, looks) highest of those. */
void measure_windows(const double *wave, size_t leads, size_t stride, size_t step, size_t window, size_t apart,
                     size_t looks, double *size, double *highest);

#define POINTS 150
#define BINS 96 /* of the spectrum, at most; a multiple of four */

typedef struct {
    double bell[POINTS];
    size_t bins;
    double hz[BINS], twice_cosine[BINS]; /* of each bin, and of its angle from point to point */
    int first[BINS], last[BINS];         /* bins that count as its peak, the last not included */
    double score, slowest, fastest;
} Spectrum;

/* Return whether as many as `needed` of `count` leads show an oscillation; lead, size: which row of wave, and the sum
 * of its absolute values. wave: rows `stride` apart, of POINTS points `step` apart. */
bool most_show_it(const Spectrum *spectrum, const double *wave, size_t stride, size_t step, const size_t *lead,
                  const double *size, size_t count, size_t needed);

/* ventricular.py */

/* Return the correlation of a template (leads, n) with the middle of wide (leads, n + 2 * shift), rows `stride` apart;
 * where that is below `enough`, the highest over all shifts. Leads that are not usable count as zero. */
double correlation(const double *template_, const double *wide, size_t leads, size_t n, size_t stride, size_t shift,
                   const bool *usable, double enough);

/* Move the template of the usable leads by 1 / memory of the way to the middle of wide. */
void blend(double *template_, const double *wide, size_t leads, size_t n, size_t stride, size_t shift,
           const bool *usable, double memory);

#endif
