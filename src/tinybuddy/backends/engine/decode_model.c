/* The memory of models, streams and scratches. */

#include "decode_internal.h"
#include "rope.h"

#include <string.h>

static uint64_t layer_bytes(const tb_config *c) {
    return 2 * tb_norm_bytes(c) + tb_matrix_bytes(tb_shape_qkv(c), c->bits) +
           tb_matrix_bytes(tb_shape_o(c), c->bits) + tb_matrix_bytes(tb_shape_gate_up(c), c->bits) +
           tb_matrix_bytes(tb_shape_down(c), c->bits);
}

uint64_t tb_packed_bytes(const tb_config *c) {
    if (!tb_config_is_valid(c)) return 0;
    return tb_addressable(tb_matrix_bytes(tb_shape_embedding(c), c->bits) +
                          (uint64_t)c->num_hidden_layers * layer_bytes(c) + tb_norm_bytes(c) +
                          4 * tb_rope_floats(c));
}

/* ---- the model ---- */

uint64_t tb_model_bytes(const tb_config *c) {
    if (!tb_packed_bytes(c)) return 0;
    return tb_aligned(sizeof(tb_model));
}

int tb_model_init(tb_model *m, const tb_config *c, const void *packed) {
    if (!tb_model_bytes(c)) return TB_BAD_CONFIG;
    m->config = *c;
    m->packed = packed;
    m->head_dim = tb_head_dim(c);
    m->kv_dim = tb_kv_dim(c);
    m->context_padded = 2 * (int32_t)tb_padded(((uint64_t)c->max_position_embeddings + 1) / 2);
    m->value_width = (int32_t)tb_padded((uint64_t)m->head_dim);
    m->rope = (const float *)((const uint8_t *)packed + tb_packed_bytes(c)) - tb_rope_floats(c);
    return TB_OK;
}

/* ---- streams ---- */

uint64_t tb_stream_bytes(const tb_model *m) {
    uint64_t keys = (uint64_t)m->kv_dim * (uint64_t)m->context_padded;
    uint64_t values = (uint64_t)m->config.num_key_value_heads *
                      (uint64_t)m->config.max_position_embeddings * (uint64_t)m->value_width;
    return tb_addressable(tb_aligned(sizeof(tb_stream)) +
                          4 * (uint64_t)m->config.num_hidden_layers * (keys + values));
}

void tb_stream_init(tb_stream *stream) {
    stream->length = 0;
}

/* ---- working memory ---- */

/* Takes `bytes` of the memory behind *at; counts only, where there is no memory. */
static void *take(uint8_t **at, uint64_t *total, uint64_t bytes) {
    void *taken = *at;
    *total += tb_aligned(bytes);
    if (*at) *at += tb_aligned(bytes);
    return taken;
}

static uint64_t lay_out(const tb_model *m, tb_scratch *s, int32_t rows, uint8_t *at) {
    const uint64_t n = (uint64_t)rows;
    const uint64_t hidden = tb_padded((uint64_t)m->config.hidden_size);
    uint64_t total = 0;
    take(&at, &total, sizeof(tb_scratch));
    s->rows = rows;
    s->positions = take(&at, &total, 4 * n);
    s->tokens = take(&at, &total, 4 * n);
    s->owners = take(&at, &total, 4 * n);
    s->wanted = take(&at, &total, 4 * n);
    s->streams = take(&at, &total, sizeof(tb_stream *) * n);
    s->x = take(&at, &total, 4 * n * hidden);
    s->normed = take(&at, &total, 4 * n * hidden);
    s->qkv = take(&at, &total, 4 * n * (uint64_t)tb_shape_qkv(&m->config).out);
    s->mixed = take(&at, &total, 4 * n * hidden);
    s->gate_up = take(&at, &total, 4 * n * (uint64_t)tb_shape_gate_up(&m->config).out);
    s->logits = take(&at, &total, 4 * n * (uint64_t)tb_shape_embedding(&m->config).out);
    s->scores = take(&at, &total,
                     4 * (uint64_t)m->config.num_attention_heads * (uint64_t)m->context_padded);
    s->sampling = take(&at, &total, tb_sample_bytes(m->config.vocab_size));
    return total;
}

uint64_t tb_scratch_bytes(const tb_model *m, int32_t rows) {
    tb_scratch counted;
    if (!(rows >= 1 && rows <= 65536)) return 0;
    return tb_addressable(lay_out(m, &counted, rows, NULL));
}

void tb_scratch_init(const tb_model *m, tb_scratch *scratch, int32_t rows) {
    memset(scratch, 0, (size_t)tb_scratch_bytes(m, rows)); /* padding of x must hold 0 */
    lay_out(m, scratch, rows, (uint8_t *)scratch);
}
