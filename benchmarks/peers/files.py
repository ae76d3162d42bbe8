"""The model as the files that llama.cpp and llama2.c read.

Both turn rotary pairs side by side, where transformers turns (i, i + D/2), so the rows of each head
of the queries and keys are reordered.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybuddy.formats.llama2c import HEADER, PARTS
from tinybuddy.formats.loaded import LoadedModel

GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def block_weight(model: LoadedModel, part: str, layer: int) -> NDArray[np.float32]:
    """Return a block's weight, with the pairs of queries and keys side by side."""
    array = model.weights[f"model.layers.{layer}.{part}.weight"]
    if part in ("self_attn.q_proj", "self_attn.k_proj"):
        halves = array.reshape(-1, 2, model.config.head_dim // 2, array.shape[1])
        array = halves.swapaxes(1, 2).reshape(array.shape)
    return np.ascontiguousarray(array)


def write_llama2c(model: LoadedModel, path: Path) -> None:
    """Write version 0 of llama2.c's format."""
    config = model.config
    header = HEADER.pack(
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.vocab_size,
        config.max_position_embeddings,
    )
    layers = range(config.num_hidden_layers)
    parts = [
        model.weights["model.embed_tokens.weight"],
        *(block_weight(model, part, layer) for part in PARTS for layer in layers),
        model.weights["model.norm.weight"],
        np.zeros(config.max_position_embeddings * config.head_dim, np.float32),  # not read any more
    ]
    path.write_bytes(header + b"".join(part.astype("<f4").tobytes() for part in parts))


def write_gguf(model: LoadedModel, path: Path) -> None:
    """Write a float32 GGUF without a tokenizer, which decoding ids needs none of."""
    from gguf import GGUFWriter

    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    writer.add_tensor("token_embd.weight", model.weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", model.weights["model.norm.weight"])
    for layer in range(config.num_hidden_layers):
        for part, name in GGUF_NAMES.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", block_weight(model, part, layer))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
