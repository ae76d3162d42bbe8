/* Ids to logits, one sequence at a time: its numbers, some 600 KB for the reference model, stay in
   the second cache until the way back. */
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
    size_t t = p->length, heads = (size_t)p->layout->config.num_attention_heads;
    for (int i = 0; i < p->layout->config.num_hidden_layers; i++) {
        tb_layer_numbers *y = &p->layers[i];
        y->x = take(a, t, p->c_row);
        y->n1 = take(a, t, p->c_row);
        y->r1 = take(a, 1, t);
        y->qkv = take(a, t, p->qkv_row);
        y->log_sum = take(a, heads, t);
        y->mixed = take(a, t, p->q_row);
        y->x1 = take(a, t, p->c_row);
        y->n2 = take(a, t, p->c_row);
        y->r2 = take(a, 1, t);
        y->gu = take(a, t, p->gu_row);
        y->h = take(a, t, p->f_row);
    }
    p->last = take(a, t, p->c_row);
    p->normed = take(a, t, p->c_row);
    p->r = take(a, 1, t);
    p->loss = take(a, 1, t);
    p->logits = take(a, p->head_rows, p->v_row);
    p->transposed_head = take(a, 2, p->layout->head * p->t_row);
    p->scores = take(a, TB_ATTENTION_ROWS, p->t_row);
    if (!with_backward) return;
    p->dscores = take(a, TB_ATTENTION_ROWS, p->t_row);
    p->delta = take(a, 1, TB_ATTENTION_ROWS);
    p->dx = take(a, t, p->c_row);
    p->dn = take(a, t, p->c_row);
    p->dqkv = take(a, t, p->qkv_row);
    p->dmixed = take(a, t, p->q_row);
    p->dgu = take(a, t, p->gu_row);
    p->dh = take(a, t, p->f_row);
}

int tb_pass_make(tb_pass *p, const tb_layout *l, size_t length, int with_backward) {
    enum { HEAD_FLOATS = 65536 }; /* 256 KB of logits, a quarter of the second cache */
    memset(p, 0, sizeof *p);
    p->layout = l;
    p->length = length;
    p->c_row = tb_stride((size_t)l->config.hidden_size);
    p->qkv_row = tb_stride(l->q_width + 2 * l->kv_width);
    p->q_row = tb_stride(l->q_width);
    p->gu_row = tb_stride(2 * l->inner);
    p->f_row = tb_stride(l->inner);
    p->t_row = tb_stride(length);
    p->v_row = tb_stride((size_t)l->config.vocab_size);
    p->head_rows = HEAD_FLOATS / (size_t)l->config.vocab_size / 8 * 8;
    if (p->head_rows < 8) p->head_rows = 8;
    if (p->head_rows > length) p->head_rows = length;
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

/* y (t, out) = x (t, in) W^T, or +=. */
static void project(const tb_pass *p, const tb_weights *w, const tb_place *m, size_t t,
                    const float *x, size_t x_row, float *y, size_t y_row, int add) {
    if (!tb_is_set(p->stop))
        tb_matmul(t, m->rows, m->columns, x, x_row, 1, w->transposed + m->transposed,
                  m->transposed_stride, y, y_row, add);
}

void tb_rotate(const tb_layout *l, const float *rope, float *x, size_t row, size_t heads, size_t t,
               float sign) {
    size_t half = l->head / 2;
    for (size_t i = 0; i < t; i++, x += row, rope += l->head)
        for (size_t h = 0; h < heads; h++) {
            float *a = x + h * l->head_padded, *b = a + half;
            for (size_t j = 0; j < half; j++) {
                float cosine = rope[j], sine = sign * rope[half + j], first = a[j];
                a[j] = first * cosine - b[j] * sine;
                b[j] = b[j] * cosine + first * sine;
            }
        }
}

void tb_transpose_head(size_t t, size_t d, const float *x, size_t row, float *transposed,
                       size_t transposed_row) {
    enum { BLOCK = 16 };
    for (size_t i0 = 0; i0 < t; i0 += BLOCK)
        for (size_t j = 0; j < d; j++)
            for (size_t i = i0; i < t && i < i0 + BLOCK; i++)
                transposed[j * transposed_row + i] = x[i * row + j];
}

/* mixed (t, H P) from qkv; log_sum is kept for the way back. */
static void attend(tb_pass *p, tb_layer_numbers *y, size_t t) {
    const tb_layout *l = p->layout;
    size_t heads = (size_t)l->config.num_attention_heads,
           group = heads / (size_t)l->config.num_key_value_heads;
    float scale = 1.0f / sqrtf((float)l->head);
    for (size_t h = 0; h < heads; h++) {
        const float *q = y->qkv + h * l->head_padded;
        const float *k = y->qkv + l->q_width + h / group * l->head_padded;
        const float *v = k + l->kv_width;
        if (h % group == 0)
            tb_transpose_head(t, l->head, k, p->qkv_row, p->transposed_head, p->t_row);
        for (size_t from = 0; from < t && !tb_is_set(p->stop); from += TB_ATTENTION_ROWS) {
            size_t rows = t - from < TB_ATTENTION_ROWS ? t - from : TB_ATTENTION_ROWS;
            size_t columns = from + rows;
            tb_matmul(rows, columns, l->head, q + from * p->qkv_row, p->qkv_row, 1,
                      p->transposed_head, p->t_row, p->scores, p->t_row, 0);
            tb_causal_softmax(rows, from, columns, scale, p->scores, p->t_row,
                              y->log_sum + h * p->length + from);
            tb_matmul(rows, l->head, columns, p->scores, p->t_row, 1, v, p->qkv_row,
                      y->mixed + from * p->q_row + h * l->head_padded, p->q_row, 0);
        }
    }
}

void tb_forward(tb_pass *p, const tb_weights *w, const int32_t *ids, size_t t) {
    const tb_layout *l = p->layout;
    size_t c = (size_t)l->config.hidden_size, bytes = t * p->c_row * sizeof(float);
    float *x = p->layers[0].x;
    for (size_t i = 0; i < t; i++)
        memcpy(x + i * p->c_row,
               w->weights + l->embedding.at + (size_t)ids[i] * l->embedding.stride,
               c * sizeof(float));
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        const tb_layer_layout *m = &l->layers[i];
        tb_layer_numbers *y = &p->layers[i];
        tb_norm(t, c, p->c_row, l->config.rms_norm_eps, y->x, w->weights + m->norm1.at, y->n1,
                y->r1);
        project(p, w, &m->qkv, t, y->n1, p->c_row, y->qkv, p->qkv_row, 0);
        size_t transposing = (size_t)(l->config.num_attention_heads +
                                      l->config.num_key_value_heads); /* queries and keys */
        tb_rotate(l, w->rope, y->qkv, p->qkv_row, transposing, t, 1.0f);
        attend(p, y, t);
        memcpy(y->x1, y->x, bytes);
        project(p, w, &m->o, t, y->mixed, p->q_row, y->x1, p->c_row, 1);
        tb_norm(t, c, p->c_row, l->config.rms_norm_eps, y->x1, w->weights + m->norm2.at, y->n2,
                y->r2);
        project(p, w, &m->gu, t, y->n2, p->c_row, y->gu, p->gu_row, 0);
        tb_swiglu(t, l->inner, y->gu, p->gu_row, y->h, p->f_row);
        float *next = i + 1 < l->config.num_hidden_layers ? p->layers[i + 1].x : p->last;
        memcpy(next, y->x1, bytes);
        project(p, w, &m->down, t, y->h, p->f_row, next, p->c_row, 1);
    }
    tb_norm(t, c, p->c_row, l->config.rms_norm_eps, p->last, w->weights + l->norm.at, p->normed,
            p->r);
}

void tb_head(tb_pass *p, const tb_weights *w, size_t from, size_t rows) {
    project(p, w, &p->layout->embedding, rows, p->normed + from * p->c_row, p->c_row, p->logits,
            p->v_row, 0);
}

void tb_losses(tb_pass *p, const tb_weights *w, const int32_t *targets, size_t t) {
    for (size_t from = 0; from < t && !tb_is_set(p->stop); from += p->head_rows) {
        size_t rows = t - from < p->head_rows ? t - from : p->head_rows;
        tb_head(p, w, from, rows);
        tb_cross_entropy(rows, (size_t)p->layout->config.vocab_size, p->logits, p->v_row,
                         targets + from, 0.0f, p->loss + from);
    }
}
