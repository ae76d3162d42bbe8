/* Drives the decoder with hostile shapes, weights, ids, texts and settings, for the sanitizers to
   watch. Every piece of memory is of the size that is asked for and no larger, and filled with
   rubbish, so that a byte beyond it, or one never written, is seen.

       fuzz_decode INPUTS SEED

   An input is a model, some texts to continue and what goes wrong with them. */
#define _POSIX_C_SOURCE 200112L

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

static tb_random dice;

static int32_t below(int32_t n) {
    return (int32_t)(tb_random_next(&dice) % (uint32_t)n);
}
static int one_in(int32_t n) {
    return below(n) == 0;
}

static void demand(int truth, const char *what) {
    if (truth) return;
    fprintf(stderr, "%s\n", what);
    abort();
}
#define DEMAND(truth) demand(truth, #truth)

/* ---- what is freed after each input ---- */

static void *taken[64];
static int takings;

static void *bytes(uint64_t size) {
    void *memory = NULL;
    DEMAND(takings < 64 && posix_memalign(&memory, 64, size ? (size_t)size : 1) == 0);
    memset(memory, 0xa5, (size_t)size);
    taken[takings++] = memory;
    return memory;
}

/* ---- hostile numbers ---- */

static float number(int hostile) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f, 0.0f};
    if (hostile && one_in(40)) return odd[below(7)];
    return (float)below(2001) / 1000.0f - 1.0f;
}

static double setting(double usual) {
    static const double odd[] = {NAN, INFINITY, -1.0, 0.0, 1e-300, 1e300, -INFINITY, 1e-31};
    return one_in(20) ? odd[below(8)] : usual;
}

/* Any 32 bits, often those at the end of a range. */
static int32_t any(int32_t near) {
    static const int32_t odd[] = {0, -1, 1, 2147483647, -2147483647 - 1, 65535, 1 << 30};
    if (one_in(3)) return odd[below(7)];
    const uint32_t other =
        one_in(2) ? (uint32_t)near + (uint32_t)below(9) - 4 : tb_random_next(&dice);
    return (int32_t)other;
}

static int32_t size_of(int32_t usual) {
    static const int32_t odd[] = {0, -1, 1, 2147483647, -2147483647 - 1, 65536, 46341, 1 << 30};
    return one_in(60) ? odd[below(8)] : usual;
}

static tb_config some_shape(void) {
    tb_config c = {0};
    int32_t kv_heads = 1 + below(3), heads = kv_heads * (1 + below(4));
    c.num_key_value_heads = size_of(kv_heads);
    c.num_attention_heads = size_of(heads);
    c.hidden_size = size_of(heads * 2 * (1 + below(one_in(20) ? 10 : 2)));
    c.intermediate_size = size_of(1 + below(one_in(20) ? 150 : 9));
    c.num_hidden_layers = size_of(1 + below(2));
    c.vocab_size = size_of(1 + below(one_in(20) ? 400 : 30));
    c.max_position_embeddings = size_of(1 + below(one_in(10) ? 40 : 6));
    c.bits = size_of(4 << below(4));
    c.rope_theta = (float)setting(10000.0);
    c.rms_norm_eps = (float)setting(1e-5);
    return c;
}

static const void *packed_weights(const tb_config *c, int hostile) {
    const int32_t h = c->hidden_size, f = c->intermediate_size;
    const int32_t kv = h / c->num_attention_heads * c->num_key_value_heads;
    const int32_t sizes[] = {h, h * h, kv * h, kv * h, h * h, h, f * h, f * h, h * f};
    const float *weights[2 + 9 * 3];
    for (int i = 0; i < 2 + 9 * c->num_hidden_layers; i++) {
        int32_t size = i == 0 ? c->vocab_size * h : sizes[(i - 1) % 9];
        float *numbers = bytes(4 * (uint64_t)size);
        for (int32_t j = 0; j < size; j++) numbers[j] = number(hostile);
        weights[i] = numbers;
    }
    void *packed = bytes(tb_packed_bytes(c));
    DEMAND(tb_pack(c, weights, packed) == TB_OK);
    return packed;
}

/* ---- what is tried ---- */

static void try_stories(const tb_model *model, const tb_config *c, tb_scratch *scratch,
                        int hostile) {
    enum { STORIES = 3 };
    tb_sequence sequences[STORIES], *pointers[STORIES];
    int broken = 0;
    for (int i = 0; i < STORIES; i++) {
        tb_sequence *s = &sequences[i];
        memset(s, 0, sizeof *s);
        s->stream = bytes(tb_stream_bytes(model));
        tb_stream_init(s->stream);
        s->count = 1 + below(2 * c->max_position_embeddings);
        s->limit = s->count + below(12);
        s->ids = bytes(4 * (uint64_t)s->limit);
        for (int32_t j = 0; j < s->count; j++) s->ids[j] = below(c->vocab_size);
        s->seen = one_in(2) ? NULL : bytes((uint64_t)c->vocab_size);
        if (s->seen) memset(s->seen, 0, (size_t)c->vocab_size);
        s->sampling.repetition_penalty = setting(one_in(2) ? 1.0 : 1.3);
        s->sampling.temperature = setting(one_in(4) ? 0.0 : 0.8);
        s->sampling.top_p = setting(one_in(2) ? 1.0 : 0.7);
        s->sampling.min_p = setting(one_in(2) ? 0.0 : 0.1);
        s->sampling.top_k = size_of(one_in(2) ? 0 : 1 + below(40));
        s->eos = size_of(below(c->vocab_size));
        tb_random_seed(&s->random, (uint64_t)i);
        pointers[i] = s;
        if (hostile && s->limit && one_in(8)) { /* every field may hold everything */
            const int32_t room = s->limit;
            int32_t *const fields[] = {
                &s->start,           &s->fed, &s->marked, &s->count,          &s->ended,
                &s->result,          &s->eos, &s->limit,  &s->sampling.top_k, &s->ids[below(room)],
                (int32_t *)s->stream};
            for (int wrongs = 1 + below(3); wrongs > 0; wrongs--)
                *fields[below(11)] = any(one_in(2) ? s->count : c->vocab_size);
            if (s->limit > room) s->limit = room; /* what a caller promises of its memory */
            if (one_in(4)) memset(s->seen ? s->seen : (uint8_t *)&s->random, below(256), 1);
            broken = 1;
        }
    }
    const tb_flag stop = 1;
    int result = tb_generate(model, scratch, STORIES, pointers, 2, one_in(9) ? &stop : NULL);
    result = result ? result : tb_generate(model, scratch, STORIES, pointers, 8, NULL);
    DEMAND(result == TB_OK || (broken && (result == TB_BAD_TOKEN || result == TB_BAD_SEQUENCE)));
    for (int i = 0; i < STORIES && !broken; i++)
        DEMAND(sequences[i].result == TB_OK || sequences[i].result == TB_NOT_FINITE);
    for (int i = 0; i < STORIES && !broken; i++)
        for (int32_t j = 0; j < sequences[i].count; j++)
            DEMAND(sequences[i].ids[j] >= 0 && sequences[i].ids[j] < c->vocab_size);
    for (int i = 0; i < STORIES; i++) { /* the very case that wrote out of bounds */
        tb_sequence *s = &sequences[i];
        if (s->limit < 6 || !s->seen) continue;
        for (int32_t j = 0; j < 5; j++) s->ids[j] = 0;
        s->ids[0] = one_in(2) ? 1 << 30 : -1 - below(1 << 30);
        s->count = 5, s->start = 3, s->fed = s->marked = s->ended = 0;
        DEMAND(tb_generate(model, scratch, 1, &pointers[i], 1, NULL) == TB_BAD_TOKEN);
    }
}

static void try_steps(const tb_model *model, const tb_config *c, tb_scratch *scratch,
                      int32_t rows) {
    float *logits = bytes(4 * (uint64_t)c->vocab_size);
    tb_stream *stream = bytes(tb_stream_bytes(model));
    tb_stream_init(stream);
    int32_t high = c->vocab_size, low = -1 - below(9), token = 0;
    DEMAND(tb_feed(model, scratch, stream, 1, &high, logits) == TB_BAD_TOKEN);
    DEMAND(tb_step(model, scratch, 1, &stream, &low, &logits) == TB_BAD_TOKEN);
    DEMAND(tb_step(model, scratch, rows + 1, &stream, &low, &logits) == TB_TOO_MANY);
    DEMAND(tb_feed(model, scratch, stream, c->max_position_embeddings + 1, &low, logits) ==
           TB_FULL);
    DEMAND(tb_feed(model, scratch, stream, low, &token, logits) == TB_FULL);
    for (int32_t t = 0; t < c->max_position_embeddings; t++)
        DEMAND(tb_step(model, scratch, 1, &stream, &token, &logits) == TB_OK);
    DEMAND(tb_step(model, scratch, 1, &stream, &token, &logits) == TB_FULL);
}

static void try_shape(void) {
    const tb_config c = some_shape();
    const int hostile = one_in(2);
    const uint64_t packed_bytes = tb_packed_bytes(&c), model_bytes = tb_model_bytes(&c);
    DEMAND((packed_bytes == 0) == (model_bytes == 0));
    if (!packed_bytes) {
        DEMAND(tb_pack(&c, NULL, NULL) == TB_BAD_CONFIG);
        DEMAND(tb_model_init(NULL, &c, NULL) == TB_BAD_CONFIG);
        return;
    }
    if (packed_bytes + model_bytes > 1 << 22) return; /* possible, and too long to try */
    tb_model *model = bytes(model_bytes);
    DEMAND(tb_model_init(model, &c, packed_weights(&c, hostile)) == TB_OK);
    const int32_t rows = 1 + below(9);
    DEMAND(tb_scratch_bytes(model, -below(9)) == 0);
    tb_scratch *scratch = bytes(tb_scratch_bytes(model, rows));
    tb_scratch_init(model, scratch, rows);
    try_stories(model, &c, scratch, hostile);
    try_steps(model, &c, scratch, rows);
}

int main(int count, char **arguments) {
    DEMAND(count == 3);
    const long inputs = atol(arguments[1]);
    tb_random_seed(&dice, (uint64_t)atoll(arguments[2]));
    for (long input = 0; input < inputs; input++) {
        try_shape();
        while (takings) free(taken[--takings]);
    }
    printf("%s: %ld inputs\n", tb_kernels_name(), inputs);
    return 0;
}
