/* Weights turned into the layout that decoding walks through. */

#include "decode_internal.h"
#include "rope.h"

#include <string.h>

/* Puts one number of a matrix of 8 or 4 bits, whose memory is cleared, in its place. */
static void put_code(tb_matrix m, size_t at, int code) {
    if (m.i8)
        ((int8_t *)m.i8)[at] = (int8_t)code;
    else
        ((uint8_t *)m.i4)[at / 2] |= (uint8_t)((code + 8) << at % 2 * 4);
}

/* Packs rows of weights (count, in) as the outputs from `first` on. With 8 or 4 bits, a row's
   largest number becomes 127 or 7. */
static void pack_rows(tb_matrix m, int32_t first, const float *weights, int32_t count) {
    const float levels = m.i8 ? 127.0f : 7.0f;
    for (int32_t o = first; o < first + count; o++, weights += m.in) {
        const size_t at = tb_weight_at(m, o), step = (size_t)tb_group_width(m, o);
        float most = 0.0f;
        if (m.f32) {
            for (int32_t i = 0; i < m.in; i++) ((float *)m.f32)[at + (size_t)i * step] = weights[i];
            continue;
        }
        for (int32_t i = 0; i < m.in; i++)
            if (fabsf(weights[i]) > most) most = fabsf(weights[i]);
        ((float *)m.scale)[o] = most / levels;
        for (int32_t i = 0; i < m.in; i++) {
            float level = most > 0.0f ? weights[i] / most * levels : 0.0f;
            /* NaN and infinity fit no 8 bits, and to convert them is undefined. */
            int fits = level >= -levels && level <= levels;
            put_code(m, at + (size_t)i * step, fits ? (int)lrintf(level) : 0);
        }
    }
}

int tb_pack(const tb_config *c, const float *const *weights, void *packed) {
    uint64_t bytes = tb_packed_bytes(c);
    if (!bytes) return TB_BAD_CONFIG;
    memset(packed, 0, (size_t)bytes);
    const uint8_t *at = packed;
    const size_t norm = (size_t)c->hidden_size * sizeof(float);
    const int32_t hidden = c->hidden_size, inner = c->intermediate_size, kv = tb_kv_dim(c);
    pack_rows(tb_take_matrix(tb_shape_embedding(c), c->bits, &at), 0, *weights++, c->vocab_size);
    for (int32_t layer = 0; layer < c->num_hidden_layers; layer++) {
        memcpy((float *)tb_take_norm(c, &at), *weights++, norm);
        tb_matrix qkv = tb_take_matrix(tb_shape_qkv(c), c->bits, &at);
        pack_rows(qkv, 0, *weights++, hidden);
        pack_rows(qkv, hidden, *weights++, kv);
        pack_rows(qkv, hidden + kv, *weights++, kv);
        pack_rows(tb_take_matrix(tb_shape_o(c), c->bits, &at), 0, *weights++, hidden);
        memcpy((float *)tb_take_norm(c, &at), *weights++, norm);
        tb_matrix gate_up = tb_take_matrix(tb_shape_gate_up(c), c->bits, &at);
        pack_rows(gate_up, 0, *weights++, inner);
        pack_rows(gate_up, gate_up.out / 2, *weights++, inner);
        pack_rows(tb_take_matrix(tb_shape_down(c), c->bits, &at), 0, *weights++, hidden);
    }
    memcpy((float *)tb_take_norm(c, &at), *weights++, norm);
    tb_rope_fill(c, (float *)at);
    return TB_OK;
}
