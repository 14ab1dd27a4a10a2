/* Sizes that the loops over leads are made for; module.c tells Python, which holds its own against them. */
#ifndef ECG_EDGE_SIZES_H
#define ECG_EDGE_SIZES_H

#define VERSION 1    /* of what Python calls; an object left behind by another version is not used */
#define LEADS 12     /* at most; a multiple of the widths in lanes.h */
#define BLOCK 25     /* model samples that come at once at least */
#define GROUP 4      /* blocks that come at once at most */
#define ROOM 32      /* blocks that a buffer takes before its last samples move to the front */
#define ROWS (GROUP * BLOCK)

/* Adding this to a number leaves it no place for a fraction, so that taking it away again rounds: 1.5 * 2**52. */
#define ROUNDER 6755399441055744.0

#endif
