# %% [markdown]
# # 4 Attention: who was the story about?
#
# Chapter 1 ended with a name. Whoever counts, or looks at the last three tokens, has forgotten
# it; a reader has not. He looks back to where it was said, however long ago, and where that is
# depends on what he reads. **Attention** is a network's way of looking back.
#
# **At the end of this chapter you have** built attention, forward and backward, and trained it to
# say who the story is about. You have seen where it looks, and why it cannot look ahead.
#
# **You need** softmax, embeddings and backpropagation, from chapter 3.

# %%
import math
import re
from collections import Counter

import course
import matplotlib.pyplot as plt
import numpy as np

plt.style.use("course.mplstyle")
train, validation = course.tales(train=5000, validation=200)

# %% [markdown]
# ## A question about each tale
#
# To see attention at work we ask one question only. A tale begins with somebody "named" or
# "called" so and so. Later the name comes again. We show the network the story up to there, and
# ask: *which name?* For once, whole words are the tokens.

# %%
LENGTH = 100  # words that the network sees at most
tales = [re.findall(r"\w+|[^\w\s]", story) for story in train + validation]
words = ["<pad>", *sorted({word for tale in tales for word in tale})]
number = {word: i for i, word in enumerate(words)}


def questions(tales):
    """Beginnings of tales (n, LENGTH), how long each is (n,), and the name that follows (n,)."""
    rows, lengths, names = [], [], []
    for tale in tales:
        hero = tale[min(i for i, word in enumerate(tale) if word in ("named", "called")) + 1]
        _, *again = [i for i, word in enumerate(tale[: LENGTH + 1]) if word == hero]
        for i in again:
            rows.append([number[word] for word in tale[:i]] + [0] * (LENGTH - i))
            lengths.append(i)
            names.append(number[hero])
    return np.array(rows), np.array(lengths), np.array(names)


known, unseen = questions(tales[: len(train)]), questions(tales[len(train) :])
rows, lengths, names = unseen
print(len(words), "words;", len(known[2]), "questions to learn from,", len(names), "to score")
print(" ".join(words[i] for i in rows[0, : lengths[0]]), "... which name?", words[names[0]])

# %% [markdown]
# Somebody who does not look back can only say how frequent each name is:

# %%
frequent = Counter(known[2].tolist())
chance = np.array([frequent[name] / frequent.total() for name in names])
scores = {"frequency of names": -np.log2(chance).mean()}
print(f"{len(frequent)} names, {scores['frequency of names']:.2f} bits for each")

# %% [markdown]
# ## First try: take the mean of all words
#
# Every word $i$ of the story has an embedding $e_i$. The simplest summary of all of them is their
# mean, $m = \frac1n\sum_i e_i$. And a guess from it: the logit of each word is how well its
# embedding fits $m$, their dot product $e_w\cdot m$ (chapter 3). It is large if two lists of
# numbers point the same way.
#
# So the mean can say which words were *there*. That the hero is there, the friend as well, and
# who of them is the hero, it cannot tell well: in a mean every word counts alike, wherever it
# stands and whether it matters or not.
#
# ## Attention: a mean with shares
#
# Let the word at each **position** $i$ of the text have a **share** $a_i$ of the mean. Shares are
# positive and sum to 1, and **the text itself decides** them. (The field says *attention weights*.
# We say shares, since a weight is a number that was learned.) Attention does it with three lists
# of numbers, each a product of an embedding and a matrix:
#
# - the last position asks something: its **query** $q = e_n Q$;
# - each position says what it has to offer: its **key** $k_i = e_i K$;
# - each position has something to hand over: its **value** $v_i = e_i V$.
#
# Where query and key fit, the **attention score** $s_i$ is large, and so is the share:
#
# $$s_i = \frac{q\cdot k_i}{\sqrt d},\qquad a = \mathrm{softmax}(s),\qquad m = \sum_i a_i v_i$$
#
# The matrices $Q$, $K$, $V$ are learned; $d$ is how many numbers a query has.
#
# Why the $\sqrt d$ (Vaswani and others 2017)? A sum of $d$ products of random numbers about 1 is
# about $\sqrt d$ large: not $d$, since signs cancel in part. Dividing by $\sqrt d$ brings it back
# to about 1. Undivided, the scores of long lists would be large, and the softmax would give nearly
# all to one position from the beginning, so that little could be learned about the others.
#
# One thing more. The sum is the same in whatever order the words stand: attention has no idea of
# first and last. So each position $i$ gets an embedding of its own, $P_i$, which is added to that
# of the word.
#
# In the code, `einsum` multiplies and adds as its letters say: `"nd,nld->nl"` means, for each row
# `n` and position `l`, the sum over `d`. So it is the dot product of each row's query with the
# keys of all its positions. A score of $-\infty$ makes a share of 0: so the padding behind a short
# row is shut off.


# %%
def softmax(z):
    power = np.exp(z - z.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def initial(vocabulary, length, width, draw):
    def noise(*shape):
        return draw.normal(size=shape)

    return {
        "E": noise(vocabulary, width) * 0.3,  # of words
        "P": noise(length, width) * 0.3,  # of positions
        "Q": noise(width, width) / math.sqrt(width),
        "K": noise(width, width) / math.sqrt(width),
        "V": np.eye(width),  # hand over the embedding as it is, to begin with
    }


def forward(net, rows, lengths, looks=True):
    """Logits (n, vocabulary) of the word after each row; without looking, a plain mean."""
    e = net["E"][rows] + net["P"][: rows.shape[1]]  # (n, length, width)
    last = e[np.arange(len(rows)), lengths - 1]
    q, k, v = last @ net["Q"], e @ net["K"], e @ net["V"]
    s = np.einsum("nd,nld->nl", q, k) / math.sqrt(q.shape[1])
    s = s * looks  # 1 or 0; with 0 all scores are alike: a plain mean
    s = np.where(np.arange(rows.shape[1]) < lengths[:, None], s, -np.inf)  # not at the padding
    a = softmax(s)
    m = np.einsum("nl,nld->nd", a, v)
    return m @ net["E"].T, (e, last, q, k, v, a, m)


# %% [markdown]
# ## Backwards
#
# From the back, as in chapter 3. New is only the way through the softmax, where each score $s_i$
# moves *all* shares. Take the shares $a_j = e^{s_j} / \sum_k e^{s_k}$ and let $s_i$ grow:
#
# - each share $a_j$ shrinks with slope $-a_j a_i$, since the sum below it grows with slope
#   $e^{s_i}$;
# - $a_i$ itself also grows with slope $a_i$, since $e^{s_i}$ above the line does.
#
# Each of these moves counts for the loss as much as the gradient $da_j$ of its share says:
#
# $$ds_i = a_i\,da_i - \sum_j a_j a_i\,da_j = a_i\,\Big(da_i - \sum_j a_j\,da_j\Big)$$
#
# In words: a position whose value would help more than the mean of those looked at gets a larger
# share. The sum of all $ds$ is 0, since raising all scores alike changes no share.


# %%
def backward(net, rows, lengths, names, looks=True):
    """Mean loss, and its gradient with respect to every number of the net."""
    z, (e, last, q, k, v, a, m) = forward(net, rows, lengths, looks)
    each = np.arange(len(rows))
    dz = softmax(z)
    loss = -np.log(dz[each, names]).mean()
    dz[each, names] -= 1
    dz /= len(rows)
    dm = dz @ net["E"]
    da, dv = np.einsum("nd,nld->nl", dm, v), np.einsum("nl,nd->nld", a, dm)
    ds = a * (da - (a * da).sum(axis=1, keepdims=True))
    ds = ds * looks / math.sqrt(q.shape[1])  # now that of the dot products
    dq, dk = np.einsum("nl,nld->nd", ds, k), np.einsum("nl,nd->nld", ds, q)
    de = dk @ net["K"].T + dv @ net["V"].T
    de[each, lengths - 1] += dq @ net["Q"].T
    dE = dz.T @ m  # as the matrix that makes the logits ...
    np.add.at(dE, rows, de)  # ... and as what is looked up
    dP = np.zeros_like(net["P"])
    dP[: rows.shape[1]] = de.sum(axis=0)
    dK, dV = np.einsum("nld,nle->de", e, dk), np.einsum("nld,nle->de", e, dv)
    return loss, {"E": dE, "P": dP, "Q": last.T @ dq, "K": dK, "V": dV}


draw = np.random.default_rng(0)
tiny = initial(vocabulary=6, length=5, width=4, draw=draw)
case = draw.integers(6, size=(3, 5)), np.array([5, 2, 4]), draw.integers(6, size=3)
_, gradients = backward(tiny, *case)
for name, values in tiny.items():
    worst = 0.0
    for index in np.ndindex(values.shape):
        old, losses = values[index], []
        for nudge in (1e-5, -1e-5):
            values[index] = old + nudge
            losses.append(backward(tiny, *case)[0])
        values[index] = old
        worst = max(worst, abs((losses[0] - losses[1]) / 2e-5 - gradients[name][index]))
    print(f"{name}: largest difference to trying {worst:.1e}")

# %% [markdown]
# ## Training
#
# The loop of chapter 3, for both: a plain mean, and attention.


# %%
def trained(looks):
    draw = np.random.default_rng(0)
    net = initial(len(words), LENGTH, 16, draw)
    speed = {name: np.zeros_like(values) for name, values in net.items()}
    curve, steps = [], 1000
    for step in range(steps):
        i = draw.integers(len(known[0]), size=32)
        loss, gradients = backward(net, *(part[i] for part in known), looks)
        curve.append(loss / math.log(2))
        for name in net:
            speed[name] = 0.9 * speed[name] + gradients[name]
            net[name] -= 0.1 * min(1, 2 * (1 - step / steps)) * speed[name]
    return net, curve


for looks, name in ((False, "mean of all words"), (True, "attention")):
    net, curve = trained(looks)
    z, (*_, shares, _) = forward(net, rows, lengths, looks)
    scores[name] = -np.log2(softmax(z)[np.arange(len(names)), names]).mean()
    right = (z.argmax(axis=1) == names).mean()
    print(f"{name}: {scores[name]:.3f} bits for a name, {right:.1%} of the guesses are right")
    smooth = np.convolve(curve, np.ones(20) / 20, "valid")
    plt.plot(smooth, color="C0" if looks else "C1", label=name)
plt.axhline(scores["frequency of names"], color="black", linewidth=1)
plt.text(1000, scores["frequency of names"] + 0.2, "frequency of names", ha="right")
plt.xlabel("step")
plt.ylabel("loss, bits for a name")
plt.legend()
plt.title("Attention takes a while to find out where to look; then it knows")
plt.show()

# %% [markdown]
# On tales that it has never seen! It has not learned names by heart: it has learned *where the
# name stands*.
#
# ## Look where it looks
#
# The shares can be read. Here is one question, each word as red as its share:


# %%
def show_shares(row, length, shares, columns=88):
    column = line = 0
    axes = plt.figure(figsize=(10, 2.6)).gca()
    for i, share in zip(row[:length], shares, strict=False):
        word = words[i]
        if column + len(word) > columns:
            column, line = 0, line + 1
        box = {"facecolor": ("C0", 0.8 * share), "edgecolor": "none", "pad": 2}
        axes.text(column, -line, word, family="monospace", fontsize=9.5, bbox=box)
        column += len(word) + 1
    axes.set(xlim=(0, columns), ylim=(-line - 0.7, 0.9))
    axes.axis("off")
    return axes


which = int(np.argsort(-lengths)[3])  # a long one
top = shares[which].max()
axes = show_shares(rows[which], lengths[which], shares[which] / top)
axes.set_title(f"Which name comes next? The largest share is {top:.2f}")
plt.show()
print("It says", words[z[which].argmax()], "and right is", words[names[which]])

# %%
looked = Counter()
for row, name, share in zip(rows, names, shares, strict=True):
    most = row[share.argmax()]
    looked["the hero's name" if most == name else words[most]] += 1
print("It looks most at:", looked.most_common(5))

# %% [markdown]
# ## All positions at once, and never ahead
#
# We asked one question for each row. A language model asks at *every* position: what comes next?
# So every position has a query, and the shares become a square: row $t$ says where position $t$
# looks. But position 5 must not look at position 6: there stands the answer. All that lies ahead
# is shut off by $-\infty$; this is the **causal mask**. It is also what lets one pass over a text
# of 128 tokens give 128 lessons, instead of one.
#
# Here is the square of our network for the beginning of a tale. It was trained for names only.
# Before the name is said a row looks here or there, for no reason; after it, many rows look at
# the name:

# %%
sequence = rows[which][:24]
e = net["E"][sequence] + net["P"][:24]
square = (e @ net["Q"]) @ (e @ net["K"]).T / math.sqrt(16)
square[np.triu_indices(24, k=1)] = -np.inf  # above the diagonal: ahead
square = softmax(square)
plt.figure(figsize=(7, 6))
plt.imshow(np.where(np.tri(24) > 0, square, np.nan))
labels = [words[i] for i in sequence]
plt.xticks(range(24), labels, rotation=90, fontsize=9)
plt.yticks(range(24), labels, fontsize=9)
plt.xlabel("looks at")
plt.ylabel("after this word")
plt.colorbar(label="share", shrink=0.8)
plt.title("Each row sums to 1; nothing right of the diagonal")
plt.show()

# %% [markdown]
# ## What a Llama adds
#
# - **Heads.** One square of shares looks for one thing. Most models cut queries, keys and values
#   into parts, 4 for instance. Each part, a **head**, looks by itself: one may look for the name,
#   another at the word before. What they find is written side by side and multiplied by one more
#   matrix, $O$. In **grouped-query** attention several heads have keys and values in common,
#   which saves weights.
# - **The residual stream.** What attention finds is *added* to what the position had, not put in
#   its stead. So a position keeps its own word, and the next part of the network reads both.
#   These running sums, one for each position, are called the residual stream; each part of the
#   network reads from it and adds to it.
# - **Positions by turning.** Our $P_i$ knows position 7, but not "two words back", and nothing
#   beyond the last position that was trained. Llama turns queries and keys by an angle that grows
#   with the position, so that their dot product depends on the *distance* alone (RoPE, Su and
#   others 2021).
#
# Chapter 5 builds all of them.
#
# ## The price
#
# Counting looks up a row of a table, however long the text is. Attention compares each position
# with all before it: twice as long a text is four times the work. While a model writes, keys and
# values of the positions before do not change, so they are kept in the **key-value cache**, and
# each new token asks its one question only.

# %%
n = np.array([16, 32, 64, 128, 256, 512])
plt.plot(n, n * (n + 1) / 2, "o-", label="reading a text, all positions")
plt.plot(n, n, "o-", color="C1", label="writing one more token")
plt.xscale("log", base=2)
plt.yscale("log")
plt.xticks(n, n)
plt.xlabel("tokens in the context")
plt.ylabel("dot products of a query and a key")
plt.legend()
plt.title("What it costs to look everywhere")
plt.show()

# %% [markdown]
# ## Exercises
#
# **1. The mask.** Make the square that is added to the scores before the softmax: 0 where a
# position may look (itself and all before), $-\infty$ where it may not. Row: who looks; column:
# at what. The naive form lets everybody look everywhere.


# %% tags=["exercise"]
def causal_mask(n):
    """Array (n, n) of 0 and -inf."""
    return np.zeros((n, n))


# %%
course.check(causal_mask)

# %% [markdown]
# **2. All questions at once.** Given queries, keys and values of all positions, each (n, d),
# compute what every position finds, (n, d): dot products, divided by $\sqrt d$, masked, softmax,
# and the mean of the values by these shares. You may use the chapter's `softmax`. It takes four
# lines, and no loop over positions. The naive form gives each position the plain mean of all
# before it and itself.


# %% tags=["exercise"]
def causal_attention(q, k, v):
    """What each position finds, (n, d); it looks at itself and those before."""
    return np.cumsum(v, axis=0) / np.arange(1, len(v) + 1)[:, None]


# %%
course.check(causal_attention)

# %% [markdown]
# **3. Heads.** Cut an array (n, width) into heads: an array (heads, n, width / heads), in which
# head 0 has the first numbers *of every position*. The naive form has the right shape, and mixes
# up the positions: look at what it does with `np.arange(12).reshape(3, 4)` and 2 heads.


# %% tags=["exercise"]
def split_heads(x, heads):
    """(n, width) to (heads, n, width // heads)."""
    return x.reshape(heads, len(x), -1)


# %%
course.check(split_heads)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - `tinybuddy.backends.llama.Attention` is attention with heads, grouped queries and turning
#   (`tinybuddy.backends.llama.rotate`); `tinybuddy.backends.llama.Cache` keeps keys and values.
# - The engine's forward and backward pass by hand: `src/tinybuddy/backends/engine/attention.c`.
# - `docs/page.md` says how the page of a model draws where each head looks, for every token that
#   it writes. Chapter 8 makes such a page of your own model.
#
# ## On TinyStories
#
# There the question is harder: not every story names its hero in the first sentence, and
# pronouns, friends and things want to be looked for as well. `tinybuddy-80k` has four layers of
# four heads, each of 8 numbers, and sees 128 tokens; when a story grows longer, the first half is
# forgotten, and with it, at times, the name.
