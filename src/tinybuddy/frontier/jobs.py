"""What a worker does: trains a tokenizer or a run, or lets a model take the scorecard.

A job is a function of its arguments alone. All that it needs comes with it, the run so far
included, and all that came of it goes back, so it does not matter where it runs, or how often.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Stopped
from tinybuddy.config import Recipe
from tinybuddy.evaluation.evidence import Evidence
from tinybuddy.evaluation.session import take_scorecard, without_nan
from tinybuddy.exporters.golden import BITS, rounded
from tinybuddy.formats.compact import pack_compact
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.runs import best_checkpoint
from tinybuddy.progress import Hooks
from tinybuddy.scoring import score as bits_per_byte
from tinybuddy.training.checkpoint import read_metadata, read_metrics
from tinybuddy.training.dataset import Dataset, with_tokenizer_of
from tinybuddy.training.loop import fit
from tinybuddy.training.stop import Stop


@dataclass(frozen=True)
class Trained:
    """How far a run has come.

    Attributes:
        rows: of its evaluations, as ``metrics.jsonl`` has them.
        record: its ``run.json``, which has a ``result`` after the last step.
        run: its folder, packed.
    """

    rows: list[dict[str, Any]]
    record: dict[str, Any]
    run: bytes


@dataclass(frozen=True)
class Tokenized:
    """A text under a tokenizer.

    Attributes:
        changes: what `tinybuddy.training.dataset.Dataset.but` takes.
        notes: what is to be said of it.
    """

    changes: Mapping[str, Any]
    notes: Sequence[str]


class _Notes(Hooks):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


def tokenize(recipe: Recipe, dataset: Dataset) -> Tokenized:
    """Train the tokenizer of a recipe, and encode the stories of a dataset with it.

    Raises:
        TinybuddyError: as `tinybuddy.training.dataset.with_tokenizer_of` does.
    """
    hooks = _Notes()
    found = with_tokenizer_of(recipe, dataset, hooks)
    changes = {
        "tokenizer": found.tokenizer,
        "tokens": np.array(found.tokens),  # and no file of this machine
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
    }
    return Tokenized(changes, hooks.notes)


class _Until(Hooks):
    """Stops a run after the evaluation of a step."""

    def __init__(self, step: int, stop: Stop) -> None:
        self.step, self.stop = step, stop

    def on_evaluation(self, row: dict[str, Any], steps: int) -> None:
        """Stop it, if it has come so far; after the last step its whole score is still to come."""
        if self.step <= row["step"] < steps:
            self.stop()


def train(recipe: Recipe, dataset: Dataset, until: int, run: bytes = b"") -> Trained:
    """Train a run until it has been evaluated at a step.

    Args:
        recipe: of the run; ``until`` is a multiple of its ``eval_every``.
        dataset: from `tinybuddy.training.dataset.prepare`.
        until: the step.
        run: what `Trained.run` was before; empty to begin.

    Raises:
        TinybuddyError: as `tinybuddy.training.loop.fit` does.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, stop = Path(name), Stop()
        unpack(run, folder)
        with suppress(Stopped):
            fit(recipe, dataset, folder, _Until(until, stop), stop)
        return _trained(folder)


def open_trained(run: bytes) -> Trained:
    """Return how far a packed run has come."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        unpack(run, Path(name))
        return _trained(Path(name))


def _trained(folder: Path) -> Trained:
    return Trained(read_metrics(folder), read_metadata(folder), pack(folder))


def score(name: str, run: bytes, evidence: Evidence) -> dict[str, Any]:
    """Let the model of a finished run take the scorecard, and round its weights.

    Returns:
        ``speaks_english``; ``metrics``, of each value what it is, its 95 % interval, its bound and
        whether it passes; ``stored``, of each type of weights the bytes of the whole model as a
        file, or of the float32 weights alone, and its bits per byte; ``sample``, its first story.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        unpack(run, Path(folder))
        card, files = take_scorecard(folder, evidence), read_model(best_checkpoint(Path(folder)))
    stored, context = {}, files.config.max_position_embeddings
    for kind, bits in BITS.items():
        size = 4 * files.config.parameters if bits == 32 else len(pack_compact(files, bits))
        backend = open_backend(files.config, rounded(files, bits).weights)
        found = bits_per_byte(backend, files.tokenizer, context, evidence.validation)
        stored[kind] = {"bytes": size, "bits_per_byte": found.bits_per_byte}
    values = {name: value.to_mapping() for name, value in card.values().items()}
    return {
        "speaks_english": card.speaks_english,
        "metrics": without_nan(values),
        "stored": stored,
        "sample": card.stories[0].whole,
    }


def pack(folder: Path) -> bytes:
    """Return all files of a run as one ZIP archive, which is not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != ".lock":
                archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()


def unpack(run: bytes, folder: Path) -> None:
    """Write what `pack` returned, if anything."""
    if run:
        with zipfile.ZipFile(io.BytesIO(run)) as archive:
            archive.extractall(folder)
