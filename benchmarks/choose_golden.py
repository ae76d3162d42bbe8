"""Choose golden texts: continuations that engines agree on, though they differ in last digits.

    python benchmarks/choose_golden.py MODEL

Writes `tests/golden/greedy.json`, whose best token leads by at least 0.01 in logit at every step,
and `tests/golden/seeded.json`, whose draws stay the same when logits are shaken by up to 0.001.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinybuddy
from tinybuddy.config import SampleConfig
from tinybuddy.sampling import PCG32, sample
from tinybuddy.tokenizer.layout import BOS, EOS

PROMPTS = (
    "Once upon a time",
    "One day, a girl named Mia",
    "The big dog ran to",
    "Tom was sad because",
    "The café 日本 😀",
    "Ben and his mom went to the park.",
    "",
)
SETTINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.8, "top_k": 40},
    {"temperature": 0.8, "top_k": 0},
    {"temperature": 1.0, "top_k": 0, "top_p": 0.9},
    {"temperature": 1.2, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.2},
)
LEAD, LENGTH, CASES = 0.01, 40, 5
SHAKE, SHAKES, SEEDS = 0.001, 16, 50
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"

Choose = Callable[[NDArray[np.float32], list[int]], int | None]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    name = parser.parse_args().model
    model = tinybuddy.load(name, backend="torch")
    greedy = [
        {"prompt": prompt, "ids": ids}
        for prompt in PROMPTS
        if (ids := continued(model, prompt, leading))
    ]
    seeded = [case for how in SETTINGS for case in seeded_cases(model, how)]
    for file, golden in (
        ("greedy.json", {"model": name, "lead": LEAD, "cases": greedy[:CASES]}),
        ("seeded.json", {"model": name, "shake": SHAKE, "cases": seeded}),
    ):
        (GOLDEN / file).write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
        print(f"{file}: {len(golden['cases'])} cases")


def leading(logits: NDArray[np.float32], ids: list[int]) -> int | None:
    """Return the best token if it leads clearly."""
    second, first = np.sort(logits)[-2:]
    return int(logits.argmax()) if first - second >= LEAD else None


def seeded_cases(model: tinybuddy.Model, how: dict[str, Any]) -> list[dict[str, Any]]:
    """Continue the first and the oddest prompt with the first seed each that stands shaking."""
    cases = []
    for prompt in (PROMPTS[0], PROMPTS[4]):
        for seed in range(SEEDS):
            if ids := continued(model, prompt, firmly(SampleConfig(**how), seed)):
                cases.append({"prompt": prompt, "seed": seed, "settings": how, "ids": ids})
                break
    return cases


def firmly(config: SampleConfig, seed: int) -> Choose:
    """Return what draws with a seed, as long as shaken logits give the same."""
    random, noise = PCG32(seed), np.random.default_rng(seed)

    def choose(logits: NDArray[np.float32], ids: list[int]) -> int | None:
        before = random._state
        drawn = sample(logits, config, random, ids)
        after = random._state
        for _ in range(SHAKES):
            random._state = before
            if sample(logits + noise.uniform(-SHAKE, SHAKE, len(logits)), config, random, ids) != (
                drawn
            ):
                return None
        random._state = after
        return drawn

    return choose


def continued(model: tinybuddy.Model, prompt: str, choose: Choose) -> list[int]:
    """Continue a prompt; nothing if a choice is not clear, or the story ends early."""
    stream, ids = model.backend.stream(), [BOS, *model.tokenizer.encode(prompt)]
    begun, new = len(ids), ids
    while len(ids) < begun + LENGTH:
        (logits,) = stream.feed(np.array([new]))
        chosen = choose(logits, ids)
        if chosen is None or chosen == EOS:
            return []
        new = [chosen]
        ids = [*ids, chosen]
    return ids[begun:]


if __name__ == "__main__":
    main()
