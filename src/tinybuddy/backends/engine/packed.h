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

/* Numbers of 32, 8 or 4 bits, the latter two with a scale for each output; of the three pointers
   two are NULL. Of 4 bits there are two in a byte, the first one the lower half, and 8 stands for
   0. */
typedef struct tb_matrix {
    const float *f32;
    const int8_t *i8;
    const uint8_t *i4;
    const float *scale;
    int32_t in, out; /* out is a multiple of TB_ALIGN */
} tb_matrix;

static inline uint64_t tb_padded(uint64_t size) {
    return (size + TB_ALIGN - 1) / TB_ALIGN * TB_ALIGN;
}
static inline uint64_t tb_aligned(uint64_t bytes) {
    return (bytes + 4 * TB_ALIGN - 1) / (4 * TB_ALIGN) * (4 * TB_ALIGN);
}

static inline tb_matrix tb_matrix_of(int32_t in, uint64_t out) {
    tb_matrix m = {0};
    m.in = in;
    m.out = (int32_t)tb_padded(out);
    return m;
}

/* Bytes of a matrix's numbers, without the scales that follow them. */
static inline uint64_t tb_codes_bytes(tb_matrix m, int32_t bits) {
    const uint64_t numbers = (uint64_t)m.in * (uint64_t)m.out;
    return bits == 32 ? 4 * numbers : tb_aligned(bits == 8 ? numbers : numbers / 2);
}

static inline uint64_t tb_matrix_bytes(tb_matrix m, int32_t bits) {
    return tb_codes_bytes(m, bits) + (bits == 32 ? 0 : 4 * (uint64_t)m.out);
}

/* The matrix whose numbers lie at *at, which is moved behind them. */
static inline tb_matrix tb_take_matrix(tb_matrix m, int32_t bits, const uint8_t **at) {
    if (bits == 32)
        m.f32 = (const float *)*at;
    else if (bits == 8)
        m.i8 = (const int8_t *)*at;
    else
        m.i4 = *at;
    if (bits != 32) m.scale = (const float *)(*at + tb_codes_bytes(m, bits));
    *at += tb_matrix_bytes(m, bits);
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

/* x (in) = the weights of one output. */
static inline void tb_unpack_row(tb_matrix m, int32_t o, float *x) {
    const size_t first = tb_weight_at(m, o), step = (size_t)tb_group_width(m, o);
    for (int32_t i = 0; i < m.in; i++) {
        const size_t at = first + (size_t)i * step;
        if (m.f32)
            x[i] = m.f32[at];
        else
            x[i] = (float)(m.i8 ? m.i8[at] : (m.i4[at / 2] >> at % 2 * 4 & 15) - 8) * m.scale[o];
    }
}

#endif
