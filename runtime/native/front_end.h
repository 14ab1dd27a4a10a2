/* The front end's loops: what resampling.py, conditioning.py, stft.py and quality.py do with NumPy, to the bit. */
#ifndef ECG_EDGE_FRONT_END_H
#define ECG_EDGE_FRONT_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#define LONGEST_BOXCAR 256
#define LONGEST_FRAME 256
#define QUARTER (LONGEST_FRAME / 4 + 4) /* and one, and room for four at once */
#define MANTISSA_BITS 8
#define INPUT_BITS 16

/* A transform of frames of `length` samples, a multiple of four. Cosine and minus sine fall into quarters that are
 * alike but for their sign, so a frame is folded twice before it is multiplied: whole numbers, the same sums. */
typedef struct {
    size_t length, hop, bins;
    double window[LONGEST_FRAME]; /* whole numbers */
    double scale;                 /* of the sums */
    double normalize[INPUT_BITS + 1], undo[INPUT_BITS + 1]; /* by the bits of a frame's peak */
    double *cosine[2], *sine[2]; /* of even and odd bins: by sample, then bin, up to a multiple of four bins */
    int steps, first_step;       /* of the logarithm: in an octave, and where the exponent's field is 0 */
    uint8_t step_of[1 << MANTISSA_BITS]; /* within the octave, by the first bits of the mantissa */
} Transform;

/* Look at a hop of each lead, (leads, samples) in microvolts, behind its two samples before, which are replaced.
 *
 * high, low: the highest and lowest sample of each lead; rough: how many second differences are further from zero
 * than `steep`. */
void look_at_hop(const int16_t *signal, size_t leads, size_t samples, int32_t steep, int32_t *before, int32_t *high,
                 int32_t *low, int32_t *rough);

#endif
