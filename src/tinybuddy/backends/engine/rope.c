#include "rope.h"

#include <math.h>

/* Rounded to float at each step as PyTorch does: at position 30,000 the angle's own rounding is
   0.001, so a better angle would be another angle. */
void tb_rope_fill(const tb_config *c, float *table) {
    const size_t size = (size_t)tb_head_dim(c), half = size / 2;
    for (size_t i = 0; i < half; i++) {
        const float frequency = 1.0f / powf(c->rope_theta, (float)(2 * i) / (float)size);
        for (size_t t = 0; t < (size_t)c->max_position_embeddings; t++) {
            const float angle = (float)t * frequency;
            table[t * size + i] = cosf(angle);
            table[t * size + half + i] = sinf(angle);
        }
    }
}
