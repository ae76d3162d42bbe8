/* Trains and scores a random model of the shape given: with AdamW on 1 and 3 threads, then with
   Muon. Prints loss and norm of each, for the sanitizers to watch and for other machines to give
   too; the C library's own random numbers would differ there. */
#include "sample.h"
#include "train.h"

#include <stdio.h>
#include <stdlib.h>

static tb_random dice;

static int32_t *random_ids(int64_t n, int32_t vocab) {
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(tb_random_next(&dice) % (uint32_t)vocab);
    return ids;
}

int main(int count, char **words) {
    int32_t n[8];
    if (count != 9) return 2;
    for (int i = 0; i < 8; i++) n[i] = atoi(words[i + 1]);
    tb_config config = {n[0], n[1], n[2], n[3], n[4], n[5], n[6], 32, 10000.0f, 1e-5f};
    tb_optimizer_settings settings = {1e-3, 0.9, 0.999, 1e-8, 0.1, 1.0, 0.02, 0.95};
    int64_t batch = n[7], length = n[6];
    tb_flag stop = 0;
    double result[2];
    for (int run = 0; run < 4; run++) {
        int threads = run % 2 ? 3 : 1, muon = run / 2;
        tb_random_seed(&dice, 1); /* the same numbers in every run */
        tb_trainer *model;
        tb_layout layout;
        if (tb_trainer_new(&config, threads, muon, &model) != TB_OK) return 1;
        if (tb_layout_make(&layout, &config) != TB_OK) return 1;
        float *dense = malloc(layout.dense * sizeof *dense);
        for (size_t i = 0; i < layout.dense; i++)
            dense[i] = (float)tb_random_next(&dice) / 4294967296.0f - 0.5f;
        if (tb_trainer_put(model, TB_WEIGHTS, dense) != TB_OK) return 1;
        int32_t *inputs = random_ids(batch * length, n[0]);
        int32_t *targets = random_ids(batch * length, n[0]);
        float *scores = malloc((size_t)(batch * length) * sizeof *scores);
        float *logits = malloc((size_t)(batch * length) * (size_t)n[0] * sizeof *logits);
        /* short sequences first, so that memory grows and is then used in part */
        for (int64_t t = length > 2 ? length / 2 : length; t <= length; t += length / 2 + 1)
            if (tb_trainer_score(model, inputs, targets, batch, t, &stop, scores) != TB_OK)
                return 1;
        for (int step = 0; step < 2; step++)
            if (tb_trainer_step(model, inputs, targets, batch, length, &settings, &stop, result) !=
                TB_OK)
                return 1;
        if (tb_trainer_logits(model, inputs, batch, length, &stop, logits) != TB_OK) return 1;
        for (int what = TB_WEIGHTS; what <= TB_GRADIENT; what++)
            if (tb_trainer_get(model, what, dense) != TB_OK) return 1;
        stop = 1;
        if (tb_trainer_step(model, inputs, targets, batch, length, &settings, &stop, result) !=
            TB_STOPPED)
            return 1;
        stop = 0;
        printf("loss %.9g norm %.9g\n", result[0], result[1]);
        free(dense);
        free(inputs);
        free(targets);
        free(scores);
        free(logits);
        tb_layout_free(&layout);
        tb_trainer_free(model);
    }
    return 0;
}
