/* Muon (Keller Jordan 2024, kellerjordan.github.io/posts/muon) for the matrices within the blocks:
   the step is Nesterov's momentum with all of its singular values brought near 1. */
#ifndef TB_MUON_H
#define TB_MUON_H

#include "layout.h"

/* One tensor of the model, where it lies among others. */
typedef struct tb_muon_matrix {
    size_t at, stride, rows, columns;
    float scale; /* sqrt(max(1, rows / columns)), of the tensor as PyTorch has it, (out, in) */
} tb_muon_matrix;

typedef struct tb_muon {
    size_t count; /* 0 where AdamW trains all */
    tb_muon_matrix *matrix;
    size_t scratch_size; /* floats a thread */
    float *scratch;
} tb_muon;

typedef struct tb_muon_settings {
    float keep; /* 1 - learning rate * weight decay */
    float clip; /* factor on the gradient, at most 1 */
    float momentum;
    float rate; /* before the matrix's own scale */
} tb_muon_settings;

/* TB_OK or TB_NO_MEMORY. */
int tb_muon_make(tb_muon *o, const tb_layout *l, size_t threads);
void tb_muon_free(tb_muon *o);

/* One step of matrix number i; the buffers are laid out as the weights are. */
void tb_muon_step(const tb_muon *o, size_t i, size_t thread, const tb_muon_settings *s,
                  const float *gradient, float *momentum, float *weights);

#endif
