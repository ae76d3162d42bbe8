/* Generates texts from weights and prompts in a file, so that the engine can be held against the
   golden output where no Python is: under an emulator.

       golden_main FILE

   The file has, in this machine's own binary form: a tb_config; the weights in the engine's order;
   the number of texts; and for each its tb_sampling, seed, number of new ids, number of ids of the
   prompt, and these. Prints the new ids of each text as a line. */
#include "decode.h"

#include <stdio.h>
#include <stdlib.h>

static FILE *file;

/* Aligned by hand, since Windows has no aligned_alloc; never freed. */
static void *memory(uint64_t size) {
    uint8_t *found = malloc((size_t)size + 63);
    if (!found) exit(2);
    return found + (63 - ((uintptr_t)found + 63) % 64);
}

static void get(void *to, size_t size) {
    if (fread(to, 1, size, file) != size) exit(3);
}

static int32_t number(void) {
    int32_t value;
    get(&value, sizeof value);
    return value;
}

int main(int count, char **arguments) {
    if (count != 2 || !(file = fopen(arguments[1], "rb"))) return 1;
    tb_config config;
    get(&config, sizeof config);
    const float *weights[3 + 9 * TB_MAX_LAYERS];
    const int32_t tensors = number();
    if (tensors > 3 + 9 * TB_MAX_LAYERS) return 4;
    for (int32_t i = 0; i < tensors; i++) {
        const size_t bytes = (size_t)number() * sizeof(float);
        float *numbers = memory(bytes);
        get(numbers, bytes);
        weights[i] = numbers;
    }
    void *packed = memory(tb_packed_bytes(&config));
    tb_model *model = memory(tb_model_bytes(&config));
    if (tb_pack(&config, weights, packed) != TB_OK) return 5;
    if (tb_model_init(model, &config, packed) != TB_OK) return 6;
    tb_scratch *scratch = memory(tb_scratch_bytes(model, 64));
    tb_scratch_init(model, scratch, 64);
    for (int32_t texts = number(); texts > 0; texts--) {
        tb_sequence sequence = {.stream = memory(tb_stream_bytes(model)), .eos = -1};
        tb_stream_init(sequence.stream);
        get(&sequence.sampling, sizeof sequence.sampling);
        tb_random_seed(&sequence.random, (uint64_t)number());
        const int32_t new = number(), prompt = number();
        sequence.count = prompt;
        sequence.limit = prompt + new;
        sequence.ids = memory(4 * (uint64_t)sequence.limit);
        get(sequence.ids, 4 * (size_t)prompt);
        sequence.seen = memory((uint64_t)config.vocab_size);
        for (int32_t i = 0; i < config.vocab_size; i++) sequence.seen[i] = 0;
        tb_sequence *only = &sequence;
        if (tb_generate(model, scratch, 1, &only, new + prompt, NULL) != TB_OK) return 7;
        for (int32_t i = prompt; i < sequence.count; i++) printf("%d ", (int)sequence.ids[i]);
        printf("\n");
    }
    return 0;
}
