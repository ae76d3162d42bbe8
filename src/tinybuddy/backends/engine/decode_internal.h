/* What the files of the decoder share: where the numbers of a model, a stream and a scratch lie.

   Letters in shapes: R rows (tokens fed at once), C hidden size, H query heads, K key-value heads,
   D head size, F feed-forward size, V vocabulary. A size marked + is rounded up to TB_ALIGN. */

#ifndef TB_DECODE_INTERNAL_H
#define TB_DECODE_INTERNAL_H

#include "decode.h"
#include "packed.h"

/* The matrices of a layer. Those that read the same input are one: q, k and v (C, C + 2 K D +);
   gate and up (C, F+ and F+). */
static inline tb_matrix tb_shape_qkv(const tb_config *c) {
    return tb_matrix_of(c->hidden_size, (uint64_t)c->hidden_size + 2 * (uint64_t)tb_kv_dim(c));
}

static inline tb_matrix tb_shape_o(const tb_config *c) {
    return tb_matrix_of(c->hidden_size, (uint64_t)c->hidden_size);
}

static inline tb_matrix tb_shape_gate_up(const tb_config *c) {
    return tb_matrix_of(c->hidden_size, 2 * tb_padded((uint64_t)c->intermediate_size));
}

static inline tb_matrix tb_shape_down(const tb_config *c) {
    return tb_matrix_of(c->intermediate_size, (uint64_t)c->hidden_size);
}

static inline tb_matrix tb_shape_embedding(const tb_config *c) {
    return tb_matrix_of(c->hidden_size, (uint64_t)c->vocab_size);
}

static inline uint64_t tb_norm_bytes(const tb_config *c) {
    return 4 * tb_padded((uint64_t)c->hidden_size);
}

/* The norm whose numbers lie at *at, which is moved behind them. */
static inline const float *tb_take_norm(const tb_config *c, const uint8_t **at) {
    const float *norm = (const float *)*at;
    *at += tb_norm_bytes(c);
    return norm;
}

struct tb_model {
    tb_config config;
    const uint8_t *packed;
    int32_t head_dim, kv_dim;
    int32_t context_padded; /* positions in a row of keys: pairs of whole vectors */
    int32_t value_width;    /* D+ */
    const float *rope;      /* (context, D), see rope.h; the last of what is packed */
};

/* Keys (L, K, D, context+), then values (L, K, context, value_width), follow it. */
struct tb_stream {
    int32_t length;
};

struct tb_scratch {
    int32_t rows;
    int32_t *positions, *tokens, *owners; /* (R) */
    tb_stream **streams;                  /* (R) */
    int32_t *wanted;                      /* (R) whether a row's logits are asked for */
    float *x;                             /* (R, C+) the residual stream */
    float *normed;                        /* (R, C+) */
    float *qkv;                           /* (R, (C + 2 K D)+) */
    float *mixed;                         /* (R, C+) */
    float *gate_up;                       /* (R, 2 F+) */
    float *logits;                        /* (R, V+) */
    float *scores;                        /* (H, context+) */
    void *sampling;
};

/* The numbers that follow a struct of `size` bytes. */
static inline float *tb_behind(const void *thing, size_t size) {
    return (float *)((uint8_t *)thing + tb_aligned(size));
}

/* Floats of one layer's keys, and values. */
static inline size_t tb_layer_keys(const tb_model *m) {
    return (size_t)m->kv_dim * (size_t)m->context_padded;
}

static inline size_t tb_layer_values(const tb_model *m) {
    return (size_t)m->config.num_key_value_heads * (size_t)m->config.max_position_embeddings *
           (size_t)m->value_width;
}

/* Feeds the first `rows` of scratch's streams, tokens and positions, all of which are checked.
   Leaves the logits of the wanted rows one after the other; returns how many these are. */
int32_t tb_decode_rows(const tb_model *model, tb_scratch *scratch, int32_t rows);

#endif
