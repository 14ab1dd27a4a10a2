/* The front end's loops: what conditioning.py, stft.py and quality.py do with NumPy, to the bit. */
#ifndef ECG_EDGE_FRONT_END_H
#define ECG_EDGE_FRONT_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Return whether every value lies between -limit and limit, neither of them included. */
bool within(const double *values, size_t count, double limit);

/* Return whether one of count values is further from what it usually is than its limit; none is from what is not known,
 * which is not a number. */
bool any_beyond(const double *values, const double *usual, const double *limits, size_t count);

/* How counts become 1/16 microvolt at the model rate. */
typedef struct {
    size_t channels, span;  /* of the counts; taps of a kernel */
    const double *taps;     /* (kernels, span), in LSB x 2**-20 */
    const double *derive;   /* (channels, LEADS) from that to 1/32 LSB of each lead */
    double scale, offset;   /* of the second rounding */
    double limit;           /* beyond which samples are clipped */
} Resampler;

/* Resample, derive the leads, and round twice. in: (samples, channels); start, kernel: of each row, its first input
 * and its taps; out: (rows, LEADS). Returns how many samples were clipped. */
size_t resample(const Resampler *resampler, const double *in, const int32_t *start, const int32_t *kernel, size_t rows,
                double *out);

#define LONGEST_BOXCAR 256

/* High-pass `rows` rows to microvolts: the signal minus two moving averages of `boxcar` samples, one after the other.
 *
 * in: (2 * (boxcar - 1) + rows, LEADS) in 1/16 microvolt, boxcar a power of two; out: (rows, LEADS). Samples beyond
 * 32767 are clipped; returns how many in the rows from `first` to `last`. */
size_t highpass(const double *in, size_t rows, size_t boxcar, int16_t *out, size_t first, size_t last);

#define LONGEST_FRAME 256
#define QUARTER (LONGEST_FRAME / 4 + 4) /* and one, and room for four at once */
#define MANTISSA_BITS 8
#define INPUT_BITS 16

/* A transform of frames of `length` samples, a multiple of four. Cosine and minus sine fall into quarters that are
 * alike but for their sign, so a frame is folded twice before it is multiplied: whole numbers, the same sums. */
typedef struct {
    size_t length, hop, bins;
    double window[LONGEST_FRAME];                             /* whole numbers */
    double scale;                                             /* of the sums */
    double normalize[INPUT_BITS + 1], undo[INPUT_BITS + 1];   /* by the bits of a frame's peak */
    double *cosine[2], *sine[2]; /* of even and odd bins: by four bins, then sample, then bin; what is missing is 0 */
    int steps, first_step;                      /* of the logarithm: in an octave, and where the exponent's field is 0 */
    uint8_t step_of[1 << MANTISSA_BITS];        /* within the octave, by the first bits of the mantissa */
} Transform;

/* signal: the first sample of the first frame; power: (frames, bins). */
void transform_frames(const Transform *transform, const int16_t *signal, size_t frames, uint8_t *power);

/* Look at a hop of each lead, (leads, samples) in microvolts, behind its two samples before, which are replaced.
 *
 * high, low: the highest and lowest sample of each lead; rough: how many second differences are further from zero
 * than `steep`. */
void look_at_hop(const int16_t *signal, size_t leads, size_t samples, int32_t steep, int32_t *before, int32_t *high,
                 int32_t *low, int32_t *rough);

#endif
