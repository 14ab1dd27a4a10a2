/* Across what is missing: hold the last value while an electrode is off, and go on from it when
 * the signal returns.
 *
 * A returning electrode has another offset voltage. The high-pass would smear that step over
 * seconds, so the signal is re-based to where it stood. A sample at the converter's end of scale
 * says nothing of the heart and counts as missing. */
#ifndef ECG_BRIDGE_H
#define ECG_BRIDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_BRIDGE_CHANNELS 16u
#define ECG_COUNT_LIMIT 8388607  /* 2^23 - 1: counts at or beyond it are the end of scale */
#define ECG_REBASE_LIMIT 4194304 /* 2^22: beyond, a step is taken, so that sums fit 24 bits + 1 */

typedef struct {
    uint32_t invalid_samples;          /* single samples that were missing or at the end of scale */
    uint16_t off;                      /* bit c: the last sample of channel c was one of those */
    int32_t held[ECG_BRIDGE_CHANNELS]; /* last value of the bridged signal */
    int32_t offset[ECG_BRIDGE_CHANNELS];
} ecg_bridge_t;

/* Begin before the first sample; what is missing there is zero. */
void ecg_bridge_init(ecg_bridge_t *b);

/* Take one frame: counts[] of `channels` channels, at most 16, and which of them are missing
 * (bit c of `missing`). Returns the channels that were bridged; the bridged frame is in b->held. */
uint16_t ecg_bridge_join(ecg_bridge_t *b, const int32_t *counts, unsigned channels,
                         uint16_t missing);

#ifdef __cplusplus
}
#endif

#endif
