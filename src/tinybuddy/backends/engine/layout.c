/* Padding and transposing weights: done once a step, so plain loops do. */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

/* Adds rows of stride floats to a size; 0 where that is more than this machine can address. */
static int add(size_t *size, uint64_t rows, uint64_t stride) {
    const uint64_t total = *size + rows * stride; /* below 2^63, as the limits of a shape are */
    if (!tb_addressable(total * sizeof(float))) return 0;
    *size = (size_t)total;
    return 1;
}

/* The place of a matrix behind those so far; l->fits becomes 0 where there is no room. */
static tb_place place(tb_layout *l, size_t rows, size_t columns) {
    tb_place m = {.rows = rows, .columns = columns};
    m.at = l->size;
    m.stride = rows == 1 ? tb_round(columns) : tb_stride(columns);
    l->fits = l->fits && add(&l->size, rows, m.stride);
    if (rows > 1) {
        m.transposed = l->transposed_size;
        m.transposed_stride = tb_stride(rows);
        l->fits = l->fits && add(&l->transposed_size, tb_round(columns), m.transposed_stride);
    }
    return m;
}

int tb_layout_make(tb_layout *l, const tb_config *config) {
    memset(l, 0, sizeof *l);
    if (!tb_config_is_valid(config)) return TB_BAD_CONFIG;
    const size_t c = (size_t)config->hidden_size, heads = (size_t)config->num_attention_heads;
    const size_t kv_heads = (size_t)config->num_key_value_heads;
    const size_t layers = (size_t)config->num_hidden_layers;
    l->config = *config;
    l->fits = 1;
    l->head = c / heads;
    l->head_padded = tb_round(l->head);
    l->q_width = heads * l->head_padded;
    l->kv_width = kv_heads * l->head_padded;
    l->inner = tb_round((size_t)config->intermediate_size);
    l->layers = calloc(layers, sizeof *l->layers);
    if (!l->layers) return TB_NO_MEMORY;
    l->embedding = place(l, (size_t)config->vocab_size, c);
    for (size_t i = 0; i < layers; i++) {
        tb_layer_layout *layer = &l->layers[i];
        layer->norm1 = place(l, 1, c);
        layer->qkv = place(l, l->q_width + 2 * l->kv_width, c);
        layer->o = place(l, c, l->q_width);
        layer->norm2 = place(l, 1, c);
        layer->gu = place(l, 2 * l->inner, c);
        layer->down = place(l, c, l->inner);
    }
    l->norm = place(l, 1, c);
    if (!l->fits) {
        tb_layout_free(l);
        return TB_BAD_CONFIG;
    }
    const size_t kv = l->head * kv_heads; /* what follows is smaller than l->size */
    const size_t layer = 2 * c + 2 * c * c + 2 * c * kv + 3 * c * (size_t)config->intermediate_size;
    l->dense = (size_t)config->vocab_size * c + layers * layer + c;
    return TB_OK;
}

void tb_layout_free(tb_layout *l) {
    free(l->layers);
    l->layers = NULL;
}

/* One dense tensor within a matrix: its rows begin at row first; groups of rows or columns (the
   heads) are padded each by itself. */
typedef struct tensor {
    size_t rows, columns, first, row_group, row_padded, column_group, column_padded;
} tensor;

static size_t padded(size_t i, size_t group, size_t to) {
    return i / group * to + i % group;
}

/* Copies one tensor, in the direction asked; returns its size. */
static size_t copy(const tb_place *m, tensor t, float *buffer, float *dense, int pack) {
    for (size_t i = 0; i < t.rows; i++) {
        size_t row = t.first + padded(i, t.row_group, t.row_padded);
        for (size_t j = 0; j < t.columns; j++) {
            float *inside =
                buffer + m->at + row * m->stride + padded(j, t.column_group, t.column_padded);
            float *outside = dense + i * t.columns + j;
            *(pack ? inside : outside) = *(pack ? outside : inside);
        }
    }
    return t.rows * t.columns;
}

static void copy_all(const tb_layout *l, float *buffer, float *dense, int pack) {
    size_t c = (size_t)l->config.hidden_size, f = (size_t)l->config.intermediate_size,
           v = (size_t)l->config.vocab_size;
    size_t d = l->head, p = l->head_padded, kv = d * (size_t)l->config.num_key_value_heads;
    tensor row = {1, c, 0, 1, 1, c, c};
    dense += copy(&l->embedding, (tensor){v, c, 0, v, v, c, c}, buffer, dense, pack);
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        tb_layer_layout *y = &l->layers[i];
        size_t keys = l->q_width, values = l->q_width + l->kv_width;
        dense += copy(&y->norm1, row, buffer, dense, pack);
        dense += copy(&y->qkv, (tensor){c, c, 0, d, p, c, c}, buffer, dense, pack);
        dense += copy(&y->qkv, (tensor){kv, c, keys, d, p, c, c}, buffer, dense, pack);
        dense += copy(&y->qkv, (tensor){kv, c, values, d, p, c, c}, buffer, dense, pack);
        dense += copy(&y->o, (tensor){c, c, 0, c, c, d, p}, buffer, dense, pack);
        dense += copy(&y->norm2, row, buffer, dense, pack);
        dense += copy(&y->gu, (tensor){f, c, 0, f, f, c, c}, buffer, dense, pack);
        dense += copy(&y->gu, (tensor){f, c, l->inner, f, f, c, c}, buffer, dense, pack);
        dense += copy(&y->down, (tensor){c, f, 0, c, c, f, f}, buffer, dense, pack);
    }
    copy(&l->norm, row, buffer, dense, pack);
}

void tb_layout_pack(const tb_layout *l, const float *dense, float *buffer) {
    memset(buffer, 0, l->size * sizeof *buffer);
    copy_all(l, buffer, (float *)dense, 1); /* only read */
}

void tb_layout_unpack(const tb_layout *l, const float *buffer, float *dense) {
    copy_all(l, (float *)buffer, dense, 0); /* only read */
}

void tb_layout_visit(const tb_layout *l, void (*visit)(void *, const tb_place *, tb_weight_kind),
                     void *context) {
    visit(context, &l->embedding, TB_EMBEDDING);
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        const tb_layer_layout *y = &l->layers[i];
        visit(context, &y->norm1, TB_NORM);
        visit(context, &y->qkv, TB_HIDDEN);
        visit(context, &y->o, TB_HIDDEN);
        visit(context, &y->norm2, TB_NORM);
        visit(context, &y->gu, TB_HIDDEN);
        visit(context, &y->down, TB_HIDDEN);
    }
    visit(context, &l->norm, TB_NORM);
}

typedef struct transposing {
    const float *buffer;
    float *transposed;
} transposing;

static void transpose(void *context, const tb_place *m, tb_weight_kind kind) {
    transposing *t = context;
    enum { BLOCK = 16 }; /* a block of 16 x 16 numbers is read and written in whole cache lines */
    for (size_t i0 = 0; i0 < m->rows && kind != TB_NORM; i0 += BLOCK)
        for (size_t j0 = 0; j0 < m->columns; j0 += BLOCK)
            for (size_t j = j0; j < m->columns && j < j0 + BLOCK; j++)
                for (size_t i = i0; i < m->rows && i < i0 + BLOCK; i++)
                    t->transposed[m->transposed + j * m->transposed_stride + i] =
                        t->buffer[m->at + i * m->stride + j];
}

void tb_layout_transpose(const tb_layout *l, const float *buffer, float *transposed) {
    transposing t = {buffer, transposed};
    tb_layout_visit(l, transpose, &t);
}
