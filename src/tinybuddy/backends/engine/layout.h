/* Where the weights of a model lie in one buffer.

   Letters in shapes: T positions, C hidden, F feed-forward, V vocabulary, H query heads, K
   key-value heads, D head size. Every matrix has rows of C numbers, which is what the gradient of
   its weights is computed along: those that read the residual stream lie (out, in), as in PyTorch,
   those that write it (in, out). */
#ifndef TB_LAYOUT_H
#define TB_LAYOUT_H

#include "config.h"
#include "kernels.h"

/* A matrix in the buffer: rows of stride floats from at. Norms are matrices of one row. */
typedef struct tb_place {
    size_t rows, columns, at, stride;
    int by_input; /* lies (in, out) */
} tb_place;

typedef struct tb_layer_layout {
    tb_place norm1; /* (1, C) */
    tb_place qkv;   /* ((H + 2K) D, C): queries, keys, values */
    tb_place o;     /* (H D, C), by input */
    tb_place norm2; /* (1, C) */
    tb_place gu;    /* (2F, C): gate, up */
    tb_place down;  /* (F, C), by input */
} tb_layer_layout;

typedef struct tb_layout {
    tb_config config;
    size_t head, kv_width; /* D, K D */
    tb_place embedding;    /* (V, C), the head too */
    tb_layer_layout *layers;
    tb_place norm; /* (1, C) */
    size_t size;   /* floats of all weights, in whole vectors */
    size_t dense;  /* parameters: floats without padding */
    int fits;      /* whether this machine can address all of it */
} tb_layout;

/* TB_OK, TB_BAD_CONFIG or TB_NO_MEMORY. */
int tb_layout_make(tb_layout *l, const tb_config *config);
void tb_layout_free(tb_layout *l);

/* Copies all weights between the buffer and a dense one, in the order of the model's file. */
void tb_layout_pack(const tb_layout *l, const float *dense, float *buffer);
void tb_layout_unpack(const tb_layout *l, const float *buffer, float *dense);

typedef enum tb_weight_kind { TB_NORM, TB_EMBEDDING, TB_HIDDEN } tb_weight_kind;

/* Calls visit for each matrix, norms included. */
void tb_layout_visit(const tb_layout *l,
                     void (*visit)(void *context, const tb_place *m, tb_weight_kind kind),
                     void *context);

#endif
