/* The inner loops over vectors of LANES floats. vector.c includes this file once for each kind of
   processor, with LANES and NAME; hence no include guard. */

/* ---- what a vector can do ---- */

#if LANES > 1
typedef float NAME(vf) __attribute__((vector_size(LANES * 4)));
typedef int32_t NAME(vi) __attribute__((vector_size(LANES * 4)));
typedef uint32_t NAME(vu) __attribute__((vector_size(LANES * 4)));
typedef double NAME(vd) __attribute__((vector_size(LANES * 4)));  /* LANES / 2 doubles */
typedef int64_t NAME(vl) __attribute__((vector_size(LANES * 4)));
typedef uint64_t NAME(vul) __attribute__((vector_size(LANES * 4)));
typedef float NAME(vh) __attribute__((vector_size(LANES * 2)));   /* LANES / 2 floats */
#define DOUBLES (LANES / 2)
#else
typedef float NAME(vf);
typedef double NAME(vd);
#define DOUBLES 1
#endif
#define vf NAME(vf)
#define vd NAME(vd)

TB_INLINE vf NAME(load)(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

TB_INLINE void NAME(store)(float *p, vf v) { memcpy(p, &v, sizeof v); }

TB_INLINE vf NAME(splat)(float x) {
#if LANES > 1
    return x - (vf){0}; /* x - 0 is x, also for -0 and NaN, so it costs only the broadcast */
#else
    return x;
#endif
}

TB_INLINE vd NAME(splatd)(double x) {
#if LANES > 1
    return x - (vd){0};
#else
    return x;
#endif
}

/* a b + c. Spelled out, since -std=c99 forbids the compiler to fuse the two. */
TB_INLINE vf NAME(fma)(vf a, vf b, vf c) {
#if LANES == 16
    return _mm512_fmadd_ps(a, b, c);
#elif LANES == 8
    return _mm256_fmadd_ps(a, b, c);
#elif LANES == 4 && defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

TB_INLINE vd NAME(fmad)(vd a, vd b, vd c) {
#if LANES == 16
    return _mm512_fmadd_pd(a, b, c);
#elif LANES == 8
    return _mm256_fmadd_pd(a, b, c);
#elif LANES == 4 && defined(__aarch64__)
    return (vd)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

/* The larger of each pair; b where one is NaN, as x86 does it. */
TB_INLINE vf NAME(max)(vf a, vf b) {
#if LANES == 16
    return _mm512_max_ps(a, b);
#elif LANES == 8
    return _mm256_max_ps(a, b);
#elif LANES > 1
    NAME(vi) larger = a > b;
    return (vf)(((NAME(vi))a & larger) | ((NAME(vi))b & ~larger));
#else
    return a > b ? a : b;
#endif
}

/* The smaller of each pair; b where one is NaN. */
TB_INLINE vf NAME(min)(vf a, vf b) {
#if LANES == 16
    return _mm512_min_ps(a, b);
#elif LANES == 8
    return _mm256_min_ps(a, b);
#else
    return -NAME(max)(-a, -b);
#endif
}

TB_INLINE vd NAME(maxd)(vd a, vd b) {
#if LANES == 16
    return _mm512_max_pd(a, b);
#elif LANES == 8
    return _mm256_max_pd(a, b);
#elif LANES > 1
    NAME(vl) larger = a > b;
    return (vd)(((NAME(vl))a & larger) | ((NAME(vl))b & ~larger));
#else
    return a > b ? a : b;
#endif
}

/* LANES small whole numbers as floats. */
TB_INLINE vf NAME(load_i8)(const int8_t *p) {
#if LANES == 16
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
#elif LANES == 8
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
#elif LANES > 1
    return (vf){(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
#else
    return (float)*p;
#endif
}

/* DOUBLES floats as doubles. */
TB_INLINE vd NAME(load_double)(const float *p) {
#if LANES > 1
    NAME(vh) v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vd);
#else
    return *p;
#endif
}

/* 2^n, where t = n + 1.5 * 2^23 and so has n in its lowest bits; -127 <= n <= 128. */
TB_INLINE vf NAME(power_of_two)(vf t) {
#if LANES > 1
    return (vf)(((NAME(vu))t + 127) << 23);
#else
    return t == t ? ldexpf(1.0f, (int)(t - 12582912.0f)) : t; /* NaN is no int */
#endif
}

/* 2^n, where t = n + 1.5 * 2^52; -1022 <= n <= 1023. */
TB_INLINE vd NAME(power_of_two_d)(vd t) {
#if LANES > 1
    return (vd)(((NAME(vul))t + 1023) << 52);
#else
    return t == t ? ldexp(1.0, (int)(t - 6755399441055744.0)) : t;
#endif
}

/* v in the first `count` lanes, other in the rest; 0 < count. */
TB_INLINE vf NAME(first_of)(int32_t count, vf v, vf other) {
#if LANES == 16
    return _mm512_mask_blend_ps((__mmask16)(count >= 16 ? 0xffff : (1 << count) - 1), other, v);
#else
    float lanes[LANES], others[LANES];
    memcpy(lanes, &v, sizeof lanes);
    memcpy(others, &other, sizeof others);
    for (int i = 0; i < LANES; i++) lanes[i] = i < count ? lanes[i] : others[i];
    memcpy(&v, lanes, sizeof v);
    return v;
#endif
}

/* Stores the first `count` lanes. */
TB_INLINE void NAME(store_first)(int32_t count, float *p, vf v) {
#if LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)(count >= 16 ? 0xffff : (1 << count) - 1), v);
#else
    float lanes[LANES];
    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < LANES && i < count; i++) p[i] = lanes[i];
#endif
}

/* Across lanes by halves: one after the other would be 16 times 4 cycles. */
TB_INLINE float NAME(sum)(vf v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof lanes);
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

TB_INLINE double NAME(sumd)(vd v) {
    double lanes[DOUBLES];
    memcpy(lanes, &v, sizeof lanes);
#pragma GCC unroll 4
    for (int half = DOUBLES / 2; half; half /= 2)
#pragma GCC unroll 4
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

TB_INLINE float NAME(largest)(vf v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof lanes);
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

/* Vectors whose exponentials are computed side by side: one alone waits for its own 16 steps, and
   the processor looks ahead only some 90 instructions. 3 times as fast as one by one. */
#define SIDE (LANES == 16 ? 4 : 2)

/* e^x of `count` vectors, within 2 units in the last place for x in [-87, 88], to which it is
   clamped; NaN stays. x = n ln 2 + r, |r| <= ln 2 / 2: e^x = 2^n e^r, and e^r is its Taylor
   polynomial of degree 7, whose next term is below 6e-9. */
TB_INLINE void NAME(exp)(int count, vf *x) {
    static const float series[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    const vf magic = NAME(splat)(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vf t[4], r[4], p[4];
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) x[j] = NAME(max)(NAME(splat)(-87.0f), x[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) x[j] = NAME(min)(NAME(splat)(88.0f), x[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) t[j] = NAME(fma)(x[j], NAME(splat)(1.44269504f), magic);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) p[j] = t[j] - magic; /* n */
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) r[j] = NAME(fma)(p[j], NAME(splat)(-0.693359375f), x[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) r[j] = NAME(fma)(p[j], NAME(splat)(2.12194440e-4f), r[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) p[j] = NAME(splat)(1.0f / 5040);
#pragma GCC unroll 8
    for (int k = 0; k < 7; k++)
#pragma GCC unroll 4
        for (int j = 0; j < count; j++) p[j] = NAME(fma)(p[j], r[j], NAME(splat)(series[k]));
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) x[j] = p[j] * NAME(power_of_two)(t[j]);
}

/* e^x of `count` vectors for x <= 0, within 1e-15 of itself down to -700, below which it stays at
   1e-304: against the best token's 1 that is 0. Exactly 1 at 0. Degree 12: the next term is below
   2e-16. Even and odd powers go side by side. */
TB_INLINE void NAME(expd)(int count, vd *x) {
    static const double evens[] = {1.0 / 3628800, 1.0 / 40320, 1.0 / 720, 1.0 / 24, 0.5, 1.0};
    static const double odds[] = {1.0 / 362880, 1.0 / 5040, 1.0 / 120, 1.0 / 6, 1.0};
    const vd magic = NAME(splatd)(6755399441055744.0); /* 1.5 * 2^52 */
    vd t[4], r[4], s[4], even[4], odd[4];
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) x[j] = NAME(maxd)(NAME(splatd)(-700.0), x[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) t[j] = NAME(fmad)(x[j], NAME(splatd)(1.4426950408889634), magic);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) s[j] = t[j] - magic; /* n */
#pragma GCC unroll 4
    for (int j = 0; j < count; j++)
        r[j] = NAME(fmad)(s[j], NAME(splatd)(-0.693147180369123816490), x[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++)
        r[j] = NAME(fmad)(s[j], NAME(splatd)(-1.90821492927058770002e-10), r[j]);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) {
        s[j] = r[j] * r[j];
        even[j] = NAME(splatd)(1.0 / 479001600);
        odd[j] = NAME(splatd)(1.0 / 39916800);
    }
#pragma GCC unroll 6
    for (int k = 0; k < 6; k++) {
#pragma GCC unroll 4
        for (int j = 0; j < count; j++) even[j] = NAME(fmad)(even[j], s[j], NAME(splatd)(evens[k]));
        if (k == 5) break;
#pragma GCC unroll 4
        for (int j = 0; j < count; j++) odd[j] = NAME(fmad)(odd[j], s[j], NAME(splatd)(odds[k]));
    }
#pragma GCC unroll 4
    for (int j = 0; j < count; j++)
        x[j] = NAME(fmad)(odd[j], r[j], even[j]) * NAME(power_of_two_d)(t[j]);
}

/* ---- products ---- */

/* Registers that hold running sums: of 32 with AVX-512, else of 16. */
#if LANES == 16
#define SUMS 24
#define MOST_VECTORS 8
#else
#define SUMS 12
#define MOST_VECTORS 4
#endif

/* `rows` rows by `vectors` vectors of one group, in registers. Inputs go in turn to `split` sums,
   so that at least 4 multiply-adds are under way at once. All three are constants once inlined.

   w: (in, width) at the first of our columns; x: (rows, in); y: (rows, vectors * LANES) */
TB_INLINE void NAME(tile)(int rows, int vectors, int split, const float *f32, const int8_t *i8,
                          const float *scale, size_t width, int32_t in, const float *x,
                          size_t x_stride, float *y, size_t y_stride, int add) {
    vf sums[SUMS];
#pragma GCC unroll 24
    for (int j = 0; j < rows * vectors * split; j++) sums[j] = NAME(splat)(0.0f);
    int32_t i = 0;
    for (; i + split <= in; i += split) {
#pragma GCC unroll 4
        for (int s = 0; s < split; s++) {
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) {
                size_t at = (size_t)(i + s) * width + (size_t)v * LANES;
                vf w = i8 ? NAME(load_i8)(i8 + at) : NAME(load)(f32 + at);
#pragma GCC unroll 12
                for (int r = 0; r < rows; r++) {
                    int j = (r * vectors + v) * split + s;
                    sums[j] = NAME(fma)(w, NAME(splat)(x[(size_t)r * x_stride + i + s]), sums[j]);
                }
            }
        }
    }
    for (; i < in; i++) { /* what split does not divide */
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            size_t at = (size_t)i * width + (size_t)v * LANES;
            vf w = i8 ? NAME(load_i8)(i8 + at) : NAME(load)(f32 + at);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                int j = (r * vectors + v) * split;
                sums[j] = NAME(fma)(w, NAME(splat)(x[(size_t)r * x_stride + i]), sums[j]);
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            vf total = sums[(r * vectors + v) * split];
#pragma GCC unroll 4
            for (int s = 1; s < split; s++) total += sums[(r * vectors + v) * split + s];
            if (i8) total *= NAME(load)(scale + v * LANES);
            float *to = y + (size_t)r * y_stride + v * LANES;
            NAME(store)(to, add ? NAME(load)(to) + total : total);
        }
    }
}

/* All rows of `vectors` vectors: as many at once as the registers hold, then one by one. */
TB_INLINE void NAME(columns)(int vectors, const float *f32, const int8_t *i8, const float *scale,
                             size_t width, int32_t in, int32_t rows, const float *x,
                             size_t x_stride, float *y, size_t y_stride, int add) {
    const int split = vectors >= 4 ? 1 : vectors >= 2 ? 2 : 4;
    const int most = SUMS / (vectors * split);
    int32_t r = 0;
    for (; r + most <= rows; r += most)
        NAME(tile)(most, vectors, split, f32, i8, scale, width, in, x + r * x_stride, x_stride,
                   y + r * y_stride, y_stride, add);
    for (; r < rows; r++)
        NAME(tile)(1, vectors, split, f32, i8, scale, width, in, x + r * x_stride, x_stride,
                   y + r * y_stride, y_stride, add);
}

TB_INLINE void NAME(product_of)(const float *f32, const int8_t *i8, const float *scale, int32_t in,
                                int32_t out, int32_t rows, const float *x, size_t x_stride,
                                float *y, size_t y_stride, int add) {
    for (int32_t group = 0; group < out; group += TB_GROUP) {
        int32_t width = out - group < TB_GROUP ? out - group : TB_GROUP;
        for (int32_t c = 0; c < width;) {
            int32_t vectors = (width - c) / LANES;
            if (vectors > MOST_VECTORS) vectors = MOST_VECTORS;
            const float *f = i8 ? NULL : f32 + (size_t)group * in + c;
            const int8_t *q = i8 ? i8 + (size_t)group * in + c : NULL;
            const float *s = i8 ? scale + group + c : NULL;
            float *to = y + group + c;
            switch (vectors) { /* so that each is compiled with its number known */
            case 1: NAME(columns)(1, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
            case 2: NAME(columns)(2, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
            case 3: NAME(columns)(3, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
            case 4: NAME(columns)(4, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
#if MOST_VECTORS > 4
            case 5: NAME(columns)(5, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
            case 6: NAME(columns)(6, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
            case 7: NAME(columns)(7, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
            case 8: NAME(columns)(8, f, q, s, width, in, rows, x, x_stride, to, y_stride, add); break;
#endif
            }
            c += vectors * LANES;
        }
    }
}

static void NAME(product)(const tb_matrix *w, int32_t rows, const float *x, size_t x_stride,
                          float *y, size_t y_stride, int add) {
    if (w->i8)
        NAME(product_of)(NULL, w->i8, w->scale, w->in, w->out, rows, x, x_stride, y, y_stride, add);
    else
        NAME(product_of)(w->f32, NULL, NULL, w->in, w->out, rows, x, x_stride, y, y_stride, add);
}

/* ---- the rest of a block ---- */

static void NAME(rms_norm)(const float *x, const float *weight, float *y, int32_t size, float eps) {
    vf squares = NAME(splat)(0.0f);
    int32_t i = 0;
    for (; i + LANES <= size; i += LANES) squares = NAME(fma)(NAME(load)(x + i), NAME(load)(x + i), squares);
    float total = NAME(sum)(squares);
    for (; i < size; i++) total += x[i] * x[i];
    float factor = 1.0f / sqrtf(total / (float)size + eps);
    for (i = 0; i + LANES <= size; i += LANES)
        NAME(store)(y + i, NAME(load)(x + i) * NAME(splat)(factor) * NAME(load)(weight + i));
    for (; i < size; i++) y[i] = x[i] * factor * weight[i];
}

TB_INLINE void NAME(swiglu_of)(int count, float *gate, const float *up) {
    vf e[4];
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) e[j] = -NAME(load)(gate + j * LANES);
    NAME(exp)(count, e);
#pragma GCC unroll 4
    for (int j = 0; j < count; j++) {
        vf product = NAME(load)(gate + j * LANES) * NAME(load)(up + j * LANES);
        NAME(store)(gate + j * LANES, product / (NAME(splat)(1.0f) + e[j]));
    }
}

static void NAME(swiglu)(float *gate, const float *up, int32_t size) {
    int32_t i = 0;
    for (; i + SIDE * LANES <= size; i += SIDE * LANES) NAME(swiglu_of)(SIDE, gate + i, up + i);
    for (; i < size; i += LANES) NAME(swiglu_of)(1, gate + i, up + i);
}

/* `heads` query heads, a constant, that read one key-value head.
   q, out: (heads, D); keys: (D, context_padded); values: (context, value_width) */
TB_INLINE void NAME(attend_heads)(int heads, const tb_attention *a, const float *keys,
                                  const float *values, const float *q, int32_t length,
                                  float *scores, float *out) {
    const int32_t size = a->head_dim, row = a->context_padded;
    vf best[4], sum[4];
    float factor[4];
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++) {
        best[h] = NAME(splat)(-3.4e38f);
        sum[h] = NAME(splat)(0.0f);
    }
    for (int32_t t = 0; t < length; t += LANES) { /* scores, LANES positions at once */
        vf s[4];
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) s[h] = NAME(splat)(0.0f);
        for (int32_t d = 0; d < size; d++) {
            vf k = NAME(load)(keys + (size_t)d * row + t);
#pragma GCC unroll 4
            for (int h = 0; h < heads; h++) s[h] = NAME(fma)(k, NAME(splat)(q[h * size + d]), s[h]);
        }
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            if (length - t < LANES) /* the last vector: nothing beyond the present */
                s[h] = NAME(first_of)(length - t, s[h], NAME(splat)(-3.4e38f));
            NAME(store)(scores + (size_t)h * row + t, s[h]);
            best[h] = NAME(max)(best[h], s[h]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++) best[h] = NAME(splat)(NAME(largest)(best[h]));
    for (int32_t t = 0; t < length; t += LANES) { /* to probabilities, but for their sum */
        vf p[4];
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) p[h] = NAME(load)(scores + (size_t)h * row + t) - best[h];
        NAME(exp)(heads, p);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            if (length - t < LANES) /* e^-87 is not quite 0 */
                p[h] = NAME(first_of)(length - t, p[h], NAME(splat)(0.0f));
            NAME(store)(scores + (size_t)h * row + t, p[h]);
            sum[h] += p[h];
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++) factor[h] = 1.0f / NAME(sum)(sum[h]);
    for (int32_t d = 0; d < size; d += LANES) { /* values, LANES of a head at once */
        vf y[4][4];                             /* position t goes to sum t mod 4 */
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
            for (int s = 0; s < 4; s++) y[h][s] = NAME(splat)(0.0f);
        int32_t t = 0;
        for (; t + 4 <= length; t += 4) {
#pragma GCC unroll 4
            for (int s = 0; s < 4; s++) {
                vf v = NAME(load)(values + (size_t)(t + s) * a->value_width + d);
#pragma GCC unroll 4
                for (int h = 0; h < heads; h++)
                    y[h][s] = NAME(fma)(v, NAME(splat)(scores[(size_t)h * row + t + s]), y[h][s]);
            }
        }
        for (; t < length; t++) {
            vf v = NAME(load)(values + (size_t)t * a->value_width + d);
#pragma GCC unroll 4
            for (int h = 0; h < heads; h++)
                y[h][0] = NAME(fma)(v, NAME(splat)(scores[(size_t)h * row + t]), y[h][0]);
        }
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            vf total = (y[h][0] + y[h][1]) + (y[h][2] + y[h][3]);
            NAME(store_first)(size - d, out + (size_t)h * size + d, total * NAME(splat)(factor[h]));
        }
    }
}

static void NAME(attend)(const tb_attention *a, const float *q, int32_t length, float *scores,
                         float *out) {
    const int32_t group = a->heads / a->kv_heads, size = a->head_dim;
    for (int32_t k = 0; k < a->kv_heads; k++) {
        const float *keys = a->keys + (size_t)k * size * a->context_padded;
        const float *values = a->values + (size_t)k * a->context * a->value_width;
        for (int32_t h = 0; h < group;) { /* 4, 2 or 1 heads at once share the loads */
            int32_t left = group - h, at = (k * group + h) * size;
            if (left >= 4 && LANES != 4) {
                NAME(attend_heads)(4, a, keys, values, q + at, length, scores, out + at);
                h += 4;
            } else if (left >= 2) {
                NAME(attend_heads)(2, a, keys, values, q + at, length, scores, out + at);
                h += 2;
            } else {
                NAME(attend_heads)(1, a, keys, values, q + at, length, scores, out + at);
                h += 1;
            }
        }
    }
}

/* ---- sampling ---- */

static float NAME(maximum)(const float *x, int32_t size) {
    vf best[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) best[j] = NAME(splat)(x[0]);
    int32_t i = 0;
    for (; i + 4 * LANES <= size; i += 4 * LANES) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) best[j] = NAME(max)(NAME(load)(x + i + j * LANES), best[j]);
    }
    float result = NAME(largest)(NAME(max)(NAME(max)(best[0], best[1]), NAME(max)(best[2], best[3])));
    for (; i < size; i++) result = x[i] > result ? x[i] : result;
    return result;
}

/* A block of TB_BLOCK numbers: x itself, or a copy that ends in -infinity, whose weight is 0. */
TB_INLINE const float *NAME(whole_block)(const float *x, int32_t left, float *copy) {
    if (left >= TB_BLOCK) return x;
    for (int32_t i = 0; i < TB_BLOCK; i++) copy[i] = i < left ? x[i] : -INFINITY;
    return copy;
}

static void NAME(soften_quickly)(const float *x, int32_t size, float best,
                                 float inverse_temperature, float *weights, float *sums) {
    const vf most = NAME(splat)(best), factor = NAME(splat)(inverse_temperature);
    for (int32_t block = 0; block < size; block += TB_BLOCK) {
        float copy[TB_BLOCK];
        const float *from = NAME(whole_block)(x + block, size - block, copy);
        vf total = NAME(splat)(0.0f);
        for (int32_t i = 0; i < TB_BLOCK; i += SIDE * LANES) {
            vf w[4];
#pragma GCC unroll 4
            for (int j = 0; j < SIDE; j++) w[j] = (NAME(load)(from + i + j * LANES) - most) * factor;
            NAME(exp)(SIDE, w);
#pragma GCC unroll 4
            for (int j = 0; j < SIDE; j++) {
                NAME(store)(weights + block + i + j * LANES, w[j]);
                total += w[j];
            }
        }
        sums[block / TB_BLOCK] = NAME(sum)(total);
    }
}

static void NAME(soften)(const float *x, int32_t size, double best, double inverse_temperature,
                         double *weights, double *sums) {
    const vd most = NAME(splatd)(best), factor = NAME(splatd)(inverse_temperature);
    for (int32_t block = 0; block < size; block += TB_BLOCK) {
        float copy[TB_BLOCK];
        const float *from = NAME(whole_block)(x + block, size - block, copy);
        vd total = NAME(splatd)(0.0);
        for (int32_t i = 0; i < TB_BLOCK; i += SIDE * DOUBLES) {
            vd w[4];
#pragma GCC unroll 4
            for (int j = 0; j < SIDE; j++)
                w[j] = (NAME(load_double)(from + i + j * DOUBLES) - most) * factor;
            NAME(expd)(SIDE, w);
#pragma GCC unroll 4
            for (int j = 0; j < SIDE; j++) {
                memcpy(weights + block + i + j * DOUBLES, &w[j], sizeof w[j]);
                total += w[j];
            }
        }
        sums[block / TB_BLOCK] = NAME(sumd)(total);
    }
}

static const tb_kernels NAME(kernels) = {
    LANES == 16 ? "avx512" : LANES == 8 ? "avx2" : LANES == 4 ? "baseline" : "scalar",
    LANES, NAME(product), NAME(rms_norm), NAME(swiglu), NAME(attend), NAME(maximum), NAME(soften),
    NAME(soften_quickly),
};

#undef vf
#undef vd
#undef DOUBLES
#undef SIDE
#undef SUMS
#undef MOST_VECTORS
