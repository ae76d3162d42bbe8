"""A Llama decoder in NumPy alone, as fast as its calls allow: what the engine is compared with.

At this size a call costs more than its arithmetic, so what can be folded into the weights is: each
norm's weight into the matrix after it, the scale of the attention into the queries, the sign of
SwiGLU's exponent into the gate. Rotary positions turn pairs as complex numbers. A query row has
zeros where the other heads' keys are, so that all heads are one product, and a column of ones
beside the values sums the attention. Views are taken and results are allocated before the story.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np
from numpy import add, divide, exp, multiply, subtract
from numpy.typing import NDArray

from tinybuddy.config import ModelConfig, SampleConfig

Array = NDArray[np.float32]


def folded(matrix: Array, norm: Array) -> Array:
    """Return a matrix (out, in) that follows a norm of this weight, as (in, out)."""
    return np.ascontiguousarray((matrix * norm).T)


def draw(logits: Array, running: Array, uniform: float) -> int:
    """Draw a place by the logits, which are overwritten."""
    subtract(logits, logits[logits.argmax()], logits)  # argmax is three times as fast as max
    exp(logits, logits)
    add.accumulate(logits, 0, None, running)
    return int(running.searchsorted(running[-1] * uniform))


class Layer:
    """A block's folded matrices (in, out), its cache, and a view of the latter a position."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, Array], layer: int) -> None:
        def weight(name: str) -> Array:
            return weights[f"model.layers.{layer}.{name}.weight"]

        heads, size, hidden = config.num_attention_heads, config.head_dim, config.hidden_size
        kv_heads, context = config.num_key_value_heads, config.max_position_embeddings
        keys = kv_heads * size
        # Pairs (i, i + D/2) side by side, as complex numbers have them.
        pairs = np.arange(size).reshape(2, -1).T.ravel()
        query = weight("self_attn.q_proj").reshape(heads, size, hidden)[:, pairs] / math.sqrt(size)
        key = weight("self_attn.k_proj").reshape(kv_heads, size, hidden)[:, pairs]
        out = weight("self_attn.o_proj").T.reshape(heads, size, hidden)
        spread_query = np.zeros((heads, kv_heads, size, hidden), np.float32)
        spread_out = np.zeros((heads, keys + 1, hidden), np.float32)
        for head in range(heads):
            of = head * kv_heads // heads  # the key-value head
            spread_query[head, of] = query[head]
            spread_out[head, of * size : (of + 1) * size] = out[head]
        rows = (spread_query, key, weight("self_attn.v_proj"))
        qkv = np.concatenate([matrix.reshape(-1, hidden) for matrix in rows])
        gate_up = np.concatenate((-weight("mlp.gate_proj"), weight("mlp.up_proj")))
        self.qkv = folded(qkv, weight("input_layernorm"))
        self.out = spread_out.reshape(-1, hidden)
        self.gate_up = folded(gate_up, weight("post_attention_layernorm"))
        self.down = np.ascontiguousarray(-weight("mlp.down_proj").T)

        key_cache = np.zeros((context, keys), np.float32)
        value_cache = np.ones((context, keys + 1), np.float32)
        self.key = list(key_cache.view(np.complex64))
        self.value = list(value_cache[:, :keys])
        self.keys = [key_cache[: end + 1].T for end in range(context)]
        self.values = [value_cache[: end + 1] for end in range(context)]


class NumpyDecoder:
    """A model that generates one story at a time."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, Array]) -> None:
        hidden, inner, size = config.hidden_size, config.intermediate_size, config.head_dim
        heads, keys = config.num_attention_heads, config.num_key_value_heads * size
        context = config.max_position_embeddings
        self.eps = config.rms_norm_eps
        self.layers = [Layer(config, weights, n) for n in range(config.num_hidden_layers)]
        embedding = weights["model.embed_tokens.weight"]
        self.rows = list(embedding)
        self.head = folded(embedding, weights["model.norm.weight"])
        frequencies = config.rope_theta ** (-2.0 * np.arange(size // 2) / size)
        turns = np.exp(1j * np.outer(np.arange(context), frequencies)).astype(np.complex64)
        self.key_turns = list(np.tile(turns, config.num_key_value_heads))
        self.query_turns = list(np.tile(turns, heads * config.num_key_value_heads))

        self.x, self.normed, self.added = np.zeros((3, hidden), np.float32)
        qkv = np.zeros((heads + 2) * keys, np.float32)
        self.query, self.key, self.value = np.split(qkv, (heads * keys, (heads + 1) * keys))
        self.qkv, self.query, self.key = (
            qkv,
            *(p.view(np.complex64) for p in (self.query, self.key)),
        )
        turned = np.zeros(heads * keys, np.float32)
        self.turned, self.queries = turned.view(np.complex64), turned.reshape(heads, keys)
        scores = np.zeros(heads * context, np.float32)
        self.scores = [scores[: heads * n].reshape(heads, n) for n in range(1, context + 1)]
        self.sums, self.mixed = np.zeros((2, heads, keys + 1), np.float32)
        self.total, self.flat = self.sums[:, keys:], self.mixed.reshape(-1)
        self.gate_up = np.zeros(2 * inner, np.float32)
        self.gate, self.up = np.split(self.gate_up, 2)
        self.exp = np.zeros(inner, np.float32)
        self.scale, self.one = np.zeros((), np.float32), np.ones((), np.float32)
        self.result, self.running = np.zeros((2, config.vocab_size), np.float32)

    def logits(self, token: int, position: int, temperature: float = 1.0) -> Array:
        """Feed a token; the logits (V,) after it, divided, last until the next call."""
        x, normed, added, scores = self.x, self.normed, self.added, self.scores[position]
        gate, exps, sums, mixed = self.gate, self.exp, self.sums, self.mixed
        x[:] = self.rows[token]
        for layer in self.layers:
            self.norm(1.0)
            normed.dot(layer.qkv, self.qkv)
            multiply(self.query, self.query_turns[position], self.turned)
            multiply(self.key, self.key_turns[position], layer.key[position])
            layer.value[position][:] = self.value
            self.queries.dot(layer.keys[position], scores)
            # One shift for all heads, whose largest scores lie nowhere near 88 apart.
            subtract(scores, scores.item(scores.argmax()), scores)
            exp(scores, scores)
            scores.dot(layer.values[position], sums)
            divide(sums, self.total, mixed)
            self.flat.dot(layer.out, added)
            add(x, added, x)
            self.norm(1.0)
            normed.dot(layer.gate_up, self.gate_up)
            exp(gate, exps)  # of minus the gate
            add(exps, self.one, exps)
            multiply(gate, self.up, gate)
            divide(gate, exps, gate)
            gate.dot(layer.down, added)
            add(x, added, x)
        self.norm(1.0 / temperature)
        return normed.dot(self.head, self.result)

    def norm(self, scale: float) -> None:
        """Root-mean-square norm of ``x``, times a scale."""
        x = self.x
        self.scale[()] = scale / math.sqrt(float(x.dot(x)) / len(x) + self.eps)
        multiply(x, self.scale, self.normed)

    def generate(self, first: int, length: int, sample: SampleConfig, seed: int) -> list[int]:
        """Return the ids after ``first``: by temperature and top-k, or the best ones for 0."""
        temperature, top_k = sample.temperature, sample.top_k
        uniform, running = random.Random(seed).random, self.running
        ids, token = [], first
        for position in range(length):
            logits = self.logits(token, position, temperature or 1.0)
            if temperature == 0:
                token = int(logits.argmax())
            elif top_k:
                best = logits.argpartition(-top_k)[-top_k:]
                token = int(best[draw(logits[best], running[:top_k], uniform())])
            else:
                token = draw(logits, running, uniform())
            ids.append(token)
        return ids
