#include "front_end.h"

#include <math.h>

bool any_beyond(const double *values, const double *usual, const double *limits, size_t count)
{
    int beyond = 0;
    for (size_t i = 0; i < count; i++)
        beyond |= fabs(values[i] - usual[i]) > limits[i];
    return beyond;
}

void look_at_hop(const int16_t *signal, size_t leads, size_t samples, int32_t steep, int32_t *before, int32_t *high,
                 int32_t *low, int32_t *rough)
{
    for (size_t lead = 0; lead < leads; lead++, signal += samples, before += 2) {
        int32_t two_ago = before[0], one_ago = before[1], top = INT16_MIN, bottom = INT16_MAX, count = 0;
        for (size_t i = 0; i < samples; i++) {
            int32_t value = signal[i], bend = value - 2 * one_ago + two_ago;
            top = value > top ? value : top;
            bottom = value < bottom ? value : bottom;
            count += bend > steep || bend < -steep;
            two_ago = one_ago;
            one_ago = value;
        }
        before[0] = two_ago;
        before[1] = one_ago;
        high[lead] = top;
        low[lead] = bottom;
        rough[lead] = count;
    }
}
