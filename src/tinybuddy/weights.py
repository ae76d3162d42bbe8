"""The weights of a Llama: their names, shapes and order, and how new ones are drawn.

The names are transformers' own; every format and every back end uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from tinybuddy.config import ModelConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Weights: TypeAlias = "Mapping[str, NDArray[np.float32]]"


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in the order of the model; matrices are (out, in)."""
    h, ff = config.hidden_size, config.intermediate_size
    kv = config.num_key_value_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, h)}
    for layer in range(config.num_hidden_layers):
        block = {
            "input_layernorm": (h,),
            "self_attn.q_proj": (h, h),
            "self_attn.k_proj": (kv, h),
            "self_attn.v_proj": (kv, h),
            "self_attn.o_proj": (h, h),
            "post_attention_layernorm": (h,),
            "mlp.gate_proj": (ff, h),
            "mlp.up_proj": (ff, h),
            "mlp.down_proj": (h, ff),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes | {"model.norm.weight": (h,)}


def random_weights(config: ModelConfig, seed: int, init_std: float) -> Weights:
    """Draw new weights, the same for every back end: matrices of N(0, init_std), norms of ones."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(seed))
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else random.standard_normal(shape, np.float32) * np.float32(init_std)
        for name, shape in weight_shapes(config).items()
    }


def hidden_matrices(config: ModelConfig) -> list[str]:
    """Names of the matrices within the blocks, which Muon may train: not embedding, nor norms."""
    return [
        name
        for name, shape in weight_shapes(config).items()
        if len(shape) == 2 and name.startswith("model.layers.")
    ]


def adjacent_pairs(matrix: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Reorder the rows (heads * D, C) of queries or keys for who rotates neighbours.

    Llama's own code, llama.cpp and llama2.c rotate rows 2i and 2i + 1 of each head together, where
    transformers and this package rotate i and i + D/2.
    """
    halves = matrix.reshape(-1, 2, head_dim // 2, matrix.shape[1])
    return halves.swapaxes(1, 2).reshape(matrix.shape)
