/* What every part of the engine knows: the shape of a model and its limits, status codes, and the
   flag that stops a call. All public headers may be included together. */

#ifndef TB_CONFIG_H
#define TB_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "target.h"

enum { /* status codes */
       TB_OK = 0,
       TB_BAD_CONFIG = -1,   /* a shape that is not a Llama's, or too large for this machine */
       TB_BAD_TOKEN = -2,    /* an id that the vocabulary does not have */
       TB_FULL = -3,         /* past the context */
       TB_TOO_MANY = -4,     /* more rows than the scratch has room for */
       TB_NOT_FINITE = -5,   /* logits, or a loss or gradient, that are not numbers */
       TB_BAD_SEQUENCE = -6, /* counts that contradict each other */
       TB_NO_MEMORY = -7,
       TB_STOPPED = -8 /* the stop flag ended the call */
};

enum { /* limits of a shape, those of Python's ModelConfig; they keep every size within 64 bits */
       TB_MAX_VOCAB_SIZE = 65535,
       TB_MAX_HIDDEN_SIZE = 8192,
       TB_MAX_INTERMEDIATE_SIZE = 65536,
       TB_MAX_LAYERS = 128,
       TB_MAX_HEADS = 256,
       TB_MAX_CONTEXT = 32768
};

/* The shape, under the names of config.json. */
typedef struct tb_config {
    int32_t vocab_size, hidden_size, intermediate_size, num_hidden_layers;
    int32_t num_attention_heads, num_key_value_heads, max_position_embeddings;
    int32_t bits; /* of a weight in decoding: 32, or 8 or 4 with a scale a row */
    float rope_theta, rms_norm_eps;
} tb_config;

/* Whether it is a Llama's, within the limits. */
int tb_config_is_valid(const tb_config *config);

/* Width of an attention head, and of all key heads, or all value heads, together. */
static inline int32_t tb_head_dim(const tb_config *c) {
    return c->hidden_size / c->num_attention_heads;
}
static inline int32_t tb_kv_dim(const tb_config *c) {
    return c->num_key_value_heads * tb_head_dim(c);
}

/* bytes, or 0 for more than half of what this machine can address. */
static inline uint64_t tb_addressable(uint64_t bytes) {
    return bytes <= SIZE_MAX / 2 ? bytes : 0;
}

/* Set from another thread or a signal handler to end a call soon; 32 bits wide. */
#if __STDC_VERSION__ < 201112L || defined(__STDC_NO_ATOMICS__)
typedef volatile int32_t tb_flag;
static inline int tb_is_set(const tb_flag *flag) {
    return *flag != 0;
}
#else
#include <stdatomic.h>
typedef _Atomic int32_t tb_flag;
static inline int tb_is_set(const tb_flag *flag) {
    return atomic_load_explicit((tb_flag *)flag, memory_order_relaxed) != 0; /* only read */
}
#endif

#endif
