#include <math.h>
#include <string.h>

#include "loops.h"

#define LOUDEST 3.0
#define ACTIVE 0.5
#define SILENT 0.25
#define STEP (1.0 / 4294967296.0)
#define QUIETEST 0.1
#define LOUDEST_VOICE (1 / (QUIETEST * QUIETEST))
#define LEVEL_BEATS 8
#define LOWEST_LEVEL 35.0

void votes_init(Votes *votes, size_t leads)
{
    memset(votes, 0, sizeof *votes);
    votes->leads = leads;
    votes->filled = KEPT;
    votes_relearn(votes);
    for (size_t lead = 0; lead < leads; lead++)
        votes->limit[lead] = LOUDEST * LOWEST_LEVEL;
}

void votes_relearn(Votes *votes)
{
    for (size_t lead = 0; lead < votes->leads; lead++)
        votes->level[lead] = LOWEST_LEVEL;
    votes->lively_until = 0;
}

/* Make room for `rows` more samples of each lead and return where they begin. */
static size_t extend(Votes *votes, size_t rows)
{
    if (votes->filled + rows > KEPT + ROOM * BLOCK) {
        for (size_t lead = 0; lead < votes->leads; lead++)
            memmove(votes->history[lead], votes->history[lead] + votes->filled - KEPT, KEPT * sizeof(double));
        votes->filled = KEPT;
    }
    votes->filled += rows;
    return votes->filled - rows;
}

void votes_push(Votes *votes, const double *squares, size_t rows)
{
    const size_t leads = votes->leads, place = extend(votes, rows);
    loops->strengths(squares, rows * leads, votes->part[0], votes->part[1], votes->part[2]);
    for (size_t row = 0; row < rows; row++)
        for (size_t lead = 0; lead < leads; lead++)
            votes->history[lead][place + row] = votes->part[0][row * leads + lead];
    votes->fresh = rows;
    votes->end += (long)rows;
}

static double highest(const double *values, size_t count)
{
    double top = values[0];
    for (size_t i = 1; i < count; i++)
        top = values[i] > top ? values[i] : top;
    return top;
}

/* Four sums side by side, which the processor adds at once. */
static double mean(const double *values, size_t count)
{
    double sum[4] = {0.0};
    for (size_t i = 0; i < count; i += 4)
        for (size_t k = 0; k < 4; k++)
            sum[k] += values[i + k];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) / (double)count;
}

static void weigh(Votes *votes, const bool *usable, size_t later, bool *voices)
{
    const size_t leads = votes->leads, start = votes->filled - later - LOOK_BACK;
    double total = 0.0;
    for (size_t lead = 0; lead < leads; lead++) {
        const double ratio = mean(votes->history[lead] + start, LOOK_BACK) / votes->level[lead];
        voices[lead] = votes->usable[lead] = usable[lead];
        votes->weight[lead] = !usable[lead] ? 0.0 : ratio > QUIETEST ? 1.0 / (ratio * ratio) : LOUDEST_VOICE;
    }
    if (votes->end - (long)later > votes->lively_until) {
        double shown[LEADS];
        bool silent = false, active = false;
        for (size_t lead = 0; lead < leads; lead++) {
            shown[lead] = highest(votes->history[lead] + start, LOOK_BACK) / votes->level[lead];
            silent = silent || shown[lead] <= SILENT;
            active = active || (usable[lead] && shown[lead] > ACTIVE);
        }
        for (size_t lead = 0; silent && active && lead < leads; lead++) {
            if (!(shown[lead] > SILENT))
                votes->weight[lead] = 0.0;
            voices[lead] = votes->weight[lead] > 0;
        }
    }
    for (size_t lead = 0; lead < leads; lead++)
        total += votes->weight[lead];
    total = (total > 1.0 ? total : 1.0) * STEP;
    for (size_t lead = 0; lead < leads; lead++) {
        votes->weight[lead] /= total * votes->level[lead];
        votes->limit[lead] = LOUDEST * votes->level[lead];
    }
}

size_t votes_join(Votes *votes, size_t block, const bool *usable, bool learning, double *joined, bool *voices,
                  bool *weighed)
{
    const size_t leads = votes->leads, later = votes->fresh - (block + 1) * BLOCK;
    const long end = votes->end - (long)later;
    size_t blocks = WEIGH_BLOCKS - (size_t)(end / BLOCK % WEIGH_BLOCKS);
    blocks = later / BLOCK + 1 < blocks ? later / BLOCK + 1 : blocks;
    const size_t first = block * BLOCK * leads, rows = blocks * BLOCK;
    if (learning)
        for (size_t row = 0; row < rows; row++)
            for (size_t lead = 0; lead < leads; lead++) {
                const double strength = votes->part[0][first + row * leads + lead];
                if (strength > votes->level[lead])
                    votes->level[lead] = strength;
            }
    *weighed = learning || end % (WEIGH_BLOCKS * BLOCK) == 0 || memcmp(usable, votes->usable, leads * sizeof *usable);
    if (*weighed)
        weigh(votes, usable, later, voices);
    for (size_t kind = 0; kind < 3; kind++) {
        const double *part = votes->part[kind] + first;
        for (size_t row = 0; row < rows; row++, part += leads) {
            double sum = 0.0;
            for (size_t lead = 0; lead < leads; lead++)
                sum += (part[lead] < votes->limit[lead] ? part[lead] : votes->limit[lead]) * votes->weight[lead];
            *joined++ = ((sum + ROUNDER) - ROUNDER) * STEP;
        }
    }
    return blocks;
}

void votes_beat(Votes *votes, long age, long later, const bool *usable)
{
    if (age > HISTORY - 5)
        return;
    const long after = age < 6 ? age : 6;
    const size_t count = (size_t)(5 + after), start = votes->filled - (size_t)(later + age - after) - count;
    bool lively = true;
    for (size_t lead = 0; lead < votes->leads; lead++) {
        const double top = highest(votes->history[lead] + start, count);
        double level = votes->level[lead];
        if (usable[lead])
            level += ((top < 2 * level ? top : 2 * level) - level) / LEVEL_BEATS;
        votes->level[lead] = level > LOWEST_LEVEL ? level : LOWEST_LEVEL;
        lively = lively && top / votes->level[lead] > SILENT;
    }
    votes->lively_until = lively ? votes->end - later - age - 5 + LOOK_BACK : 0;
}
