/* One sequence through the model and back: the numbers on the way and who computes them. */
#ifndef TB_PASS_H
#define TB_PASS_H

#include "layout.h"

/* What one block keeps for the way back; rows are positions. */
typedef struct tb_layer_numbers {
    float *x;       /* (T, C) what came in */
    float *n1;      /* (T, C) normed */
    float *r1;      /* (T) 1 / root mean square */
    float *qkv;     /* (T, (H + 2K) P) queries and keys transposed by their positions, values */
    float *log_sum; /* (H, T) log of the sum of exp(scores) */
    float *mixed;   /* (T, H P) values mixed by attention */
    float *x1;      /* (T, C) after attention */
    float *n2, *r2;
    float *gu; /* (T, 2F) gate, up */
    float *h;  /* (T, F) silu(gate) up */
} tb_layer_numbers;

/* Memory of one thread, for sequences of at most length positions. */
typedef struct tb_pass {
    const tb_layout *layout;
    const tb_flag *stop; /* once not 0, products are left out and numbers mean nothing */
    size_t length;
    size_t c_row, qkv_row, q_row, gu_row, f_row, t_row, v_row; /* strides */
    size_t head_rows; /* positions whose logits are computed at a time */
    tb_layer_numbers *layers;
    float *last, *normed, *r; /* (T, C) after the last block, normed; (T) */
    float *logits;            /* (head_rows, V) */
    float *loss;              /* (T) of each position */
    float *transposed_head;   /* (2 D, T) keys and values of one head, transposed */
    float *scores, *dscores;  /* (ATTENTION_ROWS, T) of one head */
    float *delta;             /* (ATTENTION_ROWS) */
    float *dx, *dn, *dqkv, *dmixed, *dgu, *dh; /* gradients of what they name; backward only */
    float *memory;
} tb_pass;

enum { TB_ATTENTION_ROWS = 32 }; /* rows of scores at a time; the last of them bounds the columns */

/* TB_OK or TB_NO_MEMORY. */
int tb_pass_make(tb_pass *p, const tb_layout *l, size_t length, int with_backward);
void tb_pass_free(tb_pass *p);

/* weights and transposed as tb_layout says; rope (context, D) holds D/2 cosines, then D/2 sines. */
typedef struct tb_weights {
    const float *weights, *transposed, *rope;
} tb_weights;

/* Everything up to p->normed (t, C), for the ids of one sequence. */
void tb_forward(tb_pass *p, const tb_weights *w, const int32_t *ids, size_t t);

/* Logits (rows, V) of positions from .. from+rows-1 into p->logits; rows <= head_rows. */
void tb_head(tb_pass *p, const tb_weights *w, size_t from, size_t rows);

/* Losses of all positions into p->loss, without gradient. */
void tb_losses(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t);

/* After tb_forward: adds the gradient of scale * sum of losses to gradient, laid out as the
   weights are; leaves the losses in p->loss. */
void tb_backward(tb_pass *p, const tb_weights *w, const int32_t *ids, const int32_t *targets,
                 size_t t, float scale, float *gradient);

/* Turns each head of x (t, heads P) by its position; back with sign -1. */
void tb_rotate(const tb_layout *l, const float *rope, float *x, size_t row, size_t heads, size_t t,
               float sign);

/* (t, d) of stride row to (d, t) of stride transposed_row. */
void tb_transpose_head(size_t t, size_t d, const float *x, size_t row, float *transposed,
                       size_t transposed_row);

#endif
