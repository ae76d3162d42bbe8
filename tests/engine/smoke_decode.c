/* Runs the decoder over many shapes with hostile numbers, for the sanitizers to watch. Every piece
   of memory is of the size that is asked for and no larger, so that a byte beyond it is seen. */
#define _POSIX_C_SOURCE 200112L

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

static tb_random dice;

static int32_t below(int32_t n) { return (int32_t)(tb_random_next(&dice) % (uint32_t)n); }

static void *bytes(uint64_t size) {
    void *memory = NULL;
    if (!size || posix_memalign(&memory, 64, (size_t)size)) abort();
    memset(memory, 0xa5, (size_t)size);
    return memory;
}

static float number(int hostile) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f, 0.0f};
    if (hostile && below(40) == 0) return odd[below(7)];
    return (float)below(2001) / 1000.0f - 1.0f;
}

static void try_shape(const tb_config *c, int hostile) {
    const int32_t h = c->hidden_size, f = c->intermediate_size;
    const int32_t kv = h / c->num_attention_heads * c->num_key_value_heads;
    const int32_t sizes[] = {h, h * h, kv * h, kv * h, h * h, h, f * h, f * h, h * f};
    const float *weights[2 + 9 * 4];
    int count = 0;
    for (int i = 0; i < 2 + 9 * c->num_hidden_layers; i++) {
        int32_t size = i == 0 ? c->vocab_size * h : sizes[(i - 1) % 9];
        float *numbers = bytes(4 * (uint64_t)size);
        for (int32_t j = 0; j < size; j++) numbers[j] = number(hostile);
        weights[count++] = numbers;
    }
    void *packed = bytes(tb_packed_bytes(c));
    if (tb_pack(c, weights, packed)) abort();
    tb_model *model = bytes(tb_model_bytes(c));
    if (tb_model_init(model, c, packed)) abort();
    const int32_t rows = 1 + below(9);
    tb_scratch *scratch = bytes(tb_scratch_bytes(model, rows));
    tb_scratch_init(model, scratch, rows);

    enum { STORIES = 11 };
    tb_story stories[STORIES], *pointers[STORIES];
    for (int i = 0; i < STORIES; i++) {
        tb_story *s = &stories[i];
        memset(s, 0, sizeof *s);
        s->stream = bytes(tb_stream_bytes(model));
        tb_stream_init(model, s->stream);
        s->count = 1 + below(2 * c->max_position_embeddings);
        s->limit = s->count + below(20);
        s->ids = bytes(4 * (uint64_t)s->limit);
        for (int32_t j = 0; j < s->count; j++) s->ids[j] = below(c->vocab_size);
        s->seen = bytes((uint64_t)c->vocab_size);
        memset(s->seen, 0, (size_t)c->vocab_size);
        s->sampling.repetition_penalty = below(2) ? 1.0 : 1.3;
        s->sampling.temperature = below(4) ? 0.8 : below(2) ? 0.0 : 1e-300;
        s->sampling.top_p = below(2) ? 1.0 : 0.7;
        s->sampling.min_p = below(2) ? 0.0 : 0.1;
        s->sampling.top_k = below(2) ? 0 : below(2) ? 2147483647 : 1 + below(40);
        s->eos = below(c->vocab_size);
        tb_random_seed(&s->random, (uint64_t)i);
        pointers[i] = s;
    }
    int result = tb_generate(model, scratch, STORIES, pointers, 60, NULL);
    if (result && !(hostile && result == TB_NOT_FINITE)) abort();

    float *logits = bytes(4 * (uint64_t)c->vocab_size);
    tb_stream *stream = stories[0].stream;
    tb_stream_init(model, stream);
    int32_t wrong = c->vocab_size, low = -1;
    if (tb_feed(model, scratch, stream, 1, &wrong, logits) != TB_BAD_TOKEN) abort();
    if (tb_step(model, scratch, 1, &stream, &low, &logits) != TB_BAD_TOKEN) abort();
    if (tb_feed(model, scratch, stream, c->max_position_embeddings + 1, &low, logits) != TB_FULL)
        abort();
    int32_t token = 0;
    for (int32_t t = 0; t < c->max_position_embeddings; t++)
        if (tb_step(model, scratch, 1, &stream, &token, &logits)) abort();
    if (tb_step(model, scratch, 1, &stream, &token, &logits) != TB_FULL) abort();

    for (int i = 0; i < count; i++) free((void *)weights[i]);
    for (int i = 0; i < STORIES; i++) {
        free(stories[i].stream);
        free(stories[i].ids);
        free(stories[i].seen);
    }
    free(logits);
    free(packed);
    free(model);
    free(scratch);
}

int main(void) {
    tb_random_seed(&dice, 1);
    printf("%s\n", tb_kernels_name());
    for (int round = 0; round < 80; round++) {
        tb_config c = {0};
        c.num_key_value_heads = 1 + below(3);
        c.num_attention_heads = c.num_key_value_heads * (1 + below(6));
        c.hidden_size = c.num_attention_heads * 2 * (1 + below(10));
        c.intermediate_size = 1 + below(70);
        c.num_hidden_layers = 1 + below(3);
        c.vocab_size = 1 + below(400);
        c.max_position_embeddings = 1 + below(40);
        c.int8 = below(2);
        c.rope_theta = 10000.0f;
        c.rms_norm_eps = 1e-5f;
        try_shape(&c, round % 2);
    }
    return 0;
}
