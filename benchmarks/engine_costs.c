/* What each part of the engine costs on this core, for the reference model; engine_costs.py
   compiles it with the engine's own files, of which decode.c is read whole to reach its parts. */
#define _POSIX_C_SOURCE 200809L

#include "../src/tinybuddy/backends/engine/decode.c"
#include "../src/tinybuddy/backends/engine/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 31, WEIGHTS = 83856, GROUP_SIZE = 18 }; /* texts together: as in generate.c */

static const tb_config config = {1024, 48, 192, 1, 4, 2, 128, 32, 10000.0f, 1e-5f};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* other processes do not count */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one of `count` repetitions. */
#define MEDIAN(seconds, count, ...)                                                                \
    do {                                                                                           \
        double times[RUNS];                                                                        \
        for (int run = 0; run < RUNS; run++) {                                                     \
            double began = now();                                                                  \
            for (int again = 0; again < (count); again++) {                                        \
                __VA_ARGS__;                                                                       \
            }                                                                                      \
            times[run] = (now() - began) / (count);                                                \
        }                                                                                          \
        qsort(times, RUNS, sizeof *times, by_size);                                                \
        seconds = times[RUNS / 2];                                                                 \
    } while (0)

static void *memory(uint64_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, (size_t)bytes)) abort();
    memset(p, 0, (size_t)bytes);
    return p;
}

static float some(void) {
    return (float)rand() / (float)RAND_MAX - 0.5f;
}

static volatile float kept; /* what is computed must not look unused */

/* Multiply-adds in registers alone: the most that the core can do. */
static double peak(void) {
    tb_vec sums[12];
    const tb_vec a = tb_broadcast(0.999f), b = tb_broadcast(0.001f);
    double seconds;
    for (int i = 0; i < 12; i++) sums[i] = tb_broadcast((float)i);
    MEDIAN(seconds, 1,
           for (int n = 0; n < 20000; n++)
#pragma GCC unroll 12
               for (int i = 0; i < 12; i++) sums[i] = sums[i] * a + b);
    for (int i = 0; i < 12; i++) kept = tb_sum(sums[i]);
    return 2.0 * 12 * TB_LANES * 20000 / seconds;
}

/* Reading what decoding reads, and nothing else. */
static double bandwidth(const float *x, size_t count) {
    tb_vec sums[8];
    double seconds;
    for (int i = 0; i < 8; i++) sums[i] = tb_broadcast(0.0f);
    MEDIAN(seconds, 20,
           for (size_t j = 0; j + 8 * TB_LANES <= count; j += 8 * TB_LANES)
#pragma GCC unroll 8
               for (int i = 0; i < 8; i++) sums[i] += tb_load(x + j + (size_t)i * TB_LANES));
    for (int i = 0; i < 8; i++) kept = tb_sum(sums[i]);
    return 4.0 * (double)count / seconds;
}

static void row(const char *name, double seconds, double work, const char *unit, double most) {
    printf("  %-44s %9.2f us", name, seconds * 1e6);
    if (work > 0)
        printf(" %8.1f %s (%.0f %%)", work / seconds * 1e-9, unit, 100 * work / seconds / most);
    printf("\n");
}

static void decoding(double flops, double bytes) {
    const float *weights[11];
    const int32_t sizes[] = {1024 * 48, 48,       48 * 48,  24 * 48,  24 * 48, 48 * 48,
                             48,        192 * 48, 192 * 48, 48 * 192, 48};
    for (int i = 0; i < 11; i++) {
        float *w = memory(4 * (uint64_t)sizes[i]);
        for (int32_t j = 0; j < sizes[i]; j++) w[j] = 0.2f * some();
        weights[i] = w;
    }
    void *packed = memory(tb_packed_bytes(&config));
    tb_pack(&config, weights, packed);
    tb_model *model = memory(tb_model_bytes(&config));
    tb_model_init(model, &config, packed);
    tb_scratch *s = memory(tb_scratch_bytes(model, GROUP_SIZE));
    tb_scratch_init(model, s, GROUP_SIZE);
    tb_stream *streams[GROUP_SIZE];
    for (int i = 0; i < GROUP_SIZE; i++) streams[i] = memory(tb_stream_bytes(model));
    const uint8_t *at = packed;
    const tb_matrix embedding = tb_take_matrix(tb_shape_embedding(&config), 0, &at);
    const float *norm = tb_take_norm(&config, &at);
    const tb_matrix qkv = tb_take_matrix(tb_shape_qkv(&config), 0, &at);
    const tb_matrix o = tb_take_matrix(tb_shape_o(&config), 0, &at);
    tb_take_norm(&config, &at);
    const tb_matrix gate_up = tb_take_matrix(tb_shape_gate_up(&config), 0, &at);
    const tb_matrix down = tb_take_matrix(tb_shape_down(&config), 0, &at);
    const tb_sampling sampling = {1.0, 0.8, 1.0, 0.0, 0};
    const tb_sampling top_k = {1.0, 0.8, 1.0, 0.0, 40};
    tb_random random = {1};
    float *logits = memory(4 * 1024 * GROUP_SIZE);
    for (int i = 0; i < 1024 * GROUP_SIZE;
         i++) /* deviating by 3, as those of tinybuddy-80k-card do */
        for (int j = 0; j < 12; j++) logits[i] += 3 * some();
    for (int rows = 1; rows <= GROUP_SIZE; rows += GROUP_SIZE - 1) {
        double t;
        printf("decoding, a step of %d text%s at position 64\n", rows, rows > 1 ? "s" : "");
        MEDIAN(t, 50, tb_product(qkv, rows, s->normed, 48, s->qkv, 96, 0);
               tb_product(o, rows, s->mixed, 48, s->x, 48, 0);
               tb_product(gate_up, rows, s->normed, 48, s->gate_up, 384, 0);
               tb_product(down, rows, s->gate_up, 384, s->x, 48, 0);
               tb_product(embedding, rows, s->normed, 48, s->logits, 1024, 0));
        if (rows == 1)
            row("products", t, 4.0 * (WEIGHTS - 144), "GB/s", bytes);
        else
            row("products", t, 2.0 * (WEIGHTS - 144) * rows, "GFLOP/s", flops);
        MEDIAN(
            t, 50, for (int r = 0; r < rows; r++) {
                const float *cache = tb_behind(streams[r], sizeof(tb_stream));
                attend(model, cache, cache + tb_layer_keys(model), s->qkv, 65, s->scores, s->mixed);
            });
        row("attention", t, 0, "", 1);
        MEDIAN(
            t, 50, for (int r = 0; r < rows; r++) {
                memcpy(s->gate_up, weights[7],
                       192 * sizeof(float)); /* it would wane to denormals */
                swiglu(s->gate_up, s->gate_up + 192, 192);
            });
        row("SwiGLU", t, 0, "", 1);
        MEDIAN(t, 50,
               for (int r = 0; r < 3 * rows; r++) rms_norm(s->x, norm, s->normed, 48, 1e-5f));
        row("three norms", t, 0, "", 1);
        MEDIAN(t, 50,
               for (int r = 0; r < rows; r++)
                   tb_sample(logits + 1024 * r, 1024, &sampling, NULL, &random, s->sampling));
        row("sampling by temperature", t, 0, "", 1);
        MEDIAN(t, 50,
               for (int r = 0; r < rows; r++)
                   tb_sample(logits + 1024 * r, 1024, &top_k, NULL, &random, s->sampling));
        row("sampling by top-k 40", t, 0, "", 1);
        for (int r = 0; r < rows; r++) {
            s->streams[r] = streams[r];
            s->tokens[r] = 5;
            s->positions[r] = 64;
            s->wanted[r] = 1;
        }
        MEDIAN(t, 50, tb_decode_rows(model, s, rows));
        row("all but sampling", t, 0, "", 1);
    }
}

static void training(double flops) {
    enum { T = 128 };
    tb_layout layout;
    tb_pass pass;
    tb_flag stop = 0;
    if (tb_layout_make(&layout, &config) || tb_pass_make(&pass, &layout, T, 1)) abort();
    pass.stop = &stop;
    float *weights = memory(4 * layout.size), *gradient = memory(4 * layout.size);
    float *rope = memory(4 * tb_stride(T) * layout.head);
    float *dense = memory(4 * layout.dense);
    for (size_t i = 0; i < layout.dense; i++) dense[i] = 0.1f * some();
    tb_layout_pack(&layout, dense, weights);
    tb_weights w = {weights, rope, tb_stride(T), NULL, NULL};
#if TB_BF16
    const tb_place *e = &layout.embedding;
    float *rows = memory(4 * e->rows * e->stride), *pairs = memory(4 * e->rows * e->stride);
    tb_bf16_rows(e->rows, e->columns, weights + e->at, e->stride, rows, e->stride / 2);
    tb_bf16_pairs(e->rows, e->columns, weights + e->at, e->stride, pairs, e->stride);
    w.embedding_rows = rows;
    w.embedding_pairs = pairs;
#endif
    int32_t ids[T], targets[T];
    for (int i = 0; i < T; i++) {
        ids[i] = rand() % 1024;
        targets[i] = rand() % 1024;
    }
    double t, matrices = 2.0 * (WEIGHTS - 144) * T;
    printf("training, a sequence of %d\n", T);
    MEDIAN(t, 5, tb_forward(&pass, &w, ids, T); tb_losses(&pass, &w, targets, T));
    row("forward, with the output head and its loss", t, matrices, "GFLOP/s", flops);
    MEDIAN(t, 5, tb_forward(&pass, &w, ids, T);
           tb_backward(&pass, &w, ids, targets, T, 1.0f, gradient, 1));
    row("forward and backward", t, 3 * matrices, "GFLOP/s", flops);
}

int main(void) {
    float *x = memory(4 * WEIGHTS);
    double flops = peak(), bytes = bandwidth(x, WEIGHTS);
    printf("%s; multiply-adds in registers: %.1f GFLOP/s; reading %.0f KB again and again: %.1f "
           "GB/s\n",
           tb_kernels_name(), flops * 1e-9, 4.0 * WEIGHTS / 1000, bytes * 1e-9);
    decoding(flops, bytes);
    training(flops);
    return 0;
}
