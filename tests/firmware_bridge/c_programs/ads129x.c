/* Records on stdin: uint8 channels, uint8 length, uint8 sens_p, uint8 sens_n, bytes. Of each on
 * stdout, as int32: accepted, off_p, off_n, gpio, lead-off mask, 8 counts. First of all the
 * picovolts of a count at 2.4 V and at 4 V, gain 1, 6 and 12. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecg_ads129x.h"
#include "ecg_packet.h"

int main(void)
{
    static const uint32_t gains[3] = {1, 6, 12};
    uint8_t header[4];

    for (unsigned k = 0; k < 3; k++) {
        uint32_t pv[2];
        pv[0] = ecg_ads129x_pv_per_lsb(2400000, gains[k]);
        pv[1] = ecg_ads129x_pv_per_lsb(4000000, gains[k]);
        fwrite(pv, sizeof pv, 1, stdout);
    }
    while (fread(header, sizeof header, 1, stdin) == 1) {
        uint8_t *bytes = malloc(header[1]);
        int32_t out[13];
        ecg_ads129x_frame_t frame;
        memset(out, 0, sizeof out);
        if (fread(bytes, 1, header[1], stdin) != header[1]) {
            return 1;
        }
        out[0] = ecg_ads129x_parse(bytes, header[1], header[0], &frame);
        if (out[0]) {
            out[1] = frame.off_p;
            out[2] = frame.off_n;
            out[3] = frame.gpio;
            out[4] = ecg_ads129x_lead_off(&frame, header[2], header[3]);
            for (unsigned c = 0; c < frame.channels; c++) {
                out[5 + c] = ecg_get_i24(frame.counts + 3u * c);
            }
        }
        fwrite(out, sizeof out, 1, stdout);
        free(bytes);
    }
    return 0;
}
