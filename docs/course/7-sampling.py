# %% [markdown]
# # 7 Sampling: from probabilities to a story
#
# **At the end of this chapter you have** the sampler of tinybuddy in a page of NumPy: temperature,
# top-k, top-p, min-p, repetition penalty, and random numbers that are the same in every programming
# language. One seed tells one story: yours and the engine's will be the same to the letter.
#
# **You need** from before: softmax (chapter 3), `llama.py` (chapter 5), and the model that you
# trained in chapter 6. If there is none yet it is trained now, which takes about two minutes.

# %%
from collections import Counter

import course
import matplotlib.pyplot as plt
import numpy as np
from llama import forward, softmax

import tinybuddy
from tinybuddy.corpus.statistics import words
from tinybuddy.formats.references import open_model
from training import own_model

plt.style.use("course.mplstyle")

own = open_model(own_model())
config, weights, tokenizer = own.config, dict(own.weights), own.tokenizer

# %% [markdown]
# ## What a model says
#
# A language model does not say what comes next. It says how probable everything is. Here is what
# yours holds after two beginnings of a tale. (The `softmax` of `llama.py` returns a pair, as all
# functions there do: the probabilities, and its way back, which we do not need here.)


# %%
def next_logits(ids):
    """Logits (V,) of the token after ids."""
    return forward(weights, config, np.array([ids]))[0][0, -1]


def read(text):
    return [tokenizer.bos, *tokenizer.encode(text)]


def shown(id):
    return {1: "<bos>", 2: "<eos>"}.get(id, tokenizer.decode([id]).replace(" ", "␣")).strip("\n")


SURE, UNSURE = "Once upon a", "Once upon a time, there was a"
figure, panels = plt.subplots(1, 2, figsize=(10, 4))
for panel, text in zip(panels, (SURE, UNSURE), strict=True):
    chances, _ = softmax(next_logits(read(text)))
    best = np.argsort(-chances)[:12]
    panel.barh([shown(id) for id in best], chances[best])
    panel.invert_yaxis()
    panel.set(xlabel="probability", title=f"{text} ...")
plt.show()

# %% [markdown]
# On the left there is one answer. On the right there are many, and all are right: a story may be
# about somebody kind or somebody quiet. The grammar of the tales draws here from sixteen words,
# each as probable as any other; your model has found that out by itself.
#
# ## Always the best?
#
# The first idea is to take the most probable token each time: **greedy**. Chapter 5 did that. It
# always tells the same story.


# %%
def tell(choose, prompt="", count=60):
    """Continue a prompt by `choose(logits, ids)`, up to the end of the story."""
    ids = read(prompt)
    for _ in range(count):
        ids.append(choose(next_logits(ids), ids))
        if ids[-1] == tokenizer.eos:
            break
    return tokenizer.decode(ids)


greedy = tell(lambda logits, ids: int(logits.argmax()), count=110)
print(greedy)

# %% [markdown]
# It is the most ordinary story that there is. What people write is not a row of most probable words
# either: they are surprising now and then, and that is why one listens (Holtzman et al. 2019).
#
# So we **draw**: each token as often as the model says.
#
# ## Temperature
#
# One wants something between always the best and whatever the model thinks possible. Divide the
# logits by a **temperature** $T$ before softmax:
#
# $$p_i = \frac{e^{\,\text{logit}_i / T}}{\sum_j e^{\,\text{logit}_j / T}}$$
#
# Look at the odds of two tokens, $p_i / p_j$: how many times as probable one is as the other. The
# sum cancels, and $e^{\,\text{lead} / T}$ is left, where the lead is the difference of their
# logits. So $T = 1$ takes the model at its word. $T = 0.5$ squares all odds: 3 to 1 becomes 9 to 1.
# $T = 2$ takes their root: 9 to 1 becomes 3 to 1, and all become more alike.
#
# The smaller $T$ is, the closer to greedy. $T = 0$ itself would divide by 0; programs make it a
# rule of its own, greedy.
#
# After "a kind" comes a girl or a boy ten times as often as any one animal:

# %%
logits = next_logits(read(UNSURE + " kind"))  # of whom? half of the tales are of animals
best = np.argsort(-logits)[:20]
figure, panels = plt.subplots(1, 3, figsize=(12, 3.4), sharey=True)
for panel, temperature in zip(panels, (0.5, 1.0, 2.0), strict=True):
    chances, _ = softmax(logits / temperature)
    panel.bar(range(20), chances[best], color="C0" if temperature == 1 else "C1")
    panel.set_title(f"temperature {temperature}")
    panel.set_xlabel("the 20 best tokens")
    rest = 1 - chances[best].sum()
    panel.text(19.5, 0.9 * max(softmax(logits / 0.5)[0]), f"all others: {rest:.1%}", ha="right")
panels[0].set_ylabel("probability")
plt.show()

# %%
for temperature in (0.3, 1.0, 2.0):
    random = np.random.default_rng(1)

    def drawn(logits, ids, temperature=temperature, random=random):
        chances = np.cumsum(softmax(logits / temperature)[0])
        return int(np.searchsorted(chances, random.random() * chances[-1], "right"))

    print(f"--- temperature {temperature}\n{tell(drawn, UNSURE)}\n")

# %% [markdown]
# Too hot, and it is nonsense. The reason is the long tail. Each of some thousand other tokens is
# improbable, but *together* they are not; and one wrong token is enough to spoil a sentence, since
# the model must go on from it.
#
# ## Cut off the tail
#
# So cut off what is improbable, and draw among the rest. There are three ways to say where:
#
# - **top-k** (Fan et al. 2018): keep the $k$ best.
# - **top-p** (Holtzman et al. 2019): keep the best until together they reach $p$.
# - **min-p** (Nguyen et al. 2024): keep each token that is at least $p$ times as probable as the
#   best ($p = 0.05$: a twentieth).

# %%
figure, panels = plt.subplots(1, 2, figsize=(11, 3.8), sharey=True)
for panel, text in zip(panels, (SURE, UNSURE), strict=True):
    chances = np.sort(softmax(next_logits(read(text)))[0])[::-1]
    panel.plot(range(1, len(chances) + 1), chances, color="black")
    before = np.cumsum(chances) - chances
    kept = {
        "top-k 40": 40,
        "top-p 0.95": int((before < 0.95).sum()),
        "min-p 0.05": int((chances >= 0.05 * chances[0]).sum()),
    }
    for (name, count), color, width in zip(
        kept.items(), ("C1", "C2", "C0"), (2, 6, 2), strict=True
    ):
        panel.axvline(count + 0.5, color=color, linewidth=width, label=f"{name} keeps {count}")
    panel.set(xscale="log", yscale="log", ylim=(1e-7, 30), xlabel="rank of the token")
    panel.set_title(f"{text} ...")
    panel.legend(loc="upper right")
panels[0].set_ylabel("probability")
plt.show()

# %% [markdown]
# Here is the difference. Where the model is sure, top-k still keeps forty tokens, nearly all of
# them wrong; the other two look at the probabilities and keep one. Where it is unsure, they widen.
#
# ## Do not say it again
#
# Small models like to repeat themselves. The **repetition penalty** (Keskar et al. 2019) makes all
# that was said before rarer: a positive logit is divided by it, a negative one multiplied, so that
# it falls in both cases. It is blunt. It also punishes "the" and the hero's name.
#
# All together, in tinybuddy's order:


# %%
def probabilities(
    logits, seen=(), repetition_penalty=1.0, temperature=0.8, top_k=40, top_p=1.0, min_p=0.0
):
    """Probability (V,) of each token being drawn, at a temperature above 0."""
    scores = logits.astype(float)
    if repetition_penalty != 1 and len(seen):
        ids = sorted({*seen})
        said = scores[ids]
        scores[ids] = np.where(said > 0, said / repetition_penalty, said * repetition_penalty)
    chances = np.exp((scores - scores.max()) / temperature)  # the best has 1
    order = np.argsort(-scores, kind="stable")  # the best first; of two alike the lower id
    if top_k:
        chances[order[top_k:]] = 0
    before = np.cumsum(chances[order]) - chances[order]  # what all better ones have together
    if top_p < 1:  # before the best there is 0: it always stays
        chances[order[(before >= top_p * chances.sum()) & (before > 0)]] = 0
    chances[chances < min_p] = 0
    return chances / chances.sum()


# %% [markdown]
# ## One seed, one story
#
# A computer has no dice. It has **pseudo-random** numbers: a rule that makes from one number the
# next, so that nobody sees a pattern. The first is the **seed**. The same seed gives the same
# numbers, so a story can be told again, and a mistake can be found again.
#
# But Python's rule is not that of C or of a browser. So tinybuddy brings its own, PCG32 (O'Neill
# 2014), which can be written in any language that multiplies. Its state is a number of 64 bits. A
# step multiplies and adds; what comes out are 32 bits, stirred by a turn. All constants below are
# its author's.


# %%
class PCG32:
    """Random numbers from 0 to 1, the same everywhere."""

    def __init__(self, seed):
        self.state = 0
        self.next()
        self.state = (self.state + seed) % 2**64
        self.next()

    def next(self):
        """The next 32 bits."""
        old = self.state
        self.state = (old * 6364136223846793005 + 109) % 2**64
        mixed = ((old >> 18 ^ old) >> 27) % 2**32
        turn = old >> 59
        return (mixed >> turn | mixed << (32 - turn)) % 2**32 if turn else mixed

    def uniform(self):
        """The next number from 0 on and below 1."""
        return self.next() / 2**32


random = PCG32(42)
print([hex(random.next()) for _ in range(4)])
print("its author's program begins with 0xa15c02b7 0x7b47f409 0xba1d3330 0x83d2f293")

# %% [markdown]
# To draw, lay the probabilities end to end, so that they fill a line from 0 to 1, and see where the
# number falls.

# %%
chances = probabilities(next_logits(read(UNSURE)), top_k=8)
ids = np.flatnonzero(chances)
edges = np.concatenate(([0], np.cumsum(chances[ids])))
plt.figure(figsize=(11, 2.2))
for number, (left, right, id) in enumerate(zip(edges, edges[1:], ids, strict=False)):
    plt.barh(0, right - left, left=left, color=("C3", "C1")[number % 2])
    plt.text((left + right) / 2, 0, shown(int(id)), ha="center", va="center", fontsize=10)
random = PCG32(7)
for number in range(3):
    u = random.uniform()
    plt.plot([u, u], [-0.5, 0.5], color="C0")
    plt.text(u, 0.58, f"draw {number + 1}", ha="center", color="C0")
plt.yticks([])
plt.gca().spines.left.set_visible(False)
plt.xlim(0, 1)
plt.title("Three draws with seed 7", pad=24)
plt.show()


# %%
def generate(weights, config, tokenizer, prompt, seed, count=150, **settings):
    """Tell a story as tinybuddy does."""
    random, ids, start = PCG32(seed), [tokenizer.bos, *tokenizer.encode(prompt)], 0
    for _ in range(count):
        if len(ids) - start > config.max_position_embeddings:
            start = len(ids) - config.max_position_embeddings // 2  # the last half goes on
        logits = forward(weights, config, np.array([ids[start:]]))[0][0, -1]
        running = np.cumsum(probabilities(logits, ids, **settings))
        new = int(np.searchsorted(running, random.uniform() * running[-1], "right"))
        if new == tokenizer.eos:
            break
        ids.append(new)
    return tokenizer.decode(ids)


START = "A long time ago"
engine = tinybuddy.load(own_model())
engine.on_note = lambda note: None  # it says when a story outgrows the context
for seed, settings in enumerate(
    (
        {},
        {"temperature": 1.0, "top_k": 0, "min_p": 0.05},
        {"top_k": 0, "top_p": 0.9, "repetition_penalty": 1.1},
    )
):
    ours = generate(weights, config, tokenizer, START, seed, **settings)
    theirs = engine.generate(START, seed=seed, max_new_tokens=150, **settings)
    print(f"seed {seed}, {settings}\n{ours}\nthe engine says the same: {ours == theirs}\n")

# %% [markdown]
# ## Which temperature is best?
#
# That depends on what one wants; but it can be measured. For each temperature the engine tells a
# hundred stories. We count how many of their words are words of the training tales at all, and how
# many of their 4-grams of words (chapter 1) are in no other of the hundred stories: is it right,
# and is it something new each time?


# %%
def ngrams(story, n):
    """All n-grams of a list of words."""
    return [tuple(story[i : i + n]) for i in range(len(story) - n + 1)]


stories, _ = course.tales(3000, 0)
known = {word for story in stories for word in words(story)}
temperatures = (0.1, 0.3, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
right, new = [], []
for temperature in temperatures:
    told = [
        words(engine.generate(seed=seed, temperature=temperature, top_k=0, max_new_tokens=100))
        for seed in range(100)
    ]
    right.append(np.mean([word in known for story in told for word in story]))
    grams = [{*ngrams(story, 4)} for story in told]  # of each story, each once
    stories_with = Counter(gram for story in grams for gram in story)
    new.append(np.mean([stories_with[gram] == 1 for story in grams for gram in story]))
plt.plot(temperatures, right, "o-", color="C0", label="words that are words")
plt.plot(temperatures, new, "o-", color="C2", label="4-grams in no other story")
plt.axvline(0.8, color="C3", zorder=0)
plt.text(0.81, 0.02, "tinybuddy's 0.8", color="C1")
plt.ylim(0, 1.02)
plt.xlabel("temperature, without top-k")
plt.ylabel("share")
plt.legend(loc="center right")
plt.title("Cold: always the same. Hot: not even words")
plt.show()

# %% [markdown]
# ## Exercises
#
# **1. How hot?** The best token leads the second by `lead` in logit. At which temperature is it
# drawn `times` times as often as the second (`times` is above 1)? The form below forgets that
# softmax takes powers.


# %% tags=["exercise"]
def temperature_for(lead, times):
    """Temperature at which a lead in logit makes a token `times` times as probable."""
    return lead / times


# %%
course.check(temperature_for)

# %% [markdown]
# **2. Never the same n-gram twice.** Some programs forbid every token that would complete an n-gram
# which the text already has. Given the ids so far, which tokens are forbidden? For `n = 2` and the
# ids `[5, 6, 7, 5]` it is `{6}`, since `5 6` was there. The form below forbids all that was said.


# %% tags=["exercise"]
def forbidden(ids, n):
    """Set of the ids that would complete an n-gram (n of 1 or more) which `ids` already has."""
    return {*ids}


# %%
course.check(forbidden)

# %% [markdown]
# **3. To draw without a sum.** There is another way to draw, after Gumbel: take for each token a
# random number $u$ of its own between 0 and 1, and choose the token for which
# $\text{logit} - \ln(-\ln u)$ is largest. It draws exactly by softmax. The form below is simpler,
# and does not.


# %% tags=["exercise"]
def gumbel_draw(logits, uniforms):
    """Index that is drawn, given as many numbers between 0 and 1 as there are logits."""
    return int(np.argmax(logits + uniforms))


# %%
course.check(gumbel_draw)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - `tinybuddy.sampling.probabilities` and `tinybuddy.sampling.PCG32` are what you have just read.
#   The same stands in C (`sample.c` in `tinybuddy.backends.engine`) and in JavaScript
#   (`sampling.js` in `tinybuddy.exporters.js`).
# - `tinybuddy.generation.decoding` is the loop, for many stories at once;
#   `tinybuddy.config.SampleConfig` has the settings.
#
# ## On TinyStories
#
# Nothing changes but the model. There is more to say in TinyStories than in the tales, so the model
# is less often sure, and the tail matters more. Of `tinybuddy-80k`, at temperature 1 and from all
# tokens, 96.8 % of the words are English ones; with temperature 0.8 and top-k 40 it is 99.4 %. Our
# sampler tells its stories, too:

# %%
best = open_model("tinybuddy-80k")
ours = generate(dict(best.weights), best.config, best.tokenizer, "Once upon a time", seed=3)
theirs = tinybuddy.load("tinybuddy-80k")
theirs.on_note = lambda note: None
print(ours)
same = ours == theirs.generate("Once upon a time", seed=3, max_new_tokens=150)
print("\nthe engine says the same:", same)
