/* Padding and transposing weights: done once a step, so plain loops do. */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

static struct tb_place place(struct tb_layout *l, size_t rows, size_t columns) {
    struct tb_place m = {.rows = rows, .columns = columns};
    m.at = l->size;
    m.stride = rows == 1 ? tb_round(columns) : tb_stride(columns);
    l->size += rows * m.stride;
    if (rows > 1) {
        m.turned = l->turned_size;
        m.turned_stride = tb_stride(rows);
        l->turned_size += tb_round(columns) * m.turned_stride;
    }
    return m;
}

int tb_layout_make(struct tb_layout *l, const struct tb_shape *s) {
    size_t c = (size_t)s->hidden;
    memset(l, 0, sizeof *l);
    l->shape = *s;
    l->head = c / (size_t)s->heads;
    l->head_padded = tb_round(l->head);
    l->q_width = (size_t)s->heads * l->head_padded;
    l->kv_width = (size_t)s->kv_heads * l->head_padded;
    l->inner = tb_round((size_t)s->inner);
    l->layers = calloc((size_t)s->layers, sizeof *l->layers);
    if (!l->layers)
        return -1;
    l->embedding = place(l, (size_t)s->vocab, c);
    for (int i = 0; i < s->layers; i++) {
        struct tb_layer_layout *layer = &l->layers[i];
        layer->norm1 = place(l, 1, c);
        layer->qkv = place(l, l->q_width + 2 * l->kv_width, c);
        layer->o = place(l, c, l->q_width);
        layer->norm2 = place(l, 1, c);
        layer->gu = place(l, 2 * l->inner, c);
        layer->down = place(l, c, l->inner);
    }
    l->norm = place(l, 1, c);
    size_t kv = c / (size_t)s->heads * (size_t)s->kv_heads;
    size_t layer = 2 * c + 2 * c * c + 2 * c * kv + 3 * c * (size_t)s->inner;
    l->dense = (size_t)s->vocab * c + (size_t)s->layers * layer + c;
    return 0;
}

void tb_layout_free(struct tb_layout *l) {
    free(l->layers);
    l->layers = NULL;
}

/* One dense tensor within a matrix: its rows begin at row first; groups of rows or columns (the
 * heads) are padded each by itself. */
struct tensor {
    size_t rows, columns, first, row_group, row_padded, column_group, column_padded;
};

static size_t padded(size_t i, size_t group, size_t to) {
    return i / group * to + i % group;
}

/* Copies one tensor, in the direction asked; returns its size. */
static size_t copy(const struct tb_place *m, struct tensor t, float *buffer, float *dense,
                   int pack) {
    for (size_t i = 0; i < t.rows; i++) {
        size_t row = t.first + padded(i, t.row_group, t.row_padded);
        for (size_t j = 0; j < t.columns; j++) {
            float *inside = buffer + m->at + row * m->stride +
                            padded(j, t.column_group, t.column_padded);
            float *outside = dense + i * t.columns + j;
            *(pack ? inside : outside) = *(pack ? outside : inside);
        }
    }
    return t.rows * t.columns;
}

static void copy_all(const struct tb_layout *l, float *buffer, float *dense, int pack) {
    size_t c = (size_t)l->shape.hidden, f = (size_t)l->shape.inner, v = (size_t)l->shape.vocab;
    size_t d = l->head, p = l->head_padded, kv = d * (size_t)l->shape.kv_heads;
    struct tensor row = {1, c, 0, 1, 1, c, c};
    dense += copy(&l->embedding, (struct tensor){v, c, 0, v, v, c, c}, buffer, dense, pack);
    for (int i = 0; i < l->shape.layers; i++) {
        struct tb_layer_layout *y = &l->layers[i];
        size_t keys = l->q_width, values = l->q_width + l->kv_width;
        dense += copy(&y->norm1, row, buffer, dense, pack);
        dense += copy(&y->qkv, (struct tensor){c, c, 0, d, p, c, c}, buffer, dense, pack);
        dense += copy(&y->qkv, (struct tensor){kv, c, keys, d, p, c, c}, buffer, dense, pack);
        dense += copy(&y->qkv, (struct tensor){kv, c, values, d, p, c, c}, buffer, dense, pack);
        dense += copy(&y->o, (struct tensor){c, c, 0, c, c, d, p}, buffer, dense, pack);
        dense += copy(&y->norm2, row, buffer, dense, pack);
        dense += copy(&y->gu, (struct tensor){f, c, 0, f, f, c, c}, buffer, dense, pack);
        dense += copy(&y->gu, (struct tensor){f, c, l->inner, f, f, c, c}, buffer, dense, pack);
        dense += copy(&y->down, (struct tensor){c, f, 0, c, c, f, f}, buffer, dense, pack);
    }
    copy(&l->norm, row, buffer, dense, pack);
}

void tb_layout_pack(const struct tb_layout *l, const float *dense, float *buffer) {
    memset(buffer, 0, l->size * sizeof *buffer);
    copy_all(l, buffer, (float *)dense, 1); /* only read */
}

void tb_layout_unpack(const struct tb_layout *l, const float *buffer, float *dense) {
    copy_all(l, (float *)buffer, dense, 0); /* only read */
}

void tb_layout_visit(const struct tb_layout *l,
                     void (*visit)(void *, const struct tb_place *, enum tb_kind),
                     void *context) {
    visit(context, &l->embedding, TB_EMBEDDING);
    for (int i = 0; i < l->shape.layers; i++) {
        const struct tb_layer_layout *y = &l->layers[i];
        visit(context, &y->norm1, TB_NORM);
        visit(context, &y->qkv, TB_HIDDEN);
        visit(context, &y->o, TB_HIDDEN);
        visit(context, &y->norm2, TB_NORM);
        visit(context, &y->gu, TB_HIDDEN);
        visit(context, &y->down, TB_HIDDEN);
    }
    visit(context, &l->norm, TB_NORM);
}

struct turning {
    const float *buffer;
    float *turned;
};

static void turn(void *context, const struct tb_place *m, enum tb_kind kind) {
    struct turning *t = context;
    enum { BLOCK = 16 }; /* a block of 16 x 16 numbers is read and written in whole cache lines */
    for (size_t i0 = 0; i0 < m->rows && kind != TB_NORM; i0 += BLOCK)
        for (size_t j0 = 0; j0 < m->columns; j0 += BLOCK)
            for (size_t j = j0; j < m->columns && j < j0 + BLOCK; j++)
                for (size_t i = i0; i < m->rows && i < i0 + BLOCK; i++)
                    t->turned[m->turned + j * m->turned_stride + i] =
                        t->buffer[m->at + i * m->stride + j];
}

void tb_layout_turn(const struct tb_layout *l, const float *buffer, float *turned) {
    struct turning t = {buffer, turned};
    tb_layout_visit(l, turn, &t);
}
