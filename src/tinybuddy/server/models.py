"""The models that a server has, each loaded when it is first asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import cached_property

from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Backend
from tinybuddy.config import SampleConfig
from tinybuddy.errors import UsageError
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.formats.references import find, open_model, open_shape
from tinybuddy.formats.runs import name_of
from tinybuddy.server.errors import ApiError
from tinybuddy.tokenizer import PieceCodec

log = logging.getLogger(__name__)


class ServedModel:
    """A model with a back end for each engine thread.

    Attributes:
        name: what clients call it.
        files: what was read of it.
        backends: one for each engine thread.
    """

    def __init__(self, name: str, files: LoadedModel, threads: int) -> None:
        self.name, self.files = name, files
        self.backends: Sequence[Backend] = [
            open_backend(files.config, files.weights) for _ in range(threads)
        ]

    @cached_property
    def scorer(self) -> Backend:
        """One more back end, for log-probabilities, which so hold up no engine thread."""
        return open_backend(self.files.config, self.files.weights)

    @property
    def tokenizer(self) -> PieceCodec:
        """What its texts are encoded by."""
        return self.files.tokenizer

    @property
    def sample(self) -> SampleConfig:
        """How it is sampled unless a request says otherwise."""
        return self.files.sample

    @property
    def eos(self) -> int:
        """The id that ends a text."""
        return self.files.tokenizer.eos

    @property
    def context(self) -> int:
        """Tokens that it sees at a time."""
        return self.files.config.max_position_embeddings


class Models:
    """Models by their names.

    Attributes:
        since: when they were found, in seconds since 1970.
        vocab_size: tokens of the largest vocabulary.
    """

    def __init__(self, references: Sequence[str], threads: int) -> None:
        """Find the models, of which only shapes are read.

        Raises:
            UsageError: if there are none, or two of one name.
            TinybuddyError: if one is not there.
        """
        if not references:
            raise UsageError("There is no model to serve: name one.")
        self._threads = threads
        self._references: dict[str, str] = {}
        for reference in references:
            name = name_of(find(reference).path)
            if self._references.setdefault(name, reference) != reference:
                raise UsageError(
                    f"{reference} and {self._references[name]} have one name, {name}: serve one."
                )
        self.since = int(time.time())
        self.vocab_size = max(open_shape(reference).vocab_size for reference in references)
        self._loaded: dict[str, ServedModel] = {}
        self._lock = asyncio.Lock()

    @property
    def names(self) -> list[str]:
        """Names of all, the default first."""
        return list(self._references)

    def check(self, name: str | None) -> str:
        """Return the name of a model, without one the default's.

        Raises:
            ApiError: if there is no such model.
        """
        if name is None:
            return self.names[0]
        if name not in self._references:
            raise ApiError(
                404,
                f"There is no such model: there are {', '.join(self.names)}.",
                param="model",
                code="model_not_found",
            )
        return name

    async def get(self, name: str | None) -> ServedModel:
        """Return a model, loaded if it was not yet.

        Raises:
            ApiError: if there is no such model, or it cannot be loaded.
        """
        name = self.check(name)
        if found := self._loaded.get(name):
            return found
        async with self._lock:
            if name not in self._loaded:
                try:
                    self._loaded[name] = await asyncio.to_thread(self._load, name)
                except Exception as error:
                    log.error("%s cannot be loaded: %s", name, error)
                    raise ApiError(503, f"The model {name} cannot be loaded.") from None
        return self._loaded[name]

    def _load(self, name: str) -> ServedModel:
        return ServedModel(name, open_model(self._references[name]), self._threads)
