/* Sizes that the loops over leads are made for; module.c tells Python, which holds its own against them. */
#ifndef ECG_EDGE_SIZES_H
#define ECG_EDGE_SIZES_H

#include <stdlib.h> /* defines __GLIBC__ where that is the C library */

#define VERSION 1    /* of what Python calls; an object left behind by another version is not used */
#define LEADS 12     /* at most */
#define BLOCK 25     /* model samples that come at once at least */
#define GROUP 4      /* blocks that come at once at most */
#define ROOM 32      /* blocks that a buffer takes before its last samples move to the front */
#define ROWS (GROUP * BLOCK)

/* Adding this to a number leaves it no place for a fraction, so that taking it away again rounds: 1.5 * 2**52. */
#define ROUNDER 6755399441055744.0

/* Loops over doubles, of which an x86-64 processor of the last ten years takes four at once where it may be asked to;
 * the loader chooses. Elsewhere the compiler's own choice is the best one (two at once on 64-bit Arm). */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
#define WIDE_LOOPS __attribute__((target_clones("avx2", "default")))
#else
#define WIDE_LOOPS
#endif

/* Four doubles, wherever they stand; without AVX the compiler makes two halves of them. */
typedef double Four __attribute__((vector_size(32), aligned(8), may_alias));
typedef long long Whole __attribute__((vector_size(32)));

#endif
