"""The batch of a step: crops of the training stories, a function of the seed and the step."""

from __future__ import annotations

import numpy as np

from tinybuddy.backends.interface import Ids
from tinybuddy.config import TrainConfig
from tinybuddy.corpus.packed import Tokens
from tinybuddy.tokenizer.layout import BOS

SHORTER = 4  # times, are short crops


class Batches:
    """Random crops of the training text, each a context and the token after it.

    With ``crops = "anywhere"`` each place is as likely as any other, and most crops hold the end of
    one story and the beginning of another. With ``"stories"`` a crop keeps within its story, unless
    that is too short: as when a story is scored or generated, nothing stands before its beginning.
    """

    def __init__(self, tokens: Tokens, config: TrainConfig, context: int) -> None:
        self.tokens, self.config, self.context = tokens, config, context
        if config.crops == "stories":
            self.begins = np.flatnonzero(tokens == BOS)
            self.sizes = np.diff(self.begins, append=len(tokens))

    def __call__(self, step: int) -> tuple[Ids, Ids]:
        """Inputs and targets of a step (0-based), each (batch_size, context).

        Those of a step of short crops are four times as many of a quarter of the context.
        A function of the seed and the step alone, so a resumed run sees what it would have seen.
        """
        random = np.random.Generator(np.random.PCG64([self.config.seed, step]))
        count, length = self.config.batch_size, self.context
        if self.config.short_crops and random.random() < self.config.short_crops:
            length = max(1, length // SHORTER)
            count *= SHORTER
        starts = self._starts(random, count, length)[:, np.newaxis]
        crops = self.tokens[starts + np.arange(length + 1)].astype(np.int64)
        return crops[:, :-1], crops[:, 1:]

    def _starts(self, random: np.random.Generator, count: int, length: int) -> Ids:
        last = len(self.tokens) - length - 1
        if self.config.crops == "anywhere":
            return random.integers(0, last + 1, size=count)
        # Begins outside of a story are moved to the nearest inside, so that its first and last
        # token are in as many crops as one in the middle, and those near them in up to twice
        # as many, instead of in one of a hundred.
        ends = np.cumsum(self.sizes + length)
        drawn = random.integers(0, ends[-1], size=count)
        story = np.searchsorted(ends, drawn, side="right")
        offset = drawn - ends[story] + self.sizes[story]  # from -length up to the story's end
        offset = np.clip(offset, 0, np.maximum(0, self.sizes[story] - length - 1))
        starts: Ids = np.minimum(self.begins[story] + offset, last)
        return starts
