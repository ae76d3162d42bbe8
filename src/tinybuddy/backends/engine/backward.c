/* The way back, in the opposite order of forward.c: dx is always the gradient of what the residual
   stream holds there, and a gradient of weights is added to gradient at the weight's own place. */
#include "pass.h"

#include <math.h>
#include <string.h>

/* dx (t, in) = dy (t, out) W. */
static void input_gradient(const tb_pass *p, const tb_weights *w, const tb_place *m, size_t t,
                           const float *dy, size_t dy_row, float *dx, size_t dx_row) {
    if (!tb_is_set(p->stop))
        tb_matmul(t, m->columns, m->rows, dy, dy_row, 1, w->weights + m->at, m->stride, dx, dx_row,
                  0);
}

/* dW (out, in) += dy^T x. */
static void weight_gradient(const tb_pass *p, const tb_place *m, size_t t, const float *dy,
                            size_t dy_row, const float *x, size_t x_row, float *gradient) {
    if (!tb_is_set(p->stop))
        tb_matmul(m->rows, m->columns, t, dy, 1, dy_row, x, x_row, gradient + m->at, m->stride, 1);
}

/* Losses and, block of positions by block, the gradient of their logits; dn (t, C) comes of it. */
static void head_back(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t,
                      float scale, float *gradient) {
    const tb_place *m = &p->layout->embedding;
    for (size_t from = 0; from < t && !tb_is_set(p->stop); from += p->head_rows) {
        size_t rows = t - from < p->head_rows ? t - from : p->head_rows;
        tb_head(p, w, from, rows);
        tb_cross_entropy(rows, (size_t)p->layout->config.vocab_size, p->logits, p->v_row,
                         targets + from, scale, p->loss + from);
        input_gradient(p, w, m, rows, p->logits, p->v_row, p->dn + from * p->c_row, p->c_row);
        weight_gradient(p, m, rows, p->logits, p->v_row, p->normed + from * p->c_row, p->c_row,
                        gradient);
    }
}

/* dqkv (t, (H + 2K) P) from dmixed (t, H P). The probabilities are computed anew from log_sum:
   keeping them would take H T^2 numbers, and costs as much as the exponentials. */
static void attend_back(tb_pass *p, const tb_layer_numbers *y, size_t t) {
    const tb_layout *l = p->layout;
    size_t heads = (size_t)l->config.num_attention_heads,
           group = heads / (size_t)l->config.num_key_value_heads;
    size_t row = p->qkv_row;
    float scale = 1.0f / sqrtf((float)l->head);
    memset(p->dqkv, 0, t * row * sizeof(float));
    for (size_t h = 0; h < heads; h++) {
        size_t q_at = h * l->head_padded, k_at = l->q_width + h / group * l->head_padded;
        size_t v_at = k_at + l->kv_width;
        const float *q = y->qkv + q_at, *k = y->qkv + k_at;
        float *keys = p->transposed_head, *values = p->transposed_head + l->head * p->t_row;
        if (h % group == 0) {
            tb_transpose_head(t, l->head, k, row, keys, p->t_row);
            tb_transpose_head(t, l->head, y->qkv + v_at, row, values, p->t_row);
        }
        for (size_t from = 0; from < t && !tb_is_set(p->stop); from += TB_ATTENTION_ROWS) {
            size_t rows = t - from < TB_ATTENTION_ROWS ? t - from : TB_ATTENTION_ROWS;
            size_t columns = from + rows;
            const float *dmixed = p->dmixed + from * p->q_row + q_at;
            const float *mixed = y->mixed + from * p->q_row + q_at;
            for (size_t i = 0; i < rows; i++) { /* sum_j p_j dp_j = mixed . dmixed */
                p->delta[i] = 0;
                for (size_t j = 0; j < l->head; j++)
                    p->delta[i] += mixed[i * p->q_row + j] * dmixed[i * p->q_row + j];
            }
            tb_matmul(rows, columns, l->head, q + from * row, row, 1, keys, p->t_row, p->scores,
                      p->t_row, 0);
            tb_matmul(rows, columns, l->head, dmixed, p->q_row, 1, values, p->t_row, p->dscores,
                      p->t_row, 0);
            tb_causal_softmax_back(rows, from, columns, scale, p->scores, p->dscores, p->t_row,
                                   y->log_sum + h * p->length + from, p->delta);
            tb_matmul(rows, l->head, columns, p->dscores, p->t_row, 1, k, row,
                      p->dqkv + from * row + q_at, row, 0);
            tb_matmul(columns, l->head, rows, p->dscores, 1, p->t_row, q + from * row, row,
                      p->dqkv + k_at, row, 1);
            tb_matmul(columns, l->head, rows, p->scores, 1, p->t_row, dmixed, p->q_row,
                      p->dqkv + v_at, row, 1);
        }
    }
}

void tb_backward(tb_pass *p, const tb_weights *w, const int32_t *ids, const int32_t *targets,
                 size_t t, float scale, float *gradient) {
    const tb_layout *l = p->layout;
    size_t c = (size_t)l->config.hidden_size;
    head_back(p, w, targets, t, scale, gradient);
    memset(p->dx, 0, t * p->c_row * sizeof(float));
    tb_norm_back(t, c, p->c_row, p->last, w->weights + l->norm.at, p->r, p->dn, p->dx,
                 gradient + l->norm.at);
    for (int i = l->config.num_hidden_layers - 1; i >= 0; i--) {
        const tb_layer_layout *m = &l->layers[i];
        tb_layer_numbers *y = &p->layers[i];
        input_gradient(p, w, &m->down, t, p->dx, p->c_row, p->dh, p->f_row);
        weight_gradient(p, &m->down, t, p->dx, p->c_row, y->h, p->f_row, gradient);
        tb_swiglu_back(t, l->inner, y->gu, p->gu_row, p->dh, p->f_row, p->dgu);
        input_gradient(p, w, &m->gu, t, p->dgu, p->gu_row, p->dn, p->c_row);
        weight_gradient(p, &m->gu, t, p->dgu, p->gu_row, y->n2, p->c_row, gradient);
        tb_norm_back(t, c, p->c_row, y->x1, w->weights + m->norm2.at, y->r2, p->dn, p->dx,
                     gradient + m->norm2.at);

        input_gradient(p, w, &m->o, t, p->dx, p->c_row, p->dmixed, p->q_row);
        weight_gradient(p, &m->o, t, p->dx, p->c_row, y->mixed, p->q_row, gradient);
        attend_back(p, y, t);
        size_t transposing =
            (size_t)(l->config.num_attention_heads + l->config.num_key_value_heads);
        tb_rotate(l, w->rope, p->dqkv, p->qkv_row, transposing, t, -1.0f);
        input_gradient(p, w, &m->qkv, t, p->dqkv, p->qkv_row, p->dn, p->c_row);
        weight_gradient(p, &m->qkv, t, p->dqkv, p->qkv_row, y->n1, p->c_row, gradient);
        tb_norm_back(t, c, p->c_row, y->x, w->weights + m->norm1.at, y->r1, p->dn, p->dx,
                     gradient + m->norm1.at);
    }
    for (size_t i = 0; i < t; i++) { /* the embedding's other use: a row looked up */
        float *row = gradient + l->embedding.at + (size_t)ids[i] * l->embedding.stride;
        for (size_t j = 0; j < c; j++) row[j] += p->dx[i * p->c_row + j];
    }
}
