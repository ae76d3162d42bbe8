#include "abi.h"

#include "decode.h"
#include "train.h"

#define VALUE(name)        {#name, name}
#define SIZE(type)         {"sizeof " #type, sizeof(type)}
#define FIELD(type, field) {#type "." #field, offsetof(type, field)}

static const tb_abi_entry entries[] = {
    VALUE(TB_ABI_VERSION),
    SIZE(tb_config),
    FIELD(tb_config, vocab_size),
    FIELD(tb_config, hidden_size),
    FIELD(tb_config, intermediate_size),
    FIELD(tb_config, num_hidden_layers),
    FIELD(tb_config, num_attention_heads),
    FIELD(tb_config, num_key_value_heads),
    FIELD(tb_config, max_position_embeddings),
    FIELD(tb_config, int8),
    FIELD(tb_config, rope_theta),
    FIELD(tb_config, rms_norm_eps),
    SIZE(tb_sampling),
    FIELD(tb_sampling, repetition_penalty),
    FIELD(tb_sampling, temperature),
    FIELD(tb_sampling, top_p),
    FIELD(tb_sampling, min_p),
    FIELD(tb_sampling, top_k),
    SIZE(tb_random),
    FIELD(tb_random, state),
    SIZE(tb_sequence),
    FIELD(tb_sequence, stream),
    FIELD(tb_sequence, ids),
    FIELD(tb_sequence, seen),
    FIELD(tb_sequence, sampling),
    FIELD(tb_sequence, random),
    FIELD(tb_sequence, count),
    FIELD(tb_sequence, limit),
    FIELD(tb_sequence, start),
    FIELD(tb_sequence, fed),
    FIELD(tb_sequence, eos),
    FIELD(tb_sequence, ended),
    FIELD(tb_sequence, result),
    FIELD(tb_sequence, marked),
    SIZE(tb_optimizer_settings),
    FIELD(tb_optimizer_settings, learning_rate),
    FIELD(tb_optimizer_settings, beta1),
    FIELD(tb_optimizer_settings, beta2),
    FIELD(tb_optimizer_settings, eps),
    FIELD(tb_optimizer_settings, weight_decay),
    FIELD(tb_optimizer_settings, clip),
    FIELD(tb_optimizer_settings, matrix_learning_rate),
    FIELD(tb_optimizer_settings, momentum),
    VALUE(TB_OK),
    VALUE(TB_BAD_CONFIG),
    VALUE(TB_BAD_TOKEN),
    VALUE(TB_FULL),
    VALUE(TB_TOO_MANY),
    VALUE(TB_NOT_FINITE),
    VALUE(TB_BAD_SEQUENCE),
    VALUE(TB_NO_MEMORY),
    VALUE(TB_STOPPED),
    VALUE(TB_WEIGHTS),
    VALUE(TB_MEAN),
    VALUE(TB_SQUARE),
    VALUE(TB_GRADIENT),
    VALUE(TB_MAX_VOCAB_SIZE),
    VALUE(TB_MAX_HIDDEN_SIZE),
    VALUE(TB_MAX_INTERMEDIATE_SIZE),
    VALUE(TB_MAX_LAYERS),
    VALUE(TB_MAX_HEADS),
    VALUE(TB_MAX_CONTEXT),
    {"sizeof tb_flag", sizeof(tb_flag)},
    {NULL, 0},
};

const tb_abi_entry *tb_abi(void) {
    return entries;
}
