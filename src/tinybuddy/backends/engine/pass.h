/* One sequence through the model and back: the numbers on the way and who computes them.

   All of them lie by feature, (C, T) and so on: vectors hold the same feature of 16 positions. So a
   head of 8 numbers wastes nothing, and norms and softmaxes add up nothing across lanes. What lies
   behind the last position of a row is anything, and is never used. */
#ifndef TB_PASS_H
#define TB_PASS_H

#include "layout.h"

/* What one block keeps for the way back. */
typedef struct tb_layer_numbers {
    float *x;     /* (C, T) what came in */
    float *n1;    /* (C, T) normed */
    float *r1;    /* (T) 1 / root mean square */
    float *qkv;   /* ((H + 2K) D, T) queries, keys, values */
    float *most;  /* (H, T) log2 of the largest weight of a key */
    float *share; /* (H, T) 1 / sum of the weights by the largest */
    float *mixed; /* (H D, T) values mixed by attention */
    float *x1;    /* (C, T) after attention */
    float *n2, *r2;
    float *gu;   /* (2F, T) derivative of silu(gate), up */
    float *silu; /* (F, T) of gate */
} tb_layer_numbers;

/* Memory of one thread, for sequences of at most length positions. */
typedef struct tb_pass {
    const tb_layout *layout;
    const tb_flag *stop; /* once not 0, products are left out and numbers mean nothing */
    size_t length;
    size_t row, c_row;   /* floats from one feature to the next; from one position to the next */
    size_t head_columns; /* positions whose logits are computed at a time */
    tb_layer_numbers *layers;
    float *h;                 /* (F, T) silu(gate) up; on the way back first its gradient */
    float *last, *normed, *r; /* (C, T) after the last block, normed; (T) */
    float *logits;            /* (V, head_columns) */
    float *loss;              /* (T) of each position */
    float *share;             /* (T) the gradient of logits is still to be multiplied by */
    float *normed_pairs;      /* (C/2, head_columns, 2) in bf16 */
    float *scores;            /* of one head, (T, QUERIES) or (QUERIES, T) */
    float *dscores;           /* what follows is of the way back only */
    float *delta;             /* (T) sum of probabilities by their gradients */
    float *keys, *dqueries;   /* (T, D) of one head, (QUERIES, D), in rows of d_row */
    size_t d_row;
    float *by_position;             /* (T, C) */
    float *dx, *dn, *dqkv, *dmixed; /* gradients of what they name; that of gu is gu */
    float *memory;
} tb_pass;

enum { TB_ATTENTION_QUERIES = 16 }; /* at a time; the last of them bounds the keys */

/* TB_OK or TB_NO_MEMORY. */
int tb_pass_make(tb_pass *p, const tb_layout *l, size_t length, int with_backward);
void tb_pass_free(tb_pass *p);

/* rope (D, context) holds D/2 rows of cosines, then D/2 of sines, of stride rope_row. */
typedef struct tb_weights {
    const float *weights, *rope;
    size_t rope_row;
    /* The embedding in bf16 for training: (V, C) in pairs of columns and of rows, in rows of its
       stride / 2 and its stride. NULL for the output head in float32. */
    const float *embedding_rows, *embedding_pairs;
} tb_weights;

/* y = W x, or y += with add: y (out, t), x (in, t). */
void tb_project(const tb_pass *p, const tb_weights *w, const tb_place *m, size_t t, const float *x,
                size_t x_row, float *y, size_t y_row, int add);

/* mixed (H D, t) from qkv, whose queries and keys are rotated by their positions first. */
void tb_attend(tb_pass *p, const tb_weights *w, tb_layer_numbers *y, size_t t);
/* dqkv from dmixed. */
void tb_attend_back(tb_pass *p, const tb_weights *w, const tb_layer_numbers *y, size_t t);

/* Everything up to p->normed (C, t), for the ids of one sequence. */
void tb_forward(tb_pass *p, const tb_weights *w, const int32_t *ids, size_t t);

/* Logits (V, columns) of positions from .. from+columns-1 into p->logits; from is a multiple of
   head_columns, and columns at most that. */
void tb_logits(tb_pass *p, const tb_weights *w, size_t from, size_t columns);

/* Losses of all positions into p->loss, without gradient. */
void tb_losses(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t);

/* After tb_forward: the gradient of scale * sum of losses into gradient, laid out as the weights
   are, or added to it with add; leaves the losses in p->loss. */
void tb_backward(tb_pass *p, const tb_weights *w, const int32_t *ids, const int32_t *targets,
                 size_t t, float scale, float *gradient, int add);

#endif
