/* Frames of the ADS129x family of converters (ADS1294, ADS1296, ADS1298), as RDATAC delivers them.
 *
 * After DRDY falls, 24 status bits come first and then 24 bits of each channel, all MSB first:
 *
 *     1100 | LOFF_STATP 8 bits | LOFF_STATN 8 bits | GPIO 4 bits | channel 1 | channel 2 | ...
 *
 * A channel is two's complement, one count being Vref / gain / (2^23 - 1). At and beyond full
 * scale it reads 7FFFFF or 800000. The lead-off bits mean something only for inputs whose sensing
 * is enabled in LOFF_SENSP and LOFF_SENSN. The channels' bytes are what ECG_SAMPLES carries, so
 * they are copied, not converted.
 *
 * Source: ADS1298 datasheet (Texas Instruments SBAS459), sections on data retrieval and format. */
#ifndef ECG_ADS129X_H
#define ECG_ADS129X_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_ADS129X_MAX_CHANNELS 8u
#define ECG_ADS129X_STATUS_BYTES 3u
#define ECG_ADS129X_FRAME_BYTES(channels) (ECG_ADS129X_STATUS_BYTES + 3u * (channels))

typedef struct {
    uint8_t off_p;         /* bit c: positive input of channel c + 1 is off */
    uint8_t off_n;         /* bit c: negative input of channel c + 1 is off */
    uint8_t gpio;          /* four bits */
    uint8_t channels;      /* as asked for */
    const uint8_t *counts; /* 3 bytes of each channel, within the frame; read by ecg_get_i24 */
} ecg_ads129x_frame_t;

/* Read frame[0..length) of a converter with `channels` channels, 1 to 8. Returns 1 with all of
 * *out set, out->counts pointing into frame; 0 with *out as it was when the length is not
 * ECG_ADS129X_FRAME_BYTES(channels) or the first four bits are not 1100: SPI has slipped. */
int ecg_ads129x_parse(const uint8_t *frame, size_t length, unsigned channels,
                      ecg_ads129x_frame_t *out);

/* Return the lead-off mask for ECG_SAMPLES: channels of which an input is off whose sensing is
 * enabled, sens_p and sens_n being what was written to LOFF_SENSP and LOFF_SENSN. */
uint16_t ecg_ads129x_lead_off(const ecg_ads129x_frame_t *frame, uint8_t sens_p, uint8_t sens_n);

/* Return the picovolts of one count for HELLO, rounded: 47684 for 2,400,000 microvolts, gain 6.
 * vref_uv: reference in microvolts, below 18 volts; gain: of the amplifier, 1 to 12. */
uint32_t ecg_ads129x_pv_per_lsb(uint32_t vref_uv, uint32_t gain);

#ifdef __cplusplus
}
#endif

#endif
