#include <math.h>

#include "loops.h"

#define PI 3.141592653589793

void measure_windows(const double *wave, size_t leads, size_t stride, size_t step, size_t window, size_t apart,
                     size_t looks, double *size, double *highest)
{
    for (size_t lead = 0; lead < leads; lead++, wave += stride)
        for (size_t look = 0; look < looks; look++) {
            double sum = 0.0, top = 0.0;
            for (size_t i = look * apart; i < look * apart + window; i += step) {
                const double value = fabs(wave[i]);
                sum += value;
                top = value > top ? value : top;
            }
            *size++ = sum;
            *highest++ = top;
        }
}

static bool shows_it(const Spectrum *spectrum, const double *points, double size, size_t half_period)
{
    double left = 0.0, whole = 0.0;
    for (size_t i = half_period; i < POINTS; i++)
        left += fabs(points[i - half_period] + points[i]);
    if (left >= (1 - spectrum->score) * 2 * size)
        return false;
    double power[BINS];
    loops->measure_power(spectrum, points, power);
    size_t peak = 0;
    for (size_t bin = 1; bin < spectrum->bins; bin++)
        peak = power[bin] > power[peak] ? bin : peak;
    if (spectrum->hz[peak] < spectrum->slowest || spectrum->hz[peak] > spectrum->fastest)
        return false;
    double around = 0.0, all = 0.0;
    for (size_t bin = 0; bin < spectrum->bins; bin++) {
        all += power[bin];
        around += (int)bin >= spectrum->first[peak] && (int)bin < spectrum->last[peak] ? power[bin] : 0.0;
    }
    for (size_t i = 0; i < POINTS - half_period; i++)
        whole += fabs(points[i]) + fabs(points[i + half_period]);
    return around / all - left / whole > spectrum->score;
}

bool most_show_it(const Spectrum *spectrum, const double *wave, size_t stride, size_t step, const size_t *lead,
                  const double *size, size_t count, size_t needed)
{
    for (size_t n = 0; n < count && needed <= count - n; n++) {
        double points[POINTS], steps = 0.0;
        for (size_t i = 0; i < POINTS; i++)
            points[i] = wave[lead[n] * stride + i * step];
        for (size_t i = 1; i < POINTS; i++)
            steps += fabs(points[i] - points[i - 1]);
        long half_period = (long)(PI * size[n] / (steps > 1.0 ? steps : 1.0) + 0.5);
        half_period = half_period < 1 ? 1 : half_period > POINTS / 2 ? POINTS / 2 : half_period;
        if (shows_it(spectrum, points, size[n], (size_t)half_period) && !--needed)
            return true;
    }
    return false;
}
