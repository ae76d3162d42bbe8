"""The reference model, whole, in PyTorch alone: a Llama (Touvron et al. 2023, arXiv 2302.13971).

Read it from the bottom up or the top down: a token id is looked up in the embedding, goes through
the blocks (attention, then feed-forward, each added to what came in), and is compared with every
row of the same embedding, which gives the logits of the next token.

Letters in shapes: B sequences, T positions, C hidden size, H query heads, K key-value heads, D head
size, V vocabulary. Weights have the names that ``transformers.LlamaForCausalLM`` gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EOS = 2


class Cache:
    """Keys and values of the positions so far, for each block, up to the context length.

    Attributes:
        keys, values: (layers, B, K, context, D).
        length: positions filled.
    """

    def __init__(self, model: Transformer, batch: int = 1) -> None:
        weight = model.model.embed_tokens.weight
        shape = (model.layers, batch, model.kv_heads, model.context, model.head_dim)
        self.keys = weight.new_empty(shape)
        self.values = weight.new_empty(shape)
        self.length = 0


def rope_table(context: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, each (context, D/2) (Su et al. 2021).

    Pair ``i`` of a head turns by ``position * theta ** (-2i / D)``.
    """
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(torch.arange(context).float(), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head of ``x`` (B, heads, T, D) by its position; pairs are (i, i + D/2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * weight`` (Zhang & Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of ``x``."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal attention in which several query heads share a key-value head (arXiv 2305.13245)."""

    def __init__(self, hidden: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.head_dim = hidden // heads
        self.q_proj = nn.Linear(hidden, heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * self.head_dim, hidden, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None, layer: int
    ) -> Tensor:
        """Mix the positions of ``x`` (B, T, C); with a cache, ``x`` follows what it holds."""
        batch, length, _ = x.shape
        heads = (batch, length, -1, self.head_dim)
        q = rotate(self.q_proj(x).view(heads).transpose(1, 2), cos, sin)  # (B, H, T, D)
        k = rotate(self.k_proj(x).view(heads).transpose(1, 2), cos, sin)  # (B, K, T, D)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        mask = None
        if cache is not None:
            start, end = cache.length, cache.length + length
            cache.keys[layer, :, :, start:end] = k
            cache.values[layer, :, :, start:end] = v
            k, v = cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end]
            mask = torch.ones(length, end, dtype=torch.bool, device=x.device).tril(start)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        mixed: Tensor = self.o_proj(y.transpose(1, 2).reshape(x.shape))
        return mixed


class FeedForward(nn.Module):
    """SwiGLU: ``down(silu(gate(x)) * up(x))`` (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position of ``x`` (B, T, C) by itself."""
        transformed: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return transformed


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to its input."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, eps = config["hidden_size"], config["rms_norm_eps"]
        self.input_layernorm = RMSNorm(hidden, eps)
        self.self_attn = Attention(
            hidden, config["num_attention_heads"], config["num_key_value_heads"]
        )
        self.post_attention_layernorm = RMSNorm(hidden, eps)
        self.mlp = FeedForward(hidden, config["intermediate_size"])

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None, layer: int
    ) -> Tensor:
        """Transform ``x`` (B, T, C)."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache, layer)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Decoder(nn.Module):
    """Embedding, blocks and last norm: ids to the numbers that the head reads."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden = config["hidden_size"]
        self.embed_tokens = nn.Embedding(config["vocab_size"], hidden)
        self.layers = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RMSNorm(hidden, config["rms_norm_eps"])
        cos, sin = rope_table(
            config["max_position_embeddings"],
            hidden // config["num_attention_heads"],
            config["rope_theta"],
        )
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor, cache: Cache | None) -> Tensor:
        """Turn ``ids`` (B, T), which follow what the cache holds, into (B, T, C)."""
        start = cache.length if cache is not None else 0
        end = start + ids.shape[1]
        if end > len(self.cos):
            raise ValueError(f"{end} positions exceed the context of {len(self.cos)}")
        cos, sin = self.cos[start:end], self.sin[start:end]
        x: Tensor = self.embed_tokens(ids)
        for layer, block in enumerate(self.layers):
            x = block(x, cos, sin, cache, layer)
        if cache is not None:
            cache.length = end
        x = self.norm(x)
        return x


class Transformer(nn.Module):
    """The language model; build it with `create_model`."""

    def __init__(self, config: Mapping[str, Any], init_std: float = 0.02) -> None:
        super().__init__()
        self.context: int = config["max_position_embeddings"]
        self.layers: int = config["num_hidden_layers"]
        self.kv_heads: int = config["num_key_value_heads"]
        self.head_dim: int = config["hidden_size"] // config["num_attention_heads"]
        self.model = Decoder(config)
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=init_std)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each position of ``ids`` (B, T).

        With a cache the positions follow those that it holds; together at most the context.
        """
        return F.linear(self.model(ids, cache), self.model.embed_tokens.weight)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int = 40,
    ) -> Tensor:
        """Continue ``input_ids`` (1, T); stops after ``<eos>``.

        Args:
            input_ids: the prompt, ``<bos>`` first.
            max_new_tokens: tokens at most.
            temperature: divides the logits; 0 takes the best token.
            top_k: draws among the k best tokens; 0 = all.

        Returns:
            The prompt and what follows it, (1, T + new). Past the context the older half is
            forgotten.
        """
        cache, new = Cache(self), input_ids
        for _ in range(max_new_tokens):
            if cache.length + new.shape[1] > self.context:
                cache, new = Cache(self), input_ids[:, -max(1, self.context // 2) :]
            logits = self(new, cache)[0, -1]
            if temperature == 0:
                new = logits.argmax().view(1, 1)
            else:
                logits = logits / temperature
                if top_k:
                    least = logits.topk(min(top_k, logits.numel())).values[-1]
                    logits = logits.masked_fill(logits < least, -torch.inf)
                new = torch.multinomial(logits.softmax(-1), 1).view(1, 1)
            input_ids = torch.cat((input_ids, new), dim=1)
            if new.item() == EOS:
                break
        return input_ids


def create_model(config: Mapping[str, Any], init_std: float = 0.02) -> Transformer:
    """Build a model with random weights from the keys of a ``config.json``.

    Args:
        config: ``vocab_size``, ``hidden_size``, ``intermediate_size``, ``num_hidden_layers``,
            ``num_attention_heads``, ``num_key_value_heads``, ``max_position_embeddings``,
            ``rope_theta``, ``rms_norm_eps``; other keys are not looked at.
        init_std: standard deviation of the initial matrices.
    """
    return Transformer(config, init_std)
