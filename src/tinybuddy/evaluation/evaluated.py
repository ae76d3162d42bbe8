"""What takes the scorecard: anything that gives probabilities to text and can continue it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybuddy.backends.interface import Backend
from tinybuddy.config import SampleConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation.pairs import Pair
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.scoring import log_likelihoods
from tinybuddy.tokenizer import Codec

# Sums of float32 log-probabilities of the same tokens in another order differ by less, and any
# difference that means something is larger.
TIE_NATS = 1e-3
TOGETHER = 64  # stories generated side by side at most, which bounds the memory


@dataclass(frozen=True)
class EvaluatedModel:
    """A language model of whatever origin.

    Attributes:
        name: what the report calls it.
        backend: what computes it.
        tokenizer: its tokenizer.
        context: predictions that it makes at a time.
        parameters: trained numbers, each counted once.
        path: where it was read from, if it was read from a place.
    """

    name: str
    backend: Backend
    tokenizer: Codec
    context: int
    parameters: int
    path: Path | None = None

    def log_likelihoods(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Natural log-probability (texts,) of each text as the beginning of a story."""
        sequences = ([self.tokenizer.bos, *self.tokenizer.encode(text)] for text in texts)
        with self.named():
            return log_likelihoods(self.backend, self.context, sequences)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say of an error that it is this model's."""
        try:
            yield
        except TinybuddyError as error:
            raise type(error)(f"{self.name}: {error}") from None

    def prefers(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """1 (pairs,) where the good texts together are more probable; 0.5 for a tie."""
        sides = [text for pair in pairs for side in pair for text in side]
        found = iter(self.log_likelihoods(sides))
        margins = [
            sum(next(found) for _ in pair.good) - sum(next(found) for _ in pair.bad)
            for pair in pairs
        ]
        return np.array([0.5 if abs(m) < TIE_NATS else float(m > 0) for m in margins])

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        characters: int,
        config: SampleConfig,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> list[str]:
        """Continue prompts, side by side.

        Args:
            prompts: how each story begins.
            seeds: of the random numbers of each, as ``tinybuddy generate --seed`` takes them.
            characters: a story that is as long, prompt aside, is not continued.
            config: how it is sampled.
            on_progress: called with the number of stories begun.

        Returns:
            What follows each prompt, at most ``characters`` long.

        Raises:
            TinybuddyError: if the model's numbers are not finite.
        """
        texts: list[str] = []
        for first in range(0, len(prompts), TOGETHER):
            on_progress(first)
            some = slice(first, first + TOGETHER)
            texts += self._continue(prompts[some], seeds[some], characters, config)
        return texts

    def _continue(
        self, prompts: Sequence[str], seeds: Sequence[int], characters: int, config: SampleConfig
    ) -> list[str]:
        codec = self.tokenizer
        ids = [[codec.bos, *codec.encode(prompt)] for prompt in prompts]
        # Some tokenizers strip what is decoded by itself, so the prompt stays before it.
        begun = [len(codec.decode(row)) for row in ids]

        def is_short(row: int) -> bool:
            return len(codec.decode(ids[row])) - begun[row] < characters

        given = [tuple(row) for row in ids]
        with self.named():
            for row, new in continue_ids(
                self.backend, given, characters, config, seeds, codec.eos, is_short
            ):
                ids[row] += new
        texts = [codec.decode(row) for row in ids]
        return [text[start:][:characters] for text, start in zip(texts, begun, strict=True)]
