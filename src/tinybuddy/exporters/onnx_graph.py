"""The reference model as an ONNX graph, by PyTorch's own exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import onnx
import torch
import torch.nn.functional as F
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from tinybuddy.backends.llama import Block, create_model, rotate
from tinybuddy.config import ModelConfig
from tinybuddy.weights import Weights

OPSET = 18  # that ONNX Runtime knows since 1.14, of 2023


class CachedDecoder(nn.Module):
    """The reference model, but its mask, positions and key-value cache are inputs."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        super().__init__()
        llama = create_model(asdict(config))
        llama.load_state_dict({n: torch.from_numpy(array.copy()) for n, array in weights.items()})
        self.model = llama.model
        pairs = torch.arange(0, config.head_dim, 2) / config.head_dim
        self.frequencies = nn.Buffer(config.rope_theta**-pairs, persistent=False)

    def forward(
        self, ids: Tensor, mask: Tensor, positions: Tensor, past: Sequence[Sequence[Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute logits, and the cache with ``ids`` in it; P positions are in it already.

        Args:
            ids: tokens (B, T).
            mask: which positions are seen (B, P + T); 0 for padding.
            positions: of the tokens (B, T).
            past: keys and values (B, K, P, D) of each layer.

        Returns:
            Logits (B, T, V); keys of the first layer (B, K, P + T, D), its values, keys of the ...
        """
        angles = positions[:, None, :, None] * self.frequencies
        cos, sin = angles.cos(), angles.sin()  # (B, 1, T, D/2); past the context too
        start, end = past[0][0].shape[2], past[0][0].shape[2] + ids.shape[1]
        seen = torch.arange(end) <= torch.arange(start, end)[:, None]
        seen = seen & (mask[:, None, None, None] != 0)  # (B, 1, 1, T, P + T)
        # Of padding all is hidden, and of infinities the softmax would make NaN, which spreads.
        hidden = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
        x = self.model.embed_tokens(ids)
        present = []
        for block, (keys, values) in zip(self.model.layers, past, strict=True):
            assert isinstance(block, Block)
            attention, normed = block.self_attn, block.input_layernorm(x)
            heads = (*ids.shape, -1, attention.head_dim)
            q = rotate(attention.q_proj(normed).view(heads).transpose(1, 2), cos, sin)
            k = rotate(attention.k_proj(normed).view(heads).transpose(1, 2), cos, sin)
            v = attention.v_proj(normed).view(heads).transpose(1, 2)
            k, v = torch.cat((keys, k), 2), torch.cat((values, v), 2)
            present += [k, v]
            # `scaled_dot_product_attention` would take the exporter 12 nodes a layer more.
            q = (
                q.view(*k.shape[:2], -1, *q.shape[2:]) * attention.head_dim**-0.5
            )  # (B, K, H/K, T, D)
            scores = q @ k[:, :, None].transpose(-1, -2) + hidden
            y = (scores.softmax(-1) @ v[:, :, None]).flatten(1, 2)
            x = x + attention.o_proj(y.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.post_attention_layernorm(x))
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight), present


def to_onnx(config: ModelConfig, weights: Weights) -> onnx.ModelProto:
    """Export a model with the names of optimum and transformers.js.

    The inputs are ``input_ids``, ``attention_mask``, ``position_ids``, and of each layer N
    ``past_key_values.N.key`` and ``.value``; the outputs ``logits``, ``present.N.key`` and
    ``.value``. Their shapes are those of `CachedDecoder`, of which B, T and P are free.
    """
    batch, start, length = 2, 3, 4  # any but 0 and 1, which the exporter takes as fixed
    cache = torch.zeros(batch, config.num_key_value_heads, start, config.head_dim)
    ids = torch.zeros(batch, length, dtype=torch.int64)
    mask = torch.ones(batch, start + length, dtype=torch.int64)
    layers = range(config.num_hidden_layers)
    names = [f"{layer}.{part}" for layer in layers for part in ("key", "value")]
    rows, new = "batch_size", "sequence_length"
    with _errors_alone():
        program = torch.onnx.export(
            CachedDecoder(config, weights),
            (ids, mask, ids.clone(), [(cache.clone(), cache.clone()) for _ in layers]),
            input_names=[
                *("input_ids", "attention_mask", "position_ids"),
                *(f"past_key_values.{name}" for name in names),
            ],
            output_names=["logits", *(f"present.{name}" for name in names)],
            dynamic_shapes=(
                {0: rows, 1: new},
                {0: rows, 1: "total_sequence_length"},
                {0: rows, 1: new},
                [({0: rows, 2: "past_sequence_length"},) * 2] * len(layers),
            ),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    # A fifth of the file: for each node, where in which file of this machine it comes from.
    ClearMetadataAndDocStringPass()(program.model)
    model: onnx.ModelProto = program.model_proto
    model.graph.ClearField("value_info")  # shapes within, which follow from the rest
    return model


@contextmanager
def _errors_alone() -> Iterator[None]:
    """Keep the exporter from saying what it lacks for other models, and what it deprecates."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
