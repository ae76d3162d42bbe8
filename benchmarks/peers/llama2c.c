/* Tells stories with karpathy/llama2.c's forward() and sample(), and says how many tokens a second:
   run.c's own clock counts whole milliseconds, of which a story of a tiny model takes one.
   RUN_C names run.c. Arguments: model, temperature, seed, seconds. */
#define main run_main
#include RUN_C
#undef main

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    Transformer model;
    Sampler sampler;
    build_transformer(&model, arguments[1]);
    int length = model.config.seq_len - 1, *ids = malloc((size_t)length * sizeof *ids);
    unsigned long long seed = strtoull(arguments[3], NULL, 10);
    build_sampler(&sampler, model.config.vocab_size, (float)atof(arguments[2]), 1.0f, seed);
    double began = now(), seconds = atof(arguments[4]), spent;
    long told = 0;
    do {
        int token = 1;
        for (int at = 0; at < length; at++) {
            token = ids[at] = sample(&sampler, forward(&model, token, at));
        }
        told += length;
        spent = now() - began;
    } while (spent < seconds);
    printf("%.1f\n", (double)told / spent);
    for (int at = 0; at < length; at++) printf("%d ", ids[at]);
    return 0;
}
