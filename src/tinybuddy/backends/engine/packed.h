/* Weight matrices packed for products with one row or a few, which is what decoding does.

   The outputs of a matrix go in groups of TB_GROUP: a group holds, for every input in turn, the
   weights of its outputs side by side. A product is then one walk through memory, a multiply-add
   for each load, with nothing to add up across lanes at the end. The last group is narrower: the
   number of outputs is rounded up to TB_ALIGN, with zeros. */

#ifndef TB_PACKED_H
#define TB_PACKED_H

#include "config.h"
#include "vector.h"

enum { TB_GROUP = 64 };

/* float32 numbers, or 8-bit ones with a scale for each output; the other pointers are NULL. */
typedef struct tb_matrix {
    const float *f32;
    const int8_t *i8;
    const float *scale;
    int32_t in, out; /* out is a multiple of TB_ALIGN */
} tb_matrix;

static inline uint64_t tb_padded(uint64_t size) {
    return (size + TB_ALIGN - 1) / TB_ALIGN * TB_ALIGN;
}
static inline uint64_t tb_aligned(uint64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static inline tb_matrix tb_matrix_of(int32_t in, uint64_t out) {
    tb_matrix m = {0};
    m.in = in;
    m.out = (int32_t)tb_padded(out);
    return m;
}

static inline uint64_t tb_matrix_bytes(tb_matrix m, int32_t int8) {
    uint64_t numbers = (uint64_t)m.in * (uint64_t)m.out;
    return int8 ? tb_aligned(numbers) + 4 * (uint64_t)m.out : 4 * numbers;
}

/* The matrix whose numbers lie at *at, which is moved behind them. */
static inline tb_matrix tb_take_matrix(tb_matrix m, int32_t int8, const uint8_t **at) {
    if (int8) {
        m.i8 = (const int8_t *)*at;
        m.scale = (const float *)(*at + tb_aligned((uint64_t)m.in * (uint64_t)m.out));
    } else {
        m.f32 = (const float *)*at;
    }
    *at += tb_matrix_bytes(m, int8);
    return m;
}

/* Outputs in the group that has output o; for an output, its inputs are so many numbers apart. */
static inline int32_t tb_group_width(tb_matrix m, int32_t o) {
    const int32_t left = m.out - o / TB_GROUP * TB_GROUP;
    return left < TB_GROUP ? left : TB_GROUP;
}

/* Where the weight of the first input and output o is. */
static inline size_t tb_weight_at(tb_matrix m, int32_t o) {
    const int32_t group = o / TB_GROUP * TB_GROUP;
    return (size_t)group * (size_t)m.in + (size_t)(o - group);
}

/* Packs rows of weights (count, in) as the outputs from `first` on. With int8, a row's largest
   number becomes 127. */
static inline void tb_pack_rows(tb_matrix m, int32_t first, const float *weights, int32_t count) {
    for (int32_t o = first; o < first + count; o++, weights += m.in) {
        const size_t at = tb_weight_at(m, o), step = (size_t)tb_group_width(m, o);
        float most = 0.0f;
        if (m.f32) {
            for (int32_t i = 0; i < m.in; i++) ((float *)m.f32)[at + (size_t)i * step] = weights[i];
            continue;
        }
        for (int32_t i = 0; i < m.in; i++)
            if (fabsf(weights[i]) > most) most = fabsf(weights[i]);
        ((float *)m.scale)[o] = most / 127.0f;
        for (int32_t i = 0; i < m.in; i++) {
            float level = most > 0.0f ? weights[i] / most * 127.0f : 0.0f;
            /* NaN and infinity fit no 8 bits, and to convert them is undefined. */
            int fits = level >= -127.0f && level <= 127.0f;
            ((int8_t *)m.i8)[at + (size_t)i * step] = fits ? (int8_t)lrintf(level) : 0;
        }
    }
}

/* x (in) = the weights of one output. */
static inline void tb_unpack_row(tb_matrix m, int32_t o, float *x) {
    const size_t at = tb_weight_at(m, o), step = (size_t)tb_group_width(m, o);
    for (int32_t i = 0; i < m.in; i++)
        x[i] =
            m.f32 ? m.f32[at + (size_t)i * step] : (float)m.i8[at + (size_t)i * step] * m.scale[o];
}

#endif
