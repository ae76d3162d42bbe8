/* Packing weights, and the memory of models, streams and scratches. */

#include "decode_internal.h"
#include "dispatch.h"
#include "rope.h"

#include <string.h>

static uint64_t layer_bytes(const tb_config *c) {
    return 2 * tb_norm_bytes(c) + tb_matrix_bytes(tb_shape_qkv(c), c->int8) +
           tb_matrix_bytes(tb_shape_o(c), c->int8) + tb_matrix_bytes(tb_shape_gate_up(c), c->int8) +
           tb_matrix_bytes(tb_shape_down(c), c->int8);
}

uint64_t tb_packed_bytes(const tb_config *c) {
    if (!tb_config_is_valid(c)) return 0;
    return tb_addressable(tb_matrix_bytes(tb_shape_embedding(c), c->int8) +
                          (uint64_t)c->num_hidden_layers * layer_bytes(c) + tb_norm_bytes(c));
}

/* ---- packing ---- */

int tb_pack(const tb_config *c, const float *const *weights, void *packed) {
    uint64_t bytes = tb_packed_bytes(c);
    if (!bytes) return TB_BAD_CONFIG;
    memset(packed, 0, (size_t)bytes);
    const uint8_t *at = packed;
    const size_t norm = (size_t)c->hidden_size * sizeof(float);
    const int32_t hidden = c->hidden_size, inner = c->intermediate_size, kv = tb_kv_dim(c);
    tb_pack_rows(tb_take_matrix(tb_shape_embedding(c), c->int8, &at), 0, *weights++, c->vocab_size);
    for (int32_t layer = 0; layer < c->num_hidden_layers; layer++) {
        memcpy((float *)tb_take_norm(c, &at), *weights++, norm);
        tb_matrix qkv = tb_take_matrix(tb_shape_qkv(c), c->int8, &at);
        tb_pack_rows(qkv, 0, *weights++, hidden);
        tb_pack_rows(qkv, hidden, *weights++, kv);
        tb_pack_rows(qkv, hidden + kv, *weights++, kv);
        tb_pack_rows(tb_take_matrix(tb_shape_o(c), c->int8, &at), 0, *weights++, hidden);
        memcpy((float *)tb_take_norm(c, &at), *weights++, norm);
        tb_matrix gate_up = tb_take_matrix(tb_shape_gate_up(c), c->int8, &at);
        tb_pack_rows(gate_up, 0, *weights++, inner);
        tb_pack_rows(gate_up, gate_up.out / 2, *weights++, inner);
        tb_pack_rows(tb_take_matrix(tb_shape_down(c), c->int8, &at), 0, *weights++, hidden);
    }
    memcpy((float *)tb_take_norm(c, &at), *weights++, norm);
    return TB_OK;
}

/* ---- the model ---- */

uint64_t tb_model_bytes(const tb_config *c) {
    if (!tb_packed_bytes(c)) return 0;
    return tb_addressable(tb_aligned(sizeof(tb_model)) + 4 * tb_rope_floats(c));
}

int tb_model_init(tb_model *m, const tb_config *c, const void *packed) {
    if (!tb_model_bytes(c)) return TB_BAD_CONFIG;
    m->config = *c;
    m->packed = packed;
    m->head_dim = tb_head_dim(c);
    m->kv_dim = tb_kv_dim(c);
    m->context_padded = 2 * (int32_t)tb_padded(((uint64_t)c->max_position_embeddings + 1) / 2);
    m->value_width = (int32_t)tb_padded((uint64_t)m->head_dim);
    m->rope = tb_behind(m, sizeof *m);
    tb_rope_fill(c, m->rope);
    return TB_OK;
}

const char *tb_kernels_name(void) {
    return TB_BF16          ? TB_AVX512_BF16
           : TB_LANES == 16 ? TB_AVX512
           : TB_LANES == 8  ? TB_AVX2
           : TB_LANES == 4  ? TB_BASELINE
                            : "scalar";
}

/* ---- streams ---- */

uint64_t tb_stream_bytes(const tb_model *m) {
    uint64_t keys = (uint64_t)m->kv_dim * (uint64_t)m->context_padded;
    uint64_t values = (uint64_t)m->config.num_key_value_heads *
                      (uint64_t)m->config.max_position_embeddings * (uint64_t)m->value_width;
    return tb_addressable(64 + 4 * (uint64_t)m->config.num_hidden_layers * (keys + values));
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
