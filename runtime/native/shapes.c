#include <math.h>

#include "rhythm.h"

/* Return the correlation at one shift, and in *own the template's product with itself. */
static double at_shift(const double *template_, const double *wide, size_t leads, size_t n, size_t stride,
                       const bool *usable)
{
    double product = 0.0, own = 0.0, other = 0.0;
    for (size_t lead = 0; lead < leads; lead++, template_ += n, wide += stride)
        for (size_t i = 0; usable[lead] && i < n; i++) {
            product += template_[i] * wide[i];
            own += template_[i] * template_[i];
            other += wide[i] * wide[i];
        }
    const double scale = own * other;
    return scale != 0.0 ? product / sqrt(scale) : 0.0;
}

double correlation(const double *template_, const double *wide, size_t leads, size_t n, size_t stride, size_t shift,
                   const bool *usable, double enough)
{
    const double there = at_shift(template_, wide + shift, leads, n, stride, usable);
    if (there >= enough)
        return there;
    double highest = 0.0;
    for (size_t k = 0; k <= 2 * shift; k++) {
        const double one = k == shift ? there : at_shift(template_, wide + k, leads, n, stride, usable);
        highest = one > highest ? one : highest;
    }
    return highest;
}

void blend(double *template_, const double *wide, size_t leads, size_t n, size_t stride, size_t shift,
           const bool *usable, double memory)
{
    for (size_t lead = 0; lead < leads; lead++)
        for (size_t i = 0; usable[lead] && i < n; i++)
            template_[lead * n + i] += (wide[lead * stride + shift + i] - template_[lead * n + i]) * (1 / memory);
}
