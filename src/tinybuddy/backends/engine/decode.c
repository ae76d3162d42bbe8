/* The forward pass of a Llama (Touvron et al. 2023, arXiv 2302.13971), a token at a time.

   Letters in shapes: R rows (tokens fed at once), C hidden size, H query heads, K key-value heads,
   D head size, F feed-forward size, V vocabulary. A size marked + is rounded up to TB_ALIGN. */

#include "decode.h"

#include <math.h>
#include <string.h>

#include "packed.h"

enum {
    TOGETHER = 18,    /* stories whose caches stay near: 64 of 28 KB each are more than 1 MB */
    PROMPT_ROWS = 16, /* of one prompt in a step: shares the weights, yet ends soon */
    MOST_HEADS = 256
};

/* ---- sizes ---- */

static int32_t head_dim(const tb_config *c) { return c->hidden_size / c->num_attention_heads; }
static int32_t kv_dim(const tb_config *c) { return c->num_key_value_heads * head_dim(c); }

/* The matrices of a layer. Those that read the same input are one: q, k and v (C, C + 2 K D +);
   gate and up (C, F+ and F+). */
static tb_matrix shape_qkv(const tb_config *c) {
    return matrix_of(c->hidden_size, (uint64_t)c->hidden_size + 2 * (uint64_t)kv_dim(c));
}

static tb_matrix shape_o(const tb_config *c) {
    return matrix_of(c->hidden_size, (uint64_t)c->hidden_size);
}

static tb_matrix shape_gate_up(const tb_config *c) {
    return matrix_of(c->hidden_size, 2 * padded((uint64_t)c->intermediate_size));
}

static tb_matrix shape_down(const tb_config *c) {
    return matrix_of(c->intermediate_size, (uint64_t)c->hidden_size);
}

static tb_matrix shape_embedding(const tb_config *c) {
    return matrix_of(c->hidden_size, (uint64_t)c->vocab_size);
}

static uint64_t norm_bytes(const tb_config *c) { return 4 * padded((uint64_t)c->hidden_size); }

static uint64_t layer_bytes(const tb_config *c) {
    return 2 * norm_bytes(c) + matrix_bytes(shape_qkv(c), c->int8) +
           matrix_bytes(shape_o(c), c->int8) + matrix_bytes(shape_gate_up(c), c->int8) +
           matrix_bytes(shape_down(c), c->int8);
}

static int in_range(int64_t value, int64_t low, int64_t high) {
    return low <= value && value <= high;
}

/* The same limits as config.py. They also keep every product below within 64 bits. */
static int possible(const tb_config *c) {
    return in_range(c->vocab_size, 1, 65535) && in_range(c->hidden_size, 1, 8192) &&
           in_range(c->intermediate_size, 1, 65536) && in_range(c->num_hidden_layers, 1, 128) &&
           in_range(c->num_attention_heads, 1, MOST_HEADS) &&
           in_range(c->num_key_value_heads, 1, c->num_attention_heads) &&
           in_range(c->max_position_embeddings, 1, 32768) &&
           c->hidden_size % c->num_attention_heads == 0 && head_dim(c) % 2 == 0 &&
           c->num_attention_heads % c->num_key_value_heads == 0 && in_range(c->int8, 0, 1) &&
           c->rope_theta >= 1.0f && c->rope_theta <= 1e9f && c->rms_norm_eps > 0.0f &&
           c->rms_norm_eps <= 0.1f;
}

/* 0 for more than half of what this machine can address. */
static uint64_t addressable(uint64_t bytes) { return bytes <= SIZE_MAX / 2 ? bytes : 0; }

uint64_t tb_packed_bytes(const tb_config *c) {
    if (!possible(c)) return 0;
    return addressable(matrix_bytes(shape_embedding(c), c->int8) +
                       (uint64_t)c->num_hidden_layers * layer_bytes(c) + norm_bytes(c));
}

/* ---- packing ---- */

static const float *take_norm(const tb_config *c, const uint8_t **at) {
    const float *norm = (const float *)*at;
    *at += norm_bytes(c);
    return norm;
}

int tb_pack(const tb_config *c, const float *const *weights, void *packed) {
    uint64_t bytes = tb_packed_bytes(c);
    if (!bytes) return TB_BAD_CONFIG;
    memset(packed, 0, (size_t)bytes);
    const uint8_t *at = packed;
    const size_t norm = (size_t)c->hidden_size * sizeof(float);
    const int32_t hidden = c->hidden_size, inner = c->intermediate_size, kv = kv_dim(c);
    pack_rows(take_matrix(shape_embedding(c), c->int8, &at), 0, *weights++, c->vocab_size);
    for (int32_t layer = 0; layer < c->num_hidden_layers; layer++) {
        memcpy((float *)take_norm(c, &at), *weights++, norm);
        tb_matrix qkv = take_matrix(shape_qkv(c), c->int8, &at);
        pack_rows(qkv, 0, *weights++, hidden);
        pack_rows(qkv, hidden, *weights++, kv);
        pack_rows(qkv, hidden + kv, *weights++, kv);
        pack_rows(take_matrix(shape_o(c), c->int8, &at), 0, *weights++, hidden);
        memcpy((float *)take_norm(c, &at), *weights++, norm);
        tb_matrix gate_up = take_matrix(shape_gate_up(c), c->int8, &at);
        pack_rows(gate_up, 0, *weights++, inner);
        pack_rows(gate_up, gate_up.out / 2, *weights++, inner);
        pack_rows(take_matrix(shape_down(c), c->int8, &at), 0, *weights++, hidden);
    }
    memcpy((float *)take_norm(c, &at), *weights++, norm);
    return TB_OK;
}

/* ---- the model ---- */

struct tb_model {
    tb_config config;
    const uint8_t *packed;
    int32_t head_dim, kv_dim;
    int32_t context_padded; /* positions in a row of keys: pairs of whole vectors */
    int32_t value_width;    /* D rounded up to whole vectors */
    float *cosines, *sines; /* (context, D/2) */
};

static float *behind(const void *thing, size_t size) {
    return (float *)((uint8_t *)thing + aligned(size));
}

static uint64_t rope_numbers(const tb_config *c) {
    return (uint64_t)c->max_position_embeddings * (uint64_t)(head_dim(c) / 2);
}

uint64_t tb_model_bytes(const tb_config *c) {
    if (!tb_packed_bytes(c)) return 0;
    return addressable(aligned(sizeof(tb_model)) + 2 * 4 * rope_numbers(c));
}

int tb_model_init(tb_model *m, const tb_config *c, const void *packed) {
    if (!tb_model_bytes(c)) return TB_BAD_CONFIG;
    m->config = *c;
    m->packed = packed;
    m->head_dim = head_dim(c);
    m->kv_dim = kv_dim(c);
    m->context_padded = 2 * (int32_t)padded(((uint64_t)c->max_position_embeddings + 1) / 2);
    m->value_width = (m->head_dim + LANES - 1) / LANES * LANES;
    m->cosines = behind(m, sizeof *m);
    m->sines = m->cosines + rope_numbers(c);
    /* Rounded to float at each step as PyTorch does: at position 30,000 the angle's own rounding is
       0.001, so a better angle would be another angle. */
    const int32_t pairs = m->head_dim / 2;
    for (int32_t i = 0; i < pairs; i++) {
        float frequency = 1.0f / powf(c->rope_theta, (float)(2 * i) / (float)m->head_dim);
        for (int32_t t = 0; t < c->max_position_embeddings; t++) {
            float angle = (float)t * frequency;
            m->cosines[(size_t)t * (size_t)pairs + (size_t)i] = cosf(angle);
            m->sines[(size_t)t * (size_t)pairs + (size_t)i] = sinf(angle);
        }
    }
    return TB_OK;
}

const char *tb_kernels_name(void) {
    return LANES == 16 ? "avx512" : LANES == 8 ? "avx2" : LANES == 4 ? "baseline" : "scalar";
}

/* ---- streams: keys (L, K, D, context+) and values (L, K, context, value_width) ---- */

struct tb_stream {
    int32_t length;
};

static size_t layer_keys(const tb_model *m) {
    return (size_t)m->kv_dim * (size_t)m->context_padded;
}

static size_t layer_values(const tb_model *m) {
    return (size_t)m->config.num_key_value_heads * (size_t)m->config.max_position_embeddings *
           (size_t)m->value_width;
}

uint64_t tb_stream_bytes(const tb_model *m) {
    uint64_t keys = (uint64_t)m->kv_dim * (uint64_t)m->context_padded;
    uint64_t values = (uint64_t)m->config.num_key_value_heads *
                      (uint64_t)m->config.max_position_embeddings * (uint64_t)m->value_width;
    return addressable(64 + 4 * (uint64_t)m->config.num_hidden_layers * (keys + values));
}

void tb_stream_init(tb_stream *stream) { stream->length = 0; }

/* ---- working memory ---- */

struct tb_scratch {
    int32_t rows;
    int32_t *positions, *tokens, *owners; /* (R) */
    tb_stream **streams;                  /* (R) */
    int32_t *wanted;                      /* (R) whether a row's logits are asked for */
    float *x;                             /* (R, C+) the residual stream */
    float *normed;                        /* (R, C+) */
    float *qkv;                           /* (R, (C + 2 K D)+) */
    float *mixed;                         /* (R, C+) */
    float *gate_up;                       /* (R, 2 F+) */
    float *logits;                        /* (R, V+) */
    float *scores;                        /* (H, context+) */
    void *sampling;
};

/* Takes `bytes` of the memory behind *at; counts only, where there is no memory. */
static void *take(uint8_t **at, uint64_t *total, uint64_t bytes) {
    void *taken = *at;
    *total += aligned(bytes);
    if (*at) *at += aligned(bytes);
    return taken;
}

static uint64_t lay_out(const tb_model *m, tb_scratch *s, int32_t rows, uint8_t *at) {
    const uint64_t n = (uint64_t)rows;
    const uint64_t hidden = padded((uint64_t)m->config.hidden_size);
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
    s->qkv = take(&at, &total, 4 * n * (uint64_t)shape_qkv(&m->config).out);
    s->mixed = take(&at, &total, 4 * n * hidden);
    s->gate_up = take(&at, &total, 4 * n * (uint64_t)shape_gate_up(&m->config).out);
    s->logits = take(&at, &total, 4 * n * (uint64_t)shape_embedding(&m->config).out);
    s->scores = take(&at, &total, 4 * (uint64_t)m->config.num_attention_heads * (uint64_t)m->context_padded);
    s->sampling = take(&at, &total, tb_sample_bytes(m->config.vocab_size));
    return total;
}

uint64_t tb_scratch_bytes(const tb_model *m, int32_t rows) {
    tb_scratch counted;
    if (!in_range(rows, 1, 65536)) return 0;
    return addressable(lay_out(m, &counted, rows, NULL));
}

void tb_scratch_init(const tb_model *m, tb_scratch *scratch, int32_t rows) {
    memset(scratch, 0, (size_t)tb_scratch_bytes(m, rows)); /* padding of x must hold 0 */
    lay_out(m, scratch, rows, (uint8_t *)scratch);
}

/* ---- the forward pass ---- */

/* Turns the pairs (i, i + D/2) of a head by its position, and scales it. */
static void rotate(float *restrict head, const float *restrict cosines,
                   const float *restrict sines, int32_t pairs, float scale) {
    for (int32_t i = 0; i < pairs; i++) {
        float a = head[i], b = head[i + pairs];
        head[i] = (a * cosines[i] - b * sines[i]) * scale;
        head[i + pairs] = (b * cosines[i] + a * sines[i]) * scale;
    }
}

/* Rotates q and k of one row, and stores k and v in the cache of its stream. */
static void remember(const tb_model *m, float *qkv, float *keys, float *values, int32_t position) {
    const tb_config *c = &m->config;
    const int32_t size = m->head_dim, pairs = size / 2;
    const float *cosines = m->cosines + (size_t)position * (size_t)pairs;
    const float *sines = m->sines + (size_t)position * (size_t)pairs;
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
    vec squares = all(0.0f);
    for (int32_t i = 0; i < size; i += LANES)
        squares += first_lanes((size_t)(size - i), load(x + i) * load(x + i), 0.0f);
    const float factor = 1.0f / sqrtf(sum(squares) / (float)size + eps);
    for (int32_t i = 0; i < size; i += LANES)
        store(y + i, load(x + i) * all(factor) * load(weight + i));
}

/* gate *= up / (1 + exp(-gate)), over whole vectors. */
static void swiglu(float *restrict gate, const float *restrict up, int32_t size) {
    for (int32_t i = 0; i < size; i += LANES) {
        const vec g = load(gate + i);
        store(gate + i, g * load(up + i) / (1.0f + vexp(-g)));
    }
}

/* scores (heads, context+) = q K for the first length positions, and minus infinity up to whole
   vectors; heads is a constant once inlined. Two vectors of positions at once, since each sum waits
   for its last addition.

   q (heads, D); keys (D, context+) */
INLINE void score(const int heads, const tb_model *m, const float *keys, const float *q,
                  int32_t length, float *scores) {
    const size_t row = (size_t)m->context_padded;
    const int32_t size = m->head_dim;
    for (int32_t t = 0; t < length; t += 2 * LANES) {
        vec s[2][2];
        for (int h = 0; h < heads; h++) s[h][0] = s[h][1] = all(0.0f);
        for (int32_t d = 0; d < size; d++) {
            const vec k0 = load(keys + (size_t)d * row + t);
            const vec k1 = load(keys + (size_t)d * row + t + LANES);
            for (int h = 0; h < heads; h++) {
                s[h][0] = k0 * all(q[h * size + d]) + s[h][0];
                s[h][1] = k1 * all(q[h * size + d]) + s[h][1];
            }
        }
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < 2; j++) {
                const int32_t from = t + j * LANES;
                const size_t past = length > from ? (size_t)(length - from) : 0;
                store(scores + (size_t)h * row + from, first_lanes(past, s[h][j], -INFINITY));
            }
    }
}

/* scores (length) become e^(score - best); returns 1 / their sum. Beyond the length is minus infinity,
   which e^-87 stands for: too little to count, and never looked at. */
static float to_weights(float *scores, int32_t length) {
    vec best = load(scores), total = all(0.0f);
    for (int32_t t = LANES; t < length; t += LANES) best = at_least(best, load(scores + t));
    const float most = largest(best);
    for (int32_t t = 0; t < length; t += 2 * LANES)
        total += soften(2, scores + t, most, 1.0f, scores + t);
    return 1.0f / sum(total);
}

/* out (heads, D) = factor * scores V, LANES of a head at once.

   values (context, width); scores (heads, context+); factors (heads) */
INLINE void mix(const int heads, const tb_model *m, const float *values, const float *scores,
                const float *factors, int32_t length, float *out) {
    const size_t row = (size_t)m->context_padded, width = (size_t)m->value_width;
    const int32_t size = m->head_dim;
    for (int32_t d = 0; d < size; d += LANES) {
        vec y[2][4]; /* position t goes to sum t mod 4 */
        int32_t t = 0;
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < 4; j++) y[h][j] = all(0.0f);
        for (; t + 4 <= length; t += 4) {
            for (int j = 0; j < 4; j++) {
                const vec v = load(values + (size_t)(t + j) * width + d);
                for (int h = 0; h < heads; h++)
                    y[h][j] = v * all(scores[(size_t)h * row + t + j]) + y[h][j];
            }
        }
        for (; t < length; t++) {
            const vec v = load(values + (size_t)t * width + d);
            for (int h = 0; h < heads; h++)
                y[h][0] = v * all(scores[(size_t)h * row + t]) + y[h][0];
        }
        for (int h = 0; h < heads; h++)
            store_first((size_t)(size - d), out + h * size + d,
                        ((y[h][0] + y[h][1]) + (y[h][2] + y[h][3])) * all(factors[h]));
    }
}

/* out (H, D) = softmax(q K) V of one row; q (H, D), scaled by the caller; keys (K, D, context+);
   values (K, context, width); scores: room for (H, context+). Each part is done for all heads before
   the next, since a head alone would wait for every part's last result. */
static void attend(const tb_model *m, const float *keys, const float *values, const float *q,
                   int32_t length, float *scores, float *out) {
    const int32_t size = m->head_dim, heads = m->config.num_attention_heads;
    const int32_t group = heads / m->config.num_key_value_heads;
    const size_t row = (size_t)m->context_padded;
    const size_t key_size = (size_t)size * row;
    const size_t value_size = (size_t)m->config.max_position_embeddings * (size_t)m->value_width;
    float factors[MOST_HEADS];
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

/* Feeds the first `rows` of scratch's streams, tokens and positions, all of which are checked.
   Leaves the logits of the wanted rows one after the other; returns how many these are. */
static int32_t forward(const tb_model *m, tb_scratch *s, int32_t rows) {
    const tb_config *c = &m->config;
    const size_t hidden = (size_t)padded((uint64_t)c->hidden_size);
    const uint8_t *at = m->packed;
    const tb_matrix embedding = take_matrix(shape_embedding(c), c->int8, &at);
    for (int32_t r = 0; r < rows; r++) unpack_row(embedding, s->tokens[r], s->x + r * hidden);

    for (int32_t layer = 0; layer < c->num_hidden_layers; layer++) {
        const float *norm = take_norm(c, &at);
        const tb_matrix qkv = take_matrix(shape_qkv(c), c->int8, &at);
        const tb_matrix o = take_matrix(shape_o(c), c->int8, &at);
        for (int32_t r = 0; r < rows; r++)
            rms_norm(s->x + r * hidden, norm, s->normed + r * hidden, c->hidden_size,
                        c->rms_norm_eps);
        const size_t qkv_stride = (size_t)qkv.out;
        product(qkv, rows, s->normed, hidden, s->qkv, qkv_stride, 0);
        /* All keys first, since a row may look back at another row of the same text. */
        for (int32_t r = 0; r < rows; r++) {
            float *keys = behind(s->streams[r], sizeof(tb_stream)) + layer * layer_keys(m);
            float *values = behind(s->streams[r], sizeof(tb_stream)) +
                            c->num_hidden_layers * layer_keys(m) + layer * layer_values(m);
            remember(m, s->qkv + r * qkv_stride, keys, values, s->positions[r]);
        }
        for (int32_t r = 0; r < rows; r++) {
            const float *cache = behind(s->streams[r], sizeof(tb_stream));
            attend(m, cache + layer * layer_keys(m),
                       cache + c->num_hidden_layers * layer_keys(m) + layer * layer_values(m),
                       s->qkv + r * qkv_stride, s->positions[r] + 1, s->scores,
                       s->mixed + r * hidden);
        }
        product(o, rows, s->mixed, hidden, s->x, hidden, 1);

        norm = take_norm(c, &at);
        const tb_matrix gate_up = take_matrix(shape_gate_up(c), c->int8, &at);
        const tb_matrix down = take_matrix(shape_down(c), c->int8, &at);
        const size_t inner = (size_t)gate_up.out / 2;
        for (int32_t r = 0; r < rows; r++)
            rms_norm(s->x + r * hidden, norm, s->normed + r * hidden, c->hidden_size,
                        c->rms_norm_eps);
        product(gate_up, rows, s->normed, hidden, s->gate_up, 2 * inner, 0);
        for (int32_t r = 0; r < rows; r++) {
            float *gate = s->gate_up + (size_t)r * 2 * inner;
            swiglu(gate, gate + inner, (int32_t)inner);
        }
        product(down, rows, s->gate_up, 2 * inner, s->x, hidden, 1);
    }

    const float *norm = take_norm(c, &at);
    int32_t wanted = 0;
    for (int32_t r = 0; r < rows; r++)
        if (s->wanted[r])
            rms_norm(s->x + r * hidden, norm, s->normed + wanted++ * hidden, c->hidden_size,
                        c->rms_norm_eps);
    if (wanted)
        product(embedding, wanted, s->normed, hidden, s->logits, (size_t)embedding.out, 0);
    return wanted;
}

int tb_step(const tb_model *m, tb_scratch *s, int32_t rows, tb_stream *const *streams,
            const int32_t *tokens, float *const *logits) {
    if (rows < 0 || rows > s->rows) return TB_TOO_MANY;
    int result = TB_OK;
    int32_t r = 0;
    for (; r < rows && result == TB_OK; r++) {
        if (!in_range(tokens[r], 0, m->config.vocab_size - 1)) result = TB_BAD_TOKEN;
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
    forward(m, s, rows);
    int32_t row = 0;
    for (r = 0; r < rows; r++)
        if (logits[r])
            memcpy(logits[r], s->logits + (size_t)row++ * (size_t)padded((uint64_t)m->config.vocab_size),
                   (size_t)m->config.vocab_size * sizeof(float));
    return TB_OK;
}

int tb_feed(const tb_model *m, tb_scratch *s, tb_stream *stream, int32_t count,
            const int32_t *tokens, float *logits) {
    if (count < 0 || count > m->config.max_position_embeddings - stream->length) return TB_FULL;
    for (int32_t i = 0; i < count; i++)
        if (!in_range(tokens[i], 0, m->config.vocab_size - 1)) return TB_BAD_TOKEN;
    for (int32_t done = 0; done < count;) {
        int32_t rows = count - done < s->rows ? count - done : s->rows;
        for (int32_t r = 0; r < rows; r++) {
            s->streams[r] = stream;
            s->tokens[r] = tokens[done + r];
            s->wanted[r] = logits && done + r == count - 1;
            s->positions[r] = stream->length++;
        }
        forward(m, s, rows);
        done += rows;
    }
    if (logits && count)
        memcpy(logits, s->logits, (size_t)m->config.vocab_size * sizeof(float));
    return TB_OK;
}

/* ---- stories ---- */

/* Adds what a story has to be fed next to the rows from `row` on: its last token, or some of its
   prompt. Returns how many rows these are. */
static int32_t line_up(const tb_model *m, tb_scratch *s, tb_story *story, int32_t owner,
                       int32_t row) {
    const int32_t context = m->config.max_position_embeddings;
    const int32_t half = context / 2 > 1 ? context / 2 : 1;
    if (story->count - story->start > context) { /* the oldest is forgotten */
        story->start = story->count - half;
        story->fed = 0;
    }
    if (story->fed == 0) story->stream->length = 0;
    int32_t left = story->count - story->start - story->fed;
    int32_t rows = left < PROMPT_ROWS ? left : PROMPT_ROWS;
    if (rows > s->rows - row) rows = s->rows - row;
    for (int32_t r = row; r < row + rows; r++) {
        s->streams[r] = story->stream;
        s->tokens[r] = story->ids[story->start + story->fed++];
        s->positions[r] = story->stream->length++;
        s->wanted[r] = r - row == left - 1;
        s->owners[r] = owner;
    }
    return rows;
}

/* Draws the next token of a story from its logits, or ends it where nothing can be drawn. */
static void append(const tb_model *m, tb_scratch *s, tb_story *story, const float *logits) {
    if (story->seen)
        while (story->marked < story->count) story->seen[story->ids[story->marked++]] = 1;
    int32_t id = tb_sample(logits, m->config.vocab_size, &story->sampling, story->seen, &story->random,
                           s->sampling);
    if (id < 0) story->result = TB_NOT_FINITE;
    if (id < 0 || id == story->eos)
        story->ended = 1;
    else
        story->ids[story->count++] = id;
    if (story->count >= story->limit) story->ended = 1;
}

/* Feeds the rows that are lined up, and goes on with the stories that have been fed whole. */
static void flush(const tb_model *m, tb_scratch *s, int32_t rows, tb_story *const *stories) {
    const float *logits = s->logits;
    forward(m, s, rows);
    for (int32_t r = 0; r < rows; r++) {
        if (!s->wanted[r]) continue;
        append(m, s, stories[s->owners[r]], logits);
        logits += padded((uint64_t)m->config.vocab_size);
    }
}

/* Goes on with some stories, side by side; see tb_generate. */
static void generate(const tb_model *m, tb_scratch *s, int32_t count, tb_story *const *stories,
                     int32_t steps, const volatile int32_t *stop) {
    for (int32_t step = 0; step < steps; step++) {
        int32_t rows = 0, going = 0;
        for (int32_t i = 0; i < count; i++) {
            if (stop && *stop && rows == 0) return;
            if (stories[i]->ended) continue;
            going++;
            rows += line_up(m, s, stories[i], i, rows);
            if (rows == s->rows) {
                flush(m, s, rows, stories);
                rows = 0;
            }
        }
        if (rows) flush(m, s, rows, stories);
        if (!going) return;
    }
}

int tb_generate(const tb_model *m, tb_scratch *s, int32_t count, tb_story *const *stories,
                int32_t steps, const volatile int32_t *stop) {
    for (int32_t i = 0; i < count; i++) {
        tb_story *story = stories[i];
        if (story->count >= story->limit) story->ended = 1;
        if (story->ended) continue;
        if (story->count < 1 || story->start < 0 || story->fed < 0 || story->marked < 0 ||
            story->start + (int64_t)story->fed >= story->count || story->marked > story->count ||
            (story->fed && story->fed != story->stream->length))
            return TB_BAD_STORY;
        for (int32_t j = story->start + story->fed; j < story->count; j++)
            if (!in_range(story->ids[j], 0, m->config.vocab_size - 1)) return TB_BAD_TOKEN;
    }
    for (int32_t first = 0; first < count; first += TOGETHER) {
        const int32_t some = count - first < TOGETHER ? count - first : TOGETHER;
        generate(m, s, some, stories + first, steps, stop);
    }
    return TB_OK;
}
