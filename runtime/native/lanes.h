/* WIDTH doubles that a processor takes at once. Included by loops.inc, which is compiled once for each width. */
typedef double Lanes __attribute__((vector_size(WIDTH * sizeof(double)), aligned(8), may_alias)); /* wherever they are */
typedef long long Whole __attribute__((vector_size(WIDTH * sizeof(double))));

#define ONE_AS_BITS 0x3ff0000000000000LL

/* Make each the largest whole number not above it; they are below 2**51.
 *
 * Without a branch, which a new signal would take by surprise every second time: that costs more than the rest. */
static inline void floor_lanes(Lanes *values)
{
    const Lanes nearest = (*values + ROUNDER) - ROUNDER;
    const Whole above = nearest > *values; /* all bits where so */
    *values = nearest - (Lanes)(above & ONE_AS_BITS);
}
