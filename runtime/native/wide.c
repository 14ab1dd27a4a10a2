/* The loops for x86-64 with AVX2, which is nearly all of it since 2013: four doubles at once. */
#include "loops.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define WIDTH 4
#include "loops.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif

const Loops *wide_loops(void)
{
    return __builtin_cpu_supports("avx2") ? &made : NULL;
}

#else

const Loops *wide_loops(void)
{
    return NULL;
}

#endif
