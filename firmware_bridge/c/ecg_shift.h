/* Division by a power of two, rounded to nearest, halves up: what the front end means by rounding.
 *
 * C99 leaves the right shift of a negative number to the compiler. Every compiler for the targets
 * of this library shifts arithmetically; one that does not is refused below. */
#ifndef ECG_SHIFT_H
#define ECG_SHIFT_H

#include <stdint.h>

typedef char ecg_needs_arithmetic_right_shift[((int64_t)-3 >> 1) == -2 ? 1 : -1];

/* Return floor(value / 2^bits + 1/2); bits at least 1, |value| below 2^62. */
static inline int64_t ecg_round_shift(int64_t value, unsigned bits)
{
    return (value + ((int64_t)1 << (bits - 1u))) >> bits;
}

#endif
