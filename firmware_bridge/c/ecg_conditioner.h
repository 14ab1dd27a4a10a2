/* From counts at the device's rate to the twelve leads at 100 Hz: int16, 1 LSB = 1 microvolt, the
 * integers that the host computes and that the model was trained on.
 *
 *     counts -> bridge -> low-pass and resample -> leads -> 1/16 microvolt -> high-pass -> int16
 *
 * Both filters are linear-phase FIR with integer coefficients, each rounded once. The low-pass
 * passes 40 Hz and is over 60 dB down from 50 Hz; the high-pass is the signal minus two cascaded
 * moving averages, -3 dB at 0.45 Hz. Before its first sample the signal is taken as constant.
 * Output n belongs to the instant n / 100 s after the first sample and comes 1.47 s after it
 * (1.27 s high-pass, 0.20 s low-pass).
 *
 * Choose the table of your rate: ecg_tables.h names those that are built in, and
 * `python -m ecg_edge.runtime.c_tables` writes others, with a mains notch if you like. The linker
 * takes only the one that you use. The memory for the filters is yours:
 *
 *     #define WORDS ECG_CONDITIONER_WORDS(ECG_RESAMPLER_500_TAPS, 8, 12)
 *     static int32_t memory[WORDS];
 *     static ecg_conditioner_t conditioner;
 *     static const uint8_t leads[8] = {ECG_LEAD_I, ECG_LEAD_II, ECG_LEAD_V1, ...};
 *     ecg_conditioner_init(&conditioner, &ecg_resampler_500, 47684, leads, 8, memory, WORDS);
 *     ...
 *     ecg_conditioned_t out;
 *     if (ecg_conditioner_push(&conditioner, counts, lead_off_mask, &out)) {
 *         use(out.microvolts);
 *     }
 *
 * Eight channels at 500 Hz take 18.3 KiB of memory and about 1 KiB of struct. */
#ifndef ECG_CONDITIONER_H
#define ECG_CONDITIONER_H

#include <stddef.h>
#include <stdint.h>

#include "ecg_bridge.h"
#include "ecg_leads.h"
#include "ecg_tables.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_HIGHPASS_WORDS 256u /* two moving averages of 128 reach back so far */

/* Words of int32_t that ecg_conditioner_init wants for a table of `taps` taps, `channels`
 * channels and `leads` leads present: 12 where two of I, II, III are measured. */
#define ECG_CONDITIONER_WORDS(taps, channels, leads) \
    ((taps) * (channels) + ECG_HIGHPASS_WORDS * (leads))

/* One output sample. */
typedef struct {
    int16_t microvolts[ECG_LEADS]; /* saturating at +-32767; 0 for leads that are not present */
    uint16_t invalid;              /* bit k: lead k held its last value, electrode off or lost */
} ecg_conditioned_t;

typedef struct {
    uint32_t saturated;  /* values that did not fit: int16 at the end, or 8.4 V before high-pass */
    ecg_leads_t leads;   /* leads.present tells which leads come out */
    ecg_bridge_t bridge; /* bridge.invalid_samples counts what was bridged */
    /* State, not for the caller. */
    const ecg_resampler_t *resampler;
    uint32_t pv_per_lsb;
    uint32_t channels;
    int32_t *history;    /* of each channel `taps` bridged counts, a ring */
    int32_t *past;       /* of each lead present 256 values in 1/16 microvolt, a ring */
    uint32_t head;       /* place in `history` of the oldest frame */
    int32_t wait;        /* frames until the next sample can be resampled */
    uint32_t phase;      /* of that sample behind a frame, in 1 / (100 rate) s */
    uint32_t span_phase; /* as phase, of the model sample that arriving frames belong to */
    int32_t span_left;   /* frames until the next one */
    int32_t lead_in;     /* samples until the first output */
    uint64_t frames_in;
    uint64_t samples_out;
    uint8_t span_at; /* place in `touched` of the model sample that arriving frames belong to */
    uint8_t newest;  /* place in `past` of the newest sample */
    uint16_t touched[ECG_HIGHPASS_WORDS]; /* of each model sample the leads that were bridged */
    int64_t slope[ECG_LEADS];             /* running sums of the high-pass */
    int64_t sum[ECG_LEADS];
} ecg_conditioner_t;

/* Begin a stream.
 * resampler: the table of the device's rate; pv_per_lsb: picovolts per count, 1 to 10^8; codes:
 * ECG_LEAD_... of each of 1 to 16 channels; memory: `words` words, which belong to the conditioner
 * from now on. Returns 1; 0, with *c undefined, for arguments out of range, a lead that comes
 * twice, or memory below ECG_CONDITIONER_WORDS. */
int ecg_conditioner_init(ecg_conditioner_t *c, const ecg_resampler_t *resampler,
                         uint32_t pv_per_lsb, const uint8_t *codes, unsigned channels,
                         int32_t *memory, size_t words);

/* Take one frame: counts[channels], within 24 bits, and the channels without a valid sample (bit
 * c of `missing`), whose counts are not looked at. Returns 1 when it completes an output sample,
 * which is then in *out; otherwise 0, and *out is as it was. Work comes in one lump per output. */
int ecg_conditioner_push(ecg_conditioner_t *c, const int32_t *counts, uint16_t missing,
                         ecg_conditioned_t *out);

/* After the last frame: call until it returns 0 for the rest of the signal, as if its last sample
 * lasted. There are then ceil(frames * 100 / rate) output samples in all, and *c is finished.
 * Returns 1 with the next sample in *out, or 0 with *out as it was. */
int ecg_conditioner_flush(ecg_conditioner_t *c, ecg_conditioned_t *out);

#ifdef __cplusplus
}
#endif

#endif
