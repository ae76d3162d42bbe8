"""A model of llama2.c: one made here, and the real one where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.llama2c_files import (
    LETTERS,
    PEERS,
    SHAPE,
    WORDS,
    model_bytes,
    tokenizer_bytes,
    vocabulary,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model with its tokenizer beside it."""
    path = tmp_path / "small.bin"
    path.write_bytes(model_bytes(SHAPE))
    (tmp_path / "tok280.bin").write_bytes(tokenizer_bytes(*vocabulary(WORDS + LETTERS)))
    return path


@pytest.fixture(scope="session")
def peer() -> Path:
    if not (PEERS / "stories260K.bin").is_file():
        pytest.skip("needs llama2.c's stories260K.bin and tok512.bin in shared/peers")
    return PEERS / "stories260K.bin"
