/* Causal attention, a head and 16 queries at a time; with 32, the keys that the first of them do
   not see cost 1 % more of a step. */
#include "pass.h"

#include <math.h>
#include <string.h>

enum { QUERIES = TB_ATTENTION_QUERIES };

/* Where head h begins in qkv, and its keys; values lie kv_width rows behind those. */
static size_t query_row(const tb_layout *l, size_t h) {
    return h * l->head;
}

static size_t key_row(const tb_layout *l, size_t h) {
    size_t heads = (size_t)l->config.num_attention_heads;
    return (heads + h * (size_t)l->config.num_key_value_heads / heads) * l->head;
}

/* Rotates queries and keys by their positions; back with sign -1. */
static void rotate(const tb_pass *p, const tb_weights *w, float *qkv, size_t t, float sign) {
    const tb_config *c = &p->layout->config;
    size_t half = p->layout->head / 2,
           heads = (size_t)c->num_attention_heads + (size_t)c->num_key_value_heads;
    for (size_t h = 0; h < heads; h++, qkv += 2 * half * p->row)
        for (size_t j = 0; j < half; j++)
            tb_rotate(t, w->rope + j * w->rope_row, w->rope + (half + j) * w->rope_row, sign,
                      qkv + j * p->row, qkv + (half + j) * p->row);
}

static tb_head head_of(const tb_pass *p, const tb_layer_numbers *y, size_t h) {
    const tb_layout *l = p->layout;
    const float *k = y->qkv + key_row(l, h) * p->row;
    return (tb_head){.size = l->head,
                     .row = p->row,
                     .q = y->qkv + query_row(l, h) * p->row,
                     .k = k,
                     .v = k + l->kv_width * p->row,
                     .dmixed = p->dmixed ? p->dmixed + query_row(l, h) * p->row : NULL};
}

void tb_attend(tb_pass *p, const tb_weights *w, tb_layer_numbers *y, size_t t) {
    const tb_layout *l = p->layout;
    float scale = 1.0f / sqrtf((float)l->head);
    rotate(p, w, y->qkv, t, 1.0f);
    for (size_t h = 0; h < (size_t)l->config.num_attention_heads; h++) {
        const tb_head head = head_of(p, y, h);
        float *mixed = y->mixed + query_row(l, h) * p->row;
        float *most = y->most + h * p->row, *share = y->share + h * p->row;
        for (size_t from = 0; from < t && !tb_is_set(p->stop); from += QUERIES) {
            size_t queries = t - from < QUERIES ? t - from : QUERIES, keys = from + queries;
            tb_causal_softmax(&head, from, queries, scale, p->scores, QUERIES, most, share);
            tb_matmul(l->head, queries, keys, head.v, p->row, 1, p->scores, QUERIES, mixed + from,
                      p->row, 0);
            tb_scale_columns(l->head, queries, share + from, mixed + from, p->row, mixed + from,
                             p->row);
        }
    }
}

/* The probabilities are computed anew: keeping them would take H T^2 numbers, and costs as much as
   the exponentials. Here vectors hold 16 keys, so that the gradients of keys and values lie by
   feature without adding up across lanes. */
void tb_attend_back(tb_pass *p, const tb_weights *w, const tb_layer_numbers *y, size_t t) {
    const tb_layout *l = p->layout;
    size_t heads = (size_t)l->config.num_attention_heads,
           group = heads / (size_t)l->config.num_key_value_heads;
    float scale = 1.0f / sqrtf((float)l->head);
    memset(p->dqkv, 0, (heads * l->head + 2 * l->kv_width) * p->row * sizeof(float));
    for (size_t h = 0; h < heads; h++) {
        size_t q_at = query_row(l, h) * p->row, k_at = key_row(l, h) * p->row;
        size_t v_at = k_at + l->kv_width * p->row;
        const tb_head head = head_of(p, y, h);
        if (h % group == 0) tb_transpose(l->head, t, head.k, p->row, p->keys, p->d_row);
        /* sum_j p_j dp_j = mixed . dmixed */
        tb_column_dots(l->head, t, y->mixed + q_at, head.dmixed, p->row, p->delta);
        for (size_t from = 0; from < t && !tb_is_set(p->stop); from += QUERIES) {
            size_t queries = t - from < QUERIES ? t - from : QUERIES, keys = from + queries;
            tb_causal_softmax_back(&head, from, queries, scale, y->most + h * p->row,
                                   y->share + h * p->row, p->delta, p->scores, p->dscores);
            tb_matmul(queries, l->head, keys, p->dscores, p->row, 1, p->keys, p->d_row, p->dqueries,
                      p->d_row, 0);
            tb_transpose(queries, l->head, p->dqueries, p->d_row, p->dqkv + q_at + from, p->row);
            tb_matmul(l->head, keys, queries, head.q + from, p->row, 1, p->dscores, p->row,
                      p->dqkv + k_at, p->row, 1);
            tb_matmul(l->head, keys, queries, head.dmixed + from, p->row, 1, p->scores, p->row,
                      p->dqkv + v_at, p->row, 1);
        }
    }
    rotate(p, w, p->dqkv, t, -1.0f);
}
