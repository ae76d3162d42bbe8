/* The C interface to a model that learns and scores. Sizes and ids are checked by the caller. */
#ifndef TB_TRAIN_H
#define TB_TRAIN_H

#include "layout.h"
#include "optimizer.h"

enum { TB_OK = 0, TB_NO_MEMORY = -1, TB_STOPPED = -2, TB_NOT_FINITE = -3 };
/* The mean of a matrix that Muon learns is its momentum; it has no square. */
enum { TB_WEIGHTS = 0, TB_MEAN = 1, TB_SQUARE = 2, TB_GRADIENT = 3 };

struct tb_trainer;

/* NULL without memory. With muon it learns the matrices within the blocks, else AdamW all. */
struct tb_trainer *tb_trainer_new(const struct tb_shape *shape, int32_t threads, int32_t muon);
void tb_trainer_free(struct tb_trainer *model);

/* Copies what, dense and in the order of the model's file, into the model or out of it. */
int tb_trainer_put(struct tb_trainer *model, int what, const float *dense);
int tb_trainer_get(struct tb_trainer *model, int what, float *dense);
int64_t tb_trainer_steps(const struct tb_trainer *model);
void tb_trainer_set_steps(struct tb_trainer *model, int64_t steps);

/* Learns from inputs and targets (batch, length): mean loss and gradient norm into result (2).
 * The weights change if and only if TB_OK comes back: they stay as they are when loss or norm is
 * not finite, and when *stop is no longer 0, which is looked at before each product of matrices up
 * to the update. */
int tb_trainer_step(struct tb_trainer *model, const int32_t *inputs, const int32_t *targets,
                    int64_t batch, int64_t length, const struct tb_settings *settings,
                    const volatile int32_t *stop, double *result);

/* log p (batch, length) of each target. */
int tb_trainer_score(struct tb_trainer *model, const int32_t *inputs, const int32_t *targets,
                     int64_t batch, int64_t length, const volatile int32_t *stop, float *log_p);

/* Logits (batch, length, V) after each position. */
int tb_trainer_logits(struct tb_trainer *model, const int32_t *inputs, int64_t batch,
                      int64_t length, const volatile int32_t *stop, float *logits);

#endif
