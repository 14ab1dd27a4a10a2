#include "front_end.h"

#include <math.h>
#include <string.h>

#include "sizes.h"

/* Make each the largest whole number not above it; they are below 2**51.
 *
 * Without a branch, which a new signal would take by surprise every second time: that costs more than the rest. */
static inline void floor_four(Four *values)
{
    const Four nearest = (*values + ROUNDER) - ROUNDER;
    const Whole above = nearest > *values; /* all bits where so, which is -1 */
    *values = nearest + __builtin_convertvector(above, Four);
}

static inline double clipped(double x, double limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

static inline double further(double far, double value)
{
    return fabs(value) > far ? fabs(value) : far;
}

static inline double largest(const double *values, size_t count)
{
    double top = values[0];
    for (size_t i = 1; i < count; i++)
        top = values[i] > top ? values[i] : top;
    return top;
}

#define LANES 8 /* side by side, so that none waits for the one before */

static inline bool all_within(const double *values, size_t count, double limit)
{
    double furthest[LANES] = {0.0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            furthest[lane] = further(furthest[lane], values[i + lane]);
    for (; i < count; i++)
        furthest[0] = further(furthest[0], values[i]);
    return largest(furthest, LANES) < limit;
}

WIDE_LOOPS bool within(const double *values, size_t count, double limit)
{
    return all_within(values, count, limit);
}

bool any_beyond(const double *values, const double *usual, const double *limits, size_t count)
{
    int beyond = 0;
    for (size_t i = 0; i < count; i++)
        beyond |= fabs(values[i] - usual[i]) > limits[i];
    return beyond;
}

static size_t clip(double *values, size_t count, double limit)
{
    size_t beyond = 0;
    for (size_t i = 0; i < count; i++) {
        const double value = clipped(values[i], limit);
        beyond += value != values[i];
        values[i] = value;
    }
    return beyond;
}

#define TOGETHER 8 /* rows at once: sums that do not wait for each other */

static inline bool all_same(const double *const *taps)
{
    bool same = true;
    for (size_t k = 1; k < TOGETHER; k++)
        same = same && taps[k] == taps[0];
    return same;
}

/* Sum up four channels of some rows, of which each has its first input and its taps. */
static inline void weigh_four(const double *const *from, const double *const *taps, size_t span, size_t channels,
                              double (*sums)[LEADS])
{
    Four sum[TOGETHER] = {{0.0}};
    if (all_same(taps))
        for (size_t tap = 0; tap < span; tap++)
            for (size_t k = 0; k < TOGETHER; k++)
                sum[k] += taps[0][tap] * *(const Four *)(from[k] + tap * channels);
    else
        for (size_t tap = 0; tap < span; tap++)
            for (size_t k = 0; k < TOGETHER; k++)
                sum[k] += taps[k][tap] * *(const Four *)(from[k] + tap * channels);
    for (size_t k = 0; k < TOGETHER; k++)
        *(Four *)sums[k] = sum[k];
}

static inline void weigh_one(const double *const *from, const double *const *taps, size_t span, size_t channels,
                             double (*sums)[LEADS])
{
    double sum[TOGETHER] = {0.0};
    for (size_t tap = 0; tap < span; tap++)
        for (size_t k = 0; k < TOGETHER; k++)
            sum[k] += taps[k][tap] * from[k][tap * channels];
    for (size_t k = 0; k < TOGETHER; k++)
        sums[k][0] = sum[k];
}

WIDE_LOOPS size_t resample(const Resampler *resampler, const double *in, const int32_t *start, const int32_t *kernel,
                           size_t rows, double *out)
{
    const size_t channels = resampler->channels, span = resampler->span;
    const double scale = resampler->scale, offset = resampler->offset;
    for (size_t row = 0; row < rows; row += TOGETHER) {
        const double *from[TOGETHER], *taps[TOGETHER];
        double sums[TOGETHER][LEADS];
        for (size_t k = 0; k < TOGETHER; k++) { /* behind the last row, the last row */
            const size_t one = row + k < rows ? row + k : rows - 1;
            from[k] = in + (size_t)start[one] * channels;
            taps[k] = resampler->taps + (size_t)kernel[one] * span;
        }
        for (size_t channel = 0; channel < channels;) {
            const size_t taken = channels - channel < 4 ? 1 : 4;
            if (taken == 4)
                weigh_four(from, taps, span, channels, (double (*)[LEADS])&sums[0][channel]);
            else
                weigh_one(from, taps, span, channels, (double (*)[LEADS])&sums[0][channel]);
            for (size_t k = 0; k < TOGETHER; k++)
                from[k] += taken;
            channel += taken;
        }
        for (size_t k = 0; k < TOGETHER && row + k < rows; k++) {
            Four leads[LEADS / 4] = {{0.0}}, *to = (Four *)(out + (row + k) * LEADS);
            for (size_t channel = 0; channel < channels; channel++)
                for (size_t four = 0; four < LEADS / 4; four++)
                    leads[four] += sums[k][channel] * *(const Four *)&resampler->derive[channel * LEADS + 4 * four];
            for (size_t four = 0; four < LEADS / 4; four++) {
                leads[four] += 0.5;
                floor_four(&leads[four]);
                leads[four] = leads[four] * scale + offset;
                floor_four(&leads[four]);
                to[four] = leads[four];
            }
        }
    }
    return all_within(out, rows * LEADS, resampler->limit + 0.5) ? 0 : clip(out, rows * LEADS, resampler->limit);
}

WIDE_LOOPS size_t highpass(const double *in, size_t rows, size_t boxcar, int16_t *out, size_t first, size_t last)
{
    const double whole = (double)boxcar * (double)boxcar, scale = 1.0 / (whole * 16.0);
    double averages[LONGEST_BOXCAR][LEADS]; /* the last sums of the first moving average, in a ring */
    Four once[LEADS / 4] = {{0.0}}, twice[LEADS / 4] = {{0.0}};
    for (size_t row = 0; row + 1 < boxcar; row++)
        for (size_t four = 0; four < LEADS / 4; four++)
            once[four] += *(const Four *)&in[row * LEADS + 4 * four];
    const double *newest = in + (boxcar - 1) * LEADS, *oldest = in;
    size_t place = 0, beyond = 0;
    for (size_t row = 0; row < rows + boxcar - 1; row++, newest += LEADS, oldest += LEADS) {
        double *average = averages[place];
        place = (place + 1) & (boxcar - 1);
        for (size_t four = 0; four < LEADS / 4; four++) {
            once[four] += *(const Four *)&newest[4 * four];
            *(Four *)&average[4 * four] = once[four];
            twice[four] += once[four];
            once[four] -= *(const Four *)&oldest[4 * four];
        }
        if (row + 1 < boxcar)
            continue;
        const size_t ready = row + 1 - boxcar; /* the row whose middle is the oldest */
        double values[LEADS];
        for (size_t four = 0; four < LEADS / 4; four++) {
            Four value = (whole * *(const Four *)&oldest[4 * four] - twice[four]) * scale + 0.5;
            floor_four(&value);
            *(Four *)&values[4 * four] = value;
            twice[four] -= *(const Four *)&averages[place][4 * four];
        }
        if (!all_within(values, LEADS, 32767.5)) {
            const size_t clipped_here = clip(values, LEADS, 32767.0);
            beyond += ready >= first && ready < last ? clipped_here : 0;
        }
        for (size_t lead = 0; lead < LEADS; lead++)
            out[ready * LEADS + lead] = (int16_t)values[lead];
    }
    return beyond;
}

static inline int bits_of(const int16_t *samples, size_t count)
{
    int32_t peak = 0;
    for (size_t i = 0; i < count; i++) {
        const int32_t size = samples[i] < 0 ? -(int32_t)samples[i] : samples[i];
        peak = size > peak ? size : peak;
    }
    return peak ? 32 - __builtin_clz((unsigned)peak) : 0;
}

/* Add up the bins of one kind, even or odd, as the table has them, of (samples,). */
static inline void project(const double *table, const double *folded, size_t samples, size_t bins, double scale,
                           double *sums)
{
    for (size_t bin = 0; bin < bins; bin += 4) {
        Four sum = {0.0};
        for (size_t n = 0; n < samples; n++, table += 4)
            sum += *(const Four *)table * folded[n];
        sum = sum * scale + 0.5;
        floor_four(&sum);
        *(Four *)&sums[bin] = sum;
    }
}

WIDE_LOOPS void transform_frames(const Transform *transform, const int16_t *signal, size_t frames, uint8_t *power)
{
    const size_t length = transform->length, half = length / 2, quarter = length / 4, bins = transform->bins;
    for (size_t frame = 0; frame < frames; frame++, signal += transform->hop, power += bins) {
        const int bits = bits_of(signal, length);
        const double normalize = transform->normalize[bits], undo = transform->undo[bits];
        double weighted[LONGEST_FRAME], even[LONGEST_FRAME / 2 + 1], odd[LONGEST_FRAME / 2 + 1];
        for (size_t n = 0; n < length; n += 4) {
            const Four samples = {signal[n], signal[n + 1], signal[n + 2], signal[n + 3]};
            Four value = samples * (*(const Four *)&transform->window[n] * normalize) + 0.5;
            floor_four(&value);
            *(Four *)&weighted[n] = value;
        }
        even[0] = weighted[0];
        even[half] = weighted[half];
        odd[0] = odd[half] = 0.0;
        for (size_t n = 1; n < half; n++) {
            even[n] = weighted[n] + weighted[length - n];
            odd[n] = weighted[n] - weighted[length - n];
        }
        for (size_t kind = 0; kind < 2; kind++) { /* even bins, then odd ones */
            double cosines[QUARTER], sines[QUARTER], re[QUARTER], im[QUARTER];
            for (size_t n = 0; n < quarter; n++) {
                cosines[n] = kind ? even[n] - even[half - n] : even[n] + even[half - n];
                sines[n] = kind ? odd[n] + odd[half - n] : odd[n] - odd[half - n];
            }
            cosines[quarter] = even[quarter];
            sines[quarter] = odd[quarter];
            const size_t count = (bins + 1 - kind) / 2;
            project(transform->cosine[kind], cosines, quarter + 1, count, transform->scale, re);
            project(transform->sine[kind], sines, quarter + 1, count, transform->scale, im);
            for (size_t k = 0; k < count; k++)
                re[k] = (re[k] * re[k] + im[k] * im[k]) * undo;
            for (size_t k = 0; k < count; k++) {
                uint64_t field;
                memcpy(&field, &re[k], sizeof field);
                field >>= 52 - MANTISSA_BITS;
                const int octave = (int)(field >> MANTISSA_BITS);
                int step = transform->first_step + transform->steps * octave +
                           transform->step_of[field & ((1 << MANTISSA_BITS) - 1)];
                step &= ~(step >> 31); /* not below 0; no branch, which half of the bins would take by surprise */
                step |= (255 - step) >> 31;
                power[2 * k + kind] = (uint8_t)step;
            }
        }
    }
}

void look_at_hop(const int16_t *signal, size_t leads, size_t samples, int32_t steep, int32_t *before, int32_t *high,
                 int32_t *low, int32_t *rough)
{
    for (size_t lead = 0; lead < leads; lead++, signal += samples, before += 2) {
        int32_t two_ago = before[0], one_ago = before[1], top = INT16_MIN, bottom = INT16_MAX, count = 0;
        for (size_t i = 0; i < samples; i++) {
            int32_t value = signal[i], bend = value - 2 * one_ago + two_ago;
            top = value > top ? value : top;
            bottom = value < bottom ? value : bottom;
            count += bend > steep || bend < -steep;
            two_ago = one_ago;
            one_ago = value;
        }
        before[0] = two_ago;
        before[1] = one_ago;
        high[lead] = top;
        low[lead] = bottom;
        rough[lead] = count;
    }
}
