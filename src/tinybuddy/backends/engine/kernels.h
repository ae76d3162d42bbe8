/* The arithmetic that takes the time, in vectors as wide as the processor's.

   Matrices are float32, row by row. A row has room for a whole number of TB_ALIGN, so that no loop
   has a rest. What lies there is 0 behind weights, and stays so in every product, gradient and
   update; behind positions it is anything. */
#ifndef TB_KERNELS_H
#define TB_KERNELS_H

#include "config.h"
#include "vector.h"

/* n rounded up to whole vectors. */
static inline size_t tb_round(size_t n) {
    return (n + TB_ALIGN - 1) / TB_ALIGN * TB_ALIGN;
}

/* Floats from one row to the next. Rows 4,096 bytes apart would share one 8-way set of the first
   cache, so multiples of 512 bytes are avoided. */
static inline size_t tb_stride(size_t n) {
    size_t stride = tb_round(n);
    return stride % 128 == 0 ? stride + TB_ALIGN : stride;
}

typedef struct tb_adamw_settings {
    float keep;                       /* 1 - learning rate * weight decay */
    float clip;                       /* factor on the gradient, at most 1 */
    float beta1, beta2, rest1, rest2; /* rest = 1 - beta */
    float eps;
    float step_size;       /* learning rate / (1 - beta1^step) */
    float root_correction; /* sqrt(1 - beta2^step) */
} tb_adamw_settings;

/* c (m, n) = a (m, k) b (k, n), or += with add. Element (i, j) of a is a[i*a_row + j*a_col],
   so a may be read transposed; n is rounded up to whole vectors, which b and c must have. */
void tb_matmul(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
               const float *b, size_t b_row, float *c, size_t c_row, int add);

/* x (m, n) to y (n, m), whose rows are filled up to whole vectors with zeros. */
void tb_transpose(size_t m, size_t n, const float *x, size_t x_row, float *y, size_t y_row);

/* y (m, n) = x, each column multiplied by its own factor. */
void tb_scale_columns(size_t m, size_t n, const float *factor, const float *x, size_t x_row,
                      float *y, size_t y_row);
/* dots (n) = sum over rows of x (m, n) y. */
void tb_column_dots(size_t m, size_t n, const float *x, const float *y, size_t row, float *dots);

/* a = a cosine - b sine, b = b cosine + a sine, of t positions; the other way with sign -1. */
void tb_rotate(size_t t, const float *cosine, const float *sine, float sign, float *a, float *b);

/* y = x r w with r = 1 / sqrt(mean(x^2) + eps), for each of t columns of c numbers; keeps r. */
void tb_norm(size_t c, size_t t, size_t row, float eps, const float *x, const float *w, float *y,
             float *r);
/* dx += and dw = from dy, the gradient of y; dw += with add. */
void tb_norm_back(size_t c, size_t t, size_t row, const float *x, const float *w, const float *r,
                  const float *dy, float *dx, float *dw, int add);

/* h (f, t) = silu(gate) up, gate lying above up in gu (2f, t); keeps silu, and the derivative of
   silu in place of gate. */
void tb_swiglu(size_t f, size_t t, size_t row, float *gu, float *silu, float *h);
/* In place of gu its gradient, and in place of the gradient of h what h was. */
void tb_swiglu_back(size_t f, size_t t, size_t row, float *gu, const float *silu, float *h);

/* One head's queries, keys, values and gradient of what it mixed, (size, T) in rows of row. */
typedef struct tb_head {
    size_t size, row;
    const float *q, *k, *v, *dmixed;
} tb_head;

/* Of queries first .. first+t-1 the weights p (first+t, t) of the keys up to their own number, by
   the largest of them, 0 after; keeps in most (T) log2 of the largest, in share (T) 1 / sum. */
void tb_causal_softmax(const tb_head *h, size_t first, size_t t, float scale, float *p,
                       size_t p_row, float *most, float *share);
/* Of the same queries the probabilities p (t, first+t) and the gradient ds of their scores; most,
   share and delta (T) are those of each query, delta being sum_j p_j dp_j. Scores are not stored on
   the way. */
void tb_causal_softmax_back(const tb_head *h, size_t first, size_t t, float scale,
                            const float *most, const float *share, const float *delta, float *p,
                            float *ds);

/* Loss (t) is log sum exp - logit[target] of each column of logits (v, t), which become the
   gradient of the losses once multiplied by share (t). */
void tb_cross_entropy(size_t v, size_t t, float *logits, size_t row, const int32_t *targets,
                      float *loss, float *share);

#if TB_BF16
/* The output head's products while training are of bf16, summed in float32: 1.85 times as many of
   them in the same time. Two numbers that one product joins lie in the place of one float. */

/* As tb_matmul, of pairs: c (m, n) = a (m, k, 2) b (k, n, 2). */
void tb_matmul_bf16(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
                    const float *b, size_t b_row, float *c, size_t c_row, int add);

/* x (m, n) to y (m, n/2, 2), pairs of columns; x and y may be the same. */
void tb_bf16_rows(size_t m, size_t n, const float *x, size_t x_row, float *y, size_t y_row);
/* x (m, n) to y (m/2, n, 2), pairs of rows. In both the rest of a pair, and of a vector, is 0. */
void tb_bf16_pairs(size_t m, size_t n, const float *x, size_t x_row, float *y, size_t y_row);

/* As tb_cross_entropy, of at most TB_BF16_COLUMNS columns, with a row of room behind an odd v.
   The gradient lies there in both ways that products read it: pairs of rows i and i+1 in place of
   row i, and of row i+1 first row i, then from its middle on row i+1, as pairs of columns. */
enum { TB_BF16_COLUMNS = 64 };
void tb_cross_entropy_bf16(size_t v, size_t t, float *logits, size_t row, const int32_t *targets,
                           float *loss, float *share);
#endif

/* y (n) = e^x, as decoding has it, and 2^x, as all of the above: here to be tested; n in whole
   vectors. */
void tb_exp(int64_t n, const float *x, float *y);
void tb_exp2(int64_t n, const float *x, float *y);

/* sum = part[0] + part[1] + ..., in that order, of the n numbers at from; returns the sum of
   their squares. */
double tb_reduce(size_t n, size_t parts, float *const *part, size_t from, float *sum);
/* One step of AdamW on n weights. */
void tb_adamw(size_t n, const tb_adamw_settings *o, float *w, const float *g, float *m, float *v);

#endif
