#include "sample.h"

#include "vector.h"

/* ---- random numbers ---- */

uint32_t tb_random_next(tb_random *random) {
    uint64_t old = random->state;
    random->state = old * 6364136223846793005u + (54u << 1 | 1u); /* stream 54 */
    uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return shifted >> turn | shifted << (-turn & 31);
}

void tb_random_seed(tb_random *random, uint64_t seed) {
    random->state = 0;
    tb_random_next(random);
    random->state += seed;
    tb_random_next(random);
}

/* A number from [0, 1). */
static double uniform(tb_random *random) { return tb_random_next(random) / 4294967296.0; }

/* ---- temperature alone, in float ---- */

enum { BLOCK = 128 }; /* weights that are summed up together; a multiple of LANES */

static float best_of(const float *x, int32_t size) {
    vec best[4];
    int32_t i = 0;
    for (int j = 0; j < 4; j++) best[j] = all(x[0]);
    for (; i + 4 * LANES <= size; i += 4 * LANES)
        for (int j = 0; j < 4; j++) best[j] = at_least(best[j], load(x + i + j * LANES));
    float most = largest(at_least(at_least(best[0], best[1]), at_least(best[2], best[3])));
    for (; i < size; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* Weights exp((x - best) * factor) of a block, vector by vector; the last block goes on with what is
   infinitely unlikely. Returns their sum; weights (BLOCK) is NULL or keeps them. */
INLINE float soften(const float *x, int32_t left, float best, float factor, float *weights) {
    float rest[BLOCK];
    vec total = all(0.0f);
    if (left < BLOCK) {
        for (int32_t i = 0; i < BLOCK; i++) rest[i] = i < left ? x[i] : -INFINITY;
        x = rest;
    }
    for (int32_t i = 0; i < BLOCK; i += LANES) {
        const vec w = vexp((load(x + i) - best) * factor);
        if (weights) store(weights + i, w);
        total += w;
    }
    return sum(total);
}

/* The token that `share` of the total falls to, where floats suffice to tell; else -1. NaN makes no
   comparison true, so it ends in -1 too.

   A weight w is off by at most w (2e-7 + 2e-7 |ln w|), which for a vocabulary of 65,535 sums up to
   2.4e-6 of the total, and each of the additions that follow one another in a block by 6e-8 of it.
   Where the target is twice as far inside a token's part, doubles would give the same one.

   sums: room for one for each BLOCK of the vocabulary */
static int32_t draw_quickly(const float *logits, int32_t vocab, double temperature, double share,
                            float *sums) {
    const int32_t last = (vocab - 1) / BLOCK;
    const float best = best_of(logits, vocab), factor = (float)(1.0 / temperature);
    double total = 0.0, running = 0.0;
    for (int32_t b = 0; b <= last; b++) {
        sums[b] = soften(logits + b * BLOCK, vocab - b * BLOCK, best, factor, NULL);
        total += (double)sums[b];
    }
    const double target = share * total, margin = 2 * (2.4e-6 + (BLOCK / LANES + 4) * 6e-8) * total;
    int32_t block = 0;
    while (block < last && running + (double)sums[block] <= target)
        running += (double)sums[block++];
    float weights[BLOCK];
    soften(logits + block * BLOCK, vocab - block * BLOCK, best, factor, weights);
    for (int32_t i = 0; i < BLOCK && block * BLOCK + i < vocab; i++) {
        const double after = running + (double)weights[i];
        if (after > target)
            return target - running > margin && after - target > margin ? block * BLOCK + i : -1;
        running = after;
    }
    return -1;
}

/* ---- all settings, in double ---- */

/* Tokens that may be drawn, in the order of their ids. */
typedef struct candidates {
    double *scores, *weights; /* (size) */
    int32_t *ids;             /* (size) */
    int32_t size;
} candidates;

enum { CHAINS = 8 }; /* sums that go side by side, as an addition waits for the one before it */

static void range_of(const double *x, int32_t size, double *lowest, double *highest) {
    double low[CHAINS], high[CHAINS];
    int32_t i = 0;
    for (int j = 0; j < CHAINS; j++) low[j] = high[j] = x[0];
    for (; i + CHAINS <= size; i += CHAINS)
        for (int j = 0; j < CHAINS; j++) {
            low[j] = x[i + j] < low[j] ? x[i + j] : low[j];
            high[j] = x[i + j] > high[j] ? x[i + j] : high[j];
        }
    for (; i < size; i++) {
        low[0] = x[i] < low[0] ? x[i] : low[0];
        high[0] = x[i] > high[0] ? x[i] : high[0];
    }
    for (int j = 1; j < CHAINS; j++) {
        low[0] = low[j] < low[0] ? low[j] : low[0];
        high[0] = high[j] > high[0] ? high[j] : high[0];
    }
    *lowest = low[0];
    *highest = high[0];
}

static int64_t count_above(const candidates *c, double score) {
    int64_t count = 0;
    for (int32_t i = 0; i < c->size; i++) count += c->scores[i] > score;
    return count;
}

static double weight_above(const candidates *c, double score) {
    double sums[CHAINS] = {0};
    int32_t i = 0;
    for (; i + CHAINS <= c->size; i += CHAINS)
        for (int j = 0; j < CHAINS; j++)
            sums[j] += c->scores[i + j] > score ? c->weights[i + j] : 0.0;
    for (; i < c->size; i++) sums[0] += c->scores[i] > score ? c->weights[i] : 0.0;
    for (int j = 1; j < CHAINS; j++) sums[0] += sums[j];
    return sums[0];
}

/* Keeps the tokens of which the better ones are fewer than `limit`, or together weigh less. Better
   is a higher score, or the same and a lower id.

   No sorting: the border is found by halving the range of scores until one token is left in it, or
   tokens of the same score. For the 40 best of 1,024 that takes some 10 looks at all scores. */
static void keep_best(candidates *c, double limit, int by_weight) {
    double low, high;
    range_of(c->scores, c->size, &low, &high);
    if (!(low >= -1e300)) low = -1e300; /* minus infinity weighs nothing, and has no middle */
    int64_t above_low = count_above(c, low), above_high = 0;
    double before = 0.0; /* what is above high: always less than limit */
    if ((by_weight ? weight_above(c, low) : (double)above_low) < limit) {
        high = low; /* only those of the lowest score are in question */
        low = -HUGE_VAL;
        before = by_weight ? weight_above(c, high) : (double)above_low;
    }
    while (above_low - above_high > 1) {
        const double middle = low + (high - low) / 2;
        if (!(low < middle && middle < high)) break;
        const int64_t count = count_above(c, middle);
        const double amount = by_weight ? weight_above(c, middle) : (double)count;
        if (amount < limit) {
            high = middle;
            above_high = count;
            before = amount;
        } else {
            low = middle;
            above_low = count;
        }
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < c->size; i++) {
        const double score = c->scores[i];
        if (!(score > low)) continue;
        if (!(score > high)) {
            if (before >= limit) continue;
            before += by_weight ? c->weights[i] : 1.0;
        }
        c->scores[kept] = score;
        if (by_weight) c->weights[kept] = c->weights[i];
        c->ids[kept++] = c->ids[i];
    }
    c->size = kept;
}

/* Scores after the penalty; 0 where one is not a number. */
static int score_all(candidates *c, const float *logits, int32_t vocab, const uint8_t *seen,
                     double penalty) {
    int bad = 0;
    c->size = vocab;
    for (int32_t id = 0; id < vocab; id++) {
        c->scores[id] = (double)logits[id];
        c->ids[id] = id;
        bad |= logits[id] != logits[id];
    }
    for (int32_t id = 0; seen && id < vocab; id++)
        if (seen[id]) c->scores[id] *= c->scores[id] > 0 ? 1.0 / penalty : penalty;
    return !bad;
}

static int32_t draw_exactly(const float *logits, int32_t vocab, const tb_sampling *how,
                            const uint8_t *seen, tb_random *random, candidates c) {
    double lowest, best, total = 0.0, running = 0.0;
    if (!score_all(&c, logits, vocab, seen, how->repetition_penalty)) return -1;
    range_of(c.scores, c.size, &lowest, &best);
    if (!(fabs(best) <= 1.7e308)) return -1;
    if (how->temperature == 0) {
        int32_t id = 0;
        while (c.scores[id] < best) id++;
        return id;
    }
    if (how->top_k > 0 && how->top_k < vocab) keep_best(&c, (double)how->top_k, 0);
    for (int32_t i = 0; i < c.size; i++) {
        c.weights[i] = exp((c.scores[i] - best) / how->temperature);
        total += c.weights[i];
    }
    if (how->top_p < 1.0) /* at least the best one is kept */
        keep_best(&c, how->top_p * total > 1e-300 ? how->top_p * total : 1e-300, 1);
    total = 0.0;
    for (int32_t i = 0; i < c.size; i++) {
        if (c.weights[i] < how->min_p) c.weights[i] = 0.0;
        total += c.weights[i];
    }
    const double target = uniform(random) * total;
    int32_t last = 0;
    for (int32_t i = 0; i < c.size; i++) {
        if (c.weights[i] == 0.0) continue;
        running += c.weights[i];
        last = c.ids[i];
        if (running > target) break;
    }
    return last;
}

/* ---- one draw ---- */

uint64_t tb_sample_bytes(int32_t vocab) {
    const uint64_t room = ((uint64_t)vocab + BLOCK - 1) / BLOCK * BLOCK;
    return room * (2 * sizeof(double) + sizeof(int32_t));
}

int32_t tb_sample(const float *logits, int32_t vocab, const tb_sampling *how, const uint8_t *seen,
                  tb_random *random, void *memory) {
    candidates c = {memory, (double *)memory + vocab, NULL, 0};
    c.ids = (int32_t *)(c.weights + vocab);
    const int by_top_k = how->top_k > 0 && how->top_k < vocab;
    if (how->repetition_penalty == 1.0) seen = NULL;
    if (how->temperature > 1e-30 /* its reciprocal is a float */ && !by_top_k && how->top_p >= 1.0 &&
        how->min_p <= 0 && !seen) {
        tb_random again = *random;
        const int32_t id = draw_quickly(logits, vocab, how->temperature, uniform(random), memory);
        if (id >= 0) return id;
        *random = again;
    }
    return draw_exactly(logits, vocab, how, seen, random, c);
}
