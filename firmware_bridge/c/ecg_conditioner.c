#include "ecg_conditioner.h"

#include <string.h>

#include "ecg_shift.h"

#define BOXCAR ECG_HIGHPASS_BOXCAR  /* both moving averages; a power of two */
#define DELAY ((int32_t)BOXCAR - 1) /* of the high-pass, in model samples */
#define RING ECG_HIGHPASS_WORDS     /* 2 * BOXCAR, and what a uint8_t counts round */
#define WEIGHT ((int64_t)BOXCAR * BOXCAR)
#define PV_PER_THIRTYSECOND 2000000 /* picovolts of 32 times 1/16 microvolt */
#define MODEL_RATE ((uint32_t)ECG_MODEL_RATE)

typedef char ecg_ring_is_two_boxcars[RING == 2u * BOXCAR && RING == 256u ? 1 : -1];

int ecg_conditioner_init(ecg_conditioner_t *c, const ecg_resampler_t *resampler,
                         uint32_t pv_per_lsb, const uint8_t *codes, unsigned channels,
                         int32_t *memory, size_t words)
{
    size_t leads = 0;
    int32_t first; /* place of the first sample to resample: frames after the first one */

    memset(c, 0, sizeof *c);
    if (!ecg_leads_init(&c->leads, codes, channels)) {
        return 0;
    }
    for (unsigned k = 0; k < ECG_LEADS; k++) {
        leads += (size_t)((uint32_t)c->leads.present >> k & 1u);
    }
    if (pv_per_lsb == 0 || pv_per_lsb > 100000000u ||
        words < ECG_CONDITIONER_WORDS((size_t)resampler->taps, (size_t)channels, leads)) {
        return 0;
    }
    c->resampler = resampler;
    c->pv_per_lsb = pv_per_lsb;
    c->channels = channels;
    c->history = memory;
    c->past = memory + resampler->taps * channels;
    /* The filters begin so far before the first sample that they have seen only the constant. */
    c->lead_in = DELAY + ECG_LEAD_IN;
    first = -(int32_t)((ECG_LEAD_IN * resampler->rate + MODEL_RATE - 1u) / MODEL_RATE);
    c->phase = (uint32_t)(-first) * MODEL_RATE - ECG_LEAD_IN * resampler->rate;
    c->wait = first + (int32_t)(resampler->taps / 2u) + 1;
    c->span_left = (int32_t)(resampler->rate / MODEL_RATE);
    c->span_phase = resampler->rate % MODEL_RATE;
    ecg_bridge_init(&c->bridge);
    return 1;
}

/* Return floor(value / divisor), divisor above 0. */
static int64_t floor_divide(int64_t value, int64_t divisor)
{
    int64_t quotient = value / divisor;
    return value % divisor < 0 ? quotient - 1 : quotient;
}

/* Fill all history with the frame in the bridge. */
static void begin(ecg_conditioner_t *c)
{
    uint32_t taps = c->resampler->taps;

    for (uint32_t channel = 0; channel < c->channels; channel++) {
        for (uint32_t t = 0; t < taps; t++) {
            c->history[channel * taps + t] = c->bridge.held[channel];
        }
    }
}

/* Put the frame in the bridge in place of the oldest. */
static void remember(ecg_conditioner_t *c)
{
    uint32_t taps = c->resampler->taps;

    for (uint32_t channel = 0; channel < c->channels; channel++) {
        c->history[channel * taps + c->head] = c->bridge.held[channel];
    }
    c->head = c->head + 1u < taps ? c->head + 1u : 0u;
}

/* Note which leads the frame's bridged channels touch, at the model sample it belongs to. */
static void mark(ecg_conditioner_t *c, uint16_t bridged)
{
    if (c->span_left == 0) {
        c->span_at = (uint8_t)(c->span_at + 1u);
        c->span_phase += c->resampler->rate;
        c->span_left = (int32_t)(c->span_phase / MODEL_RATE);
        c->span_phase %= MODEL_RATE;
    }
    c->span_left--;
    c->touched[c->span_at] =
        (uint16_t)(c->touched[c->span_at] | ecg_leads_touched(&c->leads, bridged));
}

/* Write the low-passed channels at the next model instant, times 2^20. */
static void resample(const ecg_conditioner_t *c, int64_t *sums)
{
    uint32_t taps = c->resampler->taps;
    uint32_t wrap = taps - c->head; /* taps from the oldest frame to the end of the ring */
    const int32_t *kernel =
        c->resampler->kernels + taps * (c->phase * c->resampler->phases / MODEL_RATE);

    for (uint32_t channel = 0; channel < c->channels; channel++) {
        const int32_t *ring = c->history + channel * taps;
        int64_t sum = 0;
        for (uint32_t t = 0; t < wrap; t++) {
            sum += (int64_t)kernel[t] * ring[c->head + t];
        }
        for (uint32_t t = wrap; t < taps; t++) {
            sum += (int64_t)kernel[t] * ring[t - wrap];
        }
        sums[channel] = sum;
    }
}

/* Scale half counts times 2^20 to 1/16 microvolt, rounding at 1/32 count and at the end. */
static int32_t to_sixteenths(ecg_conditioner_t *c, int64_t half)
{
    int64_t fine = ecg_round_shift(half, ECG_COEFFICIENT_BITS - ECG_FRACTION_BITS);

    fine = floor_divide(fine * c->pv_per_lsb + PV_PER_THIRTYSECOND / 2, PV_PER_THIRTYSECOND);
    if (fine > ECG_SIXTEENTHS_LIMIT || fine < -ECG_SIXTEENTHS_LIMIT) {
        c->saturated++;
        fine = fine < 0 ? -ECG_SIXTEENTHS_LIMIT : ECG_SIXTEENTHS_LIMIT;
    }
    return (int32_t)fine;
}

/* Take the newest value of lead k, whose ring is `past`, and return the high-passed microvolts of
 * the sample DELAY before it, not yet saturated. Two nested running sums make the cascade of two
 * moving averages: with x the values, slope is y[n] - y[n - BOXCAR] for y the sum of BOXCAR x,
 * and sum the sum of BOXCAR y. Integers, so they never drift. */
static int64_t highpass(ecg_conditioner_t *c, unsigned k, int32_t *past, int32_t value)
{
    int64_t oldest = past[c->newest];                                   /* x[n - 2 BOXCAR] */
    int64_t middle = past[(c->newest + BOXCAR) % RING];                 /* x[n - BOXCAR] */
    int64_t center = past[(c->newest + RING - (uint32_t)DELAY) % RING]; /* x[n - DELAY] */

    past[c->newest] = value;
    c->slope[k] += value - 2 * middle + oldest;
    c->sum[k] += c->slope[k];
    return ecg_round_shift(WEIGHT * center - c->sum[k], ECG_HIGHPASS_BITS);
}

/* Resample and filter the next model sample; return 1 when that gives an output. */
static int work(ecg_conditioner_t *c, ecg_conditioned_t *out)
{
    int64_t sums[ECG_BRIDGE_CHANNELS];
    int64_t half[ECG_LEADS];
    int32_t *past = c->past;
    int first = c->lead_in == DELAY + ECG_LEAD_IN;
    int gives = c->lead_in == 0;

    resample(c, sums);
    ecg_leads_derive_wide(&c->leads, sums, half);
    c->newest = (uint8_t)(c->newest + 1u);
    for (unsigned k = 0; k < ECG_LEADS; k++) {
        int32_t value;
        int64_t volts;
        if (((uint32_t)c->leads.present >> k & 1u) == 0) {
            if (gives) {
                out->microvolts[k] = 0;
            }
            continue;
        }
        value = to_sixteenths(c, half[k]);
        if (first) {
            for (unsigned n = 0; n < RING; n++) {
                past[n] = value;
            }
            c->sum[k] = WEIGHT * value;
        }
        volts = highpass(c, k, past, value);
        past += RING;
        if (gives) {
            if (volts > INT16_MAX || volts < -INT16_MAX) {
                c->saturated++;
                volts = volts < 0 ? -INT16_MAX : INT16_MAX;
            }
            out->microvolts[k] = (int16_t)volts;
        }
    }
    if (!gives) {
        c->lead_in--;
        return 0;
    }
    out->invalid = c->touched[c->samples_out % RING];
    c->touched[c->samples_out % RING] = 0;
    c->samples_out++;
    return 1;
}

/* Take the frame in the bridge. */
static int take(ecg_conditioner_t *c, uint16_t bridged, ecg_conditioned_t *out)
{
    int gives = 0;

    if (c->frames_in == 0) {
        begin(c);
    }
    c->frames_in++;
    remember(c);
    mark(c, bridged);
    c->wait--;
    while (c->wait <= 0) { /* more than once only for the lead-in, which gives no output */
        gives = work(c, out);
        c->phase += c->resampler->rate;
        c->wait += (int32_t)(c->phase / MODEL_RATE);
        c->phase %= MODEL_RATE;
    }
    return gives;
}

int ecg_conditioner_push(ecg_conditioner_t *c, const int32_t *counts, uint16_t missing,
                         ecg_conditioned_t *out)
{
    return take(c, ecg_bridge_join(&c->bridge, counts, c->channels, missing), out);
}

int ecg_conditioner_flush(ecg_conditioner_t *c, ecg_conditioned_t *out)
{
    /* Frames given here are held ones and must not lengthen the signal: count them off. */
    uint64_t frames = c->frames_in;
    uint64_t total = (frames * MODEL_RATE + c->resampler->rate - 1u) / c->resampler->rate;
    int gives = 0;

    while (c->samples_out < total && !gives) {
        gives = take(c, c->bridge.off, out);
        c->frames_in = frames;
    }
    return gives;
}
