/* Products of packed matrices with one row or a few. */

#ifndef TB_PRODUCT_H
#define TB_PRODUCT_H

#include "packed.h"

/* Registers that hold running sums: of 32 with AVX-512 and NEON, else of 16. */
#if defined(TB_ONE_ROW)
enum { TB_SUMS = 4 };
#elif TB_LANES == 16 || defined(__aarch64__)
enum { TB_SUMS = 24 };
#else
enum { TB_SUMS = 12 };
#endif

enum { TB_MOST_VECTORS = 4 }; /* multiply-adds under way at once; so many hide what one takes */

/* Vector number `vector` of the numbers from place `at` on. */
TB_INLINE tb_vec tb_load_weights(tb_matrix w, size_t at, int vector) {
    if (w.i4) return tb_load_int4(w.i4 + at / 2, vector);
    at += (size_t)vector * TB_LANES;
    return w.i8 ? tb_load_int8(w.i8 + at) : tb_load(w.f32 + at);
}

/* `rows` rows by `vectors` vectors of one group, in registers. Where vectors are few, inputs go in
   turn to `split` sums. All three are constants once inlined.

   w: (in, width) from our first output on; x: (rows, in); y: (rows, vectors * TB_LANES) */
TB_INLINE void tb_tile(const int rows, const int vectors, const int split, tb_matrix w,
                       size_t width, const float *x, size_t x_stride, float *y, size_t y_stride,
                       int add) {
    tb_vec sums[TB_SUMS];
    int32_t i = 0;
#pragma GCC unroll 24
    for (int j = 0; j < rows * vectors * split; j++) sums[j] = tb_broadcast(0.0f);
    for (; i + split <= w.in; i += split) {
#pragma GCC unroll 4
        for (int s = 0; s < split; s++) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                const tb_vec weights = tb_load_weights(w, (size_t)(i + s) * width, v);
#pragma GCC unroll 24
                for (int r = 0; r < rows; r++) {
                    int j = (r * vectors + v) * split + s;
                    sums[j] =
                        weights * tb_broadcast(x[(size_t)r * x_stride + (size_t)(i + s)]) + sums[j];
                }
            }
        }
    }
    for (; i < w.in; i++) { /* what split does not divide */
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const tb_vec weights = tb_load_weights(w, (size_t)i * width, v);
#pragma GCC unroll 24
            for (int r = 0; r < rows; r++) {
                int j = (r * vectors + v) * split;
                sums[j] = weights * tb_broadcast(x[(size_t)r * x_stride + (size_t)i]) + sums[j];
            }
        }
    }
#pragma GCC unroll 24
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            tb_vec total = sums[(r * vectors + v) * split];
#pragma GCC unroll 4
            for (int s = 1; s < split; s++) total += sums[(r * vectors + v) * split + s];
            float *to = y + (size_t)r * y_stride + (size_t)v * TB_LANES;
            const tb_vec before = add ? tb_load(to) : tb_broadcast(0.0f);
            /* One expression: were the sum in a branch of its own, clang for ARM would round
               between it and the product in one tile and not in another. */
            if (w.scale)
                total = total * tb_load(w.scale + v * TB_LANES) + before;
            else if (add)
                total += before;
            tb_store(to, total);
        }
    }
}

/* All rows of `vectors` vectors: as many at once as the registers hold, then one by one. */
TB_INLINE void tb_columns(const int vectors, tb_matrix w, size_t width, int32_t rows,
                          const float *x, size_t x_stride, float *y, size_t y_stride, int add) {
    const int split = TB_MOST_VECTORS / vectors, most = TB_SUMS / (vectors * split);
    int32_t r = 0;
    for (; r + most <= rows; r += most, x += (size_t)most * x_stride, y += (size_t)most * y_stride)
        tb_tile(most, vectors, split, w, width, x, x_stride, y, y_stride, add);
    for (; r < rows; r++, x += x_stride, y += y_stride)
        tb_tile(1, vectors, split, w, width, x, x_stride, y, y_stride, add);
}

/* y (rows, out) = x (rows, in) w, or y += x w. Each row comes out the same to the last bit whatever
   the number of rows. */
TB_INLINE void tb_product_of(tb_matrix w, int32_t rows, const float *x, size_t x_stride, float *y,
                             size_t y_stride, int add) {
    for (int32_t group = 0; group < w.out; group += TB_GROUP) {
        const int32_t width = w.out - group < TB_GROUP ? w.out - group : TB_GROUP;
        for (int32_t column = 0; column < width;) {
            const size_t first = (size_t)group * (size_t)w.in + (size_t)column;
            int32_t vectors = (width - column) / TB_LANES;
            if (vectors > TB_MOST_VECTORS) vectors = TB_MOST_VECTORS;
            tb_matrix part = w;
            if (w.f32) part.f32 = w.f32 + first;
            if (w.i8) part.i8 = w.i8 + first;
            if (w.i4) part.i4 = w.i4 + first / 2;
            if (w.scale) part.scale = w.scale + group + column;
            float *to = y + group + column;
            if (TB_ALIGN % (TB_MOST_VECTORS * TB_LANES) == 0)
                vectors = TB_MOST_VECTORS; /* always */
            switch (vectors) {             /* so that each is compiled with its number known */
            case 1:
                tb_columns(1, part, (size_t)width, rows, x, x_stride, to, y_stride, add);
                break;
            case 2:
                tb_columns(2, part, (size_t)width, rows, x, x_stride, to, y_stride, add);
                break;
            case 3:
                tb_columns(3, part, (size_t)width, rows, x, x_stride, to, y_stride, add);
                break;
            default:
                tb_columns(4, part, (size_t)width, rows, x, x_stride, to, y_stride, add);
                break;
            }
            column += vectors * TB_LANES;
        }
    }
}

static void tb_product(tb_matrix w, int32_t rows, const float *x, size_t x_stride, float *y,
                       size_t y_stride, int add) {
    /* The other kinds of numbers are known to be absent in each. */
    if (TB_HAS_BITS(8) && w.i8) {
        w.f32 = NULL;
        w.i4 = NULL;
        tb_product_of(w, rows, x, x_stride, y, y_stride, add);
    } else if (TB_HAS_BITS(4) && w.i4) {
        w.f32 = NULL;
        w.i8 = NULL;
        tb_product_of(w, rows, x, x_stride, y, y_stride, add);
    } else if (TB_HAS_BITS(32)) {
        w.i8 = NULL;
        w.i4 = NULL;
        w.scale = NULL;
        tb_product_of(w, rows, x, x_stride, y, y_stride, add);
    }
}

#endif
