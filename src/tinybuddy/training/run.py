"""A finished run, as `fit` and the verbs give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tinybuddy.formats.runs import best_checkpoint
from tinybuddy.generation.model import Model, load
from tinybuddy.training.checkpoint import read_metrics


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its directory.
        result: what ``tinybuddy train --json`` prints: among others ``bits_per_byte`` of the
            validation stories, ``parameters``, ``seconds`` and ``tokens_per_second``.

    Examples:
        >>> run = tinybuddy.train(data="tales", stories=100, steps=2, hidden_size=16, out="a-run")
        >>> run.result["parameters"], run.model.parameters
        (26416, 26416)
        >>> [row["step"] for row in run.metrics]
        [1, 2]
    """

    path: Path
    result: Mapping[str, Any]

    @cached_property
    def model(self) -> Model:
        """The trained model."""
        return load(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row an evaluation: step, loss, bits per byte, tokens per second, a sample."""
        return read_metrics(self.path)


def places(run: Path) -> dict[str, str]:
    """Where a result lies, as the run was named now."""
    return {"run": str(run), "model": str(best_checkpoint(run))}
