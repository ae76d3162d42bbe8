/* How the next token is drawn, as sampling.py defines it: repetition penalty, temperature, top-k,
   top-p, min-p, draw; ties go to the lower id; PCG32 (O'Neill 2014) gives the random numbers. */

#ifndef TB_SAMPLE_H
#define TB_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct tb_sampling {
    double repetition_penalty; /* 1 is none */
    double temperature;        /* 0 takes the best token and no random number */
    double top_p;              /* 1 is off */
    double min_p;              /* 0 is off */
    int32_t top_k;             /* 0 is off */
} tb_sampling;

typedef struct tb_random {
    uint64_t state;
} tb_random;

void tb_random_seed(tb_random *random, uint64_t seed);
uint32_t tb_random_next(tb_random *random);

/* Bytes of the memory that tb_sample works in, for a vocabulary of this size. */
uint64_t tb_sample_bytes(int32_t vocab);

/* Returns the id drawn, or -1 where the logits have no finite best or hold a NaN.

   logits: (vocab); seen: (vocab), not 0 for each id that the penalty makes rarer, or NULL;
   memory: tb_sample_bytes(vocab), aligned for doubles */
int32_t tb_sample(const float *logits, int32_t vocab, const tb_sampling *how, const uint8_t *seen,
                  tb_random *random, void *memory);

#endif
