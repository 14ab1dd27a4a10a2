/* Twelve leads from whatever channels a board has, exact.
 *
 * With the electrodes RA, LA and LL, lead I = LA - RA and II = LL - RA. The others are linear in
 * them (Einthoven 1913, Goldberger 1942):
 *
 *     III = II - I      aVR = -(I + II) / 2      aVL = I - II / 2      aVF = II - I / 2
 *
 * The halves make three of them half-integers, so results are in half counts: exact integers. A
 * lead that is measured is passed through, times two; a limb lead that is not is derived when two
 * of I, II and III are; a lead that cannot be had is zero and has no bit in `present`. */
#ifndef ECG_LEADS_H
#define ECG_LEADS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_LEADS 12u

/* Standard order of the twelve leads, and their codes in HELLO. */
enum {
    ECG_LEAD_I = 0,
    ECG_LEAD_II,
    ECG_LEAD_III,
    ECG_LEAD_AVR,
    ECG_LEAD_AVL,
    ECG_LEAD_AVF,
    ECG_LEAD_V1,
    ECG_LEAD_V2,
    ECG_LEAD_V3,
    ECG_LEAD_V4,
    ECG_LEAD_V5,
    ECG_LEAD_V6,
    ECG_LEAD_UNKNOWN = 255
};

/* How each lead follows from at most two channels: a * counts[from_a] + b * counts[from_b]. */
typedef struct {
    struct {
        int8_t a;
        int8_t b;
        uint8_t from_a;
        uint8_t from_b;
    } of[ECG_LEADS];
    uint16_t present; /* bit k: lead k is measured or derived */
} ecg_leads_t;

/* Prepare for channels of these codes, ECG_LEAD_I to ECG_LEAD_V6; other codes name no lead and
 * are left out. channels: 1 to 16. Returns 1; 0, with *leads undefined, when there are none or
 * too many or when one lead comes twice. */
int ecg_leads_init(ecg_leads_t *leads, const uint8_t *codes, unsigned channels);

/* Write the twelve leads of one frame, in half counts. counts[] is within 24 bits signed and has
 * the channels given to ecg_leads_init; results are within 27 bits. */
void ecg_leads_derive(const ecg_leads_t *leads, const int32_t *counts, int32_t half[ECG_LEADS]);

/* As ecg_leads_derive, of 64-bit sums: |sums| must stay below 2^59. */
void ecg_leads_derive_wide(const ecg_leads_t *leads, const int64_t *sums, int64_t half[ECG_LEADS]);

/* Return the leads (bit k: lead k) that rest on a channel in `channels` (bit c: channel c). */
uint16_t ecg_leads_touched(const ecg_leads_t *leads, uint16_t channels);

#ifdef __cplusplus
}
#endif

#endif
