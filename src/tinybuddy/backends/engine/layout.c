/* Padding weights: done once a run, so plain loops do. */
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
static tb_place place(tb_layout *l, size_t rows, size_t columns, int by_input) {
    tb_place m = {.rows = rows, .columns = columns, .by_input = by_input};
    m.at = l->size;
    m.stride = rows == 1 ? tb_round(columns) : tb_stride(columns);
    l->fits = l->fits && add(&l->size, rows, m.stride);
    return m;
}

int tb_layout_make(tb_layout *l, const tb_config *config) {
    memset(l, 0, sizeof *l);
    if (!tb_config_is_valid(config)) return TB_BAD_CONFIG;
    const size_t c = (size_t)config->hidden_size, heads = (size_t)config->num_attention_heads;
    const size_t kv_heads = (size_t)config->num_key_value_heads;
    const size_t f = (size_t)config->intermediate_size, layers = (size_t)config->num_hidden_layers;
    l->config = *config;
    l->fits = 1;
    l->head = c / heads;
    l->kv_width = kv_heads * l->head;
    l->layers = calloc(layers, sizeof *l->layers);
    if (!l->layers) return TB_NO_MEMORY;
    l->embedding = place(l, (size_t)config->vocab_size, c, 0);
    for (size_t i = 0; i < layers; i++) {
        tb_layer_layout *layer = &l->layers[i];
        layer->norm1 = place(l, 1, c, 0);
        layer->qkv = place(l, c + 2 * l->kv_width, c, 0);
        layer->o = place(l, c, c, 1);
        layer->norm2 = place(l, 1, c, 0);
        layer->gu = place(l, 2 * f, c, 0);
        layer->down = place(l, f, c, 1);
    }
    l->norm = place(l, 1, c, 0);
    if (!l->fits) {
        tb_layout_free(l);
        return TB_BAD_CONFIG;
    }
    /* What follows is smaller than l->size. */
    const size_t layer = 2 * c + 2 * c * c + 2 * c * l->kv_width + 3 * c * f;
    l->dense = (size_t)config->vocab_size * c + layers * layer + c;
    return TB_OK;
}

void tb_layout_free(tb_layout *l) {
    free(l->layers);
    l->layers = NULL;
}

/* Copies one dense tensor (rows, columns), which begins at row first of m, in the direction asked;
   returns its size. */
static size_t copy(const tb_place *m, size_t first, size_t rows, size_t columns, float *buffer,
                   float *dense, int pack) {
    float *at = buffer + m->at + first * m->stride;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            float *inside = at + (m->by_input ? j * m->stride + i : i * m->stride + j);
            float *outside = dense + i * columns + j;
            *(pack ? inside : outside) = *(pack ? outside : inside);
        }
    return rows * columns;
}

static void copy_all(const tb_layout *l, float *buffer, float *dense, int pack) {
    size_t c = (size_t)l->config.hidden_size, f = (size_t)l->config.intermediate_size,
           kv = l->kv_width;
    dense += copy(&l->embedding, 0, l->embedding.rows, c, buffer, dense, pack);
    for (int i = 0; i < l->config.num_hidden_layers; i++) {
        const tb_layer_layout *y = &l->layers[i];
        dense += copy(&y->norm1, 0, 1, c, buffer, dense, pack);
        dense += copy(&y->qkv, 0, c, c, buffer, dense, pack);
        dense += copy(&y->qkv, c, kv, c, buffer, dense, pack);
        dense += copy(&y->qkv, c + kv, kv, c, buffer, dense, pack);
        dense += copy(&y->o, 0, c, c, buffer, dense, pack);
        dense += copy(&y->norm2, 0, 1, c, buffer, dense, pack);
        dense += copy(&y->gu, 0, f, c, buffer, dense, pack);
        dense += copy(&y->gu, f, f, c, buffer, dense, pack);
        dense += copy(&y->down, 0, c, f, buffer, dense, pack);
    }
    copy(&l->norm, 0, 1, c, buffer, dense, pack);
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
