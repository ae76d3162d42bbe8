#include "config.h"

static int in_range(int64_t value, int64_t low, int64_t high) {
    return low <= value && value <= high;
}

int tb_config_is_valid(const tb_config *c) {
    return in_range(c->vocab_size, 1, TB_MAX_VOCAB_SIZE) &&
           in_range(c->hidden_size, 1, TB_MAX_HIDDEN_SIZE) &&
           in_range(c->intermediate_size, 1, TB_MAX_INTERMEDIATE_SIZE) &&
           in_range(c->num_hidden_layers, 1, TB_MAX_LAYERS) &&
           in_range(c->num_attention_heads, 1, TB_MAX_HEADS) &&
           in_range(c->num_key_value_heads, 1, c->num_attention_heads) &&
           in_range(c->max_position_embeddings, 1, TB_MAX_CONTEXT) &&
           c->hidden_size % c->num_attention_heads == 0 && tb_head_dim(c) % 2 == 0 &&
           c->num_attention_heads % c->num_key_value_heads == 0 &&
           (c->bits == 32 || c->bits == 8 || c->bits == 4) && c->rope_theta >= 1.0f &&
           c->rope_theta <= 1e9f && c->rms_norm_eps > 0.0f && c->rms_norm_eps <= 0.1f;
}
