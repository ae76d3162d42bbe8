"""What tests of training share: a run that Ctrl-C ends, and what makes two runs the same."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tinybuddy.formats.references import find_directory
from tinybuddy.progress import Hooks
from tinybuddy.training.session import train


class Notes(Hooks):
    """Keeps the sentences that a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def weights_hash(run: Path) -> str:
    return hashlib.sha256((find_directory(run) / "model.safetensors").read_bytes()).hexdigest()


def interrupt_at(at: int, data: Path, out: Path, **changes: object) -> None:
    """Train the small model in ``out`` and press Ctrl-C in a step."""

    class Impatient(Hooks):
        def on_step(self, step: int, *_: object) -> None:
            if step == at:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(data=data, out=out, hooks=Impatient(), **SMALL | changes)
