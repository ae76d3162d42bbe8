/* Vectors are as wide as the flags of the compiler allow: build.py makes a library for each kind of
   processor.

   A product keeps a tile of its result in registers: 8 x 48 or 12 x 32 numbers are 24 of the 32
   registers of AVX-512, which leaves 3 for a row of b and some for broadcasts of a. For every row
   of b it does 24 multiply-adds for 11 loads, so that the arithmetic is the limit, not the cache.
 */
#include "kernels.h"

#include "vector.h"

/* sum + x y; with bf16, a lane of x and y holds two numbers, and both products join the sum. */
TB_INLINE tb_vec multiply_add(const int bf16, tb_vec x, tb_vec y, tb_vec sum) {
#if TB_BF16
    if (bf16) return (tb_vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)y);
#endif
    (void)bf16;
    return sum + x * y;
}

/* rows x (vecs * TB_LANES) numbers of c; bf16, rows and vecs are constants where it is called. */
TB_INLINE void tile(const int bf16, const int rows, const int vecs, size_t k, const float *a,
                    size_t a_row, size_t a_col, const float *b, size_t b_row, float *c,
                    size_t c_row, int add) {
    tb_vec acc[16][4];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++)
            acc[i][j] = add ? tb_load(c + i * c_row + j * TB_LANES) : (tb_vec){0};
    for (size_t p = 0; p < k; p++) {
        tb_vec row[4];
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) row[j] = tb_load(b + p * b_row + j * TB_LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            tb_vec x = tb_broadcast(a[i * a_row + p * a_col]);
#pragma GCC unroll 4
            for (int j = 0; j < vecs; j++) acc[i][j] = multiply_add(bf16, x, row[j], acc[i][j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) tb_store(c + i * c_row + j * TB_LANES, acc[i][j]);
}

/* All rows of one panel of columns: tiles of the full height, then of 4, 2 and 1. */
TB_INLINE void panel(const int bf16, const int rows, const int vecs, size_t m, size_t k,
                     const float *a, size_t a_row, size_t a_col, const float *b, size_t b_row,
                     float *c, size_t c_row, int add) {
    size_t i = 0;
    for (; i + (size_t)rows <= m; i += (size_t)rows)
        tile(bf16, rows, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; rows > 8 && i + 8 <= m; i += 8)
        tile(bf16, 8, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; rows > 4 && i + 4 <= m; i += 4)
        tile(bf16, 4, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; i + 2 <= m; i += 2)
        tile(bf16, 2, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; i < m; i++)
        tile(bf16, 1, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
}

#define LOG2_E 1.44269504f

#if TB_LANES == 16
typedef float half_vec __attribute__((vector_size(32), aligned(4), may_alias));

/* At most 8 columns, as of a head of 8 numbers: AMD's processors do two half vectors at a time. */
TB_INLINE void narrow(const int rows, size_t k, const float *a, size_t a_row, size_t a_col,
                      const float *b, size_t b_row, float *c, size_t c_row, int add) {
    half_vec acc[16];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        acc[i] = add ? *(const half_vec *)(c + i * c_row) : (half_vec){0};
    for (size_t p = 0; p < k; p++) {
        const half_vec row = *(const half_vec *)(b + p * b_row);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) acc[i] += a[i * a_row + p * a_col] * row;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) *(half_vec *)(c + i * c_row) = acc[i];
}
#endif

enum {
    DEPTH = 128
}; /* rows of b at a time: 128 x 48 numbers are 24 KB, which the first cache holds */

/* At most HEIGHT rows. */
TB_INLINE void block(const int bf16, size_t m, size_t n, size_t k, const float *a, size_t a_row,
                     size_t a_col, const float *b, size_t b_row, float *c, size_t c_row, int add) {
    size_t j = 0;
#if TB_LANES == 16
    while (n - j >= 48 && n - j != 64) { /* 64 are better two panels of 32 than 48 and 16 */
        panel(bf16, 8, 3, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
        j += 48;
    }
    for (; n - j >= 32; j += 32)
        panel(bf16, 12, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
    for (; j < n; j += 16)
        panel(bf16, 16, 1, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#elif TB_LANES == 8
    for (; j < n; j += 16)
        panel(bf16, 6, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#elif defined(__aarch64__)
    for (; j < n; j += 16) /* 32 registers of 4 lanes */
        panel(bf16, 6, 4, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#else
    for (; j < n; j += 2 * TB_LANES) /* 16 registers of 4 lanes */
        panel(bf16, 6, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#endif
}

/* Rows of c at a time. A panel of c 64 rows high lies on as many pages of memory, which with those
   of b are more than the 64 that the processor finds at once. */
enum { HEIGHT = 24 };

TB_INLINE void matmul(const int bf16, size_t m, size_t n, size_t k, const float *a, size_t a_row,
                      size_t a_col, const float *b, size_t b_row, float *c, size_t c_row, int add) {
#if TB_LANES == 16
    if (!bf16 && n <= 8) {
        size_t i = 0;
        for (; i + 16 <= m; i += 16)
            narrow(16, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
        for (; i < m; i++)
            narrow(1, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
        return;
    }
#endif
    n = tb_round(n);
    size_t height = n > 512 ? HEIGHT : m;
    for (size_t from = 0; from == 0 || from < k; from += DEPTH) {
        size_t depth = k - from < DEPTH ? k - from : DEPTH;
        for (size_t i = 0; i < m; i += height)
            block(bf16, m - i < height ? m - i : height, n, depth, a + i * a_row + from * a_col,
                  a_row, a_col, b + from * b_row, b_row, c + i * c_row, c_row, add || from);
    }
}

void tb_matmul(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
               const float *b, size_t b_row, float *c, size_t c_row, int add) {
    matmul(0, m, n, k, a, a_row, a_col, b, b_row, c, c_row, add);
}

void tb_transpose(size_t m, size_t n, const float *x, size_t x_row, float *y, size_t y_row) {
    for (size_t i = 0; i < m; i += TB_LANES)
        for (size_t j = 0; j < n; j += TB_LANES) {
            tb_vec block[TB_LANES];
#pragma GCC unroll 16
            for (size_t k = 0; k < TB_LANES; k++)
                block[k] = i + k < m ? tb_load(x + (i + k) * x_row + j) : (tb_vec){0};
            tb_transpose_vectors(block);
#pragma GCC unroll 16
            for (size_t k = 0; k < TB_LANES; k++)
                if (j + k < n) tb_store(y + (j + k) * y_row + i, block[k]);
        }
}

void tb_scale_columns(size_t m, size_t n, const float *factor, const float *x, size_t x_row,
                      float *y, size_t y_row) {
    for (size_t i = 0; i < m; i++, x += x_row, y += y_row)
        for (size_t j = 0; j < n; j += TB_LANES)
            tb_store(y + j, tb_load(x + j) * tb_load(factor + j));
}

void tb_column_dots(size_t m, size_t n, const float *x, const float *y, size_t row, float *dots) {
    for (size_t j = 0; j < n; j += TB_LANES) {
        tb_vec dot = {0};
        for (size_t i = 0; i < m; i++) dot += tb_load(x + i * row + j) * tb_load(y + i * row + j);
        tb_store(dots + j, dot);
    }
}

void tb_rotate(size_t t, const float *cosine, const float *sine, float sign, float *a, float *b) {
    for (size_t j = 0; j < t; j += TB_LANES) {
        tb_vec c = tb_load(cosine + j), s = tb_load(sine + j) * sign;
        tb_vec first = tb_load(a + j), second = tb_load(b + j);
        tb_store(a + j, first * c - second * s);
        tb_store(b + j, second * c + first * s);
    }
}

TB_INLINE tb_vec root(tb_vec x) {
#if TB_LANES > 1
    tb_vec y;
    for (int i = 0; i < TB_LANES; i++)
        y[i] = sqrtf(x[i]); /* the compiler makes one instruction of it */
    return y;
#else
    return sqrtf(x);
#endif
}

void tb_norm(size_t c, size_t t, size_t row, float eps, const float *x, const float *w, float *y,
             float *r) {
    for (size_t j = 0; j < t; j += TB_LANES) {
        tb_vec squares = {0};
        for (size_t i = 0; i < c; i++)
            squares += tb_load(x + i * row + j) * tb_load(x + i * row + j);
        tb_vec share = 1.0f / root(squares / (float)c + eps);
        tb_store(r + j, share);
        for (size_t i = 0; i < c; i++)
            tb_store(y + i * row + j, tb_load(x + i * row + j) * share * w[i]);
    }
}

/* With u = dy w: dx = r u - x r^3 mean(u x), dw = sum over columns of dy x r. */
void tb_norm_back(size_t c, size_t t, size_t row, const float *x, const float *w, const float *r,
                  const float *dy, float *dx, float *dw, int add) {
    for (size_t j = 0; j < t; j += TB_LANES) {
        tb_vec dot = {0}, share = tb_load(r + j);
        for (size_t i = 0; i < c; i++)
            dot += tb_load(dy + i * row + j) * tb_load(x + i * row + j) * w[i];
        dot = dot * share * share * share / (float)c;
        for (size_t i = 0; i < c; i++) {
            size_t at = i * row + j;
            tb_store(dx + at,
                     tb_load(dx + at) + tb_load(dy + at) * share * w[i] - tb_load(x + at) * dot);
        }
    }
    for (size_t i = 0; i < c; i++, x += row, dy += row) {
        tb_vec sum = {0};
        for (size_t j = 0; j < t; j += TB_LANES)
            sum += tb_first_lanes(t - j, tb_load(dy + j) * tb_load(x + j) * tb_load(r + j), 0.0f);
        dw[i] = tb_sum(sum) + (add ? dw[i] : 0.0f);
    }
}

/* With s = sigmoid(gate): silu = gate s, of which the derivative is s + silu (1 - s). */
void tb_swiglu(size_t f, size_t t, size_t row, float *gu, float *silu, float *h) {
    for (size_t i = 0; i < f; i++, gu += row, silu += row, h += row)
        for (size_t j = 0; j < t; j += TB_LANES) {
            tb_vec gate = tb_load(gu + j),
                   s = 1.0f / (1.0f + tb_exp2_vector(tb_min(tb_broadcast(126.0f), gate * -LOG2_E)));
            tb_store(silu + j, gate * s);
            tb_store(gu + j, s + gate * s * (1.0f - s));
            tb_store(h + j, gate * s * tb_load(gu + f * row + j));
        }
}

void tb_swiglu_back(size_t f, size_t t, size_t row, float *gu, const float *silu, float *h) {
    for (size_t i = 0; i < f; i++, gu += row, silu += row, h += row)
        for (size_t j = 0; j < t; j += TB_LANES) {
            tb_vec up = tb_load(gu + f * row + j), d = tb_load(h + j), s = tb_load(silu + j);
            tb_store(gu + j, d * up * tb_load(gu + j));
            tb_store(gu + f * row + j, d * s);
            tb_store(h + j, s * up);
        }
}

/* Row i's part in the columns from j on: columns before i do not see it. */
TB_INLINE tb_vec seen(size_t i, size_t j, tb_vec x, float value) {
    return i <= j ? x : tb_last_lanes(i - j, x, value);
}

/* The scores of rows keys from number i on for vecs vectors of queries; best is the largest. */
TB_INLINE void scores_of_keys(const int rows, const int vecs, const tb_head *h, size_t i,
                              size_t first, float *s, size_t s_row, tb_vec *best) {
    tb_vec score[12];
#pragma GCC unroll 12
    for (int k = 0; k < rows * vecs; k++) score[k] = (tb_vec){0};
    for (size_t d = 0; d < h->size; d++) {
        const float *keys = h->k + d * h->row + i, *queries = h->q + d * h->row + first;
#pragma GCC unroll 12
        for (int k = 0; k < rows * vecs; k++)
            score[k] += keys[k / vecs] * tb_load(queries + k % vecs * TB_LANES);
    }
#pragma GCC unroll 12
    for (int k = 0; k < rows * vecs; k++) {
        const size_t key = i + (size_t)(k / vecs), lane = (size_t)(k % vecs) * TB_LANES;
        best[k % vecs] = tb_max(seen(key, first + lane, score[k], -INFINITY), best[k % vecs]);
        tb_store(s + key * s_row + lane, score[k]);
    }
}

/* The weights of the keys before n for one vector of queries from number first on, from their
   scores; best is the largest score. */
TB_INLINE void weights_of_keys(size_t first, size_t n, float scale, tb_vec best, float *p,
                               size_t p_row, float *most, float *share) {
    const size_t end = first + TB_LANES < n ? first + TB_LANES : n;
    size_t i = 0;
    tb_vec total = {0};
    best *= scale;
    for (; i + 4 <= first; i += 4) {
        tb_vec e[4];
        for (size_t k = 0; k < 4; k++) e[k] = tb_load(p + (i + k) * p_row) * scale - best;
        tb_exp2_vectors(4, e);
        for (size_t k = 0; k < 4; k++) {
            tb_store(p + (i + k) * p_row, e[k]);
            total += e[k];
        }
    }
    for (; i < end; i++) {
        tb_vec e = seen(i, first, tb_exp2_vector(tb_load(p + i * p_row) * scale - best), 0.0f);
        tb_store(p + i * p_row, e);
        total += e;
    }
    for (; i < n; i++) tb_store(p + i * p_row, (tb_vec){0});
    tb_store(most, best);
    tb_store(share, 1.0f / total);
}

/* For vecs vectors of queries. */
TB_INLINE void causal_softmax(const int vecs, const tb_head *h, size_t first, size_t n, float scale,
                              float *p, size_t p_row, float *most, float *share) {
    const size_t end = first + (size_t)vecs * TB_LANES < n ? first + (size_t)vecs * TB_LANES : n;
    size_t i = 0;
    tb_vec best[2] = {tb_broadcast(-INFINITY), tb_broadcast(-INFINITY)};
    for (; i + 6 <= end; i += 6) scores_of_keys(6, vecs, h, i, first, p, p_row, best);
    for (; i < end; i++) scores_of_keys(1, vecs, h, i, first, p, p_row, best);
    for (int k = 0; k < vecs; k++)
        weights_of_keys(first + (size_t)k * TB_LANES, n, scale, best[k], p + k * TB_LANES, p_row,
                        most + first + k * TB_LANES, share + first + k * TB_LANES);
}

void tb_causal_softmax(const tb_head *h, size_t first, size_t t, float scale, float *p,
                       size_t p_row, float *most, float *share) {
    size_t j = 0;
    for (; j + 2 * TB_LANES <= t; j += 2 * TB_LANES)
        causal_softmax(2, h, first + j, first + t, scale * LOG2_E, p + j, p_row, most, share);
    for (; j < t; j += TB_LANES)
        causal_softmax(1, h, first + j, first + t, scale * LOG2_E, p + j, p_row, most, share);
}

/* Of rows queries from number first on, vecs vectors of keys from number j on. */
TB_INLINE void scores_back(const int rows, const int vecs, const tb_head *h, size_t first, size_t j,
                           float scale, const float *most, const float *share, const float *delta,
                           float *p, float *ds) {
    tb_vec score[8], dp[8];
#pragma GCC unroll 8
    for (int i = 0; i < rows * vecs; i++) score[i] = dp[i] = (tb_vec){0};
    for (size_t d = 0; d < h->size; d++) {
        const size_t at = d * h->row;
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const tb_vec q = tb_broadcast(h->q[at + first + i]);
            const tb_vec dmixed = tb_broadcast(h->dmixed[at + first + i]);
#pragma GCC unroll 2
            for (int k = 0; k < vecs; k++) {
                score[i * vecs + k] += q * tb_load(h->k + at + j + k * TB_LANES);
                dp[i * vecs + k] += dmixed * tb_load(h->v + at + j + k * TB_LANES);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows * vecs; i++)
        score[i] = score[i] * (scale * LOG2_E) - most[first + i / vecs];
    tb_exp2_vectors(rows * vecs, score);
#pragma GCC unroll 8
    for (int i = 0; i < rows * vecs; i++) {
        const size_t query = first + i / vecs, key = j + i % vecs * TB_LANES;
        const size_t seen = query < key ? 0 : query - key + 1, at = i / vecs * h->row + key;
        const tb_vec x = score[i] * share[query];
        tb_store(p + at, tb_first_lanes(seen, x, 0.0f));
        tb_store(ds + at, tb_first_lanes(seen, x * (dp[i] - delta[query]) * scale, 0.0f));
    }
}

TB_INLINE void rows_of_scores_back(const int rows, const tb_head *h, size_t first, size_t n,
                                   float scale, const float *most, const float *share,
                                   const float *delta, float *p, float *ds) {
    const size_t seen = tb_round(first + (size_t)rows);
    size_t j = 0;
    for (; j + 2 * TB_LANES <= seen; j += 2 * TB_LANES)
        scores_back(rows, 2, h, first, j, scale, most, share, delta, p, ds);
    for (; j < seen; j += TB_LANES)
        scores_back(rows, 1, h, first, j, scale, most, share, delta, p, ds);
    for (; j < n; j += TB_LANES)
        for (int i = 0; i < rows; i++) {
            tb_store(p + i * h->row + j, (tb_vec){0});
            tb_store(ds + i * h->row + j, (tb_vec){0});
        }
}

void tb_causal_softmax_back(const tb_head *h, size_t first, size_t t, float scale,
                            const float *most, const float *share, const float *delta, float *p,
                            float *ds) {
    enum { ROWS = TB_LANES == 8 ? 2 : 4 }; /* by 2 vectors twice, of 16 registers or 32 */
    const size_t n = tb_round(first + t), end = first + t;
    for (; first + ROWS <= end; first += ROWS, p += ROWS * h->row, ds += ROWS * h->row)
        rows_of_scores_back(ROWS, h, first, n, scale, most, share, delta, p, ds);
    for (; first < end; first++, p += h->row, ds += h->row)
        rows_of_scores_back(1, h, first, n, scale, most, share, delta, p, ds);
}

/* The largest of each of vecs vectors of columns, which joins loss, by log2 e. */
TB_INLINE void best_logits(const int vecs, size_t v, const float *logits, size_t row, float *loss,
                           tb_vec *best) {
    for (int k = 0; k < vecs; k++) best[k] = tb_broadcast(-INFINITY);
    for (size_t i = 0; i < v; i++)
        for (int k = 0; k < vecs; k++)
            best[k] = tb_max(tb_load(logits + i * row + k * TB_LANES), best[k]);
    for (int k = 0; k < vecs; k++) {
        tb_store(loss + k * TB_LANES, tb_load(loss + k * TB_LANES) + best[k]);
        best[k] *= LOG2_E;
    }
}

/* vecs vectors of columns: logits become e^(logit - best), best joins loss. */
TB_INLINE void normalize(const int vecs, size_t v, float *logits, size_t row, float *loss,
                         float *total) {
    tb_vec best[4], sum[4];
    for (int k = 0; k < vecs; k++) sum[k] = (tb_vec){0};
    best_logits(vecs, v, logits, row, loss, best);
    for (size_t i = 0; i < v; i++) {
        tb_vec e[4];
        for (int k = 0; k < vecs; k++)
            e[k] = tb_load(logits + i * row + k * TB_LANES) * LOG2_E - best[k];
        tb_exp2_vectors(vecs, e);
        for (int k = 0; k < vecs; k++) {
            tb_store(logits + i * row + k * TB_LANES, e[k]);
            sum[k] += e[k];
        }
    }
    for (int k = 0; k < vecs; k++) tb_store(total + k * TB_LANES, sum[k]);
}

void tb_cross_entropy(size_t v, size_t t, float *logits, size_t row, const int32_t *targets,
                      float *loss, float *share) {
    size_t j = 0;
    for (size_t i = 0; i < t; i++) loss[i] = -logits[(size_t)targets[i] * row + i];
    for (; j + 4 * TB_LANES <= t; j += 4 * TB_LANES)
        normalize(4, v, logits + j, row, loss + j, share + j);
    for (; j < t; j += TB_LANES) normalize(1, v, logits + j, row, loss + j, share + j);
    for (size_t i = 0; i < t; i++) {
        loss[i] += logf(share[i]);
        logits[(size_t)targets[i] * row + i] -= share[i];
        share[i] = 1.0f / share[i];
    }
}

#if TB_BF16
void tb_matmul_bf16(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
                    const float *b, size_t b_row, float *c, size_t c_row, int add) {
    matmul(1, m, n, k, a, a_row, a_col, b, b_row, c, c_row, add);
}

/* 16 numbers in bf16, to the nearest, ties to even. */
TB_INLINE __m256i to_bf16(tb_vec x) {
    return (__m256i)_mm512_cvtneps_pbh((__m512)x);
}

/* Pairs of a lane of x and the same of y. */
TB_INLINE tb_vec interleave(__m256i x, __m256i y) {
    return (tb_vec)_mm512_or_si512(_mm512_cvtepu16_epi32(x),
                                   _mm512_slli_epi32(_mm512_cvtepu16_epi32(y), 16));
}

void tb_bf16_rows(size_t m, size_t n, const float *x, size_t x_row, float *y, size_t y_row) {
    for (size_t i = 0; i < m; i++, x += x_row, y += y_row)
        for (size_t j = 0; j < n; j += TB_LANES)
            _mm256_storeu_si256((__m256i *)(y + j / 2),
                                to_bf16(tb_first_lanes(n - j, tb_load(x + j), 0.0f)));
}

void tb_bf16_pairs(size_t m, size_t n, const float *x, size_t x_row, float *y, size_t y_row) {
    for (size_t i = 0; i < m; i += 2, x += 2 * x_row, y += y_row)
        for (size_t j = 0; j < n; j += TB_LANES) {
            const tb_vec second = i + 1 < m ? tb_load(x + x_row + j) : (tb_vec){0};
            tb_store(y + j, interleave(to_bf16(tb_first_lanes(n - j, tb_load(x + j), 0.0f)),
                                       to_bf16(tb_first_lanes(n - j, second, 0.0f))));
        }
}

/* vecs vectors of columns, which are all: in place of logits the e^(logit - best) in bf16. */
TB_INLINE void normalize_bf16(const int vecs, size_t v, float *logits, size_t row, float *loss,
                              float *total) {
    tb_vec best[4], sum[4];
    for (int k = 0; k < vecs; k++) sum[k] = (tb_vec){0};
    best_logits(vecs, v, logits, row, loss, best);
    for (size_t i = 0; i < v; i += 2, logits += 2 * row) {
        float *pairs = logits, *rows = logits + row;
        tb_vec x[4], y[4];
        for (int k = 0; k < vecs; k++) {
            x[k] = tb_load(pairs + k * TB_LANES) * LOG2_E - best[k];
            y[k] = tb_broadcast(-INFINITY);
            if (i + 1 < v) y[k] = tb_load(rows + k * TB_LANES) * LOG2_E - best[k];
        }
        tb_exp2_vectors(vecs, x);
        tb_exp2_vectors(vecs, y);
        for (int k = 0; k < vecs; k++) {
            const __m256i first = to_bf16(x[k]), second = to_bf16(y[k]);
            sum[k] += x[k] + y[k];
            tb_store(pairs + k * TB_LANES, interleave(first, second));
            _mm256_storeu_si256((__m256i *)(rows + k * (TB_LANES / 2)), first);
            _mm256_storeu_si256((__m256i *)(rows + row / 2 + k * (TB_LANES / 2)), second);
        }
    }
    for (int k = 0; k < vecs; k++) tb_store(total + k * TB_LANES, sum[k]);
}

void tb_cross_entropy_bf16(size_t v, size_t t, float *logits, size_t row, const int32_t *targets,
                           float *loss, float *share) {
    for (size_t i = 0; i < t; i++) loss[i] = -logits[(size_t)targets[i] * row + i];
    switch (tb_round(t) / TB_LANES) { /* so that each is compiled with its number known */
    case 1:
        normalize_bf16(1, v, logits, row, loss, share);
        break;
    case 2:
        normalize_bf16(2, v, logits, row, loss, share);
        break;
    case 3:
        normalize_bf16(3, v, logits, row, loss, share);
        break;
    default:
        normalize_bf16(4, v, logits, row, loss, share);
        break;
    }
    for (size_t i = 0; i < t; i++) {
        /* Computed once more, since what bf16 has kept of it is too little for the difference. */
        const float target = expf(-loss[i]) - share[i];
        const __m128i rounded = (__m128i)_mm_cvtneps_pbh(_mm_set_ss(target));
        const size_t odd = (size_t)targets[i] % 2;
        char *pairs = (char *)(logits + ((size_t)targets[i] - odd) * row);
        memcpy(pairs + 4 * i + 2 * odd, &rounded, 2);
        memcpy(pairs + 4 * row + 2 * odd * row + 2 * i, &rounded, 2);
        loss[i] += logf(share[i]);
        share[i] = 1.0f / share[i];
    }
}
#endif

void tb_exp(int64_t n, const float *x, float *y) {
    for (int64_t j = 0; j < n; j += TB_LANES) tb_store(y + j, tb_exp_vector(tb_load(x + j)));
}

void tb_exp2(int64_t n, const float *x, float *y) {
    for (int64_t j = 0; j < n; j += TB_LANES) tb_store(y + j, tb_exp2_vector(tb_load(x + j)));
}

double tb_reduce(size_t n, size_t parts, float *const *part, size_t from, float *out) {
    double squares = 0;
    enum { SPAN = 1024 }; /* numbers summed in float32 lanes before they join in double */
    for (size_t start = from; start < from + n; start += SPAN) {
        size_t end = start + SPAN < from + n ? start + SPAN : from + n;
        tb_vec total = {0};
        for (size_t j = start; j < end; j += TB_LANES) {
            tb_vec g = tb_load(part[0] + j);
            for (size_t i = 1; i < parts; i++) g += tb_load(part[i] + j);
            tb_store(out + j, g);
            total += g * g;
        }
        squares += (double)tb_sum(total);
    }
    return squares;
}

void tb_adamw(size_t n, const tb_adamw_settings *o, float *w, const float *g, float *m, float *v) {
    for (size_t j = 0; j < n; j += TB_LANES) {
        tb_vec grad = tb_load(g + j) * o->clip;
        tb_vec mean = tb_load(m + j) + (grad - tb_load(m + j)) * o->rest1;
        tb_vec square = tb_load(v + j) * o->beta2 + grad * grad * o->rest2;
        tb_store(m + j, mean);
        tb_store(v + j, square);
        tb_vec down = root(square) / o->root_correction + o->eps;
        tb_store(w + j, tb_load(w + j) * o->keep - mean * o->step_size / down);
    }
}
