/* The way back, in the opposite order of forward.c: dx is always the gradient of what the residual
   stream holds there, and a gradient of weights is added to gradient at the weight's own place. */
#include "pass.h"

#include <string.h>

/* dx (in, t) = W^T dy. */
static void input_gradient(const tb_pass *p, const tb_weights *w, const tb_place *m, size_t t,
                           const float *dy, size_t dy_row, float *dx, size_t dx_row) {
    tb_place transposed = *m;
    transposed.by_input = !m->by_input;
    tb_project(p, w, &transposed, t, dy, dy_row, dx, dx_row, 0);
}

/* dW = dy x^T, or +=, of which the factor with C features lies by position. */
static void weight_gradient(const tb_pass *p, const tb_place *m, size_t t, const float *wide,
                            size_t wide_row, const float *by_position, float *gradient, int add) {
    if (!tb_is_set(p->stop))
        tb_matmul(m->rows, m->columns, t, wide, wide_row, 1, by_position, p->c_row,
                  gradient + m->at, m->stride, add);
}

/* x (C, t) by position. */
static const float *by_position(const tb_pass *p, size_t t, const float *x) {
    tb_transpose((size_t)p->layout->config.hidden_size, t, x, p->row, p->by_position, p->c_row);
    return p->by_position;
}

/* Losses and, block of positions by block, the gradient of their logits, still to be multiplied by
   each position's share, as its products are instead; dn (C, t) comes of it. */
static void head_back(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t,
                      float scale, float *gradient, int add) {
    const tb_place *m = &p->layout->embedding;
    size_t c = m->columns, head_row = p->head_columns;
    for (size_t from = 0; from < t && !tb_is_set(p->stop); from += p->head_columns) {
        size_t columns = t - from < p->head_columns ? t - from : p->head_columns;
        float *normed = p->dx + from, *dn = p->dn + from; /* dx is not yet in use */
        tb_logits(p, w, from, columns);
        tb_cross_entropy(m->rows, columns, p->logits, head_row, targets + from, p->loss + from,
                         p->share);
        for (size_t i = 0; i < columns; i++) p->share[i] *= scale;
        input_gradient(p, w, m, columns, p->logits, head_row, dn, p->row);
        tb_scale_columns(c, columns, p->share, dn, p->row, dn, p->row);
        tb_scale_columns(c, columns, p->share, p->normed + from, p->row, normed, p->row);
        weight_gradient(p, m, columns, p->logits, head_row, by_position(p, columns, normed),
                        gradient, add || from);
    }
}

#if TB_BF16
/* The same with products of bf16. Softmax and losses stay in float32, and so do gradients as soon
   as they are summed. */
static void head_back_bf16(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t,
                           float scale, float *gradient, int add) {
    const tb_place *m = &p->layout->embedding;
    const size_t v = m->rows, c = m->columns, row = p->head_columns;
    float *logits = p->logits, *rows = logits + row; /* see tb_cross_entropy_bf16 */
    gradient += m->at;
    for (size_t from = 0; from < t && !tb_is_set(p->stop); from += row) {
        const size_t columns = t - from < row ? t - from : row;
        float *normed = p->dx + from, *dn = p->dn + from; /* dx is not yet in use */
        tb_bf16_pairs(c, columns, p->normed + from, p->row, p->normed_pairs, row);
        tb_matmul_bf16(v, columns, (c + 1) / 2, w->embedding_rows, m->stride / 2, 1,
                       p->normed_pairs, row, logits, row, 0);
        tb_cross_entropy_bf16(v, columns, logits, row, targets + from, p->loss + from, p->share);
        for (size_t i = 0; i < columns; i++) p->share[i] *= scale;
        if (tb_is_set(p->stop)) return;
        tb_matmul_bf16(c, columns, (v + 1) / 2, w->embedding_pairs, 1, m->stride, logits, 2 * row,
                       dn, p->row, 0);
        tb_scale_columns(c, columns, p->share, dn, p->row, dn, p->row);
        tb_scale_columns(c, columns, p->share, p->normed + from, p->row, normed, p->row);
        tb_bf16_rows(c, columns, normed, p->row, normed, p->row);
        if (tb_is_set(p->stop)) return;
        const size_t half = (columns + 1) / 2;
        const float *transposed = by_position(p, half, normed);
        tb_matmul_bf16((v + 1) / 2, c, half, rows, 2 * row, 1, transposed, p->c_row, gradient,
                       2 * m->stride, add || from);
        tb_matmul_bf16(v / 2, c, half, rows + row / 2, 2 * row, 1, transposed, p->c_row,
                       gradient + m->stride, 2 * m->stride, add || from);
    }
}
#endif

void tb_backward(tb_pass *p, const tb_weights *w, const int32_t *ids, const int32_t *targets,
                 size_t t, float scale, float *gradient, int add) {
    const tb_layout *l = p->layout;
    size_t c = (size_t)l->config.hidden_size, f = (size_t)l->config.intermediate_size, row = p->row;
#if TB_BF16
    if (w->embedding_rows)
        head_back_bf16(p, w, targets, t, scale, gradient, add);
    else
#endif
        head_back(p, w, targets, t, scale, gradient, add);
    memset(p->dx, 0, c * row * sizeof(float));
    tb_norm_back(c, t, row, p->last, w->weights + l->norm.at, p->r, p->dn, p->dx,
                 gradient + l->norm.at, add);
    for (int i = l->config.num_hidden_layers - 1; i >= 0; i--) {
        const tb_layer_layout *m = &l->layers[i];
        tb_layer_numbers *y = &p->layers[i];
        input_gradient(p, w, &m->down, t, p->dx, row, p->h, row);
        tb_swiglu_back(f, t, row, y->gu, y->silu, p->h);
        weight_gradient(p, &m->down, t, p->h, row, by_position(p, t, p->dx), gradient, add);
        input_gradient(p, w, &m->gu, t, y->gu, row, p->dn, row);
        weight_gradient(p, &m->gu, t, y->gu, row, by_position(p, t, y->n2), gradient, add);
        tb_norm_back(c, t, row, y->x1, w->weights + m->norm2.at, y->r2, p->dn, p->dx,
                     gradient + m->norm2.at, add);

        input_gradient(p, w, &m->o, t, p->dx, row, p->dmixed, row);
        weight_gradient(p, &m->o, t, y->mixed, row, by_position(p, t, p->dx), gradient, add);
        tb_attend_back(p, w, y, t);
        input_gradient(p, w, &m->qkv, t, p->dqkv, row, p->dn, row);
        weight_gradient(p, &m->qkv, t, p->dqkv, row, by_position(p, t, y->n1), gradient, add);
        tb_norm_back(c, t, row, y->x, w->weights + m->norm1.at, y->r1, p->dn, p->dx,
                     gradient + m->norm1.at, add);
    }
    const float *dx = by_position(p, t, p->dx); /* of the embedding's other use: a row looked up */
    for (size_t i = 0; i < t; i++, dx += p->c_row) {
        float *at = gradient + l->embedding.at + (size_t)ids[i] * l->embedding.stride;
        for (size_t j = 0; j < c; j++) at[j] += dx[j];
    }
}
