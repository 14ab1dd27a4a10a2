#include "ecg_ads129x.h"

int ecg_ads129x_parse(const uint8_t *frame, size_t length, unsigned channels,
                      ecg_ads129x_frame_t *out)
{
    if (channels == 0 || channels > ECG_ADS129X_MAX_CHANNELS ||
        length != ECG_ADS129X_FRAME_BYTES(channels) || frame[0] >> 4 != 0xC) {
        return 0;
    }
    out->off_p = (uint8_t)((frame[0] << 4 | frame[1] >> 4) & 0xFF);
    out->off_n = (uint8_t)((frame[1] << 4 | frame[2] >> 4) & 0xFF);
    out->gpio = (uint8_t)(frame[2] & 0x0F);
    out->channels = (uint8_t)channels;
    out->counts = frame + ECG_ADS129X_STATUS_BYTES;
    return 1;
}

uint16_t ecg_ads129x_lead_off(const ecg_ads129x_frame_t *frame, uint8_t sens_p, uint8_t sens_n)
{
    uint32_t off = (uint32_t)(frame->off_p & sens_p) | (uint32_t)(frame->off_n & sens_n);
    return (uint16_t)(off & ((1u << frame->channels) - 1u));
}

uint32_t ecg_ads129x_pv_per_lsb(uint32_t vref_uv, uint32_t gain)
{
    uint64_t full_scale = (uint64_t)gain * 8388607u;
    return (uint32_t)(((uint64_t)vref_uv * 1000000u + full_scale / 2u) / full_scale);
}
