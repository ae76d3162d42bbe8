# %% [markdown]
# # 5 The whole Llama, forward and backward
#
# **At the end of this chapter you have** a whole language model in 150 lines of NumPy: the Llama
# (Touvron et al. 2023), which is what nearly all open models are built like. It takes weights that
# somebody else trained and writes the same text with them, token by token, as tinybuddy's engine
# in C. And it computes the gradient of its loss, so that the next chapter can train it.
#
# **You need** from before: tokens (chapter 2), matrices, embeddings, cross-entropy and gradients by
# hand (chapter 3), attention (chapter 4).
#
# The code below is the file `llama.py` beside this notebook, function by function. It is dense.
# Take a function at a time, and write its shapes on paper.

# %%
import os

os.environ["TINYBUDDY_KERNELS"] = "baseline"  # the engine in plain float32, as NumPy computes

from collections.abc import Callable, Mapping

import course
import matplotlib.pyplot as plt
import numpy as np

import tinybuddy
from tinybuddy.config import ModelConfig
from tinybuddy.formats.references import open_model

plt.style.use("course.mplstyle")

Array, Back, Weights = np.ndarray, Callable, Mapping[str, np.ndarray]

# %% [markdown]
# ## A model is a shape and a dictionary of arrays
#
# `tinybuddy-80k-card` is a model that comes with tinybuddy. (It was trained by the recipe `card`,
# which follows the *model card*, the description, of a published model.) Its **config** says how
# large everything is; its **weights** are arrays of learned numbers, each with a name. There is
# nothing else.

# %%
card = open_model("tinybuddy-80k-card")
config, weights = card.config, dict(card.weights)
for name, array in weights.items():
    print(f"{name:48} {array.shape!s:12} {array.size:7,}")
print(f"{'together':61} {sum(w.size for w in weights.values()):7,}")

# %%
parts = config.breakdown()
plt.figure(figsize=(8, 2.4))
plt.barh([*parts], [*parts.values()], color=["C1", "C0", "C0", "C1"])
for row, count in enumerate(parts.values()):
    plt.text(count + 400, row, f"{count:,}", va="center")
plt.gca().invert_yaxis()
plt.xlabel("parameters")
plt.title("Most of a tiny model is its embedding; the two red parts are the block")
plt.show()

# %% [markdown]
# The embedding serves twice. It says what goes in for each token, and at the other end the same
# rows are what the result is compared with: the more alike they are, the larger the **logit** of
# that token. The embedding is then called **tied**, and it saves 49,152 weights.
#
# ## The residual stream
#
# Here is the road of a token. Follow the thick line from left to right.

# %%
figure, axes = plt.subplots(figsize=(10, 3.4))
axes.set(xlim=(0, 10), ylim=(0, 3.3))
axes.axis("off")
axes.annotate(
    "", (8.35, 2.2), (1.35, 2.2), arrowprops={"arrowstyle": "-|>", "lw": 5, "color": "C0"}
)
for x, word in ((0.7, "embedding\nlooks up\nthe token"), (9.05, "norm, then\nlogits")):
    axes.text(x, 2.2, word, ha="center", va="center", fontsize=11)
for x, word in ((1.9, "norm, then attention"), (5.5, "norm, then feed-forward")):
    box = {"boxstyle": "round,pad=0.5", "fc": "C3", "ec": "none"}
    axes.text(x + 1.15, 0.75, word, ha="center", va="center", fontsize=11, bbox=box)
    line = {"lw": 1.5, "color": "black"}
    axes.annotate("", (x, 1.05), (x, 2.15), arrowprops={"arrowstyle": "->", **line})
    axes.annotate("", (x + 2.3, 2.15), (x + 2.3, 1.05), arrowprops={"arrowstyle": "->", **line})
    axes.text(x - 0.1, 1.55, "reads", ha="right", va="center")
    axes.text(x + 2.4, 1.55, "adds", ha="left", va="center")
    axes.plot(x + 2.3, 2.2, "o", color="white", mec="black", markersize=17)
    axes.text(x + 2.3, 2.18, "+", ha="center", va="center", fontsize=15)
axes.text(4.85, 2.75, "residual stream: 48 numbers a position", ha="center", color="C0")
axes.text(4.85, 0.1, "one block; a larger model has many in a row", ha="center", color="0.4")
plt.show()

# %% [markdown]
# Each position of the text has 48 numbers, and they flow straight through. This is the **residual
# stream** (He et al. 2015 had the idea, for pictures). No part replaces it. **Attention** reads it,
# and *adds* what it found at other positions. The **feed-forward** layer reads it, and adds what it
# makes of one position by itself. Together they are a **block**.
#
# Why add? Because of the way back. The gradient of a sum goes to both of its sides unchanged. So
# along the thick line the gradient reaches the embedding without being weakened, however many
# blocks there are.
#
# ## Forward and back, link by link
#
# In chapter 3 the gradients were worked out for one network as a whole. That does not scale. But
# the **chain rule** lets us cut the work into links. A link must only know how to turn the
# gradient with respect to its *result* into those with respect to what went *in*. Then a network
# of any size goes backward by asking its links in the opposite order: **backpropagation**
# (Rumelhart, Hinton and Williams 1986).
#
# So every function here returns two things: its result, and a function `back` that does that for
# the numbers it has just seen. What comes back is called `d`: the gradient of the loss with respect
# to the result. And `d_x` is that with respect to `x`.
#
# These letters stand for sizes, here and in the code:
#
# | | how many | in this model |
# |---|---|---|
# | B | sequences (rows of tokens) that are computed at once | as many as we give it |
# | T | positions in each | up to 128 |
# | C | numbers a position in the residual stream | 48 |
# | H | query heads | 4 |
# | K | heads of keys and values | 2 |
# | D | numbers a head has | 12 |
# | V | tokens in the vocabulary | 1,024 |
#
# So `x (B, T, C)` has a list of C numbers for each position of each sequence. The first link is the
# product with a matrix. Beware: model files keep a matrix the other way round than chapter 3 did,
# one row for each *output*. So it is `x @ weight.T`.


# %%
def linear(x: Array, weight: Array) -> tuple[Array, Back]:
    """``x`` (..., in) times ``weight`` (out, in): (..., out)."""
    rows = x.reshape(-1, x.shape[-1])
    return x @ weight.T, lambda d: (d @ weight, d.reshape(-1, len(weight)).T @ rows)


# %% [markdown]
# `rows` has all positions of all sequences below each other, (B T, in). The way back is that of
# chapter 3. An output is a sum of inputs times weights. So an input gets `d` times its weights, and
# a weight gets `d` times its input, added up over all positions.
#
# Never believe a gradient that you have not nudged. But a link has no loss of its own. So we
# pretend that the loss is the sum of `d` times the result, for any `d` that we like: then `d` is
# exactly the gradient of this loss with respect to the result. We give it to `back`, nudge every
# number that went in, and compare.


# %%
random = np.random.default_rng(0)


def normal(*shape):
    return random.standard_normal(shape)


def difference(link, *arguments, step=1e-6):
    """Between the gradients of `back` and of nudging: the largest, of all numbers that go in."""
    result, back = link(*arguments)
    d, worst = normal(*result.shape), 0.0
    gradients = back(d) if len(arguments) > 1 else [back(d)]
    for values, gradient in zip(arguments, gradients, strict=True):
        for index in np.ndindex(values.shape):
            old, losses = values[index], []
            for nudge in (step, -step):
                values[index] = old + nudge
                losses.append((d * link(*arguments)[0]).sum())
            values[index] = old
            worst = max(worst, abs((losses[0] - losses[1]) / (2 * step) - gradient[index]))
    return f"largest difference to nudging {worst:.0e}"


print("linear:", difference(linear, normal(2, 5, 4), normal(3, 4)))

# %% [markdown]
# ## RMSNorm: the same volume for all
#
# What a layer adds may be loud or faint. So each layer reads the stream through a **norm**, which
# scales the 48 numbers of a position so that their root mean square is 1, and then stretches each
# by a learned weight (Zhang and Sennrich 2019). `eps` keeps it from dividing by 0.


# %%
def rms_norm(x: Array, weight: Array, eps: float) -> tuple[Array, Back]:
    """Each position (..., C) at length sqrt(C), times ``weight`` (Zhang & Sennrich 2019)."""
    scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    normed = x * scale

    def back(d: Array) -> tuple[Array, Array]:
        inner = d * weight
        d_x = scale * (inner - normed * (inner * normed).mean(-1, keepdims=True))
        return d_x, (d * normed).reshape(-1, len(weight)).sum(0)

    return normed * weight, back


# %%
print("rms_norm:", difference(lambda x, w: rms_norm(x, w, 1e-5), normal(2, 5, 4), normal(4)))

# %% [markdown]
# Where do the two terms of `d_x` come from? `inner` is the gradient with respect to
# `normed = x * scale`. That is a product, and `x` is in both factors:
#
# - in `x` itself: that gives `scale * inner`;
# - in `scale`, which is $(\text{mean of } x^2 + \text{eps})^{-1/2}$. Its slope along one number
#   $x_i$ is $-\frac12(\dots)^{-3/2}\cdot 2x_i/C$, or $-\text{scale}^3\,x_i / C$. It multiplies
#   every $x_j$, so that the effects add up: $-\text{scale}^3\,x_i\,\frac1C\sum_j
#   \text{inner}_j\,x_j$. With `normed` for $\text{scale}\cdot x$ that is the second term.
#
# It makes sense. To make `x` longer changes nothing, since the norm takes the length away again. So
# in that direction the slope must be 0, and the second term takes it away.
#
# ## Rotary positions: where am I?
#
# Attention compares a **query** with **keys** by their dot product, and so far it cannot tell where
# they stand. RoPE (Su et al. 2021) turns them. The D numbers of a head are taken as D/2 pairs, each
# an arrow in the plane. At position $t$ pair number $i$, from 0 on, is turned by the angle
# $t\cdot\theta^{-2i/D}$, with $\theta = 10{,}000$. So the first pair turns fast, the last very
# slowly, like the hands of a clock.


# %%
def rotate(x: Array, angles: Array) -> tuple[Array, Back]:
    """Turn the pairs (i, i + D/2) of ``x`` (B, H, T, D) by ``angles`` (T, D/2) (Su et al. 2021)."""
    cos, sin, (a, b) = np.cos(angles), np.sin(angles), np.split(x, 2, axis=-1)
    turned = np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)
    return turned, lambda d: rotate(d, -angles)[0]


# %% [markdown]
# For each pair, the way back is the same turn by the negative angle. (The result has
# $a\cos - b\sin$ and $b\cos + a\sin$. So $a$ gets $d_1\cos + d_2\sin$, and $b$ gets
# $d_2\cos - d_1\sin$: the same formulas, with $-\sin$ for $\sin$.)
#
# Why this is good: the dot product of two arrows depends only on their lengths and on the angle
# *between* them. If both are turned by their positions, it depends on how far apart they stand, and
# no longer on where. The dot product of two heads is the sum of those of their pairs. We can see
# that: one query, one key, at three positions in the text.

# %%
size = config.head_dim
pace = config.rope_theta ** (-np.arange(0, size, 2) / size)
angles = np.outer(np.arange(128), pace)  # (T, D/2)
print("rotate:", difference(lambda x: rotate(x, angles[:3]), normal(1, 2, 3, size)))
query, key = random.standard_normal((2, size))
turned_query, _ = rotate(np.tile(query, (1, 1, 128, 1)), angles)
turned_key, _ = rotate(np.tile(key, (1, 1, 128, 1)), angles)
scores = turned_query[0, 0] @ turned_key[0, 0].T  # (T, T): query position, key position

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for pair in (0, 1, 2):
    left.plot(angles[:40, pair] / (2 * np.pi), color=f"C{pair}")
    word = f"pair {pair + 1}"
    left.text(40.5, angles[39, pair] / (2 * np.pi), word, color=f"C{pair}", va="center")
left.set(xlabel="position", ylabel="turns", xlim=(0, 47), title="The pairs turn at their own pace")
distance = np.arange(40)
for at, style in ((40, "o"), (80, "s"), (120, "^")):
    right.plot(
        distance,
        scores[at, at - distance],
        style,
        markersize={"o": 13, "s": 7, "^": 4}[style],
        color={"o": "C3", "s": "C1", "^": "C0"}[style],
        label=f"query at {at}",
    )
right.set(xlabel="how far back the key stands", ylabel="dot product")
right.set_title("Only the distance counts")
right.legend(fontsize=10)
plt.show()

# %% [markdown]
# The three sets of points lie on top of each other.
#
# ## Attention
#
# Softmax makes shares of scores, as in chapter 4:


# %%
def softmax(x: Array) -> tuple[Array, Back]:
    """Shares (..., N) that add up to 1, in proportion to ``exp(x)``."""
    exp = np.exp(x - x.max(-1, keepdims=True))
    shares = exp / exp.sum(-1, keepdims=True)
    return shares, lambda d: shares * (d - (d * shares).sum(-1, keepdims=True))


# %% [markdown]
# Its way back is that of chapter 4, too.
#
# Attention has **several heads**. The 48 numbers of a query are 4 heads of 12; each head looks for
# something else, and takes its own mean. Here is the way forward, with keys and values for every
# head. `@` multiplies the last two axes, for each sequence and each head by itself;
# `swapaxes(2, 3)` transposes them.


# %%
def plain_attention(q, k, v):
    """The way forward alone; q, k and v are (B, H, T, D)."""
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])  # (B, H, T, T): who looks, at what
    later = np.triu(np.ones(scores.shape[2:], bool), 1)  # true right of the diagonal
    shares, _ = softmax(np.where(later, -np.inf, scores))
    return shares @ v  # (B, H, T, D)


# %% [markdown]
# A Llama has one thing more: **grouped queries** (Ainslie et al. 2023). There are 4 query heads,
# but only 2 heads of keys and values; two query heads share each. A model that generates text must
# keep all keys and values of the text so far, its **key-value cache**, so sharing halves that
# memory.
#
# Two heads that read the same keys need not be told apart in the product: we put the queries of one
# below those of the other. The shapes, line by line, with H = 4, K = 2 and D = 12:
#
# | | shape | |
# |---|---|---|
# | `q` | (B, 4, T, 12) | |
# | `rows` | (B, 2, 2 T, 12) | the queries of two heads, one below the other |
# | `k` transposed | (B, 2, 12, T) | |
# | their product | (B, 2, 2 T, T) | each query with each key that it may read |
# | `scores`, `shares` | (B, 4, T, T) | the same numbers, a square for each head again |
# | `stacked` | (B, 2, 2 T, T) | the shares, below each other again |
# | `stacked @ v` | (B, 2, 2 T, 12) | |
# | the result | (B, 4, T, 12) | |
#
# (A size of -1 in `reshape` is one that NumPy works out.)


# %%
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


# %%
q, k, v = normal(2, 4, 5, 12), normal(2, 2, 5, 12), normal(2, 2, 5, 12)
twice = (np.repeat(part, 2, axis=1) for part in (k, v))  # heads 0, 0, 1, 1
print("as plain attention:", np.allclose(attention(q, k, v)[0], plain_attention(q, *twice)))
q, k, v = normal(1, 4, 3, 2), normal(1, 2, 3, 2), normal(1, 2, 3, 2)
print("attention:", difference(attention, q, k, v))
print("softmax:", difference(softmax, normal(2, 5)))

# %% [markdown]
# The way back asks three links in the opposite order, and reshapes as the way forward did:
#
# 1. `stacked @ v` is a product. Its shares get `d` times $v^T$, and `v` gets the transposed shares
#    times `d`.
# 2. The softmax turns the gradient of the shares into that of the scores. What was shut off has a
#    share of 0, so it gets a gradient of 0.
# 3. `rows @ k` is a product again, divided by $\sqrt D$. The queries get `d_scores @ k`, the keys
#    the transposed `d_scores` times `rows`. The heads that share a key stand below each other in
#    `rows`, so their gradients add up by themselves.
#
# ## SwiGLU: what a position makes of it
#
# The feed-forward layer takes each position by itself. It widens 48 numbers to 192, twice. One of
# the two, the **gate**, decides how much of the other passes (Shazeer 2020), and then 192 become 48
# again. The gate is bent, as $\tanh$ bent the numbers in chapter 3, here by **silu**: the gate
# times $1 / (1 + e^{-\text{gate}})$, whose slope was exercise 2 of chapter 3. It resembles the
# simplest bend of all, **ReLU**, which is $\max(\text{gate}, 0)$.


# %%
def swiglu(gate: Array, up: Array) -> tuple[Array, Back]:
    """``silu(gate) * up`` (Shazeer 2020): the gate decides how much of ``up`` passes."""
    opened = 1 / (1 + np.exp(-gate))
    silu = gate * opened
    return silu * up, lambda d: (d * up * opened * (1 + gate * (1 - opened)), d * silu)


# %%
print("swiglu:", difference(swiglu, normal(2, 3), normal(2, 3)))
gate = np.linspace(-6, 6, 300)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
left.plot(gate, np.maximum(gate, 0), color="C1", label="ReLU: max(gate, 0)")
left.plot(gate, swiglu(gate, np.ones(300))[0], color="C0", label="silu(gate)")
left.set(xlabel="gate", ylabel="how much passes")
left.legend()
left.set_title("silu is a ReLU with its corner rounded")
up = np.linspace(-3, 3, 300)
both, _ = swiglu(*np.meshgrid(gate, up))
image = right.imshow(both, extent=(-6, 6, -3, 3), origin="lower", aspect="auto", cmap="RdGy_r")
figure.colorbar(image, ax=right, label="silu(gate) * up")
right.set(xlabel="gate", ylabel="up", title="Gate closed (left): nothing passes")
plt.show()

# %% [markdown]
# ## The block
#
# Now the parts are put together. The way forward:
#
# | | shape |
# |---|---|
# | norm of the stream `x` | (B, T, C) |
# | queries; keys and values: products, `split` into heads | (B, H, T, D); (B, K, T, D) |
# | queries and keys turned, then attention: `mixed` | (B, H, T, D) |
# | `join` the heads, a product, **add to `x`** | (B, T, C) |
# | norm of the stream `x` | (B, T, C) |
# | gate and up: products, then SwiGLU: `inner` | (B, T, 192) |
# | a product, **add to `x`** | (B, T, C) |
#
# `split` is exercise 3 of chapter 4, for a batch; `join` undoes it. `apply` uses the weight of a
# name, a matrix or that of a norm, and keeps its way back in `backs`. `through` goes that way and
# keeps the gradient of the weight in `found`. `begin` is what the names of this block begin with.
#
# Read `back` from top to bottom beside the forward part from bottom to top: it is the same list in
# the opposite order. Where something was *used twice*, its gradients are *added*. The normed stream
# feeds queries, keys and values. The stream itself goes both through a layer and past it: that is
# the `d +` twice.


# %%
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


# %% [markdown]
# ## The model
#
# Look up, go through the blocks, one last norm, and the product with the embedding, which gives the
# logits. On the way back the embedding gets two gradients, since it was used twice: for the logits,
# and where each token was looked up.


# %%
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


# %% [markdown]
# The last link is the **loss**: the mean surprise at the tokens that really come next, here in
# **nats** (natural logarithm; one nat is 1.44 bits). Its gradient is as simple as in chapter 3:
# what the model believed, minus 1 at the right token.


# %%
def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """Mean surprise, -ln p, at ``targets`` (B, T); its gradient with respect to ``logits``."""
    d, at = softmax(logits)[0], (*np.indices(targets.shape), targets)
    loss = float(-np.log(d[at]).mean())
    d[at] -= 1
    return loss, d / targets.size


# %% [markdown]
# That is all of it. Does it speak?
#
# ## The golden text
#
# tinybuddy keeps texts that everything that runs its models has to reproduce: take the most
# probable token, forty times. Our model must write what the engine writes.


# %%
def continue_greedily(weights, config, ids, count):
    """Add the most probable token, so many times."""
    ids = [*ids]
    for _ in range(count):
        logits, _ = forward(weights, config, np.array([ids]))
        ids.append(int(logits[0, -1].argmax()))
    return ids


engine = tinybuddy.load("tinybuddy-80k-card")
for prompt in ("Once upon a time", "The big dog ran to", "Tom was sad because"):
    ids = [card.tokenizer.bos, *card.tokenizer.encode(prompt)]
    ours = card.tokenizer.decode(continue_greedily(weights, config, ids, 40))
    theirs = engine.generate(prompt, temperature=0, max_new_tokens=40)
    print(ours)
    print("the engine says the same:", ours == theirs, "\n")

# %% [markdown]
# It speaks, after a fashion. This is the weakest released model of its size: one block.
#
# Where do its four heads look? We walk into the block by hand, up to the shares.

# %%
words = "One day, Tom saw a big dog. The dog was sad. Tom"
ids = [card.tokenizer.bos, *card.tokenizer.encode(words)]
names = ["⊢", *(card.tokenizer.decode([id]).replace(" ", "␣") for id in ids[1:])]
own = {name.removeprefix("model.layers.0."): weight for name, weight in weights.items()}
normed, _ = rms_norm(own["model.embed_tokens.weight"][ids], own["input_layernorm.weight"], 1e-5)
shares = []
for head in range(4):
    rows = slice(head * size, (head + 1) * size)
    kept = slice(head // 2 * size, (head // 2 + 1) * size)  # of the key head that it shares
    turns = angles[: len(ids)]
    q, _ = rotate(normed @ own["self_attn.q_proj.weight"][rows].T, turns)
    k, _ = rotate(normed @ own["self_attn.k_proj.weight"][kept].T, turns)
    later = np.triu(np.ones((len(ids), len(ids)), bool), 1)
    shares.append(softmax(np.where(later, -np.inf, q @ k.T / size**0.5))[0])

figure, axes = plt.subplots(1, 4, figsize=(13, 4), sharey=True)
for head, (panel, share) in enumerate(zip(axes, shares, strict=True), 1):
    panel.imshow(share, vmin=0, vmax=1)
    panel.set_title(f"head {head}")
    panel.set_xticks(range(len(ids)), names, rotation=90, fontsize=9)
    panel.set_yticks(range(len(ids)), names, fontsize=9)
axes[0].set_ylabel("the position that looks")
figure.supxlabel("where it looks (⊢ begins the story)", fontsize=11)
plt.show()

# %% [markdown]
# Heads 1, 2 and 4 mostly look one to three tokens back. From them the model knows what follows
# what, as counting does. Head 3 looks at the beginning of the story. But no head looks from the
# second "Tom" to the first, nor from the second "dog" to the first: this model does not know whom
# it has been talking about, and one can hear that.
#
# ## The gradients are the engine's
#
# The engine has the same model in C, with its own way back. It can make a step at a learning rate
# of 0, which changes nothing, and tell the gradient. We give both the same weights and the same
# tokens, from a few tales, and take the largest difference in every array.

# %%
from tinybuddy.backends.engine.trainer import EngineTrainer
from tinybuddy.config import TrainConfig
from tinybuddy.tokenizer import encode_story

train, _ = course.tales(train=8, validation=0)
rows = np.array([encode_story(card.tokenizer, tale)[:129] for tale in train])
inputs, targets = rows[:, :-1], rows[:, 1:]

logits, back = forward(weights, config, inputs)
loss, d = cross_entropy(logits, targets)
gradient = back(d)

as_it_is = TrainConfig(grad_clip=0.0)  # does not shorten the gradient, as chapter 6 will
trainer = EngineTrainer(config, as_it_is, weights)
engine_loss, norm = trainer.step(inputs, targets, 0.0)
theirs = trainer.gradient()
differences = {name: np.abs(gradient[name] - theirs[name]).max() for name in theirs}
print(f"loss: ours {loss:.6f}, the engine's {engine_loss:.6f}")
print(f"largest difference of a gradient: {max(differences.values()):.1e}")

# %%
labels = [n.removesuffix(".weight").rpartition("layers.0.")[2] for n in theirs]
sizes = [np.abs(theirs[name]).max() for name in theirs]
y = np.arange(len(theirs))
plt.figure(figsize=(9, 4.2))
plt.plot(sizes, y, "o", color="C1", label="largest number of the gradient")
plt.plot([*differences.values()], y, "o", color="C0", label="largest difference to the engine's")
plt.axvline(1e-5, color="black", linewidth=1)
plt.text(1.3e-5, 5, "1e-5", va="center")
plt.yticks(y, labels)
plt.xscale("log")
plt.gca().invert_yaxis()
plt.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.title("Ours and the engine's gradients differ by rounding alone")
plt.show()

# %% [markdown]
# Both compute in **float32**, numbers with about seven digits, and they add up in another order.
# What differs is the last digit or two.
#
# ## Exercises
#
# **1. How many parameters?** Count the weights of a Llama with a tied embedding from its shape.
# `inner` is how wide the feed-forward layer is (192 above); a head has `hidden / heads` numbers.
# The list of names and shapes at the beginning of this chapter helps. The form below forgets all
# but the embedding.


# %% tags=["exercise"]
def llama_parameters(vocab, hidden, inner, layers, heads, kv_heads):
    """Embedding; attention, SwiGLU and two norms of each block (layer); the last norm."""
    return vocab * hidden


# %%
course.check(llama_parameters)

# %% [markdown]
# **2. Whose key?** There are `heads` query heads and `kv_heads` key-value heads. Neighbours share:
# of 4 and 2, query heads 0 and 1 read key-value head 0, and 2 and 3 read 1. Which one does query
# head `head` read? The form below deals them out in turn: 0, 1, 0, 1. A model that was trained the
# usual way would talk nonsense with it.


# %% tags=["exercise"]
def key_value_head(head, heads, kv_heads):
    """Number of the key-value head that a query head reads."""
    return head % kv_heads


# %%
course.check(key_value_head)

# %% [markdown]
# **3. A link of your own.** Some models have no gate: their feed-forward layer squares what is
# positive, $\max(x, 0)^2$ (So et al. 2021). Write it as a link: the result, and its `back`. The
# form below is right on the way forward and wrong on the way back.


# %% tags=["exercise"]
def squared_relu(x):
    """max(x, 0)**2, and `back`, which turns the gradient with respect to it into that for x."""
    return np.maximum(x, 0) ** 2, lambda d: d


# %%
course.check(squared_relu)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - `tinybuddy.backends.llama` is the same model in PyTorch, which finds the way back by itself:
#   compare `tinybuddy.backends.llama.rotate` and `tinybuddy.backends.llama.Attention`.
# - `tinybuddy.backends.engine` is the same model in C: `forward.c`, `attention.c` and `rope.c`, and
#   `backward.c` for the way back. `tinybuddy.backends.engine.trainer.EngineTrainer` calls it.
# - `tinybuddy.weights.weight_shapes` lists names and shapes, `tinybuddy.config.ModelConfig` is the
#   config, and `tinybuddy.formats.hub.read_model` reads both from disk.
#
# ## On TinyStories
#
# The weights of this chapter were trained on TinyStories, so nothing changes. The default
# model, `tinybuddy-80k`, has four blocks of 32 numbers instead of one of 48, and about as many
# parameters. Our 150 lines run it as they are:

# %%
best = open_model("tinybuddy-80k")
ids = [best.tokenizer.bos, *best.tokenizer.encode("Once upon a time")]
ours = best.tokenizer.decode(continue_greedily(dict(best.weights), best.config, ids, 60))
theirs = tinybuddy.load("tinybuddy-80k").generate(
    "Once upon a time", temperature=0, max_new_tokens=60
)
print(f"{best.config.num_hidden_layers} blocks, {best.config.parameters:,} parameters\n")
print(ours)
print("\nthe engine says the same:", ours == theirs)
