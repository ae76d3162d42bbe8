/* The forward pass of a Llama (Touvron et al. 2023, arXiv 2302.13971), a token at a time. */

#include "decode_internal.h"
#include "product.h"

#include <math.h>
#include <string.h>

/* Rotates the pairs (i, i + D/2) of a head by its position, and scales it. */
static void rotate(float *restrict head, const float *restrict cosines, const float *restrict sines,
                   int32_t pairs, float scale) {
    for (int32_t i = 0; i < pairs; i++) {
        float a = head[i], b = head[i + pairs];
        head[i] = (a * cosines[i] - b * sines[i]) * scale;
        head[i + pairs] = (b * cosines[i] + a * sines[i]) * scale;
    }
}

/* Rotates q and k of one row, and stores k and v in the cache of its stream. */
static void write_cache(const tb_model *m, float *qkv, float *keys, float *values,
                        int32_t position) {
    const tb_config *c = &m->config;
    const int32_t size = m->head_dim, pairs = size / 2;
    const float *cosines = m->rope + (size_t)position * (size_t)size, *sines = cosines + pairs;
    const float scale = 1.0f / sqrtf((float)size); /* of the scores, here on q once */
    float *k = qkv + c->hidden_size, *v = k + m->kv_dim;
    for (int32_t h = 0; h < c->num_attention_heads; h++)
        rotate(qkv + h * size, cosines, sines, pairs, scale);
    for (int32_t h = 0; h < c->num_key_value_heads; h++) {
        rotate(k + h * size, cosines, sines, pairs, 1.0f);
        float *row = values + ((size_t)h * (size_t)c->max_position_embeddings + (size_t)position) *
                                  (size_t)m->value_width;
        memcpy(row, v + h * size, (size_t)size * sizeof(float));
    }
    for (int32_t d = 0; d < m->kv_dim; d++)
        keys[(size_t)d * (size_t)m->context_padded + (size_t)position] = k[d];
}

/* y = x / sqrt(mean(x^2) + eps) * weight; the memory of each goes on to whole vectors. */
static void rms_norm(const float *x, const float *weight, float *y, int32_t size, float eps) {
    tb_vec squares = tb_broadcast(0.0f);
    for (int32_t i = 0; i < size; i += TB_LANES)
        squares += tb_first_lanes((size_t)(size - i), tb_load(x + i) * tb_load(x + i), 0.0f);
    const float factor = 1.0f / sqrtf(tb_sum(squares) / (float)size + eps);
    for (int32_t i = 0; i < size; i += TB_LANES)
        tb_store(y + i, tb_load(x + i) * tb_broadcast(factor) * tb_load(weight + i));
}

/* gate *= up / (1 + exp(-gate)), over whole vectors. */
static void swiglu(float *restrict gate, const float *restrict up, int32_t size) {
    for (int32_t i = 0; i < size; i += TB_LANES) {
        const tb_vec g = tb_load(gate + i);
        tb_store(gate + i, g * tb_load(up + i) / (1.0f + tb_exp_vector(-g)));
    }
}

/* scores (heads, context+) = q K for the first length positions, and minus infinity up to whole
   vectors; heads is a constant once inlined. Two vectors of positions at once, since each sum waits
   for its last addition.

   q (heads, D); keys (D, context+) */
TB_INLINE void score(const int heads, const tb_model *m, const float *keys, const float *q,
                     int32_t length, float *scores) {
    const size_t row = (size_t)m->context_padded;
    const int32_t size = m->head_dim;
    for (int32_t t = 0; t < length; t += 2 * TB_LANES) {
        tb_vec s[2][2];
        for (int h = 0; h < heads; h++) s[h][0] = s[h][1] = tb_broadcast(0.0f);
        for (int32_t d = 0; d < size; d++) {
            const tb_vec k0 = tb_load(keys + (size_t)d * row + t);
            const tb_vec k1 = tb_load(keys + (size_t)d * row + t + TB_LANES);
            for (int h = 0; h < heads; h++) {
                s[h][0] = k0 * tb_broadcast(q[h * size + d]) + s[h][0];
                s[h][1] = k1 * tb_broadcast(q[h * size + d]) + s[h][1];
            }
        }
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < 2; j++) {
                const int32_t from = t + j * TB_LANES;
                const size_t past = length > from ? (size_t)(length - from) : 0;
                tb_store(scores + (size_t)h * row + from, tb_first_lanes(past, s[h][j], -INFINITY));
            }
    }
}

/* scores (length) become e^(score - best); returns 1 / their sum. Beyond the length is minus
   infinity, which e^-87 stands for: too little to count, and never looked at. */
static float to_weights(float *scores, int32_t length) {
    tb_vec best = tb_load(scores), total = tb_broadcast(0.0f);
    for (int32_t t = TB_LANES; t < length; t += TB_LANES) best = tb_max(best, tb_load(scores + t));
    const float most = tb_largest(best);
    for (int32_t t = 0; t < length; t += 2 * TB_LANES)
        total += tb_exp_sum(2, scores + t, most, 1.0f, scores + t);
    return 1.0f / tb_sum(total);
}

/* out (heads, D) = factor * scores V, TB_LANES of a head at once.

   values (context, width); scores (heads, context+); factors (heads) */
TB_INLINE void mix(const int heads, const tb_model *m, const float *values, const float *scores,
                   const float *factors, int32_t length, float *out) {
    const size_t row = (size_t)m->context_padded, width = (size_t)m->value_width;
    const int32_t size = m->head_dim;
    for (int32_t d = 0; d < size; d += TB_LANES) {
        tb_vec y[2][4]; /* position t goes to sum t mod 4 */
        int32_t t = 0;
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < 4; j++) y[h][j] = tb_broadcast(0.0f);
        for (; t + 4 <= length; t += 4) {
            for (int j = 0; j < 4; j++) {
                const tb_vec v = tb_load(values + (size_t)(t + j) * width + d);
                for (int h = 0; h < heads; h++)
                    y[h][j] = v * tb_broadcast(scores[(size_t)h * row + t + j]) + y[h][j];
            }
        }
        for (; t < length; t++) {
            const tb_vec v = tb_load(values + (size_t)t * width + d);
            for (int h = 0; h < heads; h++)
                y[h][0] = v * tb_broadcast(scores[(size_t)h * row + t]) + y[h][0];
        }
        for (int h = 0; h < heads; h++)
            tb_store_first((size_t)(size - d), out + h * size + d,
                           ((y[h][0] + y[h][1]) + (y[h][2] + y[h][3])) * tb_broadcast(factors[h]));
    }
}

/* out (H, D) = softmax(q K) V of one row; q (H, D), scaled by the caller; keys (K, D, context+);
   values (K, context, width); scores: room for (H, context+). Each part is done for all heads
   before the next, since a head alone would wait for every part's last result. */
static void attend(const tb_model *m, const float *keys, const float *values, const float *q,
                   int32_t length, float *scores, float *out) {
    const int32_t size = m->head_dim, heads = m->config.num_attention_heads;
    const int32_t group = heads / m->config.num_key_value_heads;
    const size_t row = (size_t)m->context_padded;
    const size_t key_size = (size_t)size * row;
    const size_t value_size = (size_t)m->config.max_position_embeddings * (size_t)m->value_width;
    float factors[TB_MAX_HEADS];
    for (int32_t h = 0; h < heads;) {
        const float *k = keys + (size_t)(h / group) * key_size;
        const int pair = h % group + 1 < group; /* two heads that share the loads */
        if (pair)
            score(2, m, k, q + h * size, length, scores + (size_t)h * row);
        else
            score(1, m, k, q + h * size, length, scores + (size_t)h * row);
        h += 1 + pair;
    }
    for (int32_t h = 0; h < heads; h++) factors[h] = to_weights(scores + (size_t)h * row, length);
    for (int32_t h = 0; h < heads;) {
        const float *v = values + (size_t)(h / group) * value_size;
        const int pair = h % group + 1 < group;
        if (pair)
            mix(2, m, v, scores + (size_t)h * row, factors + h, length, out + h * size);
        else
            mix(1, m, v, scores + (size_t)h * row, factors + h, length, out + h * size);
        h += 1 + pair;
    }
}

int32_t tb_decode_rows(const tb_model *m, tb_scratch *s, int32_t rows) {
    const tb_config *c = &m->config;
    const size_t hidden = (size_t)tb_padded((uint64_t)c->hidden_size);
    const uint8_t *at = m->packed;
    const tb_matrix embedding = tb_take_matrix(tb_shape_embedding(c), c->bits, &at);
    for (int32_t r = 0; r < rows; r++) tb_unpack_row(embedding, s->tokens[r], s->x + r * hidden);

    for (int32_t layer = 0; layer < c->num_hidden_layers; layer++) {
        const float *norm = tb_take_norm(c, &at);
        const tb_matrix qkv = tb_take_matrix(tb_shape_qkv(c), c->bits, &at);
        const tb_matrix o = tb_take_matrix(tb_shape_o(c), c->bits, &at);
        for (int32_t r = 0; r < rows; r++)
            rms_norm(s->x + r * hidden, norm, s->normed + r * hidden, c->hidden_size,
                     c->rms_norm_eps);
        const size_t qkv_stride = (size_t)qkv.out;
        tb_product(qkv, rows, s->normed, hidden, s->qkv, qkv_stride, 0);
        /* All keys first, since a row may look back at another row of the same text. */
        for (int32_t r = 0; r < rows; r++) {
            float *keys = tb_behind(s->streams[r], sizeof(tb_stream)) + layer * tb_layer_keys(m);
            float *values = tb_behind(s->streams[r], sizeof(tb_stream)) +
                            c->num_hidden_layers * tb_layer_keys(m) + layer * tb_layer_values(m);
            write_cache(m, s->qkv + r * qkv_stride, keys, values, s->positions[r]);
        }
        for (int32_t r = 0; r < rows; r++) {
            const float *cache = tb_behind(s->streams[r], sizeof(tb_stream));
            attend(m, cache + layer * tb_layer_keys(m),
                   cache + c->num_hidden_layers * tb_layer_keys(m) + layer * tb_layer_values(m),
                   s->qkv + r * qkv_stride, s->positions[r] + 1, s->scores, s->mixed + r * hidden);
        }
        tb_product(o, rows, s->mixed, hidden, s->x, hidden, 1);

        norm = tb_take_norm(c, &at);
        const tb_matrix gate_up = tb_take_matrix(tb_shape_gate_up(c), c->bits, &at);
        const tb_matrix down = tb_take_matrix(tb_shape_down(c), c->bits, &at);
        const size_t inner = (size_t)gate_up.out / 2;
        for (int32_t r = 0; r < rows; r++)
            rms_norm(s->x + r * hidden, norm, s->normed + r * hidden, c->hidden_size,
                     c->rms_norm_eps);
        tb_product(gate_up, rows, s->normed, hidden, s->gate_up, 2 * inner, 0);
        for (int32_t r = 0; r < rows; r++) {
            float *gate = s->gate_up + (size_t)r * 2 * inner;
            swiglu(gate, gate + inner, (int32_t)inner);
        }
        tb_product(down, rows, s->gate_up, 2 * inner, s->x, hidden, 1);
    }

    const float *norm = tb_take_norm(c, &at);
    int32_t wanted = 0;
    for (int32_t r = 0; r < rows; r++)
        if (s->wanted[r])
            rms_norm(s->x + r * hidden, norm, s->normed + wanted++ * hidden, c->hidden_size,
                     c->rms_norm_eps);
    if (wanted)
        tb_product(embedding, wanted, s->normed, hidden, s->logits, (size_t)embedding.out, 0);
    return wanted;
}

int tb_step(const tb_model *m, tb_scratch *s, int32_t rows, tb_stream *const *streams,
            const int32_t *tokens, float *const *logits) {
    if (rows < 0 || rows > s->rows) return TB_TOO_MANY;
    int result = TB_OK;
    int32_t r = 0;
    for (; r < rows && result == TB_OK; r++) {
        if (tokens[r] < 0 || tokens[r] >= m->config.vocab_size) result = TB_BAD_TOKEN;
        if (streams[r]->length >= m->config.max_position_embeddings) result = TB_FULL;
        s->streams[r] = streams[r];
        s->tokens[r] = tokens[r];
        s->wanted[r] = logits[r] != NULL;
        s->positions[r] = streams[r]->length++;
    }
    if (result != TB_OK) { /* as if nothing had been */
        while (r-- > 0) streams[r]->length--;
        return result;
    }
    tb_decode_rows(m, s, rows);
    int32_t row = 0;
    for (r = 0; r < rows; r++)
        if (logits[r])
            memcpy(logits[r],
                   s->logits + (size_t)row++ * (size_t)tb_padded((uint64_t)m->config.vocab_size),
                   (size_t)m->config.vocab_size * sizeof(float));
    return TB_OK;
}

int tb_feed(const tb_model *m, tb_scratch *s, tb_stream *stream, int32_t count,
            const int32_t *tokens, float *logits) {
    if (count < 0 || count > m->config.max_position_embeddings - stream->length) return TB_FULL;
    for (int32_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= m->config.vocab_size) return TB_BAD_TOKEN;
    for (int32_t done = 0; done < count;) {
        int32_t rows = count - done < s->rows ? count - done : s->rows;
        for (int32_t r = 0; r < rows; r++) {
            s->streams[r] = stream;
            s->tokens[r] = tokens[done + r];
            s->wanted[r] = logits && done + r == count - 1;
            s->positions[r] = stream->length++;
        }
        tb_decode_rows(m, s, rows);
        done += rows;
    }
    if (logits && count) memcpy(logits, s->logits, (size_t)m->config.vocab_size * sizeof(float));
    return TB_OK;
}
