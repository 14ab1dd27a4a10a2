#include "ecg_bridge.h"

#include <string.h>

void ecg_bridge_init(ecg_bridge_t *b)
{
    memset(b, 0, sizeof *b);
}

uint16_t ecg_bridge_join(ecg_bridge_t *b, const int32_t *counts, unsigned channels,
                         uint16_t missing)
{
    uint32_t off = 0;

    for (unsigned c = 0; c < channels; c++) {
        int32_t count = counts[c];
        if (((uint32_t)missing >> c & 1u) != 0 || count >= ECG_COUNT_LIMIT ||
            count <= -ECG_COUNT_LIMIT) {
            off |= 1u << c;
            b->invalid_samples++;
            continue;
        }
        if (((uint32_t)b->off >> c & 1u) != 0) {
            int32_t offset = b->held[c] - count;
            int near = offset <= ECG_REBASE_LIMIT && offset >= -ECG_REBASE_LIMIT;
            b->offset[c] = near ? offset : 0;
        }
        b->held[c] = count + b->offset[c];
    }
    b->off = (uint16_t)off;
    return b->off;
}
