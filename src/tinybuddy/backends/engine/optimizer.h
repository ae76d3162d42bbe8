/* AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), as torch.optim.AdamW computes it; on the
   matrices within the blocks Muon instead, where that is asked for. */
#ifndef TB_OPTIMIZER_H
#define TB_OPTIMIZER_H

#include "layout.h"
#include "muon.h"
#include "threads.h"

/* A part of the weights that one task updates; a fixed part, whatever the number of threads. */
typedef struct tb_span {
    size_t at, size;
    tb_weight_kind kind;
} tb_span;

typedef struct tb_optimizer {
    size_t size, spans, threads;
    tb_thread_pool *pool; /* the caller's */
    tb_span *span;
    double *squares;      /* (spans) of the gradient */
    float *gradient;      /* all of these are laid out as the weights */
    float *mean, *square; /* mean is Muon's momentum too */
    int64_t steps;        /* done */
    tb_muon muon;
} tb_optimizer;

typedef struct tb_optimizer_settings {
    double learning_rate, beta1, beta2, eps, weight_decay, embedding_decay;
    double clip;                           /* largest norm of the whole gradient; infinite is off */
    double matrix_learning_rate, momentum; /* Muon's */
} tb_optimizer_settings;

/* TB_OK or TB_NO_MEMORY. */
int tb_optimizer_make(tb_optimizer *o, const tb_layout *l, tb_thread_pool *pool, size_t threads,
                      int with_muon);
void tb_optimizer_free(tb_optimizer *o);

/* Sums the parts of the gradient, in their order, and returns its norm. */
double tb_optimizer_gather(tb_optimizer *o, size_t parts, float *const *part);

/* Changes the weights by the gradient gathered, whose norm is finite. */
void tb_optimizer_step(tb_optimizer *o, const tb_optimizer_settings *s, double norm,
                       float *weights);

#endif
