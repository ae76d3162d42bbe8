# %% [markdown]
# # 2 Tokens: bytes, and what to make of them
#
# A neural network reads numbers, not letters, and it reads a limited number of them at a time.
# How shall a text become numbers?
#
# **At the end of this chapter you have** a tokenizer of your own: it learns from text which
# letters belong together, turns any text of any language into numbers and back without a loss,
# and gives the same numbers as tinybuddy's. You also know why a model's *loss*, its average
# surprise at a token, says nothing unless you know its tokenizer.
#
# **You need** bits per byte, from chapter 1.

# %%
import math
import re
from collections import Counter, defaultdict
from itertools import pairwise

import course
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

plt.style.use("course.mplstyle")
train, validation = course.tales(train=1000, validation=50)

# %% [markdown]
# ## From characters to bytes
#
# **Unicode** gives every character of every script a number, its code point. There are more than
# 150,000 of them, so **UTF-8** writes them with as many bytes as each needs, from one to four:

# %%
for character in "Aé日😀":
    written = character.encode("utf-8")
    print(character, f"code point {ord(character):>6,}", "bytes", list(written))

# %% [markdown]
# Look at the bits of these bytes (日 means sun), and the trick shows: the first byte says how many
# there are, and all that follow begin with `10`. So a program that falls into the middle of a
# text can tell where the next character begins.

# %%
rows = [byte for character in "Aé日😀" for byte in character.encode("utf-8")]
bits = np.array([[byte >> i & 1 for i in range(7, -1, -1)] for byte in rows])
marks = np.zeros((len(rows), 8))
for row, byte in enumerate(bits):
    ones = int(np.argmin(byte)) if byte[0] else 0  # how many ones it begins with
    marks[row, : ones + 1] = 2 if ones == 1 else 1
plt.figure(figsize=(6, 4))
plt.imshow(marks, cmap=ListedColormap(["white", "#d3e0ec", "#f6d5d9"]), aspect="auto")
for row in range(len(rows)):
    for column in range(8):
        bold = "bold" if marks[row, column] else "normal"
        plt.text(column, row, bits[row, column], ha="center", va="center", weight=bold)
labels = [f"{c}, byte {i + 1}" for c in ("A", "é", "sun", "smile") for i in range(4)]
kept = [(0, 1), (4, 6), (8, 11), (12, 16)]
plt.yticks(range(len(rows)), [label for a, b in kept for label in labels[a:b]])
plt.xticks([])
plt.title("What a byte begins with says its role: first (blue) or follower (red)")
plt.show()

# %% [markdown]
# A model that reads bytes can read everything, and never meets a character that it does not know.
# That is the good side. Here is the bad one: a network reads a fixed number of symbols at a time,
# its **context**, for instance 128. How much of a tale are 128 bytes?

# %%
print(
    f"A tale has {np.mean([len(story.encode('utf-8')) for story in train]):.0f} bytes on average."
)
print("The model sees no more than:", repr(validation[0][200:328]))

# %% [markdown]
# Two sentences. So let us have fewer and longer symbols: **tokens**. What should be a token?
# Every word? Then a new name would be a token that the model has never seen. The answer of nearly
# all models of today lies between: begin with bytes, and join what is often together.
#
# ## Byte-pair encoding
#
# **Byte-pair encoding**, **BPE** for short, goes like this (Gage 1994 for compression, Sennrich and
# others 2016 for language):
#
# 1. Cut the text into bytes.
# 2. Find the pair of neighbours that is most frequent. Give it a new number; write that wherever
#    the pair stands.
# 3. Go to 2, until there are as many tokens as you want.
#
# By hand, on a few words:


# %%
def merge(ids, pair, new):
    """Write `new` wherever the two ids of the pair stand side by side."""
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


ids = list(b"that cat sat at the mat that the hen ate")
names = {byte: chr(byte) for byte in range(256)}
print(len(ids), "tokens:", "|".join(names[i] for i in ids))
for new in range(256, 261):
    pair, count = Counter(pairwise(ids)).most_common(1)[0]
    names[new] = names[pair[0]] + names[pair[1]]
    ids = merge(ids, pair, new)
    print(
        len(ids),
        "tokens:",
        "|".join(names[i] for i in ids),
        f"   {names[new]!r} was there {count} times",
    )

# %% [markdown]
# ## A word at a time
#
# The last tokens begin in one word and end in another: `at the` is learned apart from `on the`
# and `in the`, so a model would have to learn three times what `the` is. So the text is cut into
# words first, and pairs are counted within them only. Each word takes the space before it along:
# so ` cat` is one word, and the text is just the words written one after the other.


# %%
WORD = re.compile(
    r"""
    '(?:s|t|re|ve|m|ll|d)     # the end of it's, don't, you're, ...
    |[ ]?[^\W\d_]+            # letters, with a space before them if there is one
    |[ ]?\d+                  # digits, likewise
    |[ ]?(?:[^\s\w]|_)+       # punctuation (neither blank, letter nor digit), likewise
    |\s+(?!\S)|\s+            # blanks; of several, a last space is left to the word after it
    """,
    re.VERBOSE,
)
words = Counter(word for story in train for word in WORD.findall(story))
print(f"{words.total():,} words, {len(words):,} different ones:", words.most_common(8))

# %% [markdown]
# That also makes it fast: a word that stands there 3,000 times is looked at once, and counts
# 3,000 times.
#
# Numbers are given out so: 0, 1, 2 are special tokens (1 begins a story and 2 ends it; more
# below), byte $b$ is $3 + b$, and joined tokens follow from 259 on.


# %%
def learn(words, size):
    """The pairs to join, in order, until there are `size` tokens."""
    spelled = [
        ([3 + byte for byte in word.encode("utf-8")], count) for word, count in words.items()
    ]
    merges = {}
    for new in range(3 + 256, size):
        pairs = Counter()
        for ids, count in spelled:
            for pair in pairwise(ids):
                pairs[pair] += count
        # the most frequent; of two alike, the one with the smaller ids
        best = max(pairs, key=lambda pair: (pairs[pair], (-pair[0], -pair[1])))
        merges[best] = new
        spelled = [
            (merge(ids, best, new) if best[0] in ids else ids, count) for ids, count in spelled
        ]
    return merges


SIZE = 1024
merges = learn(words, SIZE)


def spelling(merges):
    """The bytes that each token stands for."""
    pieces = [b"", b"", b"", *(bytes([byte]) for byte in range(256))]
    for left, right in merges:
        pieces.append(pieces[left] + pieces[right])
    return pieces


pieces = spelling(merges)
print("the first:", [piece.decode() for piece in pieces[259:279]])
print("the last: ", [piece.decode() for piece in pieces[-12:]])

# %% [markdown]
# First it found the parts of words, at the end whole words. Nobody told it what a word ending is,
# or a name.
#
# ## Encode and decode
#
# To **encode** a text: cut it into words, each word into bytes, and join pairs *in the order in
# which they were learned*. To **decode** is easier: look up the bytes of each token and put them
# in a row.


# %%
def encode(text, merges):
    ids = []
    for word in WORD.findall(text):
        part = [3 + byte for byte in word.encode("utf-8")]
        while len(part) > 1:
            # of all pairs the one that was learned first: its new id is the smallest
            pair = min(pairwise(part), key=lambda pair: merges.get(pair, math.inf))
            if pair not in merges:
                break  # nothing is left to join
            part = merge(part, pair, merges[pair])
        ids += part
    return ids


def decode(ids, pieces):
    return b"".join(pieces[i] for i in ids).decode("utf-8", errors="replace")


for text in ("Once upon a time", "Zebra zebra", "café 日本 😀", ""):
    ids = encode(text, merges)
    assert decode(ids, pieces) == text
    print(repr(text), "->", ids)

# %% [markdown]
# Every text comes back as it was, Japanese and smileys too, which are in none of the tales: at
# worst they cost a token a byte.
#
# Why in the order in which they were learned? A token is made of two that were learned before it.
# Whoever joins other pairs first may never get these two, and the word falls into other tokens
# than those in which the model has always seen it:


# %%
def joined(word, choose):
    """The tokens of a word, if `choose` says which pair to join next."""
    part = [3 + byte for byte in word.encode("utf-8")]
    while pairs := [pair for pair in pairwise(part) if pair in merges]:
        pair = choose(pairs)
        part = merge(part, pair, merges[pair])
    return [pieces[i].decode() for i in part]


for word in (" lived", " house", " sheep"):
    in_order = joined(word, lambda pairs: min(pairs, key=merges.get))
    print(in_order, " joined from the left:", joined(word, lambda pairs: pairs[0]))

# %% [markdown]
# Here is a tale as the model will see it, a box for each token:


# %%
def draw(ids, pieces, columns=105):
    """Each token in a box, in lines of so many characters."""
    column = line = 0
    figure, axes = plt.subplots(figsize=(10, 3))
    for number, i in enumerate(ids):
        text = pieces[i].decode("utf-8", "replace").replace(" ", "␣").replace("\n", "⏎")
        if column + len(text) > columns:
            column, line = 0, line + 1
        color = ["#f6d5d9", "#dfe3ea", "#d3e0ec"][number % 3]
        axes.add_patch(plt.Rectangle((column, -line - 0.42), len(text) - 0.08, 0.84, color=color))
        axes.text(
            column + len(text) / 2,
            -line,
            text,
            ha="center",
            va="center",
            family="monospace",
            fontsize=10,
        )
        column += len(text)
    axes.set(xlim=(0, columns), ylim=(-line - 0.6, 0.6))
    axes.axis("off")
    figure.set_size_inches(10, 0.3 * (line + 2))
    axes.set_title(f"{len(ids)} tokens for {sum(len(pieces[i]) for i in ids)} bytes")
    plt.show()


opening = validation[0][:330]
draw(encode(opening, merges), pieces)
draw(encode("Teh ctaerpillar ate strawberries; 'Strawberries!' 1984", merges), pieces)

# %% [markdown]
# What is frequent is one token; what is rare, misspelled or shouted falls into many. And a word
# within a sentence is another token than the same word at its beginning:

# %%
print([(text, encode(text, merges)) for text in (" the", "The", " cat", "cat", "Cat")])

# %% [markdown]
# To a model these are as different as any two words, until it has learned otherwise.
#
# ## Is it right?
#
# tinybuddy learns its tokens with a library (Hugging Face's `tokenizers`). Where two pairs are
# equally frequent it may choose another, so the two lists need not be the same to the last. But
# with *the same* list, encoding leaves no choice: then all ids must agree.

# %%
import json

from tinybuddy.tokenizer.layout import byte_alphabet
from tinybuddy.tokenizer.training import train_tokenizer

theirs = train_tokenizer(train, SIZE)

# The library writes each byte as a printable character; we turn them back into ids.
byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
id_of = {bytes([byte]): 3 + byte for byte in range(256)}
their_merges = {}
for left, right in json.loads(theirs.to_json())["model"]["merges"]:
    left, right = (bytes(byte_of[c] for c in part) for part in (left, right))
    new = id_of[left + right] = 259 + len(their_merges)
    their_merges[id_of[left], id_of[right]] = new

same = sum(encode(story, their_merges) == theirs.encode(story) for story in validation)
common = {*pieces[3:]} & {*spelling(their_merges)[3:]}  # all but the three special tokens
print(f"The same ids for {same} of {len(validation)} tales.")
print(f"{len(common):,} of {SIZE - 3:,} tokens are in both lists.")

# %% [markdown]
# ## How many tokens?
#
# More tokens make the text shorter, so the same context holds more of the story. But each token
# brings a row of numbers into the model (its embedding, chapter 3), and the rarer a token, the
# less there is to learn about it.

# %%
sizes = [259, 300, 400, 512, 700, 1024]
text = "".join(validation[:10])
size_of_text = len(text.encode("utf-8"))
lengths = []
for size in sizes:
    some = {pair: new for pair, new in merges.items() if new < size}
    lengths.append(size_of_text / len(encode(text, some)))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.plot(sizes, lengths, "o-")
left.set(xlabel="tokens in the vocabulary", ylabel="bytes a token, on average", ylim=(0, None))
left.set_title("More tokens, shorter texts")
used = Counter(i for story in train for i in encode(story, merges))
right.loglog(range(1, len(used) + 1), sorted(used.values(), reverse=True))
right.set(xlabel="tokens, the most frequent first", ylabel="times it occurs")
right.set_title("and most of them are rare")
plt.show()
print(f"{SIZE - 3 - len(used)} of the tokens never occur in the training text.")

# %% [markdown]
# Those are mostly bytes that English does without, and parts that were swallowed by longer
# tokens.
#
# ## What a loss means, and what not
#
# Train one model on bytes, another on tokens, and compare how surprised each is *per token*. That
# is like comparing two prices without the currency: a token that stands for four bytes may well
# cost more. Let us count pairs of tokens, as in chapter 1, for several vocabularies:


# %%
def score(some):
    """Bits per token and per byte of a model that counts pairs of tokens."""
    single, pairs = Counter(), defaultdict(Counter)
    for story in train[:300]:
        ids = [1, *encode(story, some), 2]  # the beginning of a story, and its end
        single.update(ids[1:])
        for left, right in pairwise(ids):
            pairs[left][right] += 1
    bits = tokens = size = 0
    vocabulary = 259 + len(some)
    for story in validation[:20]:
        ids = [1, *encode(story, some), 2]
        for left, right in pairwise(ids):
            p = (single[right] + len(single) / vocabulary) / (single.total() + len(single))
            seen = pairs[left]
            if seen:
                p = (seen[right] + len(seen) * p) / (seen.total() + len(seen))
            bits -= math.log2(p)
        tokens += len(ids) - 1
        size += len(story.encode("utf-8")) + 1
    return bits / tokens, bits / size


scored = [score({pair: new for pair, new in merges.items() if new < size}) for size in sizes]
per_token, per_byte = zip(*scored, strict=True)
plt.plot(sizes, per_token, "o-", color="C1", label="bits per token")
plt.plot(sizes, per_byte, "o-", color="C0", label="bits per byte")
plt.xlabel("tokens in the vocabulary")
plt.ylabel("surprise at tales not seen")
plt.ylim(0, None)
plt.legend()
plt.title("By the grey line the models get worse; they get better")
plt.show()

# %% [markdown]
# The text is the same, and so are the stories that were counted. Per token the model with 1,024
# tokens looks worst; per byte it is the best by far, since a pair of its tokens reaches further
# back. A training program prints its **loss** per token, and mostly in **nats**: the same
# surprise, by the natural logarithm, $-\ln p$. One nat is $1 / \ln 2 \approx 1.44$ bits. Bits per
# byte make all comparable, and that is why we use nothing else.
#
# ## Special tokens
#
# Some tokens stand for no text. `<bos>`, 1, begins a story: it is what the model sees when it has
# seen nothing yet. `<eos>`, 2, ends it: the model says that by itself when it is done. `<pad>`,
# 0, fills up rows. In `pieces` they have no bytes. If somebody writes `<eos>` in a story, it must
# stay five characters: else a text from a stranger could end your story.

# %%
print("as text:", encode("<eos>", merges), " the special token:", 2)

# %% [markdown]
# ## Exercises
#
# **1. Currencies.** A training program says that its loss is so many nats per token, on a text of
# so many tokens and so many bytes (the ends of stories are counted in both). What are the bits
# per byte?


# %% tags=["exercise"]
def to_bits_per_byte(nats_per_token, tokens, size):
    """Bits per byte, from the loss in nats per token."""
    return nats_per_token


# %%
course.check(to_bits_per_byte)

# %% [markdown]
# **2. Half a character.** A model writes token by token, and a token may end within a character:
# the bytes of 😀 may come in two tokens. A program that prints as it goes must hold back what is
# not complete. Split the bytes: the text that is complete, and the bytes to keep until more come.
# The naive form loses them. (`"é".encode("utf-8")` has two bytes; a first byte below 128 stands
# alone, from 192 on it has one follower, from 224 on two, from 240 on three. All bytes given are
# the beginning of correct UTF-8.)


# %% tags=["exercise"]
def whole_characters(data):
    """The text of the complete characters, and the bytes that are left over."""
    return data.decode("utf-8", errors="ignore"), b""


# %%
course.check(whole_characters)

# %% [markdown]
# **3. Fewest tokens.** BPE joins what it learned first, and so does not always find the shortest
# spelling. With the tokens `a b c ab bcc`, how do you write `abcc`? Whoever takes the longest
# token from the left takes `ab`, `c`, `c`; but `a`, `bcc` is shorter. Find the smallest number of
# tokens for any text. (Hint: if you know the answer for each beginning of the text that is
# shorter, the next one is easy.) The form below takes the longest each time.


# %% tags=["exercise"]
def fewest_tokens(text, vocabulary):
    """Least number of tokens that spell the text; every single character of it is a token."""
    number = 0
    while text:
        longest = max((token for token in vocabulary if text.startswith(token)), key=len)
        text = text[len(longest) :]
        number += 1
    return number


# %%
course.check(fewest_tokens)

# %% [markdown]
# ## Where this is in tinybuddy
#
# - `tinybuddy.tokenizer.Tokenizer` encodes and decodes; its `decode_stream` is the second
#   exercise, `tinybuddy.tokenizer.encode_story` puts `<bos>` and `<eos>` around a story.
# - `tinybuddy.tokenizer.training.train_tokenizer` learns the tokens; `tinybuddy.tokenizer.layout`
#   says which number is which.
# - `tinybuddy.tokenizer.unigram` is another kind, Unigram (Kudo 2018): it begins with too many
#   tokens, takes away those that save least, and spells a text by the most probable tokens. It
#   looks for the best spelling of the whole text, as the third exercise does.
# - `tinybuddy.scoring.score` turns the log-probabilities of tokens into bits per byte.
#
# ## On TinyStories
#
# There are more different words there, so as many tokens reach less far: with 1,024 tokens of
# byte-level BPE a token has 3.12 bytes, with 1,536 it has 3.46, with 2,048 it has 3.65.
# `tinybuddy-80k` takes 1,536 of Unigram, 3.62 bytes a token. Embeddings are then more than half
# of all its numbers, and yet a larger vocabulary with a smaller network inside scored better, up
# to a point.
