/* Ids to logits, one sequence at a time: its numbers, 930 KB for the reference model, stay in or
   near the second cache until the way back. */
#include "pass.h"

#include "memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Gives out parts of one block; with no block it only counts. */
typedef struct arena {
    float *memory;
    uint64_t used;
} arena;

static float *take(arena *a, uint64_t rows, uint64_t row) {
    float *part = a->memory ? a->memory + a->used : NULL;
    a->used += (rows * row + TB_ALIGN - 1) / TB_ALIGN * TB_ALIGN;
    return part;
}

static void hand_out(tb_pass *p, arena *a, int with_backward) {
    const tb_layout *l = p->layout;
    size_t c = (size_t)l->config.hidden_size, f = (size_t)l->config.intermediate_size;
    size_t heads = (size_t)l->config.num_attention_heads, qkv = c + 2 * l->kv_width, row = p->row;
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        tb_layer_numbers *y = &p->layers[i];
        y->x = take(a, c, row);
        y->n1 = take(a, c, row);
        y->r1 = take(a, 1, row);
        y->qkv = take(a, qkv, row);
        y->most = take(a, heads, row);
        y->share = take(a, heads, row);
        y->mixed = take(a, c, row);
        y->x1 = take(a, c, row);
        y->n2 = take(a, c, row);
        y->r2 = take(a, 1, row);
        y->gu = take(a, 2 * f, row);
        y->silu = take(a, f, row);
    }
    p->last = take(a, c, row);
    p->normed = take(a, c, row);
    p->r = take(a, 1, row);
    p->loss = take(a, 1, row);
    p->share = take(a, 1, row);
    if (with_backward) {
        p->normed_pairs = take(a, (c + 1) / 2, p->head_columns);
        p->delta = take(a, 1, row);
        p->by_position = take(a, p->length, p->c_row);
        p->dx = take(a, c, row);
        p->dn = take(a, c, row);
    }
    arena other = *a; /* what is not needed beside logits shares their memory */
    p->logits = take(a, (size_t)l->config.vocab_size + TB_BF16, p->head_columns);
    p->h = take(&other, f, row);
    p->scores = take(&other, TB_ATTENTION_QUERIES, row);
    if (with_backward) {
        p->dscores = take(&other, TB_ATTENTION_QUERIES, row);
        p->keys = take(&other, p->length, p->d_row);
        p->dqueries = take(&other, TB_ATTENTION_QUERIES, p->d_row);
        p->dqkv = take(&other, qkv, row);
        p->dmixed = take(&other, c, row);
    }
    if (other.used > a->used) a->used = other.used;
}

int tb_pass_make(tb_pass *p, const tb_layout *l, size_t length, int with_backward) {
    enum { HEAD_FLOATS = 65536 }; /* 256 KB of logits, a quarter of the second cache */
    memset(p, 0, sizeof *p);
    p->layout = l;
    p->length = length;
    p->row = tb_stride(length);
    p->c_row = tb_stride((size_t)l->config.hidden_size);
    p->d_row = tb_round(l->head);
    p->head_columns = HEAD_FLOATS / (size_t)l->config.vocab_size / TB_ALIGN * TB_ALIGN;
    if (p->head_columns < TB_ALIGN) p->head_columns = TB_ALIGN;
    if (p->head_columns > tb_round(length)) p->head_columns = tb_round(length);
#if TB_BF16
    if (p->head_columns > TB_BF16_COLUMNS) p->head_columns = TB_BF16_COLUMNS;
#endif
    p->layers = calloc((size_t)l->config.num_hidden_layers, sizeof *p->layers);
    if (!p->layers) {
        tb_pass_free(p);
        return TB_NO_MEMORY;
    }
    arena a = {NULL, 0};
    hand_out(p, &a, with_backward);
    p->memory = a.memory = tb_floats_new(a.used); /* padding must be 0 */
    if (!p->memory) {
        tb_pass_free(p);
        return TB_NO_MEMORY;
    }
    a.used = 0;
    hand_out(p, &a, with_backward);
    return TB_OK;
}

void tb_pass_free(tb_pass *p) {
    tb_floats_free(p->memory);
    free(p->layers);
    memset(p, 0, sizeof *p);
}

void tb_project(const tb_pass *p, const tb_weights *w, const tb_place *m, size_t t, const float *x,
                size_t x_row, float *y, size_t y_row, int add) {
    const float *matrix = w->weights + m->at;
    if (tb_is_set(p->stop)) return;
    if (m->by_input)
        tb_matmul(m->columns, t, m->rows, matrix, 1, m->stride, x, x_row, y, y_row, add);
    else
        tb_matmul(m->rows, t, m->columns, matrix, m->stride, 1, x, x_row, y, y_row, add);
}

void tb_forward(tb_pass *p, const tb_weights *w, const int32_t *ids, size_t t) {
    const tb_layout *l = p->layout;
    size_t c = (size_t)l->config.hidden_size, f = (size_t)l->config.intermediate_size, row = p->row,
           bytes = c * row * sizeof(float);
    float eps = l->config.rms_norm_eps, *x = p->layers[0].x;
    for (size_t i = 0; i < t; i++) {
        const float *embedding =
            w->weights + l->embedding.at + (size_t)ids[i] * l->embedding.stride;
        for (size_t j = 0; j < c; j++) x[j * row + i] = embedding[j];
    }
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        const tb_layer_layout *m = &l->layers[i];
        tb_layer_numbers *y = &p->layers[i];
        tb_norm(c, t, row, eps, y->x, w->weights + m->norm1.at, y->n1, y->r1);
        tb_project(p, w, &m->qkv, t, y->n1, row, y->qkv, row, 0);
        tb_attend(p, w, y, t);
        memcpy(y->x1, y->x, bytes);
        tb_project(p, w, &m->o, t, y->mixed, row, y->x1, row, 1);
        tb_norm(c, t, row, eps, y->x1, w->weights + m->norm2.at, y->n2, y->r2);
        tb_project(p, w, &m->gu, t, y->n2, row, y->gu, row, 0);
        tb_swiglu(f, t, row, y->gu, y->silu, p->h);
        float *next = i + 1 < l->config.num_hidden_layers ? p->layers[i + 1].x : p->last;
        memcpy(next, y->x1, bytes);
        tb_project(p, w, &m->down, t, p->h, row, next, row, 1);
    }
    tb_norm(c, t, row, eps, p->last, w->weights + l->norm.at, p->normed, p->r);
}

void tb_logits(tb_pass *p, const tb_weights *w, size_t from, size_t columns) {
    tb_project(p, w, &p->layout->embedding, columns, p->normed + from, p->row, p->logits,
               p->head_columns, 0);
}

void tb_losses(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t) {
    for (size_t from = 0; from < t && !tb_is_set(p->stop); from += p->head_columns) {
        size_t columns = t - from < p->head_columns ? t - from : p->head_columns;
        tb_logits(p, w, from, columns);
        tb_cross_entropy((size_t)p->layout->config.vocab_size, columns, p->logits, p->head_columns,
                         targets + from, p->loss + from, p->share);
    }
}
