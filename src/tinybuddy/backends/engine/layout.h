/* Where the weights of a model lie in one buffer, and the numbers of a pass in another.
 *
 * Letters in shapes: T positions, C hidden, F feed-forward, V vocabulary, H query heads, K
 * key-value heads, D head size; P = D rounded up to whole vectors: each head has its own vectors.
 * A weight (out, in) keeps PyTorch's order: y = x W^T.
 */
#ifndef TB_LAYOUT_H
#define TB_LAYOUT_H

#include "kernels.h"

struct tb_shape {
    int32_t vocab, hidden, inner, layers, heads, kv_heads, context;
    float theta, eps;
};

/* A matrix in the buffer: rows of stride floats from at. Transposed (in, out) at the offset
 * turned of another buffer. Norms are matrices of one row. */
struct tb_place {
    size_t rows, columns, at, stride, turned, turned_stride;
};

struct tb_layer_layout {
    struct tb_place norm1; /* (1, C) */
    struct tb_place qkv;   /* ((H + 2K) P, C): queries, keys, values */
    struct tb_place o;     /* (C, H P) */
    struct tb_place norm2; /* (1, C) */
    struct tb_place gu;    /* (2F, C): gate, up; F in whole vectors */
    struct tb_place down;  /* (C, F) */
};

struct tb_layout {
    struct tb_shape shape;
    size_t head, head_padded; /* D, P */
    size_t q_width, kv_width; /* H P, K P */
    size_t inner;             /* F in whole vectors */
    struct tb_place embedding; /* (V, C), the head too */
    struct tb_layer_layout *layers;
    struct tb_place norm; /* (1, C) */
    size_t size;           /* floats of all weights, in whole vectors */
    size_t turned_size;    /* floats of all transposed weights */
    size_t dense;          /* parameters: floats without padding */
};

/* 0, or -1 without memory. */
int tb_layout_make(struct tb_layout *l, const struct tb_shape *shape);
void tb_layout_free(struct tb_layout *l);

/* Copies all weights between the buffer and a dense one, in the order of the model's file. */
void tb_layout_pack(const struct tb_layout *l, const float *dense, float *buffer);
void tb_layout_unpack(const struct tb_layout *l, const float *buffer, float *dense);

/* Transposes the matrices, whose products then read both factors along rows. */
void tb_layout_turn(const struct tb_layout *l, const float *buffer, float *turned);

enum tb_kind { TB_NORM, TB_EMBEDDING, TB_HIDDEN };

/* Calls visit for each matrix, norms included. */
void tb_layout_visit(const struct tb_layout *l,
                     void (*visit)(void *context, const struct tb_place *m, enum tb_kind kind),
                     void *context);

#endif
