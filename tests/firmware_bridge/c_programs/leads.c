/* Records on stdin: uint8 channels, uint8 code of each channel, then one frame of int32 counts. Of
 * each on stdout, as int32: whether the leads were accepted, which are present, the leads of the
 * frame in half counts, and which leads each of the 16 channels touches. */
#include <stdio.h>
#include <string.h>

#include "ecg_leads.h"

int main(void)
{
    uint8_t channels;

    while (fread(&channels, 1, 1, stdin) == 1) {
        ecg_leads_t leads;
        uint8_t codes[255];
        int32_t counts[255];
        int32_t out[2 + ECG_LEADS + 16];
        memset(out, 0, sizeof out);
        if (fread(codes, 1, channels, stdin) != channels ||
            fread(counts, sizeof counts[0], channels, stdin) != channels) {
            return 1;
        }
        out[0] = ecg_leads_init(&leads, codes, channels);
        if (out[0]) {
            int64_t wide[255];
            int64_t half[ECG_LEADS];
            out[1] = leads.present;
            ecg_leads_derive(&leads, counts, out + 2);
            for (unsigned c = 0; c < channels; c++) {
                wide[c] = (int64_t)counts[c] * 1048576;
            }
            ecg_leads_derive_wide(&leads, wide, half);
            for (unsigned k = 0; k < ECG_LEADS; k++) {
                if (half[k] != (int64_t)out[2 + k] * 1048576) {
                    return 1;
                }
            }
            for (unsigned c = 0; c < 16; c++) {
                out[2 + ECG_LEADS + c] = ecg_leads_touched(&leads, (uint16_t)(1u << c));
            }
        }
        fwrite(out, sizeof out, 1, stdout);
    }
    return 0;
}
