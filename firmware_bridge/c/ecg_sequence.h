/* What the sequence numbers of one sender tell: which packets are missing, doubled, late, and
 * where the sender began anew. For a host; a device that only takes commands has no use for it,
 * since a command may be repeated and must not be dropped.
 *
 *     the number expected                         in order
 *     up to 32767 ahead                           a gap: so many packets missing
 *     up to 64 back, same bytes as before         a duplicate
 *     up to 64 back, not seen before              late, no longer missing
 *     otherwise, or a time over 1 s back          the sender has started again
 *
 * "Same bytes" is decided by length and a 32-bit hash, so that 64 packets take 512 bytes and not
 * 256 KiB: two different packets with one number are taken for the same once in 4e9 times. */
#ifndef ECG_SEQUENCE_H
#define ECG_SEQUENCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ECG_REORDER_WINDOW 64u      /* packets back to which a number may be late or doubled */
#define ECG_CLOCK_SLACK_US 1000000u /* packets may wait this long in different queues */

typedef struct {
    /* Counters; they wrap. */
    uint32_t gaps;       /* places where numbers are missing */
    uint32_t missing;    /* packets missing there, less those that came late */
    uint32_t duplicates; /* packets that came a second time */
    uint32_t late;       /* packets that came after a later one */
    uint32_t restarts;   /* places where the sender began to count anew */
    /* State, not for the caller. */
    uint64_t time_us;
    uint64_t lost; /* bit d - 1: the packet d before the expected one is missing */
    uint16_t expected;
    uint8_t started;
    uint8_t oldest; /* place in `recent` of the oldest of `count` packets */
    uint8_t count;
    struct {
        uint32_t hash;
        uint16_t length;
        uint16_t sequence;
    } recent[ECG_REORDER_WINDOW];
} ecg_sequence_t;

/* Begin before the first packet: counters and state become zero. */
void ecg_sequence_init(ecg_sequence_t *s);

/* Take the next packet, its body of `length` bytes at most 65535, and count where it stands.
 * Returns 1 when it is new, 0 when it is a duplicate. */
int ecg_sequence_place(ecg_sequence_t *s, uint16_t sequence, uint64_t time_us, const uint8_t *body,
                       size_t length);

#ifdef __cplusplus
}
#endif

#endif
