#include "ecg_leads.h"

#include <string.h>

#define LIMB_LEADS 6u
#define MAX_CHANNELS 16u
#define NONE 255u

/* Each limb lead in half counts from the pair of bipolar leads at hand: (first, second). */
static const int8_t FROM_I_II[LIMB_LEADS][2] = {{2, 0},   {0, 2},  {-2, 2},
                                                {-1, -1}, {2, -1}, {-1, 2}};
static const int8_t FROM_I_III[LIMB_LEADS][2] = {{2, 0}, {2, 2}, {0, 2}, {-2, -1}, {1, -1}, {1, 2}};
static const int8_t FROM_II_III[LIMB_LEADS][2] = {{2, -2}, {2, 0},  {0, 2},
                                                  {-2, 1}, {1, -2}, {1, 1}};

int ecg_leads_init(ecg_leads_t *leads, const uint8_t *codes, unsigned channels)
{
    uint8_t channel_of[ECG_LEADS];
    const int8_t(*from)[2] = NULL;
    uint8_t first = 0;
    uint8_t second = 0;

    memset(leads, 0, sizeof *leads);
    memset(channel_of, (int)NONE, sizeof channel_of);
    if (channels == 0 || channels > MAX_CHANNELS) {
        return 0;
    }
    for (unsigned c = 0; c < channels; c++) {
        if (codes[c] < ECG_LEADS) {
            if (channel_of[codes[c]] != NONE) {
                return 0;
            }
            channel_of[codes[c]] = (uint8_t)c;
        }
    }
    if (channel_of[ECG_LEAD_I] != NONE && channel_of[ECG_LEAD_II] != NONE) {
        from = FROM_I_II;
        first = channel_of[ECG_LEAD_I];
        second = channel_of[ECG_LEAD_II];
    } else if (channel_of[ECG_LEAD_I] != NONE && channel_of[ECG_LEAD_III] != NONE) {
        from = FROM_I_III;
        first = channel_of[ECG_LEAD_I];
        second = channel_of[ECG_LEAD_III];
    } else if (channel_of[ECG_LEAD_II] != NONE && channel_of[ECG_LEAD_III] != NONE) {
        from = FROM_II_III;
        first = channel_of[ECG_LEAD_II];
        second = channel_of[ECG_LEAD_III];
    }
    for (unsigned k = 0; k < ECG_LEADS; k++) {
        if (channel_of[k] != NONE) {
            leads->of[k].a = 2;
            leads->of[k].from_a = channel_of[k];
        } else if (from != NULL && k < LIMB_LEADS) {
            leads->of[k].a = from[k][0];
            leads->of[k].b = from[k][1];
            leads->of[k].from_a = first;
            leads->of[k].from_b = second;
        } else {
            continue;
        }
        leads->present = (uint16_t)(leads->present | 1u << k);
    }
    return 1;
}

void ecg_leads_derive(const ecg_leads_t *leads, const int32_t *counts, int32_t half[ECG_LEADS])
{
    for (unsigned k = 0; k < ECG_LEADS; k++) {
        half[k] = leads->of[k].a * counts[leads->of[k].from_a] +
                  leads->of[k].b * counts[leads->of[k].from_b];
    }
}

void ecg_leads_derive_wide(const ecg_leads_t *leads, const int64_t *sums, int64_t half[ECG_LEADS])
{
    for (unsigned k = 0; k < ECG_LEADS; k++) {
        half[k] =
            leads->of[k].a * sums[leads->of[k].from_a] + leads->of[k].b * sums[leads->of[k].from_b];
    }
}

uint16_t ecg_leads_touched(const ecg_leads_t *leads, uint16_t channels)
{
    uint32_t touched = 0;

    for (unsigned k = 0; k < ECG_LEADS && channels != 0; k++) {
        uint32_t a = leads->of[k].a != 0 ? (uint32_t)channels >> leads->of[k].from_a & 1u : 0u;
        uint32_t b = leads->of[k].b != 0 ? (uint32_t)channels >> leads->of[k].from_b & 1u : 0u;
        touched |= (a | b) << k;
    }
    return (uint16_t)touched;
}
