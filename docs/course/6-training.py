# %% [markdown]
# # 6 Training: a model of your own
#
# **At the end of this chapter you have** a Llama of your own. Your code trains it, in NumPy, from
# random numbers, in about two minutes of one processor core. It tells tales, and everything in
# tinybuddy takes it: the command line, the measures, the web page.
#
# **You need** from before: bits per byte (chapter 1), tokens (chapter 2), what a gradient is
# (chapter 3), and the file `llama.py` of chapter 5, which gives the loss and its gradient.
#
# The functions below are the file `training.py` beside this notebook.

# %%
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import course
import matplotlib.pyplot as plt
import numpy as np
from llama import Array, cross_entropy, forward, softmax

import tinybuddy
from tinybuddy.config import SampleConfig
from tinybuddy.formats.hub import write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.scoring import score
from tinybuddy.tokenizer import Tokenizer, encode_story
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.weights import random_weights
from training import BATCH, OWN, PEAK, SHAPE, STEPS, TALES

plt.style.use("course.mplstyle")

print(f"{TALES=}")  # tales to learn from
print(f"{STEPS=}")  # how often the weights are moved
print(f"{BATCH=}")  # pieces of text that a step reads
print(f"{PEAK=}")  # the largest learning rate
print(f"{SHAPE=}")  # the config of the model: how large everything is
print("OWN =", OWN.relative_to(Path.cwd()))  # the folder in which the model will be

# %% [markdown]
# ## What goes in
#
# A shape, and text. The shape has two blocks, where that of chapter 5 had one, and 1,536 tokens
# instead of 1,024, so that more of them are whole words; to pay for that it is narrower, 40 numbers
# a position. The text is 5,000 tales as one long row of token ids; each tale begins with `<bos>`,
# id 1, and ends with `<eos>`, id 2. The tokenizer is the BPE of chapter 2, by a library that is
# fast.


# %%
def prepare(stories: list[str]) -> tuple[Tokenizer, Array]:
    """A tokenizer trained on the stories, and all their tokens, one story after the other."""
    tokenizer = train_tokenizer(stories, SHAPE.vocab_size)
    return tokenizer, np.concatenate([encode_story(tokenizer, story) for story in stories])


def new_weights(seed: int = 0) -> dict[str, Array]:
    """Small random matrices, and norms of ones."""
    return dict(random_weights(SHAPE, seed, init_std=0.02))


# %%
stories, validation = course.tales(TALES, 100)
tokenizer, row = prepare(stories)
weights = new_weights()
print(f"{SHAPE.num_hidden_layers} blocks, {SHAPE.parameters:,} parameters")
print(f"{len(row):,} tokens of {tokenizer.vocab_size:,}; the row begins with")
print([tokenizer.decode([id]) if id > 2 else f"<{id}>" for id in row[:14]])

# %% [markdown]
# The model sees 128 tokens at a time, so it learns from pieces of the row. A **crop** is 129
# tokens: all but the last are the inputs, all but the first the targets. That is 128 lessons at
# once: at each position, what comes next? (It is the reason why attention must not look ahead.)
# Some crops that are computed together are a **batch**.
#
# Before training all weights are small and random, so all tokens are about as probable. The loss
# must be the surprise of somebody who knows nothing, $\ln 1536$. A loss that begins elsewhere is a
# mistake in the code; look at it before you train.

# %%
CONTEXT = SHAPE.max_position_embeddings  # 128 tokens: what the model sees at a time
random = np.random.default_rng(0)


def batch(begins):
    """Inputs and targets: crops of the row, and the same one token further on."""
    crops = row[np.asarray(begins)[:, np.newaxis] + np.arange(CONTEXT + 1)]
    return crops[:, :-1], crops[:, 1:]


inputs, targets = batch(random.integers(0, len(row) - CONTEXT, BATCH))
logits, back = forward(weights, SHAPE, inputs)
loss, d = cross_entropy(logits, targets)
gradient = back(d)
print(f"loss {loss:.3f} nats a token; knowing nothing costs {math.log(SHAPE.vocab_size):.3f}")

# %% [markdown]
# ## One step downhill, and how far?
#
# The gradient says which way the loss grows fastest. So we go the other way; that is **gradient
# descent**. How far? Let us try: the same batch, after steps of different lengths.

# %%
rates = np.linspace(0, 20, 21)
after = []
for rate in rates:
    moved = {name: weights[name] - rate * gradient[name] for name in weights}
    after.append(cross_entropy(forward(moved, SHAPE, inputs)[0], targets)[0])
plt.plot(rates, after, "o-")
plt.axhline(loss, color="C1", linewidth=1, linestyle="--")
plt.text(10, loss + 0.05, "before the step", color="C1", ha="center")
plt.xlabel("learning rate: how many gradients far")
plt.ylabel("loss after the step")
plt.title("Downhill at first; too far, and it is worse than before")
plt.show()

# %% [markdown]
# The length of the step is the **learning rate**, the first number that one tunes in any training.
# The gradient is only true where we stand; the farther we go, the less it says.
#
# ## AdamW: a rate for every weight
#
# And there is no one rate that suits all. Look at the sizes of the gradients in this first batch:

# %%
names = [name for name in gradient if "layers.0" in name or "layers" not in name]
sizes = [float(np.abs(gradient[name]).mean()) for name in names]
labels = [name.removesuffix(".weight").replace("model.layers.0.", "") for name in names]
plt.figure(figsize=(8, 3.8))
plt.barh(labels, sizes, color=["C0" if "q_proj" in n or "k_proj" in n else "C1" for n in names])
plt.gca().invert_yaxis()
plt.xscale("log")
plt.xlabel("mean size of a number of the gradient")
plt.title("Queries and keys get a hundred times less than values")
plt.show()

# %% [markdown]
# Why? A query acts only through its dot products with keys, and before training keys are small. (If
# they were five times as large, the gradient of the queries would be five times as large.) And what
# it moves are only shares, between values that are small too.
#
# A rate that is right for the values leaves queries and keys where they are. The toy below has the
# same trouble in two dimensions: a valley that is steep one way and flat the other. Plain gradient
# descent must go slowly, or it leaps from wall to wall; and then it hardly moves along the floor.
#
# **Adam** (Kingma and Ba 2014) keeps two running means for every weight: of its gradient, and of
# the square of its gradient. The root of the second says how large the gradient of this weight
# usually is. A step is the first divided by that: so every weight moves about as far as the
# learning rate says, whether its gradients are large or small. And where the gradient points now
# this way, now that, the first mean is small, and so is the step.
#
# The W is for **weight decay** (Loshchilov and Hutter 2017): each step also takes a little off
# every weight of a matrix, in proportion, so that only what is needed again and again stays large,
# and what fitted a few tales by chance fades.


# %%
def adamw(
    weights: dict[str, Array],
    gradient: dict[str, Array],
    means: dict[str, Array],
    squares: dict[str, Array],
    step: int,
    rate: float,
) -> None:
    """One step of AdamW (Kingma & Ba 2014, Loshchilov & Hutter 2017), all in place."""
    for name, g in gradient.items():
        weight, mean, square = weights[name], means[name], squares[name]
        mean += 0.1 * (g - mean)  # 0.9 of the old, 0.1 of the new
        square += 0.01 * (g * g - square)  # 0.99 and 0.01
        unbiased = mean / (1 - 0.9 ** (step + 1))
        spread = np.sqrt(square / (1 - 0.99 ** (step + 1)))
        if weight.ndim == 2:
            weight *= 1 - 0.1 * rate  # weight decay
        weight -= rate * unbiased / (spread + 1e-8)  # never by 0


# %% [markdown]
# `mean` forgets a tenth at each step, so it is a mean of about the last ten gradients; `square` one
# of about the last hundred. Both start at 0 and would be too small at first: after $n$ steps there
# is only $1 - 0.9^n$ of the first mean there. The divisions mend that: not that they are means of a
# few batches, but that they are too small. The 0.1 beside the rate is how strong the weight decay
# is.

# %%
slope = np.array([1.0, 40.0])  # of the valley 0.5 * (x**2 + 40 * y**2)
start = np.array([-8.0, 1.6])
plain, point = [start], start
for _ in range(30):
    point = point - 0.045 * slope * point
    plain.append(point)
toy, means, squares = ({"x": a.copy()} for a in (start, np.zeros(2), np.zeros(2)))
adam = [start]
for step in range(30):
    adamw(toy, {"x": slope * toy["x"]}, means, squares, step, rate=0.35)
    adam.append(toy["x"].copy())

x, y = np.meshgrid(np.linspace(-9, 3, 200), np.linspace(-2.2, 2.2, 200))
plt.figure(figsize=(9, 3.4))
plt.contour(x, y, 0.5 * (x**2 + 40 * y**2), levels=[1, 5, 15, 35, 65], colors="C3", linewidths=1)
plt.plot(*np.transpose(plain), "o-", color="C1", markersize=4, label="plain gradient descent")
plt.plot(*np.transpose(adam), "o-", color="C0", markersize=4, label="Adam")
plt.plot(0, 0, "+", color="black", markersize=14)
plt.legend(loc="upper right")
plt.title("Thirty steps in a narrow valley; + is the bottom")
plt.show()

# %% [markdown]
# ## Two precautions
#
# Now and then a batch has a gradient much longer than usual. It would move the weights far, and
# stay in Adam's means for many steps. **Clipping** shortens it to length 1, all arrays as one, so
# that its direction stays. (The length is the root of the sum of all squares.)


# %%
def clip(gradient: dict[str, Array], most: float = 1.0) -> None:
    """Shorten the gradient, all arrays as one, to the length ``most``, unless it is shorter."""
    length = math.sqrt(sum(float((g * g).sum()) for g in gradient.values()))
    for g in gradient.values():
        g *= min(1.0, most / length)


# %% [markdown]
# And the learning rate follows a **schedule**. At the beginning Adam's means rest on a few batches,
# and are rough guesses, so it begins small: **warm-up**. At the end small steps settle what large
# ones keep shaking: it falls to 0, here along a cosine.


# %%
def schedule(step: int, steps: int, warmup: int = 50) -> float:
    """Share of the peak rate: up in a line, then down to 0 along half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (steps - warmup))


# %%
plt.figure(figsize=(8, 2.6))
plt.plot([PEAK * schedule(step, STEPS) for step in range(STEPS)])
plt.xlabel("step")
plt.ylabel("learning rate")
plt.title("Warm-up, then half a cosine")
plt.show()

# %% [markdown]
# ## Crops, and why they stay within stories
#
# A step reads a batch of 16 crops. Where should they begin? The obvious answer is: anywhere in the
# long row.


# %%
def anywhere(row: Array, random: np.random.Generator) -> Array:
    """Where a batch of crops begins: at any token of the row."""
    return random.integers(0, len(row) - SHAPE.max_position_embeddings, BATCH)


# %% [markdown]
# But look what such a crop holds. It begins in the middle of one tale and goes on into the next. We
# want crops that lie within one tale. Here is how, for each crop:
#
# 1. Draw a token of the row: `held`.
# 2. Place the crop at random, so that it holds that token.
# 3. If it sticks out of the token's story, push it in.
#
# `begins` and `ends` say where each story lies in the row.


# %%
def within_stories(row: Array, random: np.random.Generator) -> Array:
    """The same, but each crop lies within one story; each story must be longer than a crop."""
    length = SHAPE.max_position_embeddings
    begins = np.flatnonzero(row == Tokenizer.bos)
    ends = np.append(begins[1:], len(row))
    held = random.integers(0, len(row), BATCH)  # tokens that the crops shall hold
    story = np.searchsorted(begins, held, side="right") - 1  # the last that begins by then
    start = held - random.integers(0, length + 1, BATCH)  # held anywhere, from first to last
    return np.clip(start, begins[story], ends[story] - length - 1)  # pushed into the story


# %%
few = np.flatnonzero(row == Tokenizer.bos)[:9]
figure, panels = plt.subplots(2, 1, figsize=(10, 3.6), sharex=True)
for panel, begins, word in zip(
    panels, (anywhere, within_stories), ("anywhere", "within stories"), strict=True
):
    for number, (left, right) in enumerate(pairwise(few)):
        panel.axvspan(left, right, color="C3" if number % 2 else "white", lw=0)
    drawn = begins(row[: few[-1]], np.random.default_rng(3))
    for height, left in enumerate(sorted(drawn)):
        crossing = np.searchsorted(few, left, "right") != np.searchsorted(few, left + 128)
        color = "C0" if crossing else "C1"
        panel.plot([left, left + 128], [height, height], color=color, solid_capstyle="butt")
    panel.set(yticks=[], xlim=(0, few[-1]), ylabel=word)
    panel.spines.left.set_visible(False)
panels[1].set_xlabel("token; each band is a tale")
panels[0].set_title("A batch of crops; the red ones hold pieces of two tales")
plt.show()

# %% [markdown]
# The third step is what brings in beginnings. A tale has some 230 tokens, so there are 102 crops of
# 129 in it. Its first token is in one of these, the others are in 102 · 129 / 230 = 57 on average:
# if all crops were drawn alike, a first token would be seen 57 times less often. But all that stick
# out at the beginning are pushed there: so it is seen half as often as others.
#
# Why do crops matter? What begins a tale has nothing to do with the tale before it. In a crop that
# crosses the border the model sees up to 127 tokens that say nothing about what comes; and when it
# is used, there is *nothing* before the beginning. It has hardly ever seen what it will always be
# asked for: `<bos>` at position 0, and a story after it.
#
# Let us see whether that is so. This is the whole loop:


# %%
def train(
    weights: dict[str, Array],
    row: Array,
    steps: int = STEPS,
    begins: Callable[[Array, np.random.Generator], Array] = within_stories,
) -> Iterator[float]:
    """Train the weights in place; yields the loss of each step."""
    random = np.random.default_rng(0)
    means, squares = ({n: np.zeros_like(w) for n, w in weights.items()} for _ in range(2))
    for step in range(steps):
        start = begins(row, random)[:, np.newaxis]
        crops = row[start + np.arange(SHAPE.max_position_embeddings + 1)]
        logits, back = forward(weights, SHAPE, crops[:, :-1])
        loss, d = cross_entropy(logits, crops[:, 1:])
        gradient = back(d)
        clip(gradient)
        adamw(weights, gradient, means, squares, step, PEAK * schedule(step, steps))
        yield loss


# %% [markdown]
# Two models, 300 steps each, which differ in nothing but where crops begin. Then both read tales
# that they have not seen, from the beginning, and we look at the surprise by position.

# %%
heldout = np.array([encode_story(tokenizer, tale)[: CONTEXT + 1] for tale in validation])


def surprise(weights, rows):
    """Surprise in bits at each token of rows (B, T + 1) after the first: (B, T)."""
    chances, _ = softmax(forward(weights, SHAPE, rows[:, :-1])[0])  # (B, T, V)
    # of the V numbers at each position the one whose index is the token that came
    return -np.log2(np.take_along_axis(chances, rows[:, 1:, np.newaxis], -1)[..., 0])


by_position = {}
for begins in (anywhere, within_stories):
    tried = new_weights()
    for _ in train(tried, row, steps=300, begins=begins):
        pass
    by_position[begins.__name__] = surprise(tried, heldout).mean(0)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
colors = {"anywhere": "C1", "within_stories": "C0"}
for name, bits in by_position.items():
    left.plot(range(1, 9), bits[:8], "o-", color=colors[name], label=name.replace("_", " "))
    smooth = np.convolve(bits, np.ones(16) / 16, "valid")
    right.plot(np.arange(len(smooth)) + 8, smooth, color=colors[name])
left.set(xlabel="token of the tale", ylabel="surprise, bits", title="The first eight tokens")
left.legend()
right.set(xlabel="token of the tale", title="All 128, mean of 16 neighbours")
plt.show()
for name, bits in by_position.items():
    print(f"{name:15} first 4 tokens {bits[:4].mean():.2f} bits, all 128 {bits.mean():.2f} bits")

# %% [markdown]
# Crops from anywhere cost at the beginning of a tale. "Once upon a time" is not hard; that model
# has just never stood there. Then it is better for a while, since its crops hold the middles of
# tales more often. And they cost again far from the beginning, where it should by now know what its
# tale is about, and has learned that what it sees may be of another.
#
# ## Train it
#
# Now the real thing: 1,500 steps. On the way it writes a few words each time the loss has fallen
# far enough to hear it (how to draw a token is chapter 7), and is scored on tales that it has not
# seen, by the definition of chapter 1. `Ours` is all that tinybuddy's score asks of a model.


# %%
class Ours:
    """Our model, as `tinybuddy.scoring.score` asks it."""

    def log_likelihoods(self, inputs, targets):
        rows = np.concatenate((inputs, targets[:, -1:]), axis=1)
        return -surprise(weights, rows) * math.log(2)


def words(count, seed=0):
    """Draw so many tokens of a new tale."""
    random, ids = np.random.default_rng(seed), [Tokenizer.bos]
    for _ in range(count):
        logits, _ = forward(weights, SHAPE, np.array([ids]))
        chances = np.cumsum(softmax(logits[0, -1] / 0.8)[0])
        # running sums of the probabilities: the first that is above a random number
        ids.append(int(np.searchsorted(chances, random.random() * chances[-1], "right")))
    return tokenizer.decode(ids).replace("\n", " ")


weights, losses, scores = new_weights(), [], {}
began = time.perf_counter()
for step, loss in enumerate(train(weights, row), start=1):
    losses.append(loss)
    if step in (1, 100, 300, 700, STEPS):
        print(f"step {step}, loss {loss:.2f}: {words(40)}\n")
    if step % 150 == 0:
        scores[step] = score(Ours(), tokenizer, CONTEXT, validation[:20]).bits_per_byte
print(f"{time.perf_counter() - began:.0f} seconds")

# %% [markdown]
# First single tokens, then words that often stand together, then what could be a sentence of a
# tale. That is the order in which it pays: what is frequent first. To remember who the tale is
# about pays last, and is not learned in so short a time.
#
# How good is it, beside counting? The rivals of chapter 1 count the same tokens of the same tales.

# %%
from tinybuddy.corpus.tales import entropy
from tinybuddy.evaluation.rivals.kneser_ney import count, estimate

levels = count((encode_story(tokenizer, tale) for tale in stories), SHAPE.vocab_size, order=5)
rivals = {n: estimate(levels[:n]) for n in (2, 3, 5)}
floor = entropy(2000).bits_per_byte

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
left.plot(losses, color="C3", linewidth=1)
left.plot(np.arange(24, STEPS - 25), np.convolve(losses, np.ones(50) / 50, "valid"), color="C0")
left.set(
    xlabel="step", ylabel="loss, nats a token", title="Loss; the red line is a mean of 50 steps"
)
right.plot([*scores], [*scores.values()], "o-")
for n, rival in rivals.items():
    bits = score(rival, tokenizer, 10**6, validation[:20]).bits_per_byte  # of unlimited context
    right.axhline(bits, color="C1", linewidth=1)
    at = {"x": STEPS, "ha": "right"} if n == 2 else {"x": 150, "ha": "left"}
    right.text(y=bits + 0.02, s=f"{n}-gram, {rival.stored:,} n-grams", color="C1", **at)
right.axhline(floor, color="black", linewidth=1)
right.text(150, floor + 0.02, "entropy of the tales")
right.set(xlabel="step", ylabel="bits per byte", ylim=(0, None), title="Tales that it has not seen")
plt.show()
print(f"after {STEPS} steps: {scores[STEPS]:.3f} bits per byte")

# %% [markdown]
# Counting is strong here. The tales come from a grammar with fixed wordings, and whoever stores
# hundreds of thousands of n-grams knows most of them by heart. Our model has 94,280 numbers; of
# these three the 3-gram is about as large. (Chapter 8 has a harder rival of its size: the n-grams
# of up to five tokens that are worth most.)
#
# ## Keep it
#
# A model is a directory: the config, the weights, the tokenizer. tinybuddy writes it in the form
# that the rest of the world uses, so that not only tinybuddy opens it. It is written beside and
# then put in place, so that nobody ever opens half a model.


# %%
def save(weights: dict[str, Array], tokenizer: Tokenizer, folder: Path) -> None:
    """Write a model directory, in place of one that is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        new, old = Path(beside) / "new", Path(beside) / "old"
        write_model(new, ModelFiles(SHAPE, weights, tokenizer, SampleConfig()))
        if folder.exists():
            folder.replace(old)
        new.replace(folder)


save(weights, tokenizer, OWN)
print(OWN.relative_to(Path.cwd()), "holds", *sorted(path.name for path in OWN.iterdir()))

# %% [markdown]
# From here on it is a model like any other. The engine in C runs it, and agrees with us:

# %%
model = tinybuddy.load(OWN)
ours = score(Ours(), tokenizer, CONTEXT, validation)
print(f"bits per byte of {len(validation)} tales: NumPy {ours.bits_per_byte:.6f},", end=" ")
print(f"the engine {model.score(validation).bits_per_byte:.6f}\n")
print(model.generate("Once upon a time", seed=1, max_new_tokens=100))

# %% [markdown]
# And on the command line, from this folder:
#
# ```sh
# tinybuddy generate "Once upon a time" --model runs/own
# ```
#
# ## Exercises
#
# **1. Another schedule.** Many large models are trained with a trapezoid: the share of the peak
# rate rises in a line over `warmup` steps, as above, stays at 1, and falls in a line at the end, so
# that it would reach 0 in the step after the last. (So one can train on from the plateau.) With 10
# steps and a cooldown of 4 the last five shares are 1, 1, 0.75, 0.5, 0.25. Where both lines are
# below 1, the lower one counts. The form below never comes down.


# %% tags=["exercise"]
def trapezoid(step, steps, warmup, cooldown):
    """Share of the peak rate in step `step` of 0 to `steps - 1`."""
    return min(1.0, (step + 1) / warmup)


# %%
course.check(trapezoid)

# %% [markdown]
# **2. A batch that does not fit.** Where memory is short one computes a large batch in parts. Each
# part gives the gradient of *its own* mean loss; part $i$ has `sizes[i]` tokens. What is the
# gradient of the mean loss over all tokens? (It is called gradient accumulation.) The form below is
# right only for parts of one size.


# %% tags=["exercise"]
def gradient_of_batch(gradients, sizes):
    """The gradient, an array, of the whole batch from those of its parts, a list of arrays."""
    return np.mean(gradients, axis=0)


# %%
course.check(gradient_of_batch)

# %% [markdown]
# **3. Who is seen how often?** A story has `size` tokens, numbered from 0. There are
# `size - length + 1` crops of `length` tokens that lie within it. How many of them hold token
# number `token`? One in the middle of a long story is in `length` of them. And the first? And all
# of a short one? (Stories have at least `length` tokens.) That is why `within_stories` does not
# simply draw one of these crops.


# %% tags=["exercise"]
def crops_that_hold(token, size, length):
    """How many crops of `length` tokens within a story of `size` hold token number `token`."""
    return length


# %%
course.check(crops_that_hold)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - `tinybuddy.training.loop` is the loop, which can also be killed and resumed;
#   `tinybuddy.training.batches.Batches` draws the crops.
# - `tinybuddy.config.TrainConfig` has every setting, and the schedules in its method `rate`.
#   `optimizer.c` in `tinybuddy.backends.engine` is AdamW and the clipping.
# - `tinybuddy.backends.muon` is Muon, another optimizer for the matrices within blocks, which the
#   best recipes use.
# - `tinybuddy.formats.hub.write_model` writes a model directory.
#
# All of this chapter is one command there: `tinybuddy train --data tales`.
#
# ## On TinyStories
#
# The recipe `card` trains the shape of chapter 5 for 1,000 steps of 32 crops on 5,000 stories. It
# takes 0.9 minutes with the engine, and `tinybuddy-80k-card` gets 1.452 bits per byte.
# `tinybuddy-80k` has about as many parameters and gets 1.056: many small choices, found by trying
# (docs/lab-notes.md), and 36 minutes.
#
# One of them you have just seen. Crops within stories were worth 0.005 bits per byte after 3,000
# steps, and 0.010 on TinyStories' second version, which are other stories, all by GPT-4. They
# cost nothing. The largest gain came from something as plain: there the embedding has a learning
# rate apart from that of the matrices, and as first guessed it was eight times too low.
