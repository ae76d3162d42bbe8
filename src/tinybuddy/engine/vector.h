/* The inner loops of decoding, compiled once for each kind of processor; vector.c picks at run time.

   Matrices are packed in groups of TB_GROUP columns, a column being one output: group g holds, for
   every input i in turn, the weights of its columns side by side. A product is then one walk through
   memory, a multiply-add over outputs a load, with nothing to add up across lanes at the end. The
   last group is narrower: the number of outputs is rounded up to TB_ALIGN, with zeros. */

#ifndef TB_VECTOR_H
#define TB_VECTOR_H

#include <stddef.h>
#include <stdint.h>

enum {
    TB_ALIGN = 16,  /* floats in the widest vector, 64 bytes */
    TB_GROUP = 128, /* columns side by side: 8 such vectors, all in registers */
    TB_BLOCK = 64   /* weights of the sampler that are summed up together */
};

/* A packed matrix (in, out_padded); one of the two pointers is NULL. */
typedef struct tb_matrix {
    const float *f32;
    const int8_t *i8;
    const float *scale; /* of each output, with i8 */
    int32_t in, out;    /* out is a multiple of TB_ALIGN */
} tb_matrix;

/* One layer's keys (K, D, context_padded) and values (K, context, value_width) of one stream. */
typedef struct tb_attention {
    const float *keys, *values;
    int32_t heads, kv_heads, head_dim, context_padded, context, value_width;
} tb_attention;

typedef struct tb_kernels {
    const char *name;
    int32_t lanes;
    /* y (rows, out) = x (rows, in) w, or y += x w. Each row comes out the same to the last bit
       whatever the number of rows. */
    void (*product)(const tb_matrix *w, int32_t rows, const float *x, size_t x_stride, float *y,
                    size_t y_stride, int add);
    /* y = x / sqrt(mean(x^2) + eps) * weight, over size numbers */
    void (*rms_norm)(const float *x, const float *weight, float *y, int32_t size, float eps);
    /* gate *= up / (1 + exp(-gate)), over size numbers, a multiple of TB_ALIGN */
    void (*swiglu)(float *gate, const float *up, int32_t size);
    /* out (H, D) = softmax(q K) V over the first length positions; q (H, D) is scaled by the
       caller. scores has room for H/K rows of context_padded. */
    void (*attend)(const tb_attention *a, const float *q, int32_t length, float *scores, float *out);
    float (*maximum)(const float *x, int32_t size);
    /* weights[i] = exp((x[i] - best) * inverse_temperature), sums[b] = the sum of block b of
       TB_BLOCK; weights has room for whole blocks. */
    void (*soften)(const float *x, int32_t size, double best, double inverse_temperature,
                   double *weights, double *sums);
    /* The same in float: a weight w is off by at most w (1e-6 + 2e-7 |ln w|), and 1e-38. */
    void (*soften_quickly)(const float *x, int32_t size, float best, float inverse_temperature,
                           float *weights, float *sums);
} tb_kernels;

const tb_kernels *tb_kernels_pick(void);

#endif
