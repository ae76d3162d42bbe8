/* The arithmetic that takes the time, in vectors as wide as the processor's.

   Matrices are float32, row by row. A row is padded with zeros to a whole number of TB_ALIGN, so
   that no loop has a rest; zeros stay zeros in every product, gradient and update. */
#ifndef TB_KERNELS_H
#define TB_KERNELS_H

#include "config.h"

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

/* y = x r w with r = 1 / sqrt(mean(x^2) + eps), for each of t rows of c numbers; keeps r. */
void tb_norm(size_t t, size_t c, size_t stride, float eps, const float *x, const float *w, float *y,
             float *r);
/* dx += and dw += from dy, the gradient of y. */
void tb_norm_back(size_t t, size_t c, size_t stride, const float *x, const float *w, const float *r,
                  const float *dy, float *dx, float *dw);

/* h (t, f) = silu(gate) up, gate and up lying side by side in gu (t, 2f); f in whole vectors. */
void tb_swiglu(size_t t, size_t f, const float *gu, size_t gu_row, float *h, size_t h_row);
/* dgu (t, 2f) from dh (t, f). */
void tb_swiglu_back(size_t t, size_t f, const float *gu, size_t gu_row, const float *dh,
                    size_t dh_row, float *dgu);

/* Rows first .. first+t-1 of scores (t, n) become probabilities softmax(scale s) of the columns
   up to their own number, 0 after; log_sum (t) keeps log sum exp. */
void tb_causal_softmax(size_t t, size_t first, size_t n, float scale, float *s, size_t s_row,
                       float *log_sum);
/* The same again from the kept log_sum, and in place of dp, the gradient of the
   probabilities, that of the scores; delta (t) holds sum_j p_j dp_j. */
void tb_causal_softmax_back(size_t t, size_t first, size_t n, float scale, float *s, float *dp,
                            size_t s_row, const float *log_sum, const float *delta);

/* Logits (t, v) become the gradient of scale * sum of losses; loss (t) is each row's own,
   log sum exp - logit[target]. With scale 0 the logits are spoiled and only losses count. */
void tb_cross_entropy(size_t t, size_t v, float *logits, size_t row, const int32_t *targets,
                      float scale, float *loss);

/* y (n) = e^x: what all of the above use, here to be tested;
   n in whole vectors. */
void tb_exp(int64_t n, const float *x, float *y);

/* sum = part[0] + part[1] + ..., in that order, of the n numbers at from; returns the sum of
   their squares. */
double tb_reduce(size_t n, size_t parts, float *const *part, size_t from, float *sum);
/* One step of AdamW on n weights. */
void tb_adamw(size_t n, const tb_adamw_settings *o, float *w, const float *g, float *m, float *v);

#endif
