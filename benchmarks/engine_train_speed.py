"""Training speed of the engine against a bare PyTorch loop of the same model, one core.

    python benchmarks/engine_train_speed.py [--runs 5] [--steps 40] [--cores 2]

Both train the recipe `card` (batches of 32 x 128 random ids) in this process, in turn, so that
what else the machine does falls on both; the ratio is the median of the pairs' ratios. With
``--cores 2`` the engine's own gain from a second thread is measured the same way.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch

import tinybuddy
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.engine.library import load
from tinybuddy.engine.trainer import EngineTrainer
from tinybuddy.model import create_model

CONFIG, TRAIN = ModelConfig(), TrainConfig()
TOKENS = TRAIN.batch_size * CONFIG.max_position_embeddings


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Ten batches, which both go round."""
    random = np.random.default_rng(0)
    shape = (10, 2, TRAIN.batch_size, CONFIG.max_position_embeddings)
    return [(ids[0], ids[1]) for ids in random.integers(0, CONFIG.vocab_size, shape)]


def engine(threads: int) -> Callable[[int], None]:
    """Return what trains the engine for a number of steps."""
    trainer, data = EngineTrainer(CONFIG, replace(TRAIN, threads=threads), None), batches()

    def run(steps: int) -> None:
        for step in range(steps):
            trainer.step(*data[step % len(data)], 1e-3)

    return run


def bare_loop() -> Callable[[int], None]:
    """Return the fewest lines of PyTorch that train the same model."""
    model = create_model(asdict(CONFIG))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    data = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches()]

    def run(steps: int) -> None:
        for step in range(steps):
            inputs, targets = data[step % len(data)]
            logits = model(inputs)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return run


def speed(run: Callable[[int], None], steps: int) -> float:
    """Tokens per second."""
    began = time.perf_counter()
    run(steps)
    return steps * TOKENS / (time.perf_counter() - began)


def compare(
    first: Callable[[int], None], second: Callable[[int], None], runs: int, steps: int
) -> tuple[float, float, float]:
    """Median speeds of both, taken in turn, and the median of first / second."""
    first(3), second(3)  # the first steps warm the allocators
    pairs = [(speed(first, steps), speed(second, steps)) for _ in range(runs)]
    one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return one, other, statistics.median(a / b for a, b in pairs)


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ours, theirs, ratio = compare(engine(1), bare_loop(), options.runs, options.steps)
    print(f"tinybuddy {tinybuddy.__version__} ({load().kernels})  {ours:>10,.0f} tokens/s")
    print(f"bare PyTorch {torch.__version__}  {theirs:>10,.0f} tokens/s")
    print(f"ratio {ratio:.2f} (median of {options.runs} pairs, {options.steps} steps each)")
    if options.cores > 1:
        many, one, ratio = compare(engine(options.cores), engine(1), options.runs, options.steps)
        print(f"{options.cores} threads {many:,.0f} tokens/s, one {one:,.0f}: ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
