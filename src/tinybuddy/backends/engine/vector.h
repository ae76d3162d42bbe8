/* Vectors as wide as those of the processor that this is compiled for: AVX-512, AVX2 with FMA, or 4
   lanes wherever GCC's vector types are (SSE2, NEON). Elsewhere, or with TB_SCALAR, a vector is one
   float and everything is plain C99.

   Products and sums are written a * b + c; -ffp-contract=fast makes them one instruction. */

#ifndef TB_VECTOR_H
#define TB_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "target.h"

#if !defined(__GNUC__) || defined(TB_SCALAR)
#define TB_LANES 1
#elif TB_ALIGN >= 16 && defined(__AVX512F__)
#define TB_LANES 16
#elif TB_ALIGN >= 8 && defined(__AVX2__) && defined(__FMA__)
#define TB_LANES 8
#else
#define TB_LANES 4
#endif

/* Whether there is an instruction for products of bf16, which Intel's processors have from Cooper
   Lake on, AMD's from Zen 4. */
#if TB_LANES == 16 && defined(__AVX512BF16__)
#define TB_BF16 1
#else
#define TB_BF16 0
#endif

#if TB_LANES >= 8
#include <immintrin.h>
#endif

#if TB_LANES > 1
#define TB_INLINE static inline __attribute__((always_inline, unused))
/* aligned(4): loads and stores need not be aligned. */
typedef float tb_vec __attribute__((vector_size(4 * TB_LANES), aligned(4), may_alias));
typedef uint32_t tb_bits __attribute__((vector_size(4 * TB_LANES), aligned(4), may_alias));
#else
#define TB_INLINE static inline
typedef float tb_vec;
#endif

TB_INLINE tb_vec tb_load(const float *p) {
    return *(const tb_vec *)p;
}

TB_INLINE void tb_store(float *p, tb_vec x) {
    *(tb_vec *)p = x;
}

TB_INLINE tb_vec tb_broadcast(float x) {
#if TB_LANES > 1
    return x - (tb_vec){0}; /* x - 0 is x, also for -0 and NaN, so it costs only the broadcast */
#else
    return x;
#endif
}

/* The larger of both; x where x is NaN. */
TB_INLINE tb_vec tb_max(tb_vec low, tb_vec x) {
#if TB_LANES == 16
    return (tb_vec)_mm512_max_ps((__m512)low, (__m512)x); /* one instruction instead of three */
#elif TB_LANES == 8
    return (tb_vec)_mm256_max_ps((__m256)low, (__m256)x);
#elif TB_LANES > 1
    tb_bits below = (tb_bits)(x < low);
    return (tb_vec)((below & (tb_bits)low) | (~below & (tb_bits)x));
#else
    return x < low ? low : x;
#endif
}

/* The smaller of both; x where x is NaN. */
TB_INLINE tb_vec tb_min(tb_vec high, tb_vec x) {
#if TB_LANES == 16
    return (tb_vec)_mm512_min_ps((__m512)high, (__m512)x);
#elif TB_LANES == 8
    return (tb_vec)_mm256_min_ps((__m256)high, (__m256)x);
#elif TB_LANES > 1
    tb_bits above = (tb_bits)(x > high);
    return (tb_vec)((above & (tb_bits)high) | (~above & (tb_bits)x));
#else
    return x > high ? high : x;
#endif
}

/* x in the lanes below count, value from there on. */
TB_INLINE tb_vec tb_first_lanes(size_t count, tb_vec x, float value) {
    if (count >= TB_LANES) return x;
#if TB_LANES > 1
    tb_bits lane;
    for (uint32_t i = 0; i < TB_LANES; i++) lane[i] = i;
    tb_bits inside = (tb_bits)(lane < (uint32_t)count);
    return (tb_vec)((inside & (tb_bits)x) | (~inside & (tb_bits)tb_broadcast(value)));
#else
    return tb_broadcast(value);
#endif
}

/* value in the lanes below count, x from there on. */
TB_INLINE tb_vec tb_last_lanes(size_t count, tb_vec x, float value) {
    if (count >= TB_LANES) return tb_broadcast(value);
#if TB_LANES > 1
    tb_bits lane;
    for (uint32_t i = 0; i < TB_LANES; i++) lane[i] = i;
    tb_bits inside = (tb_bits)(lane >= (uint32_t)count);
    return (tb_vec)((inside & (tb_bits)x) | (~inside & (tb_bits)tb_broadcast(value)));
#else
    return x;
#endif
}

/* A whole block of TB_LANES vectors transposed, by as many rounds of interleaving its halves as
   make TB_LANES of 1. */
TB_INLINE void tb_transpose_vectors(tb_vec *x) {
#ifdef __clang__
#define TB_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else /* GCC has that only from 12 on */
#define TB_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (tb_bits){__VA_ARGS__})
#endif
#if TB_LANES == 16
#define TB_LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define TB_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif TB_LANES == 8
#define TB_LOW  0, 8, 1, 9, 2, 10, 3, 11
#define TB_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif TB_LANES == 4
#define TB_LOW  0, 4, 1, 5
#define TB_HIGH 2, 6, 3, 7
#endif
#if TB_LANES > 1
    enum { HALF = TB_LANES / 2 };
#pragma GCC unroll 4
    for (int round = 1; round < TB_LANES; round *= 2) {
        tb_vec y[TB_LANES];
#pragma GCC unroll 8
        for (int i = 0; i < HALF; i++) {
            y[2 * i] = TB_SHUFFLE(x[i], x[i + HALF], TB_LOW);
            y[2 * i + 1] = TB_SHUFFLE(x[i], x[i + HALF], TB_HIGH);
        }
#pragma GCC unroll 16
        for (int i = 0; i < TB_LANES; i++) x[i] = y[i];
    }
#else
    (void)x;
#endif
}

/* Stores the lanes below count. */
TB_INLINE void tb_store_first(size_t count, float *p, tb_vec x) {
#if TB_LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)(count >= 16 ? 0xffff : (1 << count) - 1), (__m512)x);
#elif TB_LANES > 1
    for (size_t i = 0; i < TB_LANES && i < count; i++) p[i] = x[i];
#else
    if (count) *p = x;
#endif
}

/* Small whole numbers as floats. */
TB_INLINE tb_vec tb_load_int8(const int8_t *p) {
#if TB_LANES == 16
    return (tb_vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif TB_LANES == 8
    return (tb_vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif TB_LANES > 1
    return (tb_vec){(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
#else
    return (float)*p;
#endif
}

/* The same of 4 bits, 8 being 0: those of vector number `vector` from p on, where the lower half of
   a byte is the first of two. */
TB_INLINE tb_vec tb_load_int4(const uint8_t *p, int vector) {
    float codes[TB_LANES];
    for (int i = 0; i < TB_LANES; i++) {
        const int at = vector * TB_LANES + i;
        codes[i] = (float)((p[at / 2] >> at % 2 * 4 & 15) - 8);
    }
    return tb_load(codes);
}

/* Across lanes by halves: one after the other, each addition would wait for the one before it. */
TB_INLINE float tb_sum(tb_vec x) {
#if TB_LANES == 16
    return _mm512_reduce_add_ps((__m512)x);
#else
    float lanes[TB_LANES];
    memcpy(lanes, &x, sizeof x);
    for (int half = TB_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
#endif
}

/* The largest lane; what it is among NaN is not said. */
TB_INLINE float tb_largest(tb_vec x) {
#if TB_LANES == 16
    return _mm512_reduce_max_ps((__m512)x);
#else
    float lanes[TB_LANES];
    memcpy(lanes, &x, sizeof x);
    for (int half = TB_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
#endif
}

/* Bit i is 1 where lane i of x is above least. */
TB_INLINE uint32_t tb_lanes_above(tb_vec x, float least) {
#if TB_LANES == 16
    return _mm512_cmp_ps_mask((__m512)x, (__m512)tb_broadcast(least), _CMP_GT_OQ);
#elif TB_LANES == 8
    return (uint32_t)_mm256_movemask_ps(
        _mm256_cmp_ps((__m256)x, (__m256)tb_broadcast(least), _CMP_GT_OQ));
#elif TB_LANES > 1
    uint32_t above = 0;
    for (int i = 0; i < TB_LANES; i++) above |= (uint32_t)(x[i] > least) << i;
    return above;
#else
    return x > least;
#endif
}

/* The place of the lowest 1 among the lanes' bits, of which there is one. */
TB_INLINE int32_t tb_lowest_lane(uint32_t lanes) {
#if TB_LANES > 1
    return __builtin_ctz(lanes);
#else
    (void)lanes;
    return 0;
#endif
}

/* x[i] = e^x[i] for n vectors, at most 8, a constant where it is called. Side by side, since each
   step waits 4 cycles for the one before it: 4 together take 0.8 of the time of one by one.

   The relative error is below 2e-7 between -87 and 88 (tests/engine measures it); what lies outside
   counts as -87.3 or 88.3. NaN comes through. e^x = 2^k e^r, k the nearest whole number to x / ln
   2, r in two pieces so that it stays exact; the polynomial is that of Cephes (Moshier, expf). */
TB_INLINE void tb_exp_vectors(const int n, tb_vec *x) {
    tb_vec shifted[8], r[8], p[8];
    for (int i = 0; i < n; i++)
        x[i] = tb_min(tb_broadcast(88.3f), tb_max(tb_broadcast(-87.3f), x[i]));
    for (int i = 0; i < n; i++) shifted[i] = x[i] * 1.44269504f + 12582912.0f; /* 1.5 * 2^23 + k */
    for (int i = 0; i < n; i++) p[i] = shifted[i] - 12582912.0f;
    for (int i = 0; i < n; i++) r[i] = x[i] - p[i] * 0.693359375f;
    for (int i = 0; i < n; i++) r[i] = r[i] + p[i] * 2.12194440e-4f;
    for (int i = 0; i < n; i++) p[i] = r[i] * 1.9875691500e-4f + 1.3981999507e-3f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 8.3334519073e-3f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 4.1665795894e-2f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 1.6666665459e-1f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 5.0000001201e-1f;
    for (int i = 0; i < n; i++) p[i] = p[i] * (r[i] * r[i]) + (r[i] + 1.0f);
    for (int i = 0; i < n;
         i++) { /* 2^k is put together from its exponent, the lowest bits of shifted */
#if TB_LANES > 1
        x[i] = p[i] * (tb_vec)(((tb_bits)shifted[i] << 23) + 0x3f800000u);
#else
        uint32_t power;
        memcpy(&power, &shifted[i], sizeof power);
        power = (power << 23) + 0x3f800000u;
        memcpy(&x[i], &power, sizeof power);
        x[i] *= p[i];
#endif
    }
}

TB_INLINE tb_vec tb_exp_vector(tb_vec x) {
    tb_exp_vectors(1, &x);
    return x;
}

/* x[i] = 2^x[i] for n vectors, at most 8, a constant where it is called. Softmaxes take it instead
   of e^x, whose log2 e joins their own factor: 6 multiplications in place of 12.

   The relative error is below 2e-7 from -126 up to 126, which x must not exceed; what lies below
   counts as -126. NaN comes through. 2^x = 2^k 2^r, k the nearest whole number; the polynomial has
   the least relative error, 9.1e-8, of those of degree 5 that are 1 at 0. */
TB_INLINE void tb_exp2_vectors(const int n, tb_vec *x) {
    tb_vec shifted[8], r[8], p[8];
    for (int i = 0; i < n; i++) x[i] = tb_max(tb_broadcast(-126.0f), x[i]);
    for (int i = 0; i < n; i++) shifted[i] = x[i] + 12582912.0f; /* 1.5 * 2^23 + k */
    for (int i = 0; i < n; i++) r[i] = x[i] - (shifted[i] - 12582912.0f);
    for (int i = 0; i < n; i++) p[i] = r[i] * 1.32647215e-3f + 9.67151299e-3f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 5.55073358e-2f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 2.40222424e-1f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 6.93147004e-1f;
    for (int i = 0; i < n; i++) p[i] = p[i] * r[i] + 1.0f;
    for (int i = 0; i < n; i++) { /* k, the lowest bits of shifted, joins the exponent of p */
#if TB_LANES > 1
        x[i] = (tb_vec)((tb_bits)p[i] + ((tb_bits)shifted[i] << 23));
#else
        uint32_t bits, power;
        memcpy(&bits, &p[i], sizeof bits);
        memcpy(&power, &shifted[i], sizeof power);
        bits += power << 23;
        memcpy(&x[i], &bits, sizeof bits);
#endif
    }
}

TB_INLINE tb_vec tb_exp2_vector(tb_vec x) {
    tb_exp2_vectors(1, &x);
    return x;
}

/* The sum, lane by lane, of n vectors of e^((x - best) * factor), which y keeps unless it is NULL.
 */
TB_INLINE tb_vec tb_exp_sum(const int n, const float *x, float best, float factor, float *y) {
    tb_vec e[8], total = tb_broadcast(0.0f);
    for (int i = 0; i < n; i++) e[i] = (tb_load(x + i * TB_LANES) - best) * factor;
    tb_exp_vectors(n, e);
    for (int i = 0; i < n; i++) {
        if (y) tb_store(y + i * TB_LANES, e[i]);
        total += e[i];
    }
    return total;
}

#endif
