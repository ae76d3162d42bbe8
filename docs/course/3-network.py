# %% [markdown]
# # 3 A first network: embeddings, and gradients by hand
#
# A table of counts stores what it has seen, each context by itself. A **neural network** computes
# its guess from numbers that all contexts share, and finds these numbers by itself. This chapter
# shows how, and hides nothing: no library computes a gradient for us.
#
# **At the end of this chapter you have** a network that reads three tokens and guesses the
# fourth, trained by your own code, and you can say of each of its numbers how the loss would
# change if the number did.
#
# **You need** bits per byte (chapter 1), tokens (chapter 2), and from school: the slope of a
# curve, $e^x$ and $\ln x$. What you need of NumPy and of matrices comes first.

# %%
import math
from collections import Counter, defaultdict

import course
import matplotlib.pyplot as plt
import numpy as np

plt.style.use("course.mplstyle")
train, validation = course.tales(train=1000, validation=50)
size = sum(len(story.encode("utf-8")) + 1 for story in validation)  # bytes to be predicted

# %% [markdown]
# ## NumPy and matrices, on half a page
#
# An **array** holds numbers, and its **shape** says how many: `(3,)` is a list of three, `(2, 3)`
# a **matrix** of two rows and three columns. `+`, `*` and `np.exp` work number by number. `W.T`
# is W **transposed**: its rows are the columns of W.
#
# To multiply two lists of one length means: multiply number by number, and add up. That is their
# **dot product**. A **product of matrices**, `x @ W`, has the dot products of all rows of x with
# all columns of W. So `(2, 3) @ (3, 4)` has the shape `(2, 4)`: the sizes in the middle must
# agree, and vanish.

# %%
x = np.array([[1, 2, 3], [4, 5, 6]])
W = np.array([[1, 0], [0, 1], [10, 100]])
print("the product of (2, 3) and (3, 2):", (x @ W).tolist())
by_hand = np.array([[(x[i] * W[:, k]).sum() for k in range(2)] for i in range(2)])
print("the same by hand, rows times columns:", by_hand.tolist())
print("W.T:", W.T.tolist())

# %% [markdown]
# Four more things that all chapters use:

# %%
print("one number of each row, by its column:", x[[0, 1], [2, 0]])  # x[0, 2] and x[1, 0]
print("rows, some of them twice:", x[[1, 1, 0]].tolist())
print("sums along the last axis, so of each row:", x.sum(axis=-1).tolist())
print("the same, kept as a column:", x.sum(axis=-1, keepdims=True).tolist())
total = np.zeros(3)
np.add.at(total, [0, 2, 2], 1)  # add 1 at 0, at 2, and at 2 once more
print("added at 0, 2 and 2:", total)

# %% [markdown]
# ## From numbers to probabilities
#
# A network puts out any numbers, negative ones too: one for each symbol that may come next, the
# larger the likelier. The field calls them **logits**. To make probabilities of them, which are
# positive and sum to 1, we take $e$ to the power of each and divide by the sum:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}$$
#
# That is the **softmax**. The largest logit gets the most, but none gets nothing. Adding the same
# number $c$ to all logits changes nothing: $e^c$ stands above and below, and cancels.


# %%
def softmax(z):
    """Probabilities from logits, along the last axis."""
    power = np.exp(z)
    return power / power.sum(axis=-1, keepdims=True)


logits = np.array([2.0, 1.0, 0.0, -1.0, 1.5])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.bar(list("abcde"), logits, color="C1")
left.axhline(0, color="black", linewidth=0.8)
left.set_title("logits")
right.bar(list("abcde"), softmax(logits))
right.set_title("softmax: probabilities")
plt.show()

# %% [markdown]
# The **loss** is the surprise at the symbol $y$ that really came, here in nats: $L = -\ln p_y$.
# Put the softmax in:
#
# $$L = -z_y + \ln \sum_j e^{z_j}$$
#
# ## The slope of the loss
#
# Which way should each logit go, so that the loss gets less? Down the slope. The slope of $L$
# along each of many numbers is called its **gradient**. (The slope of $L$ if only $z_k$ moves is
# written $\partial L / \partial z_k$.) We need two rules from school: the slope of $\ln u$ is
# $u' / u$, and $e^z$ is its own slope. Nudge the logit $z_k$:
#
# - the second term changes with slope $e^{z_k} / \sum_j e^{z_j}$, which is $p_k$;
# - the first changes with slope $-1$ if $k$ is the $y$ that came, else not at all.
#
# Together:
#
# $$\frac{\partial L}{\partial z_k} = p_k - [k = y]$$
#
# where $[k = y]$ is 1 if it is so and else 0. It is the most used formula of the field, and it
# says what one would guess: push what came up, push all else down, each as much as it was
# overrated.

# %%
y = 1  # "b" came
p = softmax(logits)
gradient = p - (np.arange(5) == y)
colors = ["C0" if g < 0 else "C1" for g in gradient]
plt.figure(figsize=(6, 3))
plt.bar(list("abcde"), -gradient, color=colors)
plt.axhline(0, color="black", linewidth=0.8)
plt.title('"b" came: where each logit is pushed')
plt.show()

# %% [markdown]
# Never trust a gradient that you derived. Nudge each number by a little, see how much the loss
# really changes, and compare. Every gradient of this course is checked so, or against another
# program:


# %%
def nudged(loss, values, step=1e-5):
    """The gradient of loss() with respect to an array, by trying (it is changed meanwhile)."""
    found = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        old = values[index]
        values[index] = old + step
        up = loss()
        values[index] = old - step
        down = loss()
        values[index] = old
        found[index] = (up - down) / (2 * step)
    return found


print("by hand:  ", gradient.round(6))
print("by trying:", nudged(lambda: -np.log(softmax(logits)[y]), logits).round(6))

# %% [markdown]
# ## A table that learns
#
# The smallest network: a square of numbers $W$, in which row $a$ holds the logits of what follows
# the letter $a$. That is the table of pairs of chapter 1, but this time nobody counts. We begin
# with zeros, look at some pairs of letters from the text, compute the gradient, and move the
# numbers a little **down** the slope. How far, for a slope of 1, is the **learning rate** (those
# of this chapter were found by trying). Again, and again: that is **gradient descent**, and since
# each step looks at a few pairs drawn at random (a **batch**), *stochastic* gradient descent, SGD.

# %%
END = "\0"
alphabet = sorted({END, *"".join(train)})
number = {letter: i for i, letter in enumerate(alphabet)}


def letter_pairs(stories):
    rows = [[number[c] for c in END + story + END] for story in stories]
    return np.concatenate([np.array([row[:-1], row[1:]]) for row in rows], axis=1)


before, after = letter_pairs(train)
W = np.zeros((len(alphabet), len(alphabet)))
draw = np.random.default_rng(0)
BATCH, STEPS = 500, 3000
curve = []
for step in range(STEPS):
    i = draw.integers(len(before), size=BATCH)
    p = softmax(W[before[i]])  # (batch, alphabet)
    curve.append(-np.log(p[np.arange(BATCH), after[i]]).mean())
    p[np.arange(BATCH), after[i]] -= 1  # now it is the gradient of the logits
    gradient = np.zeros_like(W)
    np.add.at(gradient, before[i], p / BATCH)
    W -= 30 * (1 - step / STEPS) * gradient  # in ever smaller steps: the next section says why

# %%
left, right = letter_pairs(validation)
learned = -np.log2(softmax(W)[left, right]).sum() / size

counts = np.ones_like(W)  # add one, as in chapter 1
np.add.at(counts, (before, after), 1)
counted = -np.log2((counts / counts.sum(axis=1, keepdims=True))[left, right]).sum() / size

plt.plot(np.array(curve) / math.log(2), color="C1", linewidth=0.7)
plt.axhline(counted, color="C0")
plt.text(STEPS, 3.0, "what counting gets", color="C0", ha="right", va="top")
plt.ylim(2.6, 6.2)
plt.xlabel("step")
plt.ylabel("loss of the batch, bits")
plt.title(f"Learned: {learned:.3f} bits per byte; counted: {counted:.3f}")
plt.show()

# %% [markdown]
# It finds what counting finds, and never counts. For pairs that is a long way round. But it works
# for *any* way of computing the logits, as long as we know the slopes. So let us compute them in
# a way that a table could not.
#
# ## How far to step
#
# Here is the loss along a single number of the table, the logit of `h` after `t`, all others held
# where they were at the start, with 8 steps of three sizes:

# %%
follows_t = after[before == number["t"]]
share = (follows_t == number["h"]).mean()


def loss_at(value):
    """Loss of what follows t, when the logit of h is `value` and all others are 0."""
    # e^0 is 1, so the sum of all e^z is one less than there are letters, and e^value
    return math.log(len(alphabet) - 1 + math.exp(value)) - share * value


def slope_at(value):
    return math.exp(value) / (len(alphabet) - 1 + math.exp(value)) - share


figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True)
values = np.linspace(-8, 10, 200)
for axis, rate in zip(axes, (1, 8, 18), strict=True):
    axis.plot(values, [loss_at(v) for v in values], color="C1")
    path = [0.0]
    for _ in range(8):
        path.append(path[-1] - rate * slope_at(path[-1]))
    axis.plot(path, [loss_at(v) for v in path], "o-", color="C0", linewidth=1)
    axis.set(xlabel="logit of h after t", title=f"learning rate {rate}")
axes[0].set_ylabel("loss, nats")
plt.show()

# %% [markdown]
# Small steps take long. Larger ones get there, and near the bottom the slope is small, so the
# steps are too. Too large ones jump over the valley and back, and may never arrive: that is what
# is meant when a training **diverges**. Chapter 6 is about such choices.
#
# ## Embeddings
#
# Now tokens: 512 of them, so that three stand for several letters. A table for three tokens of
# context would have $512^3$ rows, 134 million, nearly all of them empty. Instead each token gets
# a short list of numbers, say 16, its **embedding**. What tokens *have in common* can be in these
# numbers: that both are names, or colours, or end a sentence. What the network learns about one
# name then holds for all whose embeddings are alike, even in sentences where it never saw them.
#
# This network is due to Bengio and others (2003):
#
# 1. Look up the embeddings of the last three tokens, and write them side by side: 48 numbers,
#    $x$.
# 2. Multiply by a matrix and bend: $h = \tanh(x W + b)$. These 128 numbers are the **hidden
#    layer**. The $\tanh$ is a curve from $-1$ to $1$. Without a bend two matrices in a row would
#    be no more than one, since $(x W)\,U = x\,(W U)$.
# 3. Multiply by another matrix: $z = h U + c$, the logits of all 512 tokens.
#
# The numbers that it learns, all of $E$ (the embeddings), $W$, $b$, $U$ and $c$, are its
# **weights**, or parameters.

# %%
from tinybuddy.tokenizer.training import train_tokenizer

tokenizer = train_tokenizer(train, 512)
VOCABULARY, CONTEXT, WIDTH, HIDDEN = tokenizer.vocab_size, 3, 16, 128


def examples(stories):
    """Rows of three tokens and the one that follows; a story begins with three <bos>."""
    rows = [[1] * CONTEXT + tokenizer.encode(story) + [2] for story in stories]
    # all four tokens in a row: 1 to 4, then 2 to 5, and so on
    views = [np.lib.stride_tricks.sliding_window_view(row, CONTEXT + 1) for row in rows]
    return np.concatenate(views)


texts, unseen = examples(train), examples(validation)
print(
    "three tokens and the next:", [[tokenizer.decode([i]) for i in row] for row in texts[100:103]]
)


# %%
def initial(vocabulary, width, hidden, draw):
    """Random weights, so that all hidden numbers begin differently.

    A sum of 48 random numbers of about 1 is about as large as the root of 48: W is divided by
    that, so that what goes into tanh is about 1. U is small: then all logits are nearly 0, and
    the first guess is nearly even.
    """
    inputs = CONTEXT * width
    return {
        "E": draw.normal(size=(vocabulary, width)),
        "W": draw.normal(size=(inputs, hidden)) / math.sqrt(inputs),
        "b": np.zeros(hidden),
        "U": draw.normal(size=(hidden, vocabulary)) * 0.01,
        "c": np.zeros(vocabulary),
    }


def forward(net, tokens):
    """Logits (batch, vocabulary) of what follows tokens (batch, context), and what led there."""
    x = net["E"][tokens].reshape(len(tokens), -1)
    h = np.tanh(x @ net["W"] + net["b"])
    return h @ net["U"] + net["c"], (x, h)


def loss_of(net, tokens, targets):
    z, _ = forward(net, tokens)
    return -np.log(softmax(z)[np.arange(len(targets)), targets]).mean()


# %% [markdown]
# ## Backwards through the network
#
# How does the loss change if a number in $W$ does? It changes $h$, which changes $z$, which
# changes $L$. Slopes along a chain are multiplied: if $h$ changes three times as fast as $w$, and
# $L$ twice as fast as $h$, then $L$ changes six times as fast as $w$. That is the **chain rule**,
# and walking the chain from the loss back to the start, reusing what we have, is
# **backpropagation**. Write $dz$ for the gradient of the loss with respect to $z$, and so on.
# From the back:
#
# | forward | backward | why |
# |---|---|---|
# | $L = -\ln \mathrm{softmax}(z)_y$ | $dz = p - [k = y]$ | as above |
# | $z = h U + c$ | $dU = h^T dz,\ dc = \sum dz,\ dh = dz\,U^T$ | see below |
# | $h = \tanh(a)$ | $da = dh \cdot (1 - h^2)$ | the slope of $\tanh$ is $1 - \tanh^2$ |
# | $a = x W + b$ | $dW = x^T da,\ db = \sum da,\ dx = da\,W^T$ | as for $U$ |
# | $x = E[\text{tokens}]$ | add $dx$ to the rows it came from | used twice, pushed twice |
#
# For a product, one weight at a time: $U_{ik}$ multiplies $h_i$ and goes into $z_k$. If it grows
# by 1, $z_k$ grows by $h_i$, so its gradient is $h_i\,dz_k$, summed over the batch. Written as
# matrices ($h^T$ is `h.T`), that is $h^T dz$: each row of $h^T$ is one hidden number over the
# batch, each column of $dz$ one logit over the batch.
#
# And $h_i$ goes into every $z_k$ by way of $U_{ik}$, so its gradient is $\sum_k dz_k U_{ik}$:
# that is $dz\,U^T$. The shapes leave no other way to multiply, which helps to remember it.


# %%
def backward(net, tokens, targets):
    """The gradient of the mean loss with respect to every number of the net."""
    z, (x, h) = forward(net, tokens)
    dz = softmax(z)
    loss = -np.log(dz[np.arange(len(targets)), targets]).mean()
    dz[np.arange(len(targets)), targets] -= 1
    dz /= len(targets)  # the loss is a mean
    da = (dz @ net["U"].T) * (1 - h**2)
    dx = (da @ net["W"].T).reshape(*tokens.shape, -1)
    dE = np.zeros_like(net["E"])
    np.add.at(dE, tokens, dx)
    return loss, {"E": dE, "W": x.T @ da, "b": da.sum(0), "U": h.T @ dz, "c": dz.sum(0)}


draw = np.random.default_rng(0)
tiny = initial(vocabulary=7, width=3, hidden=4, draw=draw)
tokens, targets = draw.integers(7, size=(5, CONTEXT)), draw.integers(7, size=5)
_, gradients = backward(tiny, tokens, targets)
for name, values in tiny.items():
    tried = nudged(lambda: loss_of(tiny, tokens, targets), values)
    print(f"{name}: largest difference to trying {np.abs(tried - gradients[name]).max():.1e}")

# %% [markdown]
# By hand and by trying agree to ten digits. Trying costs two runs of the network for *each*
# number; backpropagation costs about two runs for all of them together. Without that, there would
# be no large networks.
#
# ## Training
#
# The same loop as for the table, with one addition: **momentum**. Instead of each batch's
# gradient alone we follow a running sum in which old ones fade, like a ball that rolls on. In the
# second half the learning rate falls to zero, so that the numbers come to rest.

# %%
STEPS, BATCH, RATE = 7000, 128, 0.3
draw = np.random.default_rng(1)
net = {k: v.astype(np.float32) for k, v in initial(VOCABULARY, WIDTH, HIDDEN, draw).items()}
speed = {name: np.zeros_like(values) for name, values in net.items()}
curve = []
for step in range(STEPS):
    rows = texts[draw.integers(len(texts), size=BATCH)]
    loss, gradients = backward(net, rows[:, :-1], rows[:, -1])
    curve.append(loss)
    rate = RATE * min(1, 2 * (1 - step / STEPS))
    for name in net:
        speed[name] = 0.9 * speed[name] + gradients[name]
        net[name] -= rate * speed[name]

smooth = np.convolve(curve, np.ones(100) / 100, "valid")  # the mean of each 100 in a row
plt.plot(curve, color="C3", linewidth=0.5)
plt.plot(np.arange(len(smooth)) + 50, smooth)
plt.xlabel("step")
plt.ylabel("loss, nats per token")
plt.title("The loss of each batch, and the mean of a hundred")
plt.show()

# %% [markdown]
# After the first steps the loss sinks slowly; it sinks again as the learning rate falls, in the
# second half. How good is it? In bits per byte, beside models that count as many tokens of
# context (the mixture of chapter 1):


# %%
def counted_bits(n):
    """Bits per byte of the mixture that counts contexts of up to n tokens, and its n-grams."""
    tables = [defaultdict(Counter) for _ in range(n + 1)]
    for row in texts.tolist():
        for k in range(n + 1):
            tables[k][tuple(row[CONTEXT - k : CONTEXT])][row[CONTEXT]] += 1
    bits = 0.0
    for row in unseen.tolist():
        p = 1 / VOCABULARY
        for k in range(n + 1):
            if seen := tables[k].get(tuple(row[CONTEXT - k : CONTEXT])):
                p = (seen[row[CONTEXT]] + len(seen) * p) / (seen.total() + len(seen))
        bits -= math.log2(p)
    return bits / size, sum(len(seen) for table in tables for seen in table.values())


parameters = sum(values.size for values in net.values())
network = loss_of(net, unseen[:, :-1], unseen[:, -1]) * len(unseen) / math.log(2) / size
rows = [(f"counted, {n} tokens of context", *counted_bits(n)) for n in range(CONTEXT + 1)]
rows.insert(2, ("the network, 3 tokens", network, parameters))
for row, (name, bits, stored) in enumerate(rows):
    plt.barh(row, bits, color="C0" if "network" in name else "C1")
    plt.text(bits + 0.03, row, f"{bits:.3f} with {stored:,} numbers", va="center")
plt.yticks(range(len(rows)), [name for name, _, _ in rows])
plt.gca().invert_yaxis()
plt.xlim(0, 4.6)
plt.xlabel("bits per byte of tales not seen; lower is better")
plt.title("A first network against counting")
plt.show()

# %% [markdown]
# It beats counting pairs, and loses to counting with as much context as it has. Do not be
# disappointed: the tales repeat themselves much, which is where counting is strong, and our
# network has had a few seconds of a slow kind of training. What it has that no table has is
# below.
#
# ## What it found out
#
# Nobody told it what a colour is. Two tokens are alike if their embeddings point in the same
# direction. The nearest to some:

# %%
often = np.bincount(texts[:, -1], minlength=VOCABULARY) >= 200  # rare ones have learned little
unit = net["E"] / np.linalg.norm(net["E"], axis=1, keepdims=True)
for word in (" green", " she", " Granny", " was", " asked", "."):
    ids = tokenizer.encode(word)
    if len(ids) == 1:
        alike = np.where(often, unit @ unit[ids[0]], -1)
        nearest = [tokenizer.decode([i]) for i in np.argsort(-alike)[1:7]]
        print(f"{word!r:10}", nearest)

# %% [markdown]
# Sixteen numbers cannot be drawn, but we can look at them from the side from which some tokens
# lie farthest apart (the field calls it principal component analysis):

# %%
groups = {
    "colours": [" red", " blue", " green", " white", " yellow", " black", " brown", " purple"],
    "pronouns": [" he", " she", " it", " they", " we", " I", " you"],
    "prepositions": [" in", " on", " at", " with", " to", " of", " from", " under", " by"],
}
chosen = [
    (group, word, net["E"][tokenizer.encode(word)[0]])
    for group, words in groups.items()
    for word in words
    if len(tokenizer.encode(word)) == 1
]
points = np.array([vector for _, _, vector in chosen])
points = points - points.mean(axis=0)
_, _, directions = np.linalg.svd(points)  # in its rows, directions: first that of most spread
flat = points @ directions[:2].T  # how far each point lies in the first two
plt.figure(figsize=(9, 7))
for i, ((group, word, _), (x, y)) in enumerate(zip(chosen, flat, strict=True)):
    color = f"C{[0, 1, 2][list(groups).index(group)]}"
    plt.plot(x, y, "o", color=color)
    side, ha = [(6, "left"), (-6, "right")][i % 2]
    plt.annotate(word.strip(), (x, y), (side, -4), textcoords="offset points", ha=ha)
for i, group in enumerate(groups):
    plt.plot([], [], "o", color=f"C{i}", label=group)
plt.legend()
plt.xticks([])
plt.yticks([])
plt.title("Embeddings of some tokens, from 16 numbers to 2")
plt.show()

# %% [markdown]
# And it writes:

# %%
draw = np.random.default_rng(3)
ids = [1] * CONTEXT
while ids[-1] != 2 and len(ids) < 120:
    z, _ = forward(net, np.array([ids[-CONTEXT:]]))
    ids.append(int(draw.choice(VOCABULARY, p=softmax(z[0].astype(np.float64)))))
print(tokenizer.decode(ids))

# %% [markdown]
# Two things hold it back. It sees three tokens, each through its own part of $W$: what it has
# learned about a name in the first position it does not know of the second, and to see ten tokens
# it would need more than three times as many numbers in $W$. Chapter 4 mends that. And its
# training is simple: chapter 6.
#
# ## Exercises
#
# **1. Large logits.** `softmax` above fails when a logit is 1,000: $e^{1000}$ is too large for a
# computer's numbers. Adding the same number to all logits changes no probability: use that. (It
# should work along the last axis of an array of any shape.)


# %% tags=["exercise"]
def stable_softmax(z):
    """Softmax along the last axis, for logits of any size."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.exp(z)
        return power / power.sum(axis=-1, keepdims=True)


# %%
course.check(stable_softmax)

# %% [markdown]
# **2. A different bend.** Llama bends by $\mathrm{silu}(x) = x\,\sigma(x)$, where
# $\sigma(x) = 1 / (1 + e^{-x})$, whose slope is $\sigma(x)\,(1 - \sigma(x))$. Given $x$ and the
# gradient `dy` of the loss with respect to $\mathrm{silu}(x)$, what is the gradient with respect
# to $x$? (The slope of a product $uv$ is $u'v + uv'$.) The naive form forgets the bend.


# %% tags=["exercise"]
def silu_backward(x, dy):
    """Gradient of the loss with respect to x, from that with respect to silu(x)."""
    return dy


# %%
course.check(silu_backward)

# %% [markdown]
# **3. A row used twice.** The gradient of the embeddings: row `tokens[i]` gets `dx[i]`, and what
# is used twice gets both. The naive form looks right and is wrong: find out what `+=` does with
# an index that occurs twice.


# %% tags=["exercise"]
def embedding_gradient(tokens, dx, vocabulary):
    """Gradient (vocabulary, width), from tokens (n,) and that of their rows, dx (n, width)."""
    dE = np.zeros((vocabulary, dx.shape[1]))
    dE[tokens] += dx
    return dE


# %%
course.check(embedding_gradient)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - The forward pass, with PyTorch, is `tinybuddy.backends.llama.Decoder`: its first line looks up
#   embeddings. `tinybuddy.backends.llama.FeedForward` is a hidden layer with `silu`.
# - The backward pass by hand is in C: `src/tinybuddy/backends/engine/backward.c`, the same steps
#   as here.
# - In tinybuddy the matrix of the embeddings is also the one that makes the logits (it is
#   **tied**): `tinybuddy.backends.llama.Transformer` multiplies by `embed_tokens.weight`.
#   `tinybuddy.weights` names all matrices and their shapes.
#
# ## On TinyStories
#
# A network of this kind was not tried there. In `tinybuddy-80k` 49,152 of 83,616 numbers are the
# embedding: 1,536 tokens of 32 numbers, tied. The slope of the loss is the same formula, the
# batches are larger (32 rows of 128 tokens), and the training took 36 minutes of one core instead
# of your seconds.
