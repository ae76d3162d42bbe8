# %% [markdown]
# # 1 Counting: the rival to beat
#
# A **language model** says how probable every continuation of a text is. That is all. The model
# in your phone and the ones in a data centre do the same thing, and so will yours.
#
# **At the end of this chapter you have** a language model made by counting alone, which writes
# something like English, and a score, *bits per byte*, by which every model of this course is
# judged. It is not a toy: counting is the rival that a neural network has to beat before it may
# call itself better.
#
# **You need** Python. Nothing from other chapters.

# %%
import math
import random
import re
from collections import Counter, defaultdict

import course
import matplotlib.pyplot as plt
import numpy as np

plt.style.use("course.mplstyle")

# %% [markdown]
# ## Stories to learn from
#
# tinybuddy can make up *tales*: short stories from a grammar of its own, as many as you want. We
# count in some of them, the **training** text, and keep others away from the model, the
# **validation** text. A model is judged on text that it has not seen; on what it has seen,
# learning by heart would win.

# %%
train, validation = course.tales(train=1000, validation=50)
print(len(train), "tales to train on,", sum(map(len, train)), "letters. The first:\n")
print(train[0])

# %% [markdown]
# ## The simplest model: how frequent is a letter?
#
# A computer stores text as **bytes**, numbers from 0 to 255. In plain English text one character
# is one byte, so we let the model read bytes: there are only 256 of them, and any text at all can
# be written in them.
#
# A story must also end. We put a byte that no story has, 0, behind each one, so that the model
# can say "this is the end".

# %%
END = b"\0"

letters = Counter()
for story in train:
    letters.update(story.encode("utf-8") + END)

total = letters.total()
for byte, count in letters.most_common(5):
    print(repr(chr(byte)), count, f"probability {count / total:.3f}")

# %%
shown = letters.most_common(30)
names = [{" ": "␣", "\n": "⏎", "\0": "end"}.get(chr(byte), chr(byte)) for byte, _ in shown]
plt.bar(names, [count / total for _, count in shown])
plt.ylabel("probability")
plt.title("What the tales are made of: the 30 most frequent bytes (␣ is a space, ⏎ a new line)")
plt.show()

# %% [markdown]
# ## How good is a model? Surprise, in bits
#
# The model gives each byte that really comes next a probability $p$. If $p$ was high, the model
# was not surprised. We measure surprise by
#
# $$-\log_2 p \quad\text{bits}$$
#
# $\log_2$ asks "2 to what power?": $\log_2 8 = 3$, and $\log_2 \frac18 = -3$. So one bit is the
# surprise at a coin that shows heads ($p = \frac12$), 3 bits is that at three heads in a row
# ($p = \frac18$), and what was certain ($p = 1$) costs nothing. Two things make it the right
# measure:
#
# - The probability of one byte and then another is that of the first times that of the second,
#   given the first. What is multiplied in probability is *added* in surprise. So the surprise at
#   a story is the sum of the surprises at its bytes.
# - It is a size in a file. A program that compresses text with the help of a model writes a story
#   that surprises the model by 1,000 bits in about 1,000 bits.

# %%
p = np.linspace(0.004, 1, 500)
plt.plot(p, -np.log2(p))
for q, label in [(1 / 8, "three heads"), (1 / 64, "six heads")]:
    plt.plot(q, -math.log2(q), "o", color="C2")
    plt.annotate(
        f"{label}: {-math.log2(q):.0f} bits",
        (q, -math.log2(q)),
        (10, 6),
        textcoords="offset points",
    )
plt.plot(1 / 2, 1, "o", color="C2")
plt.annotate("one coin: 1 bit", (1 / 2, 1), (10, 6), textcoords="offset points")
plt.xlabel("probability that the model gave to what came")
plt.ylabel("surprise, bits")
plt.title("What was improbable costs much")
plt.show()

# %% [markdown]
# The score of a model is its surprise at the validation text, divided by the bytes of it: **bits
# per byte**. Each story counts one byte more, for its end. Lower is better.
#
# This average surprise at a text that somebody else wrote has a name in the field,
# **cross-entropy**; a neural network is trained to make it small.
#
# A model that knows nothing gives each of the 256 bytes the same $\frac1{256}$ and pays 8 bits,
# always. What does ours pay?


# %%
def bits_per_byte(probability, stories, n):
    """Average surprise of a model that looks at the last n bytes."""
    bits = size = 0
    for story in stories:
        text = END * n + story.encode("utf-8") + END  # n ends in front: here a story begins
        for i in range(n, len(text)):
            bits -= math.log2(probability(text[i - n : i], text[i]))
        size += len(text) - n
    return bits / size


def frequency(context, byte):
    return letters[byte] / total


scores = {"knows nothing": 8.0}
scores["letters"] = bits_per_byte(frequency, validation, 0)
print(f"letters alone: {scores['letters']:.3f} bits per byte")

# %% [markdown]
# A little more than half of what knowing nothing costs, by a table of some sixty numbers. Let us
# hear it speak. To **sample** is to draw the next byte at random, each as often as the model
# says.

# %%
draw = random.Random(1)
print("".join(chr(b) for b in draw.choices([*letters], [*letters.values()], k=200)))

# %% [markdown]
# ## Looking back: n-grams
#
# After `q` comes `u`. A model that looks at the byte before knows that. We count again, this time
# for each **context**, the last $n$ bytes: what came after it, and how often? The context and the
# byte after it are an **n-gram**. Its length is its **order**: with a context of 8 bytes it is 9.


# %%
def count(stories, n):
    """For each context of n bytes: how often which byte came next."""
    table = defaultdict(Counter)
    for story in stories:
        text = END * n + story.encode("utf-8") + END
        for i in range(n, len(text)):
            table[text[i - n : i]][text[i]] += 1
    return table


LONGEST = 8
tables = [count(train, n) for n in range(LONGEST + 1)]
print("after 'q':", {chr(b): c for b, c in tables[1][b"q"].items()})
print("after 'Once upon':", {chr(b): c for b, c in tables[8][b"nce upon"].items()})
print("after ' the la':", {chr(b): c for b, c in tables[7][b" the la"].items()})

# %%
alphabet = " abcdefghijklmnopqrstuvwxyz"
pairs = np.array([[tables[1][a.encode()][ord(b)] for b in alphabet] for a in alphabet])
plt.figure(figsize=(7, 6))
plt.imshow(pairs / pairs.sum(axis=1, keepdims=True))
plt.xticks(range(27), ["␣", *alphabet[1:]])
plt.yticks(range(27), ["␣", *alphabet[1:]])
plt.xlabel("next")
plt.ylabel("letter before")
plt.colorbar(label="probability", shrink=0.8)
plt.title("Each row is what may follow one letter")
plt.show()

# %% [markdown]
# Look for the dark cells. `q` is followed by `u`, `v` by `e`, and `d` and `y` mostly end a word.
# Look for the white ones too: most pairs never occur.
#
# ## What was never seen
#
# That is a trouble. If a pair never occurred in training, the model says probability 0, and
# $-\log_2 0$ is infinite: one new pair in the validation text, and the score is ruined. "Never
# seen" must not mean "impossible".
#
# The oldest cure (Laplace) adds one to every count, as though each of the 256 bytes had been seen
# once more after each context:


# %%
def add_one(context, byte):
    seen = tables[len(context)].get(context, Counter())
    return (seen[byte] + 1) / (seen.total() + 256)


added = [bits_per_byte(add_one, validation, n) for n in range(LONGEST + 1)]
for n, bits in enumerate(added):
    print(f"{n} bytes of context, {len(tables[n]):>7,} contexts: {bits:.3f} bits per byte")

# %% [markdown]
# Looking further back helps at first, and then it hurts. With eight bytes of context nearly every
# context was seen only a few times, and 256 imaginary counts drown the few real ones. The longer
# the context, the more precise and the *rarer*: every model of language fights with that.
#
# ## Mixing long and short contexts
#
# Better: trust a long context as far as it has been seen, and ask the next shorter one for the
# rest. Say a context was seen $c = 10$ times, followed by $d = 2$ different bytes. Then 10 parts
# of 12 go to what was counted, and 2 parts of 12 to what the shorter context says. In general:
#
# $$p(\text{byte}\mid\text{context}) =
# \frac{\text{times the byte came after it} + d\,p(\text{byte}\mid\text{shorter context})}{c + d}
# $$
#
# Where many different bytes followed ($d$ large) something new is likely again, so the shorter
# context has more to say. The shorter context mixes in the same way, with a shorter one yet. This
# is the mixture of Witten and Bell (1991):


# %%
def mixed(context, byte):
    p = 1 / 256  # below all contexts: anything may come
    for n in range(len(context) + 1):
        seen = tables[n].get(context[len(context) - n :])
        if seen is None:
            break  # then no longer one was seen either
        p = (seen[byte] + len(seen) * p) / (seen.total() + len(seen))
    return p


best = [bits_per_byte(mixed, validation, n) for n in range(LONGEST + 1)]
known = [bits_per_byte(mixed, train[:50], n) for n in range(LONGEST + 1)]
for n, bits in enumerate(best):
    print(f"{n} bytes of context: {bits:.3f} bits per byte")

# %% [markdown]
# ## How low can it go?
#
# Of real text nobody knows. Of the tales we do: a grammar wrote them by drawing from its tables,
# so the exact probability of each tale is known, and with it the average surprise of somebody who
# knows the grammar. That is the **entropy** of the tales.
#
# No model can score less on new tales, but for luck on a few of them. Whoever knows the true
# probabilities pays the entropy; whoever believes others pays more on average (you can try that
# in exercise 2). Only on text that it has seen can a model go below, since it knows what came. And
# no program compresses new tales to less than their entropy, on average (Shannon 1948).

# %%
from tinybuddy.corpus.tales import entropy

floor = entropy(2000).bits_per_byte  # the mean over 2,000 tales

contexts = range(LONGEST + 1)
plt.plot(contexts, added, "o-", color="C1", label="add one, validation")
plt.plot(contexts, best, "o-", color="C0", label="mixed, validation")
plt.plot(contexts, known, "o--", color="C2", label="mixed, on 50 of its training tales")
plt.axhline(floor, color="black", linewidth=1)
plt.text(0, floor + 0.1, f"entropy of the tales: {floor:.3f}")
plt.ylim(0, 5)
plt.xlabel("bytes of context")
plt.ylabel("bits per byte")
plt.legend()
plt.title("Context is worth much, if what is rare is handled well")
plt.show()

# %% [markdown]
# The dashed line lies lower: on text that it has counted, the model looks better than it is. The
# gap is **overfitting**, and it grows with the context, since long contexts are learned by heart.
# It is why we score on tales that the model has not seen.
#
# ## It speaks
#
# The same sampling as before, now with contexts of 1, 3, 5 and 8 bytes:


# %%
def sample(n, seed, most=300):
    draw, text = random.Random(seed), END * n
    while len(text) < n + most:
        context = text[len(text) - n :]
        weights = [mixed(context, byte) for byte in letters]
        text += bytes(draw.choices([*letters], weights))
        if text.endswith(END):
            break
    return text[n:].decode("utf-8", "replace").rstrip("\0")


for n in (1, 3, 5, 8):
    print(f"--- {n} bytes of context\n{sample(n, seed=1)}\n")

# %% [markdown]
# With eight bytes of context it spells every word, since it knows most of them by heart.
# Sentences begin well and wander off: a context of eight bytes is a word and a half. Who the
# story is about, the model has long forgotten.
#
# We can see that. Here is the surprise at each byte of a sentence from a tale that the model has
# not seen:

# %%
story = validation[0].encode("utf-8")
start = story.index(b"\n\n") + 2
text = END * LONGEST + story
surprise = [-math.log2(mixed(text[i : i + LONGEST], text[i + LONGEST])) for i in range(len(story))]

piece = range(start, start + 70)
plt.figure(figsize=(10, 3))
colors = ["C0" if surprise[i] > 2 else "C1" for i in piece]
plt.bar(range(70), [surprise[i] for i in piece], color=colors)
plt.xticks(range(70), [{" ": "␣"}.get(chr(story[i]), chr(story[i])) for i in piece], fontsize=10)
plt.ylabel("surprise, bits")
plt.xlim(-1, 70)
plt.title("Where the counting model is surprised (red: more than 2 bits)")
plt.show()

# %% [markdown]
# Words are guessed after a letter or two, so their ends cost next to nothing. What costs is
# *which* word, and often which name: the name was said in the first sentence, but that is out
# of sight. In every tale somebody is "named" or "called" so and so. What does the first letter of
# that name cost when the name comes again, beside a byte on average?


# %%
def hero_of(tale):
    """The name that a tale gives to its hero."""
    return re.search(r"\b(?:named|called) (\w+)", tale)[1]


bits = []
for tale in validation:
    text = END * LONGEST + tale.encode("utf-8")
    _, *again = re.finditer(rf"\b{hero_of(tale)}\b", tale)  # all but the first
    for name in again:
        i = len(tale[: name.start()].encode("utf-8"))
        bits.append(-math.log2(mixed(text[i : i + LONGEST], text[i + LONGEST])))
print(f"first letter of the hero's name, when it comes again: {np.mean(bits):.2f} bits")
print(f"a byte, on average: {best[-1]:.2f} bits")

# %% [markdown]
# A reader pays next to nothing there, since he remembers the hero. That is what **attention** is
# for (chapter 4): to look back to what matters, however far away it is, without a table of all
# that may lie between.
#
# A table that looked back far enough would not do either. It grows with each byte of context, and
# most of it is used once:

# %%
stored = [sum(map(len, table.values())) for table in tables]
plt.bar(contexts, stored, color="C1")
plt.xlabel("bytes of context")
plt.ylabel("n-grams to store")
plt.title(f"The price: {sum(stored):,} n-grams in all")
plt.ticklabel_format(axis="y", style="plain")
plt.show()

# %% [markdown]
# ## The rival, as tinybuddy has it
#
# There is a better way yet to mix, found by Kneser and Ney (1995) and mended by Chen and Goodman
# (1998). Its idea: a shorter context should not say how *often* a byte came, but after how many
# *different* longer contexts (the third exercise shows why). tinybuddy holds every neural network
# against it. Here it counts the same bytes of the same tales:

# %%
from tinybuddy.evaluation.rivals.kneser_ney import count as count_all
from tinybuddy.evaluation.rivals.kneser_ney import estimate


def ids(story):
    return [0, *story.encode("utf-8"), 0]


order = LONGEST + 1  # a byte, and the 8 before it
kneser_ney = estimate(count_all(map(ids, train), vocab_size=256, order=order))
bits = size = 0
for story in validation:
    row = np.array([ids(story)])
    bits -= kneser_ney.log_likelihoods(row[:, :-1], row[:, 1:]).sum() / math.log(2)
    size += row.size - 1

scores["pairs"] = best[1]
scores["8 bytes, mixed"] = best[8]
scores["8 bytes, Kneser-Ney"] = float(bits) / size
scores["the grammar itself"] = floor
colors = ["C1", "C1", "C1", "C0", "C0", "black"]
plt.barh([*scores], [*scores.values()], color=colors)
plt.gca().invert_yaxis()
for row, value in enumerate(scores.values()):
    plt.text(value + 0.05, row, f"{value:.3f}", va="center")
plt.xlabel("bits per byte of tales that it has not seen; lower is better")
plt.title("The score that the next chapters are held to")
plt.show()

# %% [markdown]
# ## Exercises
#
# Change the cell, run it, then run the one below it. Python, `np` and `math` are enough for each.
#
# **1. Bits per byte.** A model read a text in pieces and gave each piece that came, and the end,
# a probability. What are its bits per byte? Mind that a letter such as `é` is more than one byte,
# and that the end counts as one. The naive form below divides by the wrong thing.


# %% tags=["exercise"]
def bits_per_byte_of(probabilities, text):
    """Bits per byte of a text, from the probabilities of its pieces and its end."""
    return sum(-math.log2(p) for p in probabilities) / len(probabilities)


# %%
course.check(bits_per_byte_of)

# %% [markdown]
# **2. Cross-entropy.** The truth draws symbol $i$ with probability `truth[i]`; a model believes
# `model[i]`. What does the model pay for a symbol, on average over what the truth draws? A symbol
# that the truth never draws costs nothing, whatever the model believes. If the truth draws one to
# which the model gives 0, the answer is `math.inf`. (Then try: for which `model` is it least?
# That least value is the entropy.)


# %% tags=["exercise"]
def cross_entropy_of(truth, model):
    """Average surprise, in bits, of a model at what the truth draws; both are lists."""
    ...


# %%
course.check(cross_entropy_of)

# %% [markdown]
# **3. Kneser and Ney's idea.** In a text about San Francisco "Francisco" is frequent, but it only
# ever follows "San". After any other word it is a bad guess. So where a model has to fall back to
# single words, it should not ask how *often* a word came, but after how many *different* words.
# Count that. The form below counts how often.


# %% tags=["exercise"]
def different_words_before(words):
    """For each word of a list that has one before it: how many different ones came before it."""
    counts = {}
    for word in words[1:]:
        counts[word] = counts.get(word, 0) + 1
    return counts


# %%
course.check(different_words_before)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - `tinybuddy.scoring.score` is bits per byte, for any model: each story alone, its end included.
# - `tinybuddy.evaluation.rivals.kneser_ney` is the counting rival:
#   `tinybuddy.evaluation.rivals.kneser_ney.count` counts n-grams of all orders with NumPy, and
#   `tinybuddy.evaluation.rivals.kneser_ney.estimate` mixes them.
# - `tinybuddy.corpus.tales.entropy` is the floor under the tales, `tinybuddy.corpus.open_corpus`
#   reads any text.
#
# ## On TinyStories
#
# TinyStories (Eldan and Li 2023) are short stories in the words of a small child, written by a
# large model. Nobody knows their entropy, so there is no floor to draw. The rival there is
# Kneser-Ney over pieces of words (chapter 2) instead of bytes: after 19,390 stories, with
# 5,315,472 n-grams of up to five pieces, it scores 1.094 bits per byte. `tinybuddy-80k`, which
# has 83,616 numbers, scores 1.056. It wins by little in bits, and by much in size; and counting
# does not speak English, by tinybuddy's scorecard, where the network does (chapter 8).
