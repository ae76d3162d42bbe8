"""Damaged model directories, loaded and told from: a story or one sentence, and nothing else.

    python -m tests.fuzz_models MODEL COUNT [SEED]

Each is a directory with one to three mutations: flipped bits, cut or repeated stretches, bytes of
another file, numbers and values of JSON replaced, sizes swapped, a lying header of the weights.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinybuddy
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.references import find_directory

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
VALUES: list[Any] = [
    *(None, True, False, "", "a", "\0", [], {}, [[]], {"a": {}}, [1] * 100, "x" * 10_000),
    *(0, 1, -1, 2, 3, 7, 48, 255, 65_535, 65_536, 2**31, 2**32 - 1, 2**63, 2**64, 10**30),
    *(0.0, 0.5, -1.5, 1e-320, 1e308, float("inf"), float("nan")),
]
MEGABYTES = 100  # that all cases together may grow by


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 8, 100))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def splice(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return rng.choice((data[:a] + data[b:], data[:b] + data[a:], data[:a] + rng.randbytes(b - a)))


def lie(data: bytes, rng: random.Random) -> bytes:
    """Change the length that the weights' header claims, or a number within the header."""
    size = rng.choice((0, 1, len(data), 2**20, 10 * 2**30, 2**63, 2**64 - 1))
    if rng.random() < 0.5:
        return size.to_bytes(8, "little") + data[8:]
    digits = [i for i, byte in enumerate(data[:2000]) if 48 <= byte <= 57]
    if not digits:
        return data
    at = rng.choice(digits)
    return data[:at] + bytes([rng.randrange(48, 58)]) + data[at + 1 :]


def replace_value(data: bytes, rng: random.Random) -> bytes:
    """Replace, drop or double one value of a JSON text, or nest it deeply."""
    try:
        root = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if rng.random() < 0.02:
        return b"[" * rng.choice((10, 1000, 100_000)) + data
    node, places = root, []
    while isinstance(node, dict | list) and node:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        places.append((node, key))
        node = node[key]
        if rng.random() < 0.3:
            break
    if not places:
        return data
    node, key = places[-1]
    if isinstance(node, dict) and rng.random() < 0.3:
        value = node.pop(key)
        if rng.random() < 0.5:
            node[rng.choice((key + "s", key.upper(), "x"))] = value
    else:
        node[key] = rng.choice(VALUES)
    return json.dumps(root).encode()


def swap_sizes(data: bytes, rng: random.Random) -> bytes:
    try:
        values = json.loads(data)
        keys = [k for k, v in values.items() if isinstance(v, int)]
        a, b = rng.sample(keys, 2)
    except (ValueError, AttributeError, RecursionError):
        return data
    values[a], values[b] = values[b], values[a]
    return json.dumps(values).encode()


MUTATIONS: dict[str, list[Callable[[bytes, random.Random], bytes]]] = {
    name: [flip, cut, splice, *((lie,) if name == "model.safetensors" else (replace_value,) * 3)]
    for name in FILES
}
MUTATIONS["config.json"].append(swap_sizes)


def mutated(whole: dict[str, bytes], rng: random.Random) -> dict[str, bytes | None]:
    """Return the files that differ; None for one that is missing."""
    changed: dict[str, bytes | None] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(FILES)
        data = changed.get(name, whole[name]) or b""
        kind = rng.random()
        if kind < 0.01:
            changed[name] = None
        elif kind < 0.03:
            changed[name] = whole[rng.choice(FILES)]
        else:
            changed[name] = rng.choice(MUTATIONS[name])(data, rng)
    return changed


def fuzz(model: Path, count: int, seed: int = 0) -> Counter[str]:
    """Load ``count`` damaged directories and tell from each; return how often each outcome came.

    Raises:
        AssertionError: if one raised anything but a TinybuddyError, or took too much memory.
    """
    whole = {name: (model / name).read_bytes() for name in FILES}
    outcomes: Counter[str] = Counter()
    tinybuddy.load(model).generate(max_new_tokens=3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, data in whole.items():
            (folder / name).write_bytes(data)
        for case in range(count):
            rng = random.Random(f"{seed}/{case}")
            changed = mutated(whole, rng)
            for name, data in changed.items():
                if data is None:
                    (folder / name).unlink()
                else:
                    (folder / name).write_bytes(data)
            try:
                tinybuddy.load(folder).generate("One day", max_new_tokens=3)
                outcomes["a model"] += 1
            except TinybuddyError as error:
                assert "\n" not in str(error).strip(), f"case {seed}/{case}: {error}"
                outcomes["one sentence"] += 1
            except BaseException as error:
                raise AssertionError(f"case {seed}/{case} ({[*changed]}): {error!r}") from error
            for name in changed:
                (folder / name).write_bytes(whole[name])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES, f"memory grew by {grown:.0f} MB"
    outcomes["MB more"] = round(grown)
    return outcomes


if __name__ == "__main__":
    model, count, *seed = sys.argv[1:]
    print(dict(fuzz(find_directory(model), int(count), int(seed[0]) if seed else 0)))
