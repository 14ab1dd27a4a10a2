#include <string.h>

#include "rhythm.h"

#define REFRACTORY 20
#define NEVER 1000
#define T_WAVE_WITHIN 36
#define T_WAVE_SHARE 0.55
#define P_WAVE_WITHIN 28
#define P_WAVE_SHARE 0.6
#define THRESHOLD 0.4
#define LOWER_THRESHOLD 0.5
#define LOWEST 0.18
#define SEARCH_BACK 1.5
#define NOISE_LIMIT 0.7
#define NOISY 0.15
#define NOISIER 0.35
#define EARLY 0.85
#define EARLY_RAISE 2.0
#define WIDE_SHARE 0.5
#define SETTLING 90
#define LEARNING 300
#define FULL 0.6
#define FIRST_LEVEL 0.7

void detector_init(Detector *detector)
{
    memset(detector, 0, sizeof *detector);
    detector->learned_at = LEARNING;
    detector->interval = 100.0;
    detector->joined_count = detector->earlier_count = RISE;
    detector->start = -RISE;
}

long detector_searched(const Detector *detector)
{
    return detector->has_pending ? detector->pending.sample : detector->end - REFRACTORY;
}

bool detector_settled(const Detector *detector)
{
    return detector->end >= detector->learned_at - LEARNING + SETTLING;
}

void detector_forget(Detector *detector)
{
    detector->has_pending = detector->has_missed = detector->has_last = detector->rising = false;
    detector->last_height = 0.0;
}

void detector_skip(Detector *detector, long samples)
{
    detector->end += samples;
    if (detector->level == 0.0)
        detector->learned_at += samples;
}

void detector_relearn(Detector *detector)
{
    detector_forget(detector);
    detector->level = detector->noise = detector->noisiness = detector->highest = 0.0;
    detector->heights.count = detector->noises.count = 0;
    detector->learned_at = detector->end + LEARNING;
}

void detector_take(Detector *detector, const double *joined, size_t count)
{
    memcpy(detector->earlier, detector->joined, 3 * detector->joined_count * sizeof(double));
    detector->earlier_count = detector->joined_count;
    memcpy(detector->joined, joined, 3 * count * sizeof(double));
    detector->joined_count = count;
    detector->start = detector->end;
}

static void remember(Recent *recent, double value)
{
    if (recent->count == MEMORY)
        memmove(recent->value, recent->value + 1, (size_t)--recent->count * sizeof(double));
    recent->value[recent->count++] = value;
}

static double median(const Recent *recent)
{
    double ordered[MEMORY];
    for (int i = 0; i < recent->count; i++) {
        int k = i;
        for (; k && ordered[k - 1] > recent->value[i]; k--)
            ordered[k] = ordered[k - 1];
        ordered[k] = recent->value[i];
    }
    const int half = recent->count / 2;
    return recent->count % 2 ? ordered[half] : (ordered[half - 1] + ordered[half]) / 2;
}

static void adapt_to_noise(Detector *detector)
{
    if (detector->noises.count) {
        double sum = 0.0;
        for (int i = 0; i < detector->noises.count; i++)
            sum += detector->noises.value[i];
        const double mean = sum / detector->noises.count, most = NOISE_LIMIT * detector->level;
        detector->noise = mean < most ? mean : most;
    }
    const double noisiness = (detector->noise / detector->level - NOISY) / (NOISIER - NOISY);
    detector->noisiness = noisiness < 0.0 ? 0.0 : noisiness > 1.0 ? 1.0 : noisiness;
    const double between = detector->noise + THRESHOLD * (detector->level - detector->noise);
    const double lowest = LOWEST * detector->level;
    detector->threshold = between > lowest ? between : lowest;
}

static void adapt(Detector *detector)
{
    if (detector->heights.count)
        detector->level = median(&detector->heights);
    if (detector->intervals.count >= 3)
        detector->interval = median(&detector->intervals);
    adapt_to_noise(detector);
}

/* Return the highest of `count` values from `from` on, and of the last values before `end` where `from` is below 0. */
static double highest_around(const double *now, const double *before_end, long from, long stop)
{
    double top = from < 0 ? before_end[from] : now[from];
    for (long i = from + 1; i < stop; i++) {
        const double value = i < 0 ? before_end[i] : now[i];
        top = value > top ? value : top;
    }
    return top;
}

static Peak peak_at(const Detector *detector, long sample, double height)
{
    const size_t n = detector->joined_count, before = detector->earlier_count;
    const long place = sample - detector->start;
    Peak peak = {sample, height, 0.0, 0.0};
    peak.upper = highest_around(detector->joined + n, detector->earlier + 2 * before, place - RISE, place + 2);
    peak.lower = highest_around(detector->joined + 2 * n, detector->earlier + 3 * before, place - RISE, place + 2);
    return peak;
}

static Beat take_beat(Detector *detector, const Peak *peak)
{
    if (detector->has_last)
        remember(&detector->intervals, (double)(peak->sample - detector->last.sample));
    detector->last = (Beat){peak->sample, peak->height, peak->upper / peak->height};
    detector->has_last = true;
    detector->upper = peak->upper;
    detector->lower += detector->lower != 0.0 ? (peak->lower - detector->lower) / MEMORY : peak->lower;
    detector->has_missed = false;
    remember(&detector->heights, peak->height < 2 * detector->level ? peak->height : 2 * detector->level);
    adapt(detector);
    return detector->last;
}

static Beat take_back(Detector *detector)
{
    const Beat wrong = detector->last;
    detector->heights.count--;
    remember(&detector->noises, wrong.height);
    if (detector->intervals.count)
        detector->last = (Beat){wrong.sample - (long)detector->intervals.value[--detector->intervals.count],
                                detector->level, 1.0};
    else
        detector->has_last = false;
    return (Beat){wrong.sample, 0.0, 0.0};
}

static size_t judge(Detector *detector, Peak peak, Beat *found)
{
    if (detector->level == 0.0) {
        if (peak.sample >= detector->learned_at - LEARNING + SETTLING && peak.height > detector->highest)
            detector->highest = peak.height;
        if (peak.sample < detector->learned_at || detector->highest < FULL)
            return 0;
        detector->heights.count = 0;
        remember(&detector->heights, FIRST_LEVEL * detector->highest);
        adapt(detector);
    }
    const long since = detector->has_last ? peak.sample - detector->last.sample : peak.sample;
    const double early = EARLY * detector->interval;
    double needed = detector->threshold;
    if (detector->noisiness != 0.0 && (double)since < early)
        needed *= 1 + EARLY_RAISE * detector->noisiness * (1 - (double)since / early);
    const bool t_wave = since < T_WAVE_WITHIN && peak.upper < T_WAVE_SHARE * detector->upper;
    if (peak.height > needed && !t_wave) {
        size_t count = 0;
        if (detector->has_last && since < P_WAVE_WITHIN && detector->last.height < P_WAVE_SHARE * peak.height)
            found[count++] = take_back(detector);
        found[count++] = take_beat(detector, &peak);
        return count;
    }
    if (peak.height < needed) {
        remember(&detector->noises, peak.height);
        adapt_to_noise(detector);
    }
    if (since >= T_WAVE_WITHIN && (!detector->has_missed || peak.height > detector->missed.height)) {
        detector->missed = peak;
        detector->has_missed = true;
    }
    return 0;
}

static size_t search_back(Detector *detector, bool trust_wide, Beat *found)
{
    if (!detector->has_missed || !detector->has_last ||
        (double)(detector->end - detector->last.sample) < SEARCH_BACK * detector->interval)
        return 0;
    const Peak missed = detector->missed;
    const double lower = LOWER_THRESHOLD * (detector->threshold + detector->noisiness * detector->noise);
    const double lowest = LOWEST * detector->level;
    const bool high = missed.height > (lower > lowest ? lower : lowest);
    const bool wide = trust_wide && missed.lower > WIDE_SHARE * detector->lower;
    if (wide && !high) {
        int kept = 0;
        for (int i = 0; i < detector->noises.count; i++)
            if (detector->noises.value[i] < missed.height / 2)
                detector->noises.value[kept++] = detector->noises.value[i];
        detector->noises.count = kept;
    }
    if (!high && !wide)
        return 0;
    *found = take_beat(detector, &missed);
    return 1;
}

size_t detector_walk(Detector *detector, long samples, bool trust_wide, Beat *found)
{
    size_t count = 0;
    bool rising = detector->rising, has_pending = detector->has_pending;
    double last = detector->last_height, height = has_pending ? detector->pending.height : 0.0;
    long sample = has_pending ? detector->pending.sample : detector->end - NEVER;
    Peak pending = detector->pending;
    const double *joined = detector->joined + (detector->end - detector->start);
    for (long i = 0; i < samples; i++) {
        const double value = joined[i];
        const long before = detector->end + i - 1;
        if (value > last) {
            rising = true;
        } else if (rising) { /* a peak one sample ago */
            rising = false;
            if (before - sample >= REFRACTORY) {
                if (height != 0.0)
                    count += judge(detector, has_pending ? pending : peak_at(detector, sample, height), found + count);
                has_pending = false;
                sample = before;
                height = last;
            } else if (last > height) {
                has_pending = false;
                sample = before;
                height = last;
            }
        }
        last = value;
    }
    detector->end += samples;
    if (height != 0.0) {
        if (!has_pending)
            pending = peak_at(detector, sample, height);
        has_pending = true;
        if (detector->end - 1 - sample > REFRACTORY) {
            count += judge(detector, pending, found + count);
            has_pending = false;
        }
    }
    detector->has_pending = has_pending;
    detector->pending = pending;
    detector->rising = rising;
    detector->last_height = last;
    return count + (detector->has_missed ? search_back(detector, trust_wide, found + count) : 0);
}
