"""A model that one can talk to: prompt in, stream of text out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Backend
from tinybuddy.config import ModelConfig, SampleConfig, last_half
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import UsageError
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.formats.references import open_model
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.generation.text import until
from tinybuddy.tokenizer import Codec

if TYPE_CHECKING:
    from tinybuddy.scoring import Score

MAX_NEW_TOKENS = 512  # four times the reference model's context; most stories end before 300


class Model:
    """A model, its tokenizer and what computes it; `load` makes one.

    Attributes:
        config: its shape.
        tokenizer: its tokenizer.
        sample_config: how it is sampled unless a call says otherwise.
        backend: what computes it.
        path: the directory or file that it was read from, if it was.
        on_note: called with what a reader should know of a story; by default it is logged.
    """

    def __init__(self, files: LoadedModel, backend: Backend) -> None:
        self.config: ModelConfig = files.config
        self.tokenizer: Codec = files.tokenizer
        self.sample_config: SampleConfig = files.sample
        self.backend = backend
        self.path = files.path
        self.on_note: Callable[[str], None] = _log

    def stream(
        self,
        prompt: str = "",
        *,
        seed: int = 0,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stop: str | Sequence[str] | None = None,
        **settings: Any,
    ) -> Iterator[str]:
        """Generate a story piece by piece; the first piece is the prompt.

        It ends where the story does, after ``max_new_tokens``, or before the text ``stop``. Past
        the context length the model goes on from the last half of what it has read, which is noted
        once through `on_note`.

        Args:
            prompt: how the story begins; empty begins a new one.
            seed: of the random numbers: the same seed gives the same story.
            max_new_tokens: tokens after the prompt at most.
            stop: a text that ends the story, or several; it is no part of the story.
            settings: fields of `SampleConfig`, such as ``temperature=0.5``.

        Raises:
            UsageError: for an unknown setting or an impossible value, before any token is drawn.
        """
        if not isinstance(prompt, str):
            raise UsageError(f"The prompt must be text, not {type(prompt).__name__}.")
        config = SampleConfig.from_mapping(
            {name: getattr(self.sample_config, name) for name in SampleConfig.__dataclass_fields__}
            | settings
        )
        if type(max_new_tokens) is not int or max_new_tokens < 0:
            raise UsageError(f"max_new_tokens must be 0 or more, not {max_new_tokens!r}.")
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise UsageError(f"seed must be a whole number from 0 to 2^63 - 1, not {seed!r}.")
        ids = [self.tokenizer.bos, *self.tokenizer.encode(prompt)]
        new = self._continue(ids, max_new_tokens, config, seed)
        if not prompt:  # some tokenizers begin a text with a space, which is no part of the story
            new = chain([self.tokenizer.bos], new)
        stops = [stop] if isinstance(stop, str) else list(stop or ())
        pieces = until(self.tokenizer.decode_stream(new), stops)
        return chain([prompt], pieces) if prompt else pieces

    def generate(self, prompt: str = "", **settings: Any) -> str:
        """Return the whole story, prompt first; takes and raises what `stream` does."""
        return "".join(self.stream(prompt, **settings))

    def score(self, stories: str | Iterable[str]) -> Score:
        """Bits and bytes of one story or several; `Score.bits_per_byte` is the headline."""
        from tinybuddy.scoring import score

        stories = [stories] if isinstance(stories, str) else stories
        context = self.config.max_position_embeddings
        return score(self.backend, self.tokenizer, context, stories)

    def _continue(
        self, ids: list[int], count: int, config: SampleConfig, seed: int
    ) -> Iterator[int]:
        """Yield new ids up to ``<eos>``, which is left out."""
        context, length = self.config.max_position_embeddings, len(ids)
        note = (
            f"(past the context of {context} tokens, the story goes on from the latest "
            f"{last_half(context)})"
        )
        noted = length > context and count > 0
        if noted:
            self.on_note(note)
        eos = self.tokenizer.eos
        for _, new in continue_ids(self.backend, [ids], count, config, [seed], eos):
            for id in new:
                if length > context and not noted:
                    noted = True
                    self.on_note(note)
                length += 1
                yield id


def load(model: str | Path = DEFAULT_MODEL, threads: int = 1, backend: str = "engine") -> Model:
    """Open a model.

    Args:
        model: a model directory, a run directory, whose latest checkpoint is taken, the name of a
            released model, or a llama2.c model: a file ``NAME.bin``, its tokenizer beside it.
        threads: of the processor, for scoring; PyTorch keeps this number for the whole process.
        backend: what computes: ``engine`` or ``torch``.

    Raises:
        UsageError: if there is no such back end.
        TinybuddyError: if there is no such model, it is damaged, or the back end is not installed.
    """
    files = open_model(model)
    return Model(files, open_backend(files.config, files.weights, threads, backend))


def _log(note: str) -> None:
    import logging  # 5 ms, which few stories need

    logging.getLogger("tinybuddy").warning("%s", note)
