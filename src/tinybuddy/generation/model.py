"""A model that one can talk to: prompt in, stream of text out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Backend
from tinybuddy.config import ModelConfig, SampleConfig, last_half, whole_number
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.disk import expanded
from tinybuddy.errors import TinybuddyError, TinybuddyWarning, UsageError
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.references import open_model
from tinybuddy.formats.runs import name_of
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.generation.text import until
from tinybuddy.tokenizer import Codec, unknown_characters

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
        on_note: called with what a reader should know of a story; by default it is a
            `TinybuddyWarning`.

    Examples:
        >>> tinybuddy.load("tinybuddy-60k")
        <Model tinybuddy-60k: 59,832 parameters, context 128 tokens>
    """

    def __init__(
        self, files: LoadedModel, backend: Backend, opened: tuple[int, str] = (1, "engine")
    ) -> None:
        """Take what `tinybuddy.formats` has read; ``opened`` is how to open such a back end."""
        self._files, self._opened = files, opened
        self.config: ModelConfig = files.config
        self.tokenizer: Codec = files.tokenizer
        self.sample_config: SampleConfig = files.sample
        self.backend = backend
        self.path = files.path
        self.on_note: Callable[[str], None] = _warn

    @property
    def parameters(self) -> int:
        """All trained numbers, each counted once."""
        return self.config.parameters

    @property
    def name(self) -> str:
        """A released name, or that of its run, directory or file, of a file without the ending."""
        return name_of(self.path) if self.path else "a model"

    def __repr__(self) -> str:
        context = self.config.max_position_embeddings
        return f"<Model {self.name}: {self.parameters:,} parameters, context {context} tokens>"

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = {name: array.copy() for name, array in self._files.weights.items()}
        return _open, (replace(self._files, weights=arrays), *self._opened)

    def save(self, path: str | Path) -> Path:
        """Write it as a directory that `load` and transformers open.

        Args:
            path: of the directory; files of a model that is there are replaced.

        Returns:
            ``path``.

        Raises:
            TinybuddyError: if its tokenizer is not of this package, or it cannot be written.

        Examples:
            >>> folder = tinybuddy.load().save("my-model")
            >>> tinybuddy.load(folder).name
            'my-model'
        """
        from tinybuddy.formats.hub import write_model

        if not isinstance(self._files, ModelFiles):
            raise TinybuddyError(
                f"{self.name} has a tokenizer of llama2.c, for which there is no such directory."
            )
        folder = expanded(path)
        write_model(folder, self._files)
        return folder

    def stream(
        self,
        prompt: str = "",
        *,
        seed: int | None = 0,
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
            seed: of the random numbers: the same seed gives the same story; None draws one.
            max_new_tokens: tokens after the prompt at most.
            stop: a text that ends the story, or several; it is no part of the story.
            settings: fields of `SampleConfig`, such as ``temperature=0.5``; by default those of
                `sample_config`.

        Returns:
            Texts that, joined, are the story; none ends within a character.

        Raises:
            UsageError: for an unknown setting or an impossible value, before any token is drawn.

        Examples:
            >>> model = tinybuddy.load()
            >>> list(model.stream("One day", seed=1, max_new_tokens=6))
            ['One day', ',', ' a', ' girl', ' name', 'd', ' Lily']
        """
        if not isinstance(prompt, str):
            raise UsageError(f"The prompt must be text, not {type(prompt).__name__}.")
        config = SampleConfig.from_mapping(
            {name: getattr(self.sample_config, name) for name in SampleConfig.__dataclass_fields__}
            | settings
        )
        max_new_tokens = whole_number("max_new_tokens", max_new_tokens, 0, 2**62)
        seed = random_seed() if seed is None else whole_number("seed", seed, 0, 2**63 - 1)
        stops = [stop] if isinstance(stop, str) else stop or []
        if not (isinstance(stops, Sequence) and all(isinstance(text, str) for text in stops)):
            raise UsageError(f"stop must be a text or several, not {stop!r}.")
        encoded = self.tokenizer.encode(prompt)
        ids = [self.tokenizer.bos, *encoded]
        if unknown := unknown_characters(self.tokenizer, prompt, encoded):
            self.on_note(f"(the model does not know {unknown}, and skips it)")
        new = self._continue(ids, max_new_tokens, config, seed)
        if not prompt:  # some tokenizers begin a text with a space, which is no part of the story
            new = chain([self.tokenizer.bos], new)
        pieces = until(self.tokenizer.decode_stream(new), stops)
        return chain([prompt], pieces) if prompt else pieces

    def generate(self, prompt: str = "", **settings: Any) -> str:
        """Return the whole story, prompt first; takes and raises what `stream` does.

        Examples:
            >>> tinybuddy.load().generate("Once upon a time", stop=".", temperature=0)
            'Once upon a time, there was a little girl named Lily'
        """
        return "".join(self.stream(prompt, **settings))

    def score(self, stories: str | Iterable[str]) -> Score:
        """Say how well the model predicts one story or several, each by itself.

        Args:
            stories: a text, or texts.

        Returns:
            Bits and bytes of each; `Score.bits_per_byte` is the headline.

        Raises:
            UsageError: for what is no Unicode text.
            TinybuddyError: without a story, or if the model's probabilities are not numbers.

        Examples:
            >>> model = tinybuddy.load()
            >>> good = model.score("Once upon a time, a dog found a ball.")
            >>> bad = model.score("Time a upon once, ball a found dog a.")
            >>> good.bits_per_byte < bad.bits_per_byte
            True
        """
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
            f"(the story is longer than the {context} tokens that the model sees at a time, its "
            f"context: it went on from the last {last_half(context)})"
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
            released model, a compact file ``NAME.buddy``, or a llama2.c model: a file ``NAME.bin``,
            its tokenizer beside it. By default it is ``tinybuddy-80k``.
        threads: of the processor, for scoring; PyTorch keeps this number for the whole process.
        backend: what computes: ``engine`` or ``torch``.

    Raises:
        UsageError: if there is no such back end.
        TinybuddyError: if there is no such model, it is damaged, or the back end is not installed.

    Examples:
        >>> tinybuddy.load("tinybuddy-60k-int4").parameters
        59832
    """
    return _open(open_model(model), threads, backend)


def random_seed() -> int:
    """Return a seed that nobody can foretell; small enough to be typed again."""
    import secrets

    return secrets.randbits(32)


def _open(files: LoadedModel, threads: int, backend: str) -> Model:
    computing = open_backend(files.config, files.weights, threads, backend)
    return Model(files, computing, (threads, backend))


def _warn(note: str) -> None:
    warnings.warn(note, TinybuddyWarning, stacklevel=2)
