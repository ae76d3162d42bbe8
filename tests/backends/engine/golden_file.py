"""Writes the golden texts' model and prompts as ``golden_main.c`` reads them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tinybuddy.backends.engine.abi import Config, Sampling
from tinybuddy.config import SampleConfig
from tinybuddy.formats.references import open_model
from tinybuddy.weights import weight_shapes

GOLDEN = Path(__file__).parents[2] / "golden"


def write_cases(path: Path) -> list[list[int]]:
    """Write them; return the ids that must come, a list for each text, greedy and then seeded."""
    model = open_model("tinybuddy-80k-card")
    names = ("greedy.json", "seeded.json")
    cases = [c for n in names for c in json.loads((GOLDEN / n).read_text("utf-8"))["cases"]]
    shapes = weight_shapes(model.config)
    with path.open("wb") as file:
        file.write(bytes(Config.of(model.config)) + struct.pack("=i", len(shapes)))
        for name in shapes:
            numbers = model.weights[name]
            file.write(struct.pack("=i", numbers.size) + numbers.tobytes())
        file.write(struct.pack("=i", len(cases)))
        for case in cases:
            how = SampleConfig(**case.get("settings", {"temperature": 0}))
            fields = {name: getattr(how, name) for name, _ in Sampling._fields_}
            prompt = [model.tokenizer.bos, *model.tokenizer.encode(case["prompt"])]
            file.write(bytes(Sampling(**fields)))
            numbers = [case.get("seed", 0), len(case["ids"]), len(prompt), *prompt]
            file.write(struct.pack(f"={len(numbers)}i", *numbers))
    return [case["ids"] for case in cases]
