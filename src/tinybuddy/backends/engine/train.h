/* The C interface to a model that is trained and scores. Sizes and ids are checked by the caller.
 */
#ifndef TB_TRAIN_H
#define TB_TRAIN_H

#include "layout.h"
#include "optimizer.h"

/* The mean of a matrix that Muon trains is its momentum; it has no square. */
enum { TB_WEIGHTS = 0, TB_MEAN = 1, TB_SQUARE = 2, TB_GRADIENT = 3 };

typedef struct tb_trainer tb_trainer;

/* TB_OK, TB_BAD_CONFIG or TB_NO_MEMORY. With muon it trains the matrices within the blocks, else
   AdamW all; bits are not looked at. */
int tb_trainer_new(const tb_config *config, int32_t threads, int32_t muon, tb_trainer **made);
void tb_trainer_free(tb_trainer *model);

/* Copies what, dense and in the order of the model's file, into the model or out of it. */
int tb_trainer_put(tb_trainer *model, int what, const float *dense);
int tb_trainer_get(tb_trainer *model, int what, float *dense);
int64_t tb_trainer_steps(const tb_trainer *model);
int tb_trainer_set_steps(tb_trainer *model, int64_t steps);

/* Trains on inputs and targets (batch, length): mean loss and gradient norm into result (2).
   The weights change if and only if TB_OK comes back: they stay as they are when loss or norm is
   not finite, and when the stop flag is set, which is looked at before each product of matrices up
   to the update. */
int tb_trainer_step(tb_trainer *model, const int32_t *inputs, const int32_t *targets, int64_t batch,
                    int64_t length, const tb_optimizer_settings *settings, const tb_flag *stop,
                    double *result);

/* log p (batch, length) of each target. */
int tb_trainer_score(tb_trainer *model, const int32_t *inputs, const int32_t *targets,
                     int64_t batch, int64_t length, const tb_flag *stop, float *log_p);

/* Logits (batch, length, V) after each position. */
int tb_trainer_logits(tb_trainer *model, const int32_t *inputs, int64_t batch, int64_t length,
                      const tb_flag *stop, float *logits);

#endif
