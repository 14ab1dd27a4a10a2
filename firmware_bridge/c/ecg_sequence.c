#include "ecg_sequence.h"

#include <string.h>

#define WINDOW ECG_REORDER_WINDOW

static uint32_t fnv1a(const uint8_t *data, size_t length)
{
    uint32_t hash = 2166136261u; /* Fowler, Noll, Vo: offset basis and prime of 32 bits */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ data[i]) * 16777619u;
    }
    return hash;
}

/* Return how many packets after the oldest the one of this number stands, `count` for none. */
static unsigned find(const ecg_sequence_t *s, uint16_t sequence)
{
    unsigned k = 0;
    while (k < s->count && s->recent[(s->oldest + k) % WINDOW].sequence != sequence) {
        k++;
    }
    return k;
}

/* Make this packet the newest of the recent ones, in place of the one with its number if there is
 * one, else, once the window is full, of the oldest. */
static void remember(ecg_sequence_t *s, uint16_t sequence, uint32_t hash, size_t length)
{
    unsigned k = find(s, sequence);
    unsigned place;

    if (k < s->count) {
        for (; k + 1u < s->count; k++) {
            s->recent[(s->oldest + k) % WINDOW] = s->recent[(s->oldest + k + 1u) % WINDOW];
        }
        place = (s->oldest + k) % WINDOW;
    } else if (s->count < WINDOW) {
        place = (s->oldest + s->count) % WINDOW;
        s->count++;
    } else {
        place = s->oldest;
        s->oldest = (uint8_t)((s->oldest + 1u) % WINDOW);
    }
    s->recent[place].sequence = sequence;
    s->recent[place].hash = hash;
    s->recent[place].length = (uint16_t)length;
}

/* Return `lost` moved back by n places, with the n - 1 nearest behind the last one set. */
static uint64_t skip(uint64_t lost, unsigned n)
{
    uint64_t kept = n < 64u ? lost << n : 0;
    uint64_t fresh = n < 64u ? ((uint64_t)1 << n) - 1u : UINT64_MAX;
    return kept | (fresh & ~(uint64_t)1);
}

void ecg_sequence_init(ecg_sequence_t *s)
{
    memset(s, 0, sizeof *s);
}

int ecg_sequence_place(ecg_sequence_t *s, uint16_t sequence, uint64_t time_us, const uint8_t *body,
                       size_t length)
{
    uint32_t hash = fnv1a(body, length);
    unsigned k = find(s, sequence);
    int seen = k < s->count;
    unsigned ahead = s->started ? (uint16_t)(sequence - s->expected) : 0u;
    unsigned back = 0x10000u - ahead;
    int same_clock = time_us >= s->time_us || s->time_us - time_us <= ECG_CLOCK_SLACK_US;

    if (seen) {
        unsigned place = (s->oldest + k) % WINDOW;
        if (s->recent[place].hash == hash && s->recent[place].length == length) {
            s->duplicates++;
            return 0;
        }
    }
    if (ahead > 0 && ahead < 0x8000u && same_clock) {
        s->gaps++;
        s->missing += ahead;
        s->lost = skip(s->lost, ahead + 1u);
    } else if (ahead > 0 && back <= WINDOW && !seen &&
               (same_clock || (s->lost >> (back - 1u) & 1u) != 0)) {
        s->late++;
        if ((s->lost >> (back - 1u) & 1u) != 0) {
            s->lost &= ~((uint64_t)1 << (back - 1u));
            s->missing--;
        }
        remember(s, sequence, hash, length);
        return 1;
    } else if (ahead > 0) {
        s->restarts++;
        s->count = 0;
        s->lost = 0;
    } else {
        s->lost = skip(s->lost, 1u);
    }
    s->started = 1;
    s->expected = (uint16_t)(sequence + 1u);
    s->time_us = time_us;
    remember(s, sequence, hash, length);
    return 1;
}
