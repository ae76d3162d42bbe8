/* Uses the engine from several threads at once, for ThreadSanitizer to watch: training steps on a
   pool of four that another thread stops midway, and texts that three threads generate with one
   model, of which one is stopped too. */
#define _POSIX_C_SOURCE 200809L
#include "decode.h"
#include "train.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 8, LENGTH = 32, WRITERS = 3, COUNT = 200 };

static const tb_config config = {300, 32, 64, 2, 4, 2, LENGTH, 32, 10000.0f, 1e-5f};
static tb_flag stop;
static tb_model *model;

static void *bytes(uint64_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, (size_t)size) != 0) abort();
    return memset(memory, 0, (size_t)size);
}

static void *set_flag(void *after) {
    const struct timespec pause = {0, *(const long *)after};
    nanosleep(&pause, NULL);
    stop = 1;
    return NULL;
}

static void *write_text(void *argument) {
    const uint64_t seed = *(const uint64_t *)argument;
    tb_scratch *scratch = bytes(tb_scratch_bytes(model, 4));
    tb_scratch_init(model, scratch, 4);
    int32_t *ids = bytes(4 * COUNT);
    tb_sequence sequence = {bytes(tb_stream_bytes(model)),
                            ids,
                            bytes(300),
                            {1.2, 0.8, 0.9, 0, 40},
                            {0, 0},
                            1,
                            COUNT,
                            0,
                            0,
                            -1,
                            0,
                            0,
                            0};
    tb_sequence *all[] = {&sequence};
    ids[0] = 1;
    tb_stream_init(sequence.stream);
    tb_random_seed(&sequence.random, seed);
    while (!sequence.ended)
        if (tb_generate(model, scratch, 1, all, 7, seed == 0 ? &stop : NULL) != TB_OK ||
            (seed == 0 && stop))
            break;
    free(sequence.stream), free(sequence.seen), free(ids), free(scratch);
    return NULL;
}

int main(void) {
    tb_random dice;
    tb_random_seed(&dice, 1);
    tb_trainer *trainer;
    tb_layout layout;
    if (tb_trainer_new(&config, 4, 1, &trainer) != TB_OK || tb_layout_make(&layout, &config) != 0)
        return 1;
    float *dense = bytes(4 * layout.dense);
    for (size_t i = 0; i < layout.dense; i++)
        dense[i] = (float)tb_random_next(&dice) / 4294967296.0f - 0.5f;
    tb_trainer_put(trainer, TB_WEIGHTS, dense);
    int32_t ids[BATCH * LENGTH];
    for (int i = 0; i < BATCH * LENGTH; i++) ids[i] = (int32_t)(tb_random_next(&dice) % 300);
    const tb_optimizer_settings settings = {1e-3, 0.9, 0.999, 1e-8, 0.1, 1.0, 0.02, 0.95};
    double result[2];
    int stopped = 0;
    for (long round = 0; round < 30; round++) {
        pthread_t stopper;
        long after = round * 300000; /* nanoseconds */
        stop = 0;
        pthread_create(&stopper, NULL, set_flag, &after);
        for (int step = 0, code = TB_OK; step < 3 && code == TB_OK; step++) {
            code = tb_trainer_step(trainer, ids, ids, BATCH, LENGTH, &settings, &stop, result);
            if (code != TB_OK && code != TB_STOPPED) return 1;
            stopped += code == TB_STOPPED;
        }
        pthread_join(stopper, NULL);
    }

    const float *weights[2 + 9 * 2];
    const size_t h = 32, f = 64, kv = 16,
                 sizes[] = {h, h * h, kv * h, kv * h, h * h, h, f * h, f * h, h * f};
    const float *at = dense;
    for (int i = 0; i < 20; i++) {
        weights[i] = at;
        at += i ? sizes[(i - 1) % 9] : 300 * h;
    }
    void *packed = bytes(tb_packed_bytes(&config));
    model = bytes(tb_model_bytes(&config));
    if (tb_pack(&config, weights, packed) != TB_OK ||
        tb_model_init(model, &config, packed) != TB_OK)
        return 1;
    pthread_t writers[WRITERS], stopper;
    uint64_t seeds[WRITERS];
    long after = 2000000;
    stop = 0;
    for (uint64_t i = 0; i < WRITERS; i++) {
        seeds[i] = i;
        pthread_create(&writers[i], NULL, write_text, &seeds[i]);
    }
    pthread_create(&stopper, NULL, set_flag, &after);
    for (int i = 0; i < WRITERS; i++) pthread_join(writers[i], NULL);
    pthread_join(stopper, NULL);
    printf("%d of 30 rounds of steps stopped\n", stopped);
    tb_layout_free(&layout);
    tb_trainer_free(trainer);
    free(dense), free(packed), free(model);
    return stopped ? 0 : 1;
}
