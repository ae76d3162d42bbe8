"""What takes the scorecard: anything that gives probabilities to text and can continue it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybuddy.backend import Runner
from tinybuddy.config import SampleConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluate.minimal_pairs import Pair
from tinybuddy.sampling import PCG32, sample
from tinybuddy.scoring import log_likelihoods
from tinybuddy.tokenizer import Codec

# Sums of float32 log-probabilities of the same tokens in another order differ by less, and any
# difference that means something is larger.
TIE_NATS = 1e-3
LOOK_EVERY = 16  # steps, to see how long the stories are


@dataclass(frozen=True)
class Subject:
    """A language model of whatever origin.

    Attributes:
        name: what the report calls it.
        runner: what computes it.
        tokenizer: its tokenizer.
        context: predictions that it makes at a time.
        parameters: trained numbers, each counted once.
        path: where it was read from, if it was read from a place.
    """

    name: str
    runner: Runner
    tokenizer: Codec
    context: int
    parameters: int
    path: Path | None = None

    def log_likelihoods(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Natural log-probability (texts,) of each text as the beginning of a story."""
        sequences = ([self.tokenizer.bos, *self.tokenizer.encode(text)] for text in texts)
        return log_likelihoods(self.runner, self.context, sequences)

    def prefers(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """1 (pairs,) where the good texts are together likelier than the bad, 0.5 for a tie."""
        sides = [text for pair in pairs for side in pair for text in side]
        found = iter(self.log_likelihoods(sides))
        margins = [
            sum(next(found) for _ in pair.good) - sum(next(found) for _ in pair.bad)
            for pair in pairs
        ]
        return np.array([0.5 if abs(m) < TIE_NATS else float(m > 0) for m in margins])

    def tell(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        characters: int,
        config: SampleConfig,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> list[str]:
        """Continue prompts, side by side where they have as many tokens.

        Args:
            prompts: how each story begins.
            seeds: of the random numbers of each, as ``tinybuddy generate --seed`` takes them.
            characters: a story that is as long, prompt aside, is not continued.
            config: how it is sampled.
            on_progress: called with the number of stories told.

        Returns:
            What follows each prompt, at most ``characters`` long.

        Raises:
            TinybuddyError: if the model's numbers are not finite.
        """
        begun = [[self.tokenizer.bos, *self.tokenizer.encode(prompt)] for prompt in prompts]
        told = [""] * len(prompts)
        rows = sorted(range(len(prompts)), key=lambda row: len(begun[row]))
        done = 0
        for _, group in groupby(rows, key=lambda row: len(begun[row])):
            on_progress(done)
            together = list(group)
            randoms = [PCG32(seeds[row]) for row in together]
            texts = self._continue([begun[row] for row in together], randoms, characters, config)
            for row, text in zip(together, texts, strict=True):
                told[row] = text
            done += len(together)
        return told

    def _continue(
        self, ids: list[list[int]], randoms: list[PCG32], characters: int, config: SampleConfig
    ) -> list[str]:
        """Continue rows of ids of one length in step; a row that has ended is dragged along."""
        # Some tokenizers strip what is decoded by itself, so the prompt stays before it.
        begun = [len(self.tokenizer.decode(row)) for row in ids]
        unfinished = set(range(len(ids)))
        stream, length, new = self.runner.stream(len(ids)), 0, np.array(ids)
        for step in range(characters):
            if length + new.shape[1] > self.context:
                stream, length = self.runner.stream(len(ids)), 0
                new = np.array(ids)[:, -max(1, self.context // 2) :]
            logits = stream.feed(new)
            length += new.shape[1]
            if not np.isfinite(logits).all():
                raise TinybuddyError(f"The logits of {self.name} are not finite: it is broken.")
            for row, random in enumerate(randoms):
                id = self.tokenizer.eos
                if row in unfinished:
                    seen = ids[row] if config.repetition_penalty != 1.0 else ()
                    id = sample(logits[row], config, random, seen)
                ids[row].append(id)
                if id == self.tokenizer.eos:
                    unfinished.discard(row)
            if step % LOOK_EVERY == 0:
                unfinished = {
                    row
                    for row in unfinished
                    if len(self.tokenizer.decode(ids[row])) - begun[row] < characters
                }
            if not unfinished:
                break
            new = np.array([row[-1:] for row in ids])
        texts = [self.tokenizer.decode(row) for row in ids]
        return [text[start:][:characters] for text, start in zip(texts, begun, strict=True)]
