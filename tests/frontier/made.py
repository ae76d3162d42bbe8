"""Rows of a made-up study, as `tinybuddy.frontier.results.row_of` makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinybuddy.config import ModelConfig

METRICS = {
    "words.english": {"value": 0.9, "passed": False},
    "grammar.pairs": {"value": 0.8, "passed": True},
}


def row(hidden: int, bits: float, kind: str = "trial", **more: Any) -> dict[str, Any]:
    """A run of a width, which decides its parameters; its budget is a number of its own."""
    model = ModelConfig(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    values = {
        "study": "made",
        "kind": kind,
        "budget": model.parameters,
        "parameters": model.parameters,
        "model": asdict(model),
        "train": {},
        "fingerprint": f"{hidden}-{more.get('steps', 100)}-{kind}",
        "seed": 0,
        "data": "tales (built in)",
        "data_sha256": "0" * 64,
        "steps": 100,
        "tokens": 1000 * more.get("steps", 100),
        "bits_per_byte": bits,
        "bits_while_training": bits,
    }
    if kind == "final":
        values |= {
            "speaks_english": False,
            "metrics": METRICS,
            "stored": {
                name: {"bytes": model.parameters * size // 2, "bits_per_byte": bits + 0.01 / size}
                for name, size in (("float32", 8), ("int8", 2), ("int4", 1))
            },
            "sample": f"Once upon a time, there was a dog. It had {hidden} little cats at home.",
        }
    return values | more


def study(speaks_from: int = 32) -> list[dict[str, Any]]:
    """Trials of four budgets, and three seeds of the best of each."""
    rows = []
    for hidden in (8, 16, 32, 64):
        bits = 1 + 8 / hidden
        rows += [row(hidden, bits + 0.1 * n, fingerprint=f"trial-{hidden}-{n}") for n in range(5)]
        rows += [
            row(
                hidden,
                bits - 0.1 + 0.01 * seed,
                "final",
                steps=800,
                seed=seed,
                speaks_english=hidden >= speaks_from,
            )
            for seed in range(3)
        ]
    return rows


def written(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write them as a study does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(each, ensure_ascii=True) + "\n" for each in rows)
    path.write_text(text, encoding="utf-8")
    return path
