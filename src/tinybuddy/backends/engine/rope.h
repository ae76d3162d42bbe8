/* Rotary positions (Su et al. 2021, arXiv 2104.09864): pair (i, i + D/2) of a head is rotated by
   position * theta^(-2i / D). */

#ifndef TB_ROPE_H
#define TB_ROPE_H

#include "config.h"

/* Floats of the table: (context, D), a row being D/2 cosines and then D/2 sines. */
static inline uint64_t tb_rope_floats(const tb_config *c) {
    return (uint64_t)c->max_position_embeddings * (uint64_t)tb_head_dim(c);
}

void tb_rope_fill(const tb_config *config, float *table);

#endif
