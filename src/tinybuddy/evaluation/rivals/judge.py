"""The judge: an n-gram model of words that tells in which order English is more probable.

It judges the texts that a source tells, so that a source without probabilities of its own, such as
shuffled human text, can be judged too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.rivals.kneser_ney import count, estimate

ORDER = 4
MOST_WORDS = 20_000  # 5,000 stories of TinyStories have 12,000
JUDGED_STORIES = 5_000  # trained on: 1.1 million words, which take two seconds

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")  # noqa: RUF001


class _Words:
    """Words and marks as ids: beginning 1, end 2, unknown 3."""

    bos, eos, unknown = 1, 2, 3

    def __init__(self, stories: Iterable[str]) -> None:
        counts: Counter[str] = Counter()
        for story in stories:
            counts.update(_WORD.findall(story))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        self._ids = {word: id for id, word in enumerate(ranked[:MOST_WORDS], start=4)}
        self._words = list(self._ids)
        self.vocab_size = 4 + len(self._ids)

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(word, self.unknown) for word in _WORD.findall(text)]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.decode_stream(ids))

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        for id in ids:
            yield f" {self._words[id - 4]}" if id >= 4 else ""

    def lost_bytes(self, text: str, ids: Sequence[int]) -> int:
        return 0


def open_judge(stories: Sequence[str]) -> EvaluatedModel:
    """Learn from human stories; at most the first 5,000 are read."""
    stories = stories[:JUDGED_STORIES]
    codec = _Words(stories)
    ids = ([codec.bos, *codec.encode(story), codec.eos] for story in stories)
    model = estimate(count(ids, codec.vocab_size, ORDER))
    return EvaluatedModel("judge", model, codec, model.context, model.stored)
