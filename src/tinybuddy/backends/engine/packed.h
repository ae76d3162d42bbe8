/* Weight matrices packed for products with one row or a few: what decoding does.

   The outputs of a matrix go in groups of GROUP: a group holds, for every input in turn, the weights
   of its outputs side by side. A product is then one walk through memory, a multiply-add for each
   load, with nothing to add up across lanes at the end. The last group is narrower: the number of
   outputs is rounded up to TB_ALIGN, with zeros. */

#ifndef TB_PACKED_H
#define TB_PACKED_H

#include <stddef.h>

#include "vector.h"

enum {
    TB_ALIGN = 16, /* floats in the widest vector, 64 bytes */
    GROUP = 64
};

/* float32 numbers, or 8-bit ones with a scale for each output; the other pointers are NULL. */
typedef struct tb_matrix {
    const float *f32;
    const int8_t *i8;
    const float *scale;
    int32_t in, out; /* out is a multiple of TB_ALIGN */
} tb_matrix;

static inline uint64_t padded(uint64_t size) { return (size + TB_ALIGN - 1) / TB_ALIGN * TB_ALIGN; }
static inline uint64_t aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

static inline tb_matrix matrix_of(int32_t in, uint64_t out) {
    tb_matrix m = {0};
    m.in = in;
    m.out = (int32_t)padded(out);
    return m;
}

static inline uint64_t matrix_bytes(tb_matrix m, int32_t int8) {
    uint64_t numbers = (uint64_t)m.in * (uint64_t)m.out;
    return int8 ? aligned(numbers) + 4 * (uint64_t)m.out : 4 * numbers;
}

/* The matrix whose numbers lie at *at, which is moved behind them. */
static inline tb_matrix take_matrix(tb_matrix m, int32_t int8, const uint8_t **at) {
    if (int8) {
        m.i8 = (const int8_t *)*at;
        m.scale = (const float *)(*at + aligned((uint64_t)m.in * (uint64_t)m.out));
    } else {
        m.f32 = (const float *)*at;
    }
    *at += matrix_bytes(m, int8);
    return m;
}

/* Outputs in the group that has output o; for an output, its inputs are so many numbers apart. */
static inline int32_t group_width(tb_matrix m, int32_t o) {
    const int32_t left = m.out - o / GROUP * GROUP;
    return left < GROUP ? left : GROUP;
}

/* Where the weight of the first input and output o is. */
static inline size_t place(tb_matrix m, int32_t o) {
    const int32_t group = o / GROUP * GROUP;
    return (size_t)group * (size_t)m.in + (size_t)(o - group);
}

/* Packs rows of weights (count, in) as the outputs from `first` on. With int8, a row's largest
   number becomes 127. */
static inline void pack_rows(tb_matrix m, int32_t first, const float *weights, int32_t count) {
    for (int32_t o = first; o < first + count; o++, weights += m.in) {
        const size_t at = place(m, o), step = (size_t)group_width(m, o);
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
static inline void unpack_row(tb_matrix m, int32_t o, float *x) {
    const size_t at = place(m, o), step = (size_t)group_width(m, o);
    for (int32_t i = 0; i < m.in; i++)
        x[i] = m.f32 ? m.f32[at + (size_t)i * step]
                     : (float)m.i8[at + (size_t)i * step] * m.scale[o];
}

/* ---- products ---- */

/* Registers that hold running sums: of 32 with AVX-512 and NEON, else of 16. */
#if LANES == 16 || defined(__aarch64__)
enum { SUMS = 24 };
#else
enum { SUMS = 12 };
#endif

enum { MOST_VECTORS = 4 }; /* multiply-adds under way at once; so many hide what one takes */

/* `rows` rows by `vectors` vectors of one group, in registers. Where vectors are few, inputs go in
   turn to `split` sums. All three are constants once inlined.

   w: (in, width) from our first output on; x: (rows, in); y: (rows, vectors * LANES) */
INLINE void tile(const int rows, const int vectors, const int split, tb_matrix w, size_t width,
                 const float *x, size_t x_stride, float *y, size_t y_stride, int add) {
    vec sums[SUMS];
    int32_t i = 0;
#pragma GCC unroll 24
    for (int j = 0; j < rows * vectors * split; j++) sums[j] = all(0.0f);
    for (; i + split <= w.in; i += split) {
#pragma GCC unroll 4
        for (int s = 0; s < split; s++) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                size_t at = (size_t)(i + s) * width + (size_t)v * LANES;
                vec weights = w.i8 ? load_int8(w.i8 + at) : load(w.f32 + at);
#pragma GCC unroll 24
                for (int r = 0; r < rows; r++) {
                    int j = (r * vectors + v) * split + s;
                    sums[j] = weights * all(x[(size_t)r * x_stride + (size_t)(i + s)]) + sums[j];
                }
            }
        }
    }
    for (; i < w.in; i++) { /* what split does not divide */
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            size_t at = (size_t)i * width + (size_t)v * LANES;
            vec weights = w.i8 ? load_int8(w.i8 + at) : load(w.f32 + at);
#pragma GCC unroll 24
            for (int r = 0; r < rows; r++) {
                int j = (r * vectors + v) * split;
                sums[j] = weights * all(x[(size_t)r * x_stride + (size_t)i]) + sums[j];
            }
        }
    }
#pragma GCC unroll 24
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec total = sums[(r * vectors + v) * split];
#pragma GCC unroll 4
            for (int s = 1; s < split; s++) total += sums[(r * vectors + v) * split + s];
            if (w.i8) total *= load(w.scale + v * LANES);
            float *to = y + (size_t)r * y_stride + (size_t)v * LANES;
            if (add) total += load(to);
            store(to, total);
        }
    }
}

/* All rows of `vectors` vectors: as many at once as the registers hold, then one by one. */
INLINE void columns(const int vectors, tb_matrix w, size_t width, int32_t rows, const float *x,
                    size_t x_stride, float *y, size_t y_stride, int add) {
    const int split = MOST_VECTORS / vectors, most = SUMS / (vectors * split);
    int32_t r = 0;
    for (; r + most <= rows; r += most, x += (size_t)most * x_stride, y += (size_t)most * y_stride)
        tile(most, vectors, split, w, width, x, x_stride, y, y_stride, add);
    for (; r < rows; r++, x += x_stride, y += y_stride)
        tile(1, vectors, split, w, width, x, x_stride, y, y_stride, add);
}

/* y (rows, out) = x (rows, in) w, or y += x w. Each row comes out the same to the last bit whatever
   the number of rows. */
INLINE void product_of(tb_matrix w, int32_t rows, const float *x, size_t x_stride, float *y,
                       size_t y_stride, int add) {
    for (int32_t group = 0; group < w.out; group += GROUP) {
        const int32_t width = w.out - group < GROUP ? w.out - group : GROUP;
        for (int32_t column = 0; column < width;) {
            const size_t first = (size_t)group * (size_t)w.in + (size_t)column;
            int32_t vectors = (width - column) / LANES;
            if (vectors > MOST_VECTORS) vectors = MOST_VECTORS;
            tb_matrix part = w;
            if (w.i8) {
                part.i8 = w.i8 + first;
                part.scale = w.scale + group + column;
            } else {
                part.f32 = w.f32 + first;
            }
            float *to = y + group + column;
            switch (vectors) { /* so that each is compiled with its number known */
            case 1: columns(1, part, (size_t)width, rows, x, x_stride, to, y_stride, add); break;
            case 2: columns(2, part, (size_t)width, rows, x, x_stride, to, y_stride, add); break;
            case 3: columns(3, part, (size_t)width, rows, x, x_stride, to, y_stride, add); break;
            default: columns(4, part, (size_t)width, rows, x, x_stride, to, y_stride, add); break;
            }
            column += vectors * LANES;
        }
    }
}

static void product(tb_matrix w, int32_t rows, const float *x, size_t x_stride, float *y,
                    size_t y_stride, int add) {
    if (w.i8) { /* the other kind of numbers is known to be absent in each */
        w.f32 = NULL;
        product_of(w, rows, x, x_stride, y, y_stride, add);
    } else {
        w.i8 = NULL;
        w.scale = NULL;
        product_of(w, rows, x, x_stride, y, y_stride, add);
    }
}

#endif
