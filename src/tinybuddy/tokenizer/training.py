"""Tokenizers trained on stories."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Regex, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.assembly import (
    bare_bpe,
    bpe,
    byte_level_bpe,
    single_characters,
    unigram,
)
from tinybuddy.tokenizer.layout import LONGEST_TOKEN, SCORE_DECIMALS, SPECIAL, WORDS
from tinybuddy.tokenizer.unigram import train_unigram

# The text that merges are counted on is bounded, since counts settle early and the distinct words
# of a large corpus would fill the memory: at worst, text without spaces, 180 bytes a character.
MAX_TRAINING_CHARACTERS = 5_000_000
MAX_DISTINCT_WORDS = 50_000  # that Unigram looks at; all of TinyStories' are fewer
SEEN_ENOUGH = 0.999  # of the characters, for a Unigram model: Chinese has too many of them
TOKENS_TO_CHOOSE_AMONG = 1.5  # times as many as wanted; 3 times got the same bits per byte
SHORTEST_STEM = 4  # characters, the space before it being one
RAREST_STEM = 20  # times as rare as the word with its suffix


def train_tokenizer(
    stories: Iterable[str],
    vocab_size: int,
    kind: str = "bpe",
    alphabet: str = "bytes",
    alphabet_min_count: int = 1,
    suffixes: Sequence[str] = (),
) -> Tokenizer:
    """Train a vocabulary of at most ``vocab_size`` tokens from stories.

    Args:
        stories: training texts; at most the first 5 million characters are looked at.
        vocab_size: tokens at most, special ones included; a small text may give fewer.
        kind: ``bpe``, ``unigram`` or ``characters``. Where the characters are too many for
            ``unigram``, it is byte-level BPE.
        alphabet: of BPE, ``bytes`` or ``seen``; that of the other kinds is what is seen.
        alphabet_min_count: how often a character must stand in what is looked at to count as seen.
        suffixes: endings, such as ``s`` and ``ed``, that tokens of ``unigram`` leave apart.
    """
    stories = _bounded(stories, MAX_TRAINING_CHARACTERS)
    size = vocab_size - len(SPECIAL)
    if kind == "bpe" and alphabet == "bytes":
        backend = _train_byte_level_bpe(stories, size)
    else:
        stories = list(stories)
        words = _words(stories)
        counts = _characters(words)
        most = size if kind == "characters" else size // 2
        seen = [c for c, count in counts.items() if count >= alphabet_min_count][:most]
        share = sum(counts[c] for c in seen) / max(1, counts.total())
        if kind == "unigram" and share < SEEN_ENOUGH and size >= 256:
            backend = _train_byte_level_bpe(stories, size)
        else:
            backend = {
                "bpe": lambda: _train_bpe(stories, seen, size),
                "unigram": lambda: _train_unigram(stories, words, seen, size, suffixes),
                "characters": lambda: single_characters(seen),
            }[kind]()
    return Tokenizer(backend)


def _bounded(stories: Iterable[str], characters: int) -> Iterator[str]:
    for story in stories:
        yield story[:characters]
        characters -= len(story)
        if characters <= 0:
            return


def _words(stories: Iterable[str]) -> Counter[str]:
    """Words and their counts; they are cut as `WORDS` does, in what `re` knows of Unicode."""
    letters = r"[^\W\d_]"
    word = re.compile(rf"'(?:s|t|re|ve|m|ll|d)| ?{letters}+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
    counts: Counter[str] = Counter()
    for story in stories:
        counts.update(word.findall(story))
    return counts


def _characters(words: Mapping[str, int]) -> Counter[str]:
    """Characters and their counts, the most frequent first."""
    counts: Counter[str] = Counter()
    for word, often in words.items():
        for character in word:
            counts[character] += often
    # Ties by code point, so that the order of the stories does not matter.
    return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def _train_byte_level_bpe(stories: Iterable[str], size: int) -> Backend:
    learner = bare_bpe([], [], pre_tokenizers.ByteLevel(add_prefix_space=False))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return byte_level_bpe(_merges(learner, stories, vocab_size=size, initial_alphabet=alphabet))


def _train_bpe(stories: Iterable[str], characters: list[str], size: int) -> Backend:
    learner = bare_bpe([], [], pre_tokenizers.Split(Regex(WORDS), "isolated"))
    merges = _merges(
        learner,
        stories,
        vocab_size=size,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        max_token_length=LONGEST_TOKEN,
    )
    return bpe(characters, merges)


def _train_unigram(
    stories: Iterable[str],
    words: Counter[str],
    characters: list[str],
    size: int,
    suffixes: Sequence[str],
) -> Backend:
    """Choose among the tokens of a larger BPE.

    The library's own trainer begins with all substrings, and got 2.65 bytes a token of TinyStories
    where sentencepiece's gets 3.25, BPE 3.52 and this 3.62 (1,536 tokens).
    """
    larger = _train_bpe(stories, characters, round(size * TOKENS_TO_CHOOSE_AMONG))
    tokens = [token for token in larger.get_vocab(with_added_tokens=False) if token not in SPECIAL]
    known: Counter[str] = Counter()
    unknown = str.maketrans("", "", "".join({*"".join(words)} - {*characters}))
    for word, often in words.most_common(MAX_DISTINCT_WORDS):
        known[word.translate(unknown)] += often
    scores = train_unigram(_without_suffixes(known, suffixes), sorted(tokens), size)
    ranked = sorted(scores, key=lambda token: (len(token) > 1, -scores[token], token))
    return unigram((token, round(scores[token], SCORE_DECIMALS)) for token in ranked)


def _without_suffixes(words: Mapping[str, int], suffixes: Sequence[str]) -> Counter[str]:
    """Words and their counts; one that is another and a suffix counts as these two.

    So " dogs" is " dog" and "s", but " was" not " wa", nor " flower" " flow": the other must be a
    word as well, and not a much rarer one.
    """
    counts: Counter[str] = Counter()
    for word, often in words.items():
        for suffix in sorted(suffixes, key=len, reverse=True):
            stem = word.removesuffix(suffix)
            if (
                word != stem
                and len(stem) >= SHORTEST_STEM
                and words.get(stem, 0) * RAREST_STEM >= often
            ):
                counts[suffix] += often
                word = stem
                break
        counts[word] += often
    return counts


def _merges(learner: Backend, stories: Iterable[str], **settings: Any) -> list[tuple[str, str]]:
    learner.train_from_iterator(stories, trainers.BpeTrainer(show_progress=False, **settings))
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]
