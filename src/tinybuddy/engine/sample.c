#include "sample.h"

#include <math.h>

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

/* ---- heaps of candidates ---- */

typedef struct candidate {
    double score;
    int32_t id;
} candidate;

static int better(candidate a, candidate b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
}

/* Restores the order of a heap below place `at`. On top is the best candidate, or the worst. */
static void sift(candidate *heap, int32_t size, int32_t at, int worst_on_top) {
    candidate moved = heap[at];
    while (at < size / 2) {
        int32_t child = 2 * at + 1;
        if (child + 1 < size && better(heap[child + 1], heap[child]) != worst_on_top) child++;
        if (better(heap[child], moved) == worst_on_top) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void make_heap(candidate *heap, int32_t size, int worst_on_top) {
    for (int32_t at = size / 2 - 1; at >= 0; at--) sift(heap, size, at, worst_on_top);
}

/* ---- the draw ---- */

/* Working memory: weights and candidates for the vocabulary, a sum for each block of it. */
typedef struct workplace {
    double *weights, *sums;
    candidate *candidates;
} workplace;

static int32_t blocks(int32_t vocab) { return (vocab + TB_BLOCK - 1) / TB_BLOCK; }

uint64_t tb_sample_bytes(int32_t vocab) {
    uint64_t padded = (uint64_t)blocks(vocab) * TB_BLOCK;
    return padded * sizeof(double) + padded / TB_BLOCK * sizeof(double) +
           padded * sizeof(candidate);
}

static workplace workplace_in(void *memory, int32_t vocab) {
    int32_t padded = blocks(vocab) * TB_BLOCK;
    workplace place;
    place.candidates = memory;
    place.weights = (double *)(place.candidates + padded);
    place.sums = place.weights + padded;
    return place;
}

/* A running sum is compared with this share of the total. At least 1e-290, so that what a weight
   of 0 may be rounded up to is never drawn. */
static double target_of(double share, double total) {
    double target = share * total;
    return target > 1e-290 ? target : 1e-290;
}

/* The token that `share` of the total falls to, where floats suffice to tell; else -1.

   No weight is off by more than 88 * 2e-7 + 1e-6 of itself, so no running sum by more than 2e-5 of
   the total. Where the target is that far inside a token's part, doubles would give the same one.
   Of a story's draws, about 1 in 50 is nearer to a border, and doubles take thrice the time. */
static int32_t draw_quickly(const tb_kernels *kernels, const float *logits, int32_t vocab,
                            double best, double temperature, double share, workplace place) {
    float *weights = (float *)place.weights, *sums = (float *)place.sums;
    double total = 0.0, running = 0.0;
    kernels->soften_quickly(logits, vocab, (float)best, (float)(1.0 / temperature), weights, sums);
    for (int32_t b = 0; b < blocks(vocab); b++) total += (double)sums[b];
    const double target = share * total, margin = 2e-5 * total;
    int32_t block = 0;
    while (block + 1 < blocks(vocab) && running + (double)sums[block] <= target)
        running += (double)sums[block++];
    for (int32_t id = block * TB_BLOCK; id < vocab; id++) {
        double after = running + (double)weights[id];
        if (after > target)
            return target - running > margin && after - target > margin ? id : -1;
        running = after;
    }
    return -1;
}

/* The draw among all tokens, which needs no candidates: the way of temperature alone. */
static int32_t draw_among_all(const tb_kernels *kernels, const float *logits, int32_t vocab,
                              double best, double temperature, tb_random *random,
                              workplace place) {
    const double share = tb_random_next(random) / 4294967296.0;
    if (temperature > 1e-30) { /* its reciprocal is a float */
        int32_t id = draw_quickly(kernels, logits, vocab, best, temperature, share, place);
        if (id >= 0) return id;
    }
    double total = 0.0, running = 0.0;
    kernels->soften(logits, vocab, best, 1.0 / temperature, place.weights, place.sums);
    for (int32_t b = 0; b < blocks(vocab); b++) total += place.sums[b];
    if (!(total >= 1.0)) return -1; /* NaN: the best token alone has 1 */
    const double target = target_of(share, total);
    int32_t block = 0, last = 0;
    while (block + 1 < blocks(vocab) && running + place.sums[block] <= target)
        running += place.sums[block++];
    for (int32_t id = block * TB_BLOCK; id < vocab; id++) {
        running += place.weights[id];
        if (running > target) return id;
        if (place.weights[id] > 1e-290) last = id;
    }
    return last; /* the two ways of adding up differ in the last digit */
}

/* Keeps the k best of the vocabulary, in no order, without sorting: most scores lose against the
   worst one kept so far at the first look. */
static int32_t keep_best(candidate *kept, int32_t k, const float *logits, int32_t vocab,
                         const uint8_t *seen, double penalty) {
    int32_t size = 0;
    for (int32_t id = 0; id < vocab; id++) {
        candidate next = {logits[id], id};
        if (seen && seen[id]) next.score *= next.score > 0 ? 1.0 / penalty : penalty;
        if (next.score != next.score) return 0;
        if (size < k) {
            kept[size++] = next;
            if (size == k && k < vocab) make_heap(kept, k, 1);
        } else if (next.score > kept[0].score) {
            kept[0] = next;
            sift(kept, k, 0, 1);
        }
    }
    return size;
}

/* Keeps the best that reach the share top_p of the total weight. Returns how many there are; they
   stand at the end of the candidates, where a heap puts what it gives up. */
static int32_t keep_likeliest(candidate *kept, int32_t size, double top_p, const double *weights,
                              double total) {
    double running = 0.0;
    int32_t left = size;
    make_heap(kept, size, 0);
    while (left > 0) {
        double weight = weights[kept[0].id];
        running += weight;
        double before = running - weight;
        if (before >= top_p * total && before > 0) break;
        candidate best = kept[0];
        kept[0] = kept[--left];
        if (left) sift(kept, left, 0, 0);
        kept[left] = best;
    }
    return size - left;
}

static int32_t draw_among_some(const float *logits, int32_t vocab, const tb_sampling *how,
                               const uint8_t *seen, tb_random *random, workplace place) {
    int32_t k = how->temperature == 0 ? 1 : how->top_k > 0 ? how->top_k : vocab;
    candidate *kept = place.candidates;
    double *weights = place.weights; /* by id; those that are not kept are 0 */
    int32_t size = keep_best(kept, k < vocab ? k : vocab, logits, vocab, seen,
                             how->repetition_penalty);
    if (!size) return -1;
    candidate best = kept[0];
    for (int32_t i = 1; i < size; i++)
        if (better(kept[i], best)) best = kept[i];
    if (!(fabs(best.score) <= 1.7e308)) return -1;
    if (how->temperature == 0) return best.id;

    double total = 0.0;
    for (int32_t id = 0; id < vocab; id++) weights[id] = 0.0;
    for (int32_t i = 0; i < size; i++) {
        weights[kept[i].id] = exp((kept[i].score - best.score) / how->temperature);
        total += weights[kept[i].id];
    }
    if (how->top_p < 1.0) {
        int32_t likely = keep_likeliest(kept, size, how->top_p, weights, total);
        for (int32_t i = 0; i < size - likely; i++) weights[kept[i].id] = 0.0;
    }
    double running = 0.0;
    total = 0.0;
    for (int32_t id = 0; id < vocab; id++) { /* most are 0: to add them too would wait for each */
        if (weights[id] == 0.0) continue;
        if (weights[id] < how->min_p) weights[id] = 0.0;
        total += weights[id];
    }
    double target = target_of(tb_random_next(random) / 4294967296.0, total);
    int32_t last = 0;
    for (int32_t id = 0; id < vocab; id++) {
        if (weights[id] == 0.0) continue;
        running += weights[id];
        if (running > target) return id;
        last = id;
    }
    return last;
}

int32_t tb_sample_with(const tb_kernels *kernels, const float *logits, int32_t vocab,
                       const tb_sampling *how, const uint8_t *seen, tb_random *random,
                       void *memory) {
    workplace place = workplace_in(memory, vocab);
    if (how->repetition_penalty == 1.0) seen = NULL;
    int all = how->top_k <= 0 || how->top_k >= vocab;
    if (how->temperature != 0 && all && how->top_p >= 1.0 && how->min_p <= 0 && !seen) {
        double best = kernels->maximum(logits, vocab);
        /* The reciprocal of a tiny temperature would be infinite, and infinity times 0 is NaN. */
        if (!(fabs(best) <= 3.5e38)) return -1;
        if (how->temperature > 1e-290)
            return draw_among_all(kernels, logits, vocab, best, how->temperature, random, place);
    }
    return draw_among_some(logits, vocab, how, seen, random, place);
}

int32_t tb_sample(const float *logits, int32_t vocab, const tb_sampling *how, const uint8_t *seen,
                  tb_random *random, void *memory) {
    return tb_sample_with(tb_kernels_pick(), logits, vocab, how, seen, random, memory);
}
