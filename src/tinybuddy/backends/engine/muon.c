/* Each matrix is one task and stays on its thread. It is worked on with its longer side as rows,
   X (n, k) with n >= k, so that the products of the iteration are the smaller ones, and so that
   both X^T X and X B read their second factor along rows. */
#include "muon.h"

#include "memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5 };

static size_t longer(const tb_muon_matrix *m) {
    return m->rows > m->columns ? m->rows : m->columns;
}

static size_t shorter(const tb_muon_matrix *m) {
    return m->rows > m->columns ? m->columns : m->rows;
}

/* Adds the rows of place from first on. */
static void add(tb_muon *o, const tb_place *place, size_t first, size_t rows) {
    double ratio = (double)rows / (double)place->columns;
    if (place->by_input) ratio = 1 / ratio;
    tb_muon_matrix m = {place->at + first * place->stride, place->stride, rows, place->columns,
                        (float)sqrt(ratio > 1 ? ratio : 1)};
    size_t k = tb_stride(shorter(&m)), size = 2 * (longer(&m) + shorter(&m)) * k;
    o->scratch_size = size > o->scratch_size ? size : o->scratch_size;
    o->matrix[o->count++] = m;
}

int tb_muon_make(tb_muon *o, const tb_layout *l, size_t threads) {
    enum { IN_A_LAYER = 7 };
    size_t c = (size_t)l->config.hidden_size, f = (size_t)l->config.intermediate_size,
           kv = l->kv_width;
    memset(o, 0, sizeof *o);
    o->matrix = calloc(IN_A_LAYER * (size_t)l->config.num_hidden_layers, sizeof *o->matrix);
    if (!o->matrix) return TB_NO_MEMORY;
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        const tb_layer_layout *y = &l->layers[i];
        add(o, &y->gu, 0, f); /* the large ones first, so that threads end together */
        add(o, &y->gu, f, f);
        add(o, &y->down, 0, f);
        add(o, &y->qkv, 0, c);
        add(o, &y->o, 0, c);
        add(o, &y->qkv, c, kv);
        add(o, &y->qkv, c + kv, kv);
    }
    o->scratch = tb_floats_new((uint64_t)threads * o->scratch_size);
    if (!o->scratch) {
        tb_muon_free(o);
        return TB_NO_MEMORY;
    }
    return TB_OK;
}

void tb_muon_free(tb_muon *o) {
    free(o->matrix);
    tb_floats_free(o->scratch);
    memset(o, 0, sizeof *o);
}

/* Returns what became of X (n, k), in x or y: near X (X^T X)^(-1/2). A round makes of it
   X (a + b A + c A^2) with A = X^T X, whose coefficients raise small singular values fastest. */
static float *orthogonalize(size_t n, size_t k, float *x, float *y, float *gram, float *factor) {
    size_t row = tb_stride(k);
    double norm = sqrt(tb_reduce(n * row, 1, &x, 0, x)); /* of x alone, which stays as it is */
    float share = (float)(1 / (norm > 1e-7 ? norm : 1e-7));
    for (size_t i = 0; i < n * row; i++) x[i] *= share;
    for (int round = 0; round < ROUNDS; round++) {
        tb_matmul(k, k, n, x, 1, row, x, row, gram, row, 0);
        tb_matmul(k, k, k, gram, row, 1, gram, row, factor, row, 0);
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < k; j++)
                factor[i * row + j] = 2.0315f * factor[i * row + j] - 4.7750f * gram[i * row + j];
            factor[i * row + i] += 3.4445f;
        }
        tb_matmul(n, k, k, x, row, 1, factor, row, y, row, 0);
        float *swap = x;
        x = y;
        y = swap;
    }
    return x;
}

void tb_muon_step(const tb_muon *o, size_t number, size_t thread, const tb_muon_settings *s,
                  const float *gradient, float *momentum, float *weights) {
    const tb_muon_matrix *m = &o->matrix[number];
    size_t n = longer(m), k = shorter(m), row = tb_stride(k);
    size_t down = m->rows == n ? row : 1, across = m->rows == n ? 1 : row; /* steps in x */
    float *x = o->scratch + thread * o->scratch_size, *y = x + n * row;
    float *gram = y + n * row, *factor = gram + k * row;
    float rate = s->rate * m->scale;
    memset(x, 0, n * row * sizeof *x); /* another matrix's numbers lie in the padding */
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->columns; j++) {
            size_t at = m->at + i * m->stride + j;
            float grad = gradient[at] * s->clip;
            momentum[at] += (grad - momentum[at]) * (1 - s->momentum);
            x[i * down + j * across] = grad + (momentum[at] - grad) * s->momentum;
        }
    x = orthogonalize(n, k, x, y, gram, factor);
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->columns; j++) {
            size_t at = m->at + i * m->stride + j;
            weights[at] = weights[at] * s->keep - rate * x[i * down + j * across];
        }
}
