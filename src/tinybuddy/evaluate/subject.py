"""What takes the scorecard: anything that gives probabilities to text and can continue it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
        self, prompt: str, seeds: Sequence[int], characters: int, config: SampleConfig
    ) -> list[str]:
        """Continue a prompt once for each seed, side by side.

        Args:
            prompt: how each story begins.
            seeds: of the random numbers, as ``tinybuddy generate --seed`` takes them.
            characters: a story that is as long, prompt aside, is not continued.
            config: how it is sampled.

        Returns:
            What follows the prompt, at most ``characters`` long.

        Raises:
            TinybuddyError: if the model's numbers are not finite.
        """
        ids = [[self.tokenizer.bos, *self.tokenizer.encode(prompt)] for _ in seeds]
        randoms = [PCG32(seed) for seed in seeds]
        unfinished = set(range(len(seeds)))
        # Some tokenizers strip what is decoded by itself, so the prompt stays before it.
        begun = len(self.tokenizer.decode(ids[0]))
        stream, length, new = self.runner.stream(len(seeds)), 0, np.array(ids)
        for step in range(characters):
            if length + new.shape[1] > self.context:
                stream, length = self.runner.stream(len(seeds)), 0
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
                told = {row: len(self.tokenizer.decode(ids[row])) - begun for row in unfinished}
                unfinished = {row for row in unfinished if told[row] < characters}
            if not unfinished:
                break
            new = np.array([row[-1:] for row in ids])
        return [self.tokenizer.decode(row)[begun:][:characters] for row in ids]
