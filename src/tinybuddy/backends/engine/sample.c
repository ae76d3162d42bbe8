#include "sample.h"

#include <float.h>

#include "vector.h"

/* ---- random numbers ---- */

uint32_t tb_random_next(tb_random *random) {
    uint64_t old = random->state;
    random->state = old * 6364136223846793005u + (54u << 1 | 1u); /* stream 54 */
    uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t transpose = (uint32_t)(old >> 59);
    return shifted >> transpose | shifted << (-transpose & 31);
}

void tb_random_seed(tb_random *random, uint64_t seed) {
    random->state = 0;
    tb_random_next(random);
    random->state += seed;
    tb_random_next(random);
}

/* A number from [0, 1). */
static double uniform(tb_random *random) {
    return tb_random_next(random) / 4294967296.0;
}

/* ---- temperature alone, in float ---- */

enum { BLOCK = 128 }; /* weights that are summed up together; a multiple of 4 TB_LANES */

static float best_of(const float *x, int32_t size) {
    tb_vec best[4];
    int32_t i = 0;
    for (int j = 0; j < 4; j++) best[j] = tb_broadcast(x[0]);
    for (; i + 4 * TB_LANES <= size; i += 4 * TB_LANES)
        for (int j = 0; j < 4; j++) best[j] = tb_max(best[j], tb_load(x + i + j * TB_LANES));
    float most = tb_largest(tb_max(tb_max(best[0], best[1]), tb_max(best[2], best[3])));
    for (; i < size; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* Weights of a block, of which `left` are there and the rest infinitely unlikely. Returns their
   sum; weights (BLOCK) is NULL or keeps them. */
TB_INLINE float soften_block(const float *x, int32_t left, float best, float factor,
                             float *weights) {
    float rest[BLOCK];
    tb_vec total = tb_broadcast(0.0f);
    if (left < BLOCK) {
        for (int32_t i = 0; i < BLOCK; i++) rest[i] = i < left ? x[i] : -INFINITY;
        x = rest;
    }
    for (int32_t i = 0; i < BLOCK; i += 4 * TB_LANES)
        total += tb_exp_sum(4, x + i, best, factor, weights ? weights + i : NULL);
    return tb_sum(total);
}

/* The token that `share` of the total falls to, where floats suffice to decide; else -1. NaN makes
   no comparison true, so it ends in -1 too.

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
        sums[b] = soften_block(logits + b * BLOCK, vocab - b * BLOCK, best, factor, NULL);
        total += (double)sums[b];
    }
    const double target = share * total,
                 margin = 2 * (2.4e-6 + (BLOCK / TB_LANES + 4) * 6e-8) * total;
    int32_t block = 0;
    while (block < last && running + (double)sums[block] <= target)
        running += (double)sums[block++];
    float weights[BLOCK];
    int32_t i = 0;
    soften_block(logits + block * BLOCK, vocab - block * BLOCK, best, factor, weights);
    for (; i + TB_LANES < BLOCK; i += TB_LANES) { /* vectors that end before the target */
        const double after = running + (double)tb_sum(tb_load(weights + i));
        if (after > target) break;
        running = after;
    }
    for (; i < BLOCK && block * BLOCK + i < vocab; i++) {
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
   tokens of the same score. */
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

static int32_t floats_above(const float *x, int32_t size, float least) {
    int32_t count = 0;
    for (int32_t i = 0; i < size; i++) count += x[i] > least;
    return count;
}

/* The ids of the `count` best scores, and of some more: few enough that what is exact may be slow.
   Returns how many these are. */
static int32_t shortlist(const float *x, int32_t vocab, int32_t count, float best, int32_t *ids) {
    enum { MORE = 24, TRIES = 20 };
    float high = best, gap = 1.0f, low = best - gap;
    int32_t listed = floats_above(x, vocab, low), found = 0;
    for (; listed < count && low > -INFINITY; listed = floats_above(x, vocab, low)) {
        high = low;
        gap *= 2.0f;
        low = best - gap;
    }
    for (int tries = 0; tries < TRIES && listed > count + MORE; tries++) {
        const float middle = low + (high - low) / 2;
        const int32_t above = floats_above(x, vocab, middle);
        if (above >= count) {
            low = middle;
            listed = above;
        } else {
            high = middle;
        }
    }
    int32_t id = 0;
    for (; id + TB_LANES <= vocab; id += TB_LANES) {
        for (uint32_t lanes = tb_lanes_above(tb_load(x + id), low); lanes; lanes &= lanes - 1)
            ids[found++] = id + tb_lowest_lane(lanes);
    }
    for (; id < vocab; id++)
        if (x[id] > low) ids[found++] = id;
    return found;
}

/* Rounded; beyond the range of floats, its end, since infinity means that nothing can be drawn. */
static float to_float(double x) {
    return (float)(x > FLT_MAX && x < HUGE_VAL     ? FLT_MAX
                   : x < -FLT_MAX && x > -HUGE_VAL ? -FLT_MAX
                                                   : x);
}

static double penalised(float logit, int was_seen, double penalty) {
    const double score = (double)logit;
    return !was_seen ? score : score > 0 ? score * (1.0 / penalty) : score * penalty;
}

/* The last of c's tokens, in the order of their ids, up to which weights do not exceed a uniform
   share of their sum. */
static int32_t draw(const candidates *c, tb_random *random) {
    double total = 0.0, running = 0.0;
    int32_t last = 0;
    for (int32_t i = 0; i < c->size; i++) total += c->weights[i];
    const double target = uniform(random) * total;
    for (int32_t i = 0; i < c->size && !(running > target); i++) {
        if (c->weights[i] == 0.0) continue;
        running += c->weights[i];
        last = c->ids[i];
    }
    return last;
}

static int32_t draw_exactly(const float *logits, int32_t vocab, const tb_sampling *how,
                            const uint8_t *seen, tb_random *random, candidates c, float *rounded) {
    const int32_t count = how->temperature == 0 ? 1 : how->top_k;
    const float *x = logits;
    double lowest, best, total = 0.0;
    int bad = 0;
    if (seen) {
        for (int32_t id = 0; id < vocab; id++)
            rounded[id] = to_float(penalised(logits[id], seen[id], how->repetition_penalty));
        x = rounded;
    }
    for (int32_t id = 0; id < vocab; id++) bad |= x[id] != x[id];
    const float most = best_of(x, vocab);
    if (bad || !isfinite(most)) return -1;
    if (count > 0 && count < vocab)
        c.size = shortlist(x, vocab, count, most, c.ids);
    else
        for (; c.size < vocab; c.size++) c.ids[c.size] = c.size;
    for (int32_t i = 0; i < c.size; i++)
        c.scores[i] = penalised(logits[c.ids[i]], seen && seen[c.ids[i]], how->repetition_penalty);
    if (count > 0 && count < c.size) keep_best(&c, count, 0);
    if (how->temperature == 0) return c.ids[0];
    range_of(c.scores, c.size, &lowest, &best);
    for (int32_t i = 0; i < c.size; i++) {
        c.weights[i] = exp((c.scores[i] - best) / how->temperature);
        total += c.weights[i];
    }
    if (how->top_p < 1.0) /* at least the best one is kept */
        keep_best(&c, how->top_p * total > 1e-300 ? how->top_p * total : 1e-300, 1);
    for (int32_t i = 0; i < c.size; i++)
        if (c.weights[i] < how->min_p) c.weights[i] = 0.0;
    return draw(&c, random);
}

/* ---- one draw ---- */

uint64_t tb_sample_bytes(int32_t vocab) {
    const uint64_t room = ((uint64_t)vocab + BLOCK - 1) / BLOCK * BLOCK;
    return room * (2 * sizeof(double) + sizeof(int32_t) + sizeof(float));
}

int32_t tb_sample(const float *logits, int32_t vocab, const tb_sampling *how, const uint8_t *seen,
                  tb_random *random, void *memory) {
    candidates c = {memory, (double *)memory + vocab, NULL, 0};
    c.ids = (int32_t *)(c.weights + vocab);
    const int by_top_k = how->top_k > 0 && how->top_k < vocab;
    if (how->repetition_penalty == 1.0) seen = NULL;
    if (how->temperature > 1e-30 /* its reciprocal is a float */ && !by_top_k &&
        how->top_p >= 1.0 && how->min_p <= 0 && !seen) {
        tb_random again = *random;
        const int32_t id = draw_quickly(logits, vocab, how->temperature, uniform(random), memory);
        if (id >= 0) return id;
        *random = again;
    }
    return draw_exactly(logits, vocab, how, seen, random, c, (float *)(c.ids + vocab));
}
