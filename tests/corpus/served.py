"""What a test of the hub reads: one file, served on this machine, and where its cache lies."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

from tinybuddy.corpus import hub, ranges

from .range_server import RangeServer

MIB = 1 << 20
CONTENT = random.Random(0).randbytes(3 * MIB + 5)
OTHER = random.Random(1).randbytes(len(CONTENT))
NAME, PATH = "somebody/stories", "data/train.txt"
TRIES = len(ranges.PAUSES) + 1
PATIENCE = 1.0  # seconds that must pass where the server keeps silent: enough for any good answer


def read(server: RangeServer, cache: Path, blocks: int | None = None) -> bytes:
    """What the first blocks hold, or all."""
    return b"".join(islice(hub.chunks(NAME, PATH, cache=cache, endpoint=server.url), blocks))


def part_of(cache: Path) -> Path:
    return cache / "hub" / "somebody--stories" / "main" / "data%2Ftrain.txt.part"


def note_of(cache: Path) -> Path:
    return part_of(cache).with_name("data%2Ftrain.txt.part.json")
