"""A whole Llama in NumPy, forward and backward (Touvron et al. 2023, arXiv 2302.13971).

Each function returns its result and `back`, which turns the gradient of the loss with respect to
that result into those with respect to what went in: the chain rule, one link a function.

Shapes: B sequences, T positions, C hidden size, H query and K key-value heads of D, V vocabulary.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tinybuddy.config import ModelConfig

Array, Back, Weights = np.ndarray, Callable, Mapping[str, np.ndarray]


def linear(x: Array, weight: Array) -> tuple[Array, Back]:
    """``x`` (..., in) times ``weight`` (out, in): (..., out)."""
    rows = x.reshape(-1, x.shape[-1])
    return x @ weight.T, lambda d: (d @ weight, d.reshape(-1, len(weight)).T @ rows)


def rms_norm(x: Array, weight: Array, eps: float) -> tuple[Array, Back]:
    """Each position (..., C) at length sqrt(C), times ``weight`` (Zhang & Sennrich 2019)."""
    scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    normed = x * scale

    def back(d: Array) -> tuple[Array, Array]:
        inner = d * weight
        d_x = scale * (inner - normed * (inner * normed).mean(-1, keepdims=True))
        return d_x, (d * normed).reshape(-1, len(weight)).sum(0)

    return normed * weight, back


def rotate(x: Array, angles: Array) -> tuple[Array, Back]:
    """Turn the pairs (i, i + D/2) of ``x`` (B, H, T, D) by ``angles`` (T, D/2) (Su et al. 2021)."""
    cos, sin, (a, b) = np.cos(angles), np.sin(angles), np.split(x, 2, axis=-1)
    turned = np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)
    return turned, lambda d: rotate(d, -angles)[0]


def softmax(x: Array) -> tuple[Array, Back]:
    """Shares (..., N) that add up to 1, in proportion to ``exp(x)``."""
    exp = np.exp(x - x.max(-1, keepdims=True))
    shares = exp / exp.sum(-1, keepdims=True)
    return shares, lambda d: shares * (d - (d * shares).sum(-1, keepdims=True))


def attention(q: Array, k: Array, v: Array) -> tuple[Array, Back]:
    """Each query (B, H, T, D) takes a mean of the values (B, K, T, D) up to its own position."""
    batch, heads, length, size = q.shape
    square, shared = (batch, heads, length, length), (batch, k.shape[1], -1)
    rows = q.reshape(*shared, size)  # H/K query heads share a key-value head (Ainslie et al. 2023)
    scores = (rows @ k.swapaxes(2, 3)).reshape(square) * size**-0.5
    later = np.triu(np.ones((length, length), bool), 1)
    shares, back_softmax = softmax(np.where(later, -np.inf, scores))
    stacked = shares.reshape(*shared, length)

    def back(d: Array) -> tuple[Array, Array, Array]:
        d = d.reshape(*shared, size)
        d_scores = back_softmax((d @ v.swapaxes(2, 3)).reshape(square)) * size**-0.5
        d_scores = d_scores.reshape(*shared, length)
        d_k = d_scores.swapaxes(2, 3) @ rows
        return (d_scores @ k).reshape(q.shape), d_k, stacked.swapaxes(2, 3) @ d

    return (stacked @ v).reshape(q.shape), back


def swiglu(gate: Array, up: Array) -> tuple[Array, Back]:
    """``silu(gate) * up`` (Shazeer 2020): the gate decides how much of ``up`` passes."""
    opened = 1 / (1 + np.exp(-gate))
    silu = gate * opened
    return silu * up, lambda d: (d * up * opened * (1 + gate * (1 - opened)), d * silu)


def block(x: Array, weights: Weights, begin: str, config: ModelConfig) -> tuple[Array, Back]:
    """Attention, then feed-forward: each reads ``x`` (B, T, C) and adds to it."""
    length, size = x.shape[1], config.head_dim
    pace = config.rope_theta ** (-np.arange(0, size, 2) / size)
    angles = np.outer(np.arange(length), pace).astype(x.dtype)
    backs: dict[str, Back] = {}

    def apply(name: str, x: Array) -> Array:
        w, eps = weights[f"{begin}{name}.weight"], config.rms_norm_eps
        y, backs[name] = linear(x, w) if w.ndim == 2 else rms_norm(x, w, eps)
        return y

    def split(x: Array) -> Array:  # (B, T, heads * D) into (B, heads, T, D)
        return x.reshape(-1, length, x.shape[2] // size, size).swapaxes(1, 2)

    def join(x: Array) -> Array:
        return x.swapaxes(1, 2).reshape(len(x), length, -1)

    normed = apply("input_layernorm", x)
    q, k, v = (split(apply(f"self_attn.{n}_proj", normed)) for n in "qkv")
    (q, back_q), (k, back_k) = rotate(q, angles), rotate(k, angles)
    mixed, back_attention = attention(q, k, v)
    x = x + apply("self_attn.o_proj", join(mixed))
    normed = apply("post_attention_layernorm", x)
    inner, back_swiglu = swiglu(apply("mlp.gate_proj", normed), apply("mlp.up_proj", normed))

    def back(d: Array) -> tuple[Array, dict[str, Array]]:
        found: dict[str, Array] = {}

        def through(name: str, d: Array) -> Array:
            d, found[f"{begin}{name}.weight"] = backs[name](d)
            return d

        d_gate, d_up = back_swiglu(through("mlp.down_proj", d))
        d_normed = through("mlp.gate_proj", d_gate) + through("mlp.up_proj", d_up)
        d = d + through("post_attention_layernorm", d_normed)
        d_q, d_k, d_v = back_attention(split(through("self_attn.o_proj", d)))
        parts = {"q": back_q(d_q), "k": back_k(d_k), "v": d_v}
        d_normed = sum(through(f"self_attn.{n}_proj", join(part)) for n, part in parts.items())
        return d + through("input_layernorm", d_normed), found

    return x + apply("mlp.down_proj", inner), back


def forward(weights: Weights, config: ModelConfig, ids: Array) -> tuple[Array, Back]:
    """Logits (B, T, V) of the token after each of ``ids`` (B, T); back: all gradients by name."""
    embedding = weights["model.embed_tokens.weight"]
    x, backs = embedding[ids], list[Back]()
    for layer in range(config.num_hidden_layers):
        x, back_block = block(x, weights, f"model.layers.{layer}.", config)
        backs.append(back_block)
    normed, back_norm = rms_norm(x, weights["model.norm.weight"], config.rms_norm_eps)
    logits, back_output = linear(normed, embedding)

    def back(d: Array) -> dict[str, Array]:
        d, d_embedding = back_output(d)
        d, d_norm = back_norm(d)
        found = {"model.norm.weight": d_norm}
        for back_block in reversed(backs):
            d, own = back_block(d)
            found |= own
        np.add.at(d_embedding, ids, d)  # used twice: for the logits, and looked up
        return found | {"model.embed_tokens.weight": d_embedding}

    return logits, back


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """Mean surprise, -ln p, at ``targets`` (B, T); its gradient with respect to ``logits``."""
    d, at = softmax(logits)[0], (*np.indices(targets.shape), targets)
    loss = float(-np.log(d[at]).mean())
    d[at] -= 1
    return loss, d / targets.size
