"""A server that serves one file, an empty cache, and no way to anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.served import CONTENT
from tinybuddy.corpus import ranges

from .range_server import RangeServer


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with RangeServer(CONTENT) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known token, the network allowed, no proxy, no pauses."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setattr(ranges, "PAUSES", (0.0,) * len(ranges.PAUSES))
