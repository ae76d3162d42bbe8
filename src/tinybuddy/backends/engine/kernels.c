/* Vectors are as wide as the flags of the compiler allow: build.py makes a library for each kind of
   processor.

   A product keeps a tile of its result in registers: 8 x 48 or 12 x 32 numbers are 24 of the 32
   registers of AVX-512, which leaves 3 for a row of b and some for broadcasts of a. For every row
   of b it does 24 multiply-adds for 11 loads, so that the arithmetic is the limit, not the cache.
 */
#include "kernels.h"

#include "vector.h"

/* rows x (vecs * TB_LANES) numbers of c; rows and vecs are constants where it is called. */
TB_INLINE void tile(const int rows, const int vecs, size_t k, const float *a, size_t a_row,
                    size_t a_col, const float *b, size_t b_row, float *c, size_t c_row, int add) {
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
            for (int j = 0; j < vecs; j++) acc[i][j] += x * row[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) tb_store(c + i * c_row + j * TB_LANES, acc[i][j]);
}

/* All rows of one panel of columns: tiles of the full height, then of 4, 2 and 1. */
TB_INLINE void panel(const int rows, const int vecs, size_t m, size_t k, const float *a,
                     size_t a_row, size_t a_col, const float *b, size_t b_row, float *c,
                     size_t c_row, int add) {
    size_t i = 0;
    for (; i + (size_t)rows <= m; i += (size_t)rows)
        tile(rows, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; rows > 8 && i + 8 <= m; i += 8)
        tile(8, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; rows > 4 && i + 4 <= m; i += 4)
        tile(4, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; i + 2 <= m; i += 2)
        tile(2, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
    for (; i < m; i++)
        tile(1, vecs, k, a + i * a_row, a_row, a_col, b, b_row, c + i * c_row, c_row, add);
}

enum {
    DEPTH = 128
}; /* rows of b at a time: 128 x 48 numbers are 24 KB, which the first cache holds */

/* At most HEIGHT rows. */
static void block(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
                  const float *b, size_t b_row, float *c, size_t c_row, int add) {
    size_t j = 0;
#if TB_LANES == 16
    while (n - j >= 48 && n - j != 64) { /* 64 are better two panels of 32 than 48 and 16 */
        panel(8, 3, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
        j += 48;
    }
    for (; n - j >= 32; j += 32)
        panel(12, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
    for (; j < n; j += 16) panel(16, 1, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#elif TB_LANES == 8
    for (; j < n; j += 16) panel(6, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#elif defined(__aarch64__)
    for (; j < n; j += 16) /* 32 registers of 4 lanes */
        panel(6, 4, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#else
    for (; j < n; j += 2 * TB_LANES) /* 16 registers of 4 lanes */
        panel(6, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#endif
}

/* Rows of c at a time. A panel of c 64 rows high lies on as many pages of memory, which with those
   of b are more than the 64 that the processor finds at once. */
enum { HEIGHT = 24 };

void tb_matmul(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
               const float *b, size_t b_row, float *c, size_t c_row, int add) {
    n = tb_round(n);
    size_t height = n > 512 ? HEIGHT : m;
    for (size_t from = 0; from == 0 || from < k; from += DEPTH) {
        size_t depth = k - from < DEPTH ? k - from : DEPTH;
        for (size_t i = 0; i < m; i += height)
            block(m - i < height ? m - i : height, n, depth, a + i * a_row + from * a_col, a_row,
                  a_col, b + from * b_row, b_row, c + i * c_row, c_row, add || from);
    }
}

void tb_norm(size_t t, size_t c, size_t stride, float eps, const float *x, const float *w, float *y,
             float *r) {
    size_t n = tb_round(c);
    for (size_t i = 0; i < t; i++, x += stride, y += stride) {
        tb_vec squares = {0};
        for (size_t j = 0; j < n; j += TB_LANES) squares += tb_load(x + j) * tb_load(x + j);
        r[i] = 1.0f / sqrtf(tb_sum(squares) / (float)c + eps);
        for (size_t j = 0; j < n; j += TB_LANES)
            tb_store(y + j, tb_load(x + j) * r[i] * tb_load(w + j));
    }
}

/* With u = dy w: dx = r u - x r^3 mean(u x), dw = sum over rows of dy x r. */
void tb_norm_back(size_t t, size_t c, size_t stride, const float *x, const float *w, const float *r,
                  const float *dy, float *dx, float *dw) {
    size_t n = tb_round(c);
    for (size_t i = 0; i < t; i++, x += stride, dy += stride, dx += stride) {
        tb_vec dot = {0};
        for (size_t j = 0; j < n; j += TB_LANES) {
            tb_vec dyx = tb_load(dy + j) * tb_load(x + j);
            dot += dyx * tb_load(w + j);
            tb_store(dw + j, tb_load(dw + j) + dyx * r[i]);
        }
        float input_gradient = r[i] * r[i] * r[i] * tb_sum(dot) / (float)c;
        for (size_t j = 0; j < n; j += TB_LANES)
            tb_store(dx + j, tb_load(dx + j) + tb_load(dy + j) * tb_load(w + j) * r[i] -
                                 tb_load(x + j) * input_gradient);
    }
}

void tb_swiglu(size_t t, size_t f, const float *gu, size_t gu_row, float *h, size_t h_row) {
    for (size_t i = 0; i < t; i++, gu += gu_row, h += h_row)
        for (size_t j = 0; j < f; j += TB_LANES) {
            tb_vec gate = tb_load(gu + j);
            tb_store(h + j, gate / (1.0f + tb_exp_vector(-gate)) * tb_load(gu + f + j));
        }
}

/* s = sigmoid(gate): dgate = dh up s (1 + gate (1 - s)), dup = dh gate s. */
void tb_swiglu_back(size_t t, size_t f, const float *gu, size_t gu_row, const float *dh,
                    size_t dh_row, float *dgu) {
    for (size_t i = 0; i < t; i++, gu += gu_row, dgu += gu_row, dh += dh_row)
        for (size_t j = 0; j < f; j += TB_LANES) {
            tb_vec gate = tb_load(gu + j), up = tb_load(gu + f + j), d = tb_load(dh + j);
            tb_vec s = 1.0f / (1.0f + tb_exp_vector(-gate));
            tb_store(dgu + j, d * up * s * (1.0f + gate * (1.0f - s)));
            tb_store(dgu + f + j, d * gate * s);
        }
}

TB_INLINE void fill(float *x, size_t from, size_t to, float value) {
    for (size_t j = from; j < to; j++) x[j] = value;
}

void tb_causal_softmax(size_t t, size_t first, size_t n, float scale, float *s, size_t s_row,
                       float *log_sum) {
    n = tb_round(n);
    for (size_t i = 0; i < t; i++, s += s_row) {
        size_t seen = first + i + 1, j = 0;
        tb_vec best = tb_broadcast(-INFINITY), total = {0};
        for (; j < seen; j += TB_LANES)
            best = tb_max(tb_first_lanes(seen - j, tb_load(s + j), -INFINITY), best);
        float most = tb_largest(best) * scale;
        for (j = 0; j < seen; j += TB_LANES) {
            tb_vec p = tb_first_lanes(seen - j, tb_exp_vector(tb_load(s + j) * scale - most), 0.0f);
            tb_store(s + j, p);
            total += p;
        }
        float whole = tb_sum(total), share = 1.0f / whole;
        log_sum[i] = most + logf(whole);
        for (j = 0; j < seen; j += TB_LANES) tb_store(s + j, tb_load(s + j) * share);
        for (; j < n; j += TB_LANES) tb_store(s + j, (tb_vec){0});
    }
}

void tb_causal_softmax_back(size_t t, size_t first, size_t n, float scale, float *s, float *dp,
                            size_t s_row, const float *log_sum, const float *delta) {
    n = tb_round(n);
    for (size_t i = 0; i < t; i++, s += s_row, dp += s_row) {
        size_t seen = first + i + 1, j = 0;
        for (; j < seen; j += TB_LANES) {
            tb_vec p = tb_exp_vector(tb_load(s + j) * scale - log_sum[i]);
            tb_vec ds = p * (tb_load(dp + j) - delta[i]) * scale;
            tb_store(s + j, tb_first_lanes(seen - j, p, 0.0f));
            tb_store(dp + j, tb_first_lanes(seen - j, ds, 0.0f));
        }
        for (; j < n; j += TB_LANES) {
            tb_store(s + j, (tb_vec){0});
            tb_store(dp + j, (tb_vec){0});
        }
    }
}

void tb_cross_entropy(size_t t, size_t v, float *logits, size_t row, const int32_t *targets,
                      float scale, float *loss) {
    size_t n = tb_round(v);
    for (size_t i = 0; i < t; i++, logits += row) {
        fill(logits, v, n, -INFINITY);
        float target = logits[targets[i]];
        tb_vec best = tb_broadcast(-INFINITY), total = {0};
        for (size_t j = 0; j < n; j += TB_LANES) best = tb_max(tb_load(logits + j), best);
        float most = tb_largest(best);
        size_t j = 0;
        for (; j + 4 * TB_LANES <= n; j += 4 * TB_LANES)
            total += tb_exp_sum(4, logits + j, most, 1.0f, logits + j);
        for (; j < n; j += TB_LANES) total += tb_exp_sum(1, logits + j, most, 1.0f, logits + j);
        float all_of_it = tb_sum(total);
        loss[i] = logf(all_of_it) + most - target;
        if (scale == 0.0f) continue;
        float share = scale / all_of_it;
        for (size_t j = 0; j < n; j += TB_LANES) tb_store(logits + j, tb_load(logits + j) * share);
        logits[targets[i]] -= scale;
        fill(logits, v, n, 0.0f);
    }
}

void tb_exp(int64_t n, const float *x, float *y) {
    for (int64_t j = 0; j < n; j += TB_LANES) tb_store(y + j, tb_exp_vector(tb_load(x + j)));
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
