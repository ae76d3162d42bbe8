/* Vectors are as wide as the flags of the compiler allow: build.py makes a library for each kind of
 * processor.
 *
 * A product keeps a tile of its result in registers: 8 x 48 or 12 x 32 numbers are 24 of the 32
 * registers of AVX-512, which leaves 3 for a row of b and some for broadcasts of a. For every row
 * of b it does 24 multiply-adds for 11 loads, so that the arithmetic is the limit, not the cache.
 */
#include "kernels.h"

#include "vector.h"

/* rows x (vecs * LANES) numbers of c; rows and vecs are constants where it is called. */
INLINE void tile(const int rows, const int vecs, size_t k, const float *a, size_t a_row,
                 size_t a_col, const float *b, size_t b_row, float *c, size_t c_row, int add) {
    vec acc[16][4];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++)
            acc[i][j] = add ? load(c + i * c_row + j * LANES) : (vec){0};
    for (size_t p = 0; p < k; p++) {
        vec row[4];
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++)
            row[j] = load(b + p * b_row + j * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vec x = all(a[i * a_row + p * a_col]);
#pragma GCC unroll 4
            for (int j = 0; j < vecs; j++)
                acc[i][j] += x * row[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++)
            store(c + i * c_row + j * LANES, acc[i][j]);
}

/* All rows of one panel of columns: tiles of the full height, then of 4, 2 and 1. */
INLINE void panel(const int rows, const int vecs, size_t m, size_t k, const float *a, size_t a_row,
                  size_t a_col, const float *b, size_t b_row, float *c, size_t c_row, int add) {
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

enum { DEPTH = 128 }; /* rows of b at a time: 128 x 48 numbers are 24 KB, which the first cache holds */

/* At most HEIGHT rows. */
static void block(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_col,
                  const float *b, size_t b_row, float *c, size_t c_row, int add) {
    size_t j = 0;
#if LANES == 16
    while (n - j >= 48 && n - j != 64) { /* 64 are better two panels of 32 than 48 and 16 */
        panel(8, 3, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
        j += 48;
    }
    for (; n - j >= 32; j += 32)
        panel(12, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
    for (; j < n; j += 16)
        panel(16, 1, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#elif LANES == 8
    for (; j < n; j += 16)
        panel(6, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#elif defined(__aarch64__)
    for (; j < n; j += 16) /* 32 registers of 4 lanes */
        panel(6, 4, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#else
    for (; j < n; j += 2 * LANES) /* 16 registers of 4 lanes */
        panel(6, 2, m, k, a, a_row, a_col, b + j, b_row, c + j, c_row, add);
#endif
}

/* Rows of c at a time. A panel of c 64 rows high lies on as many pages of memory, which with those
 * of b are more than the 64 that the processor finds at once. */
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
        vec squares = {0};
        for (size_t j = 0; j < n; j += LANES)
            squares += load(x + j) * load(x + j);
        r[i] = 1.0f / sqrtf(sum(squares) / (float)c + eps);
        for (size_t j = 0; j < n; j += LANES)
            store(y + j, load(x + j) * r[i] * load(w + j));
    }
}

/* With u = dy w: dx = r u - x r^3 mean(u x), dw = sum over rows of dy x r. */
void tb_norm_back(size_t t, size_t c, size_t stride, const float *x, const float *w, const float *r,
                  const float *dy, float *dx, float *dw) {
    size_t n = tb_round(c);
    for (size_t i = 0; i < t; i++, x += stride, dy += stride, dx += stride) {
        vec dot = {0};
        for (size_t j = 0; j < n; j += LANES) {
            vec dyx = load(dy + j) * load(x + j);
            dot += dyx * load(w + j);
            store(dw + j, load(dw + j) + dyx * r[i]);
        }
        float pull = r[i] * r[i] * r[i] * sum(dot) / (float)c;
        for (size_t j = 0; j < n; j += LANES)
            store(dx + j, load(dx + j) + load(dy + j) * load(w + j) * r[i] - load(x + j) * pull);
    }
}

void tb_swiglu(size_t t, size_t f, const float *gu, size_t gu_row, float *h, size_t h_row) {
    for (size_t i = 0; i < t; i++, gu += gu_row, h += h_row)
        for (size_t j = 0; j < f; j += LANES) {
            vec gate = load(gu + j);
            store(h + j, gate / (1.0f + vexp(-gate)) * load(gu + f + j));
        }
}

/* s = sigmoid(gate): dgate = dh up s (1 + gate (1 - s)), dup = dh gate s. */
void tb_swiglu_back(size_t t, size_t f, const float *gu, size_t gu_row, const float *dh,
                    size_t dh_row, float *dgu) {
    for (size_t i = 0; i < t; i++, gu += gu_row, dgu += gu_row, dh += dh_row)
        for (size_t j = 0; j < f; j += LANES) {
            vec gate = load(gu + j), up = load(gu + f + j), d = load(dh + j);
            vec s = 1.0f / (1.0f + vexp(-gate));
            store(dgu + j, d * up * s * (1.0f + gate * (1.0f - s)));
            store(dgu + f + j, d * gate * s);
        }
}

INLINE void fill(float *x, size_t from, size_t to, float value) {
    for (size_t j = from; j < to; j++)
        x[j] = value;
}

void tb_causal_softmax(size_t t, size_t first, size_t n, float scale, float *s, size_t s_row,
                       float *log_sum) {
    n = tb_round(n);
    for (size_t i = 0; i < t; i++, s += s_row) {
        size_t seen = first + i + 1, j = 0;
        vec best = all(-INFINITY), total = {0};
        for (; j < seen; j += LANES)
            best = at_least(first_lanes(seen - j, load(s + j), -INFINITY), best);
        float most = largest(best) * scale;
        for (j = 0; j < seen; j += LANES) {
            vec p = first_lanes(seen - j, vexp(load(s + j) * scale - most), 0.0f);
            store(s + j, p);
            total += p;
        }
        float whole = sum(total), share = 1.0f / whole;
        log_sum[i] = most + logf(whole);
        for (j = 0; j < seen; j += LANES)
            store(s + j, load(s + j) * share);
        for (; j < n; j += LANES)
            store(s + j, (vec){0});
    }
}

void tb_causal_softmax_back(size_t t, size_t first, size_t n, float scale, float *s, float *dp,
                            size_t s_row, const float *log_sum, const float *delta) {
    n = tb_round(n);
    for (size_t i = 0; i < t; i++, s += s_row, dp += s_row) {
        size_t seen = first + i + 1, j = 0;
        for (; j < seen; j += LANES) {
            vec p = vexp(load(s + j) * scale - log_sum[i]);
            vec ds = p * (load(dp + j) - delta[i]) * scale;
            store(s + j, first_lanes(seen - j, p, 0.0f));
            store(dp + j, first_lanes(seen - j, ds, 0.0f));
        }
        for (; j < n; j += LANES) {
            store(s + j, (vec){0});
            store(dp + j, (vec){0});
        }
    }
}

void tb_cross_entropy(size_t t, size_t v, float *logits, size_t row, const int32_t *targets,
                      float scale, float *loss) {
    size_t n = tb_round(v);
    for (size_t i = 0; i < t; i++, logits += row) {
        fill(logits, v, n, -INFINITY);
        float target = logits[targets[i]];
        vec best = all(-INFINITY), total = {0};
        for (size_t j = 0; j < n; j += LANES)
            best = at_least(load(logits + j), best);
        float most = largest(best);
        size_t j = 0;
        for (; j + 4 * LANES <= n; j += 4 * LANES)
            total += soften(4, logits + j, most, 1.0f, logits + j);
        for (; j < n; j += LANES)
            total += soften(1, logits + j, most, 1.0f, logits + j);
        float all_of_it = sum(total);
        loss[i] = logf(all_of_it) + most - target;
        if (scale == 0.0f)
            continue;
        float share = scale / all_of_it;
        for (size_t j = 0; j < n; j += LANES)
            store(logits + j, load(logits + j) * share);
        logits[targets[i]] -= scale;
        fill(logits, v, n, 0.0f);
    }
}

void tb_exp(int64_t n, const float *x, float *y) {
    for (int64_t j = 0; j < n; j += LANES)
        store(y + j, vexp(load(x + j)));
}

double tb_reduce(size_t n, size_t parts, float *const *part, size_t from, float *out) {
    double squares = 0;
    enum { SPAN = 1024 }; /* numbers summed in float32 lanes before they join in double */
    for (size_t start = from; start < from + n; start += SPAN) {
        size_t end = start + SPAN < from + n ? start + SPAN : from + n;
        vec total = {0};
        for (size_t j = start; j < end; j += LANES) {
            vec g = load(part[0] + j);
            for (size_t i = 1; i < parts; i++)
                g += load(part[i] + j);
            store(out + j, g);
            total += g * g;
        }
        squares += (double)sum(total);
    }
    return squares;
}

INLINE vec root(vec x) {
#if LANES > 1
    vec y;
    for (int i = 0; i < LANES; i++)
        y[i] = sqrtf(x[i]); /* the compiler makes one instruction of it */
    return y;
#else
    return sqrtf(x);
#endif
}

void tb_adamw(size_t n, const struct tb_adamw *o, float *w, const float *g, float *m, float *v) {
    for (size_t j = 0; j < n; j += LANES) {
        vec grad = load(g + j) * o->clip;
        vec mean = load(m + j) + (grad - load(m + j)) * o->rest1;
        vec square = load(v + j) * o->beta2 + grad * grad * o->rest2;
        store(m + j, mean);
        store(v + j, square);
        vec down = root(square) / o->root_correction + o->eps;
        store(w + j, load(w + j) * o->keep - mean * o->step_size / down);
    }
}
