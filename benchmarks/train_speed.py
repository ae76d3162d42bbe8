"""Training speed of the engine against PyTorch eager, and of two threads against one.

    python benchmarks/train_speed.py [--runs 5] [--steps 40] [--optimizer adamw]

Everything trains the shape of recipe `card` on batches of 32 x 128 random ids, in this process or
in workers of it. What is compared takes turns, so that what else the machine does falls on both;
the ratio is that of the medians. First one core: the engine and a bare PyTorch loop, pinned to it
where the system can. Then two: what two threads gain counts only beside what the machine gives to
two independent processes of one thread each in the same run, since shared cores give less than two.
Needs PyTorch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection

import numpy as np
import torch

from tinybuddy.backends.engine.library import kernels_of, load
from tinybuddy.backends.engine.trainer import EngineTrainer
from tinybuddy.backends.llama import create_model
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.training.provenance import provenance
from tinybuddy.weights import random_weights

CONFIG, BATCH = ModelConfig(), TrainConfig().batch_size
TOKENS = BATCH * CONFIG.max_position_embeddings

Run = Callable[[int], float]


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Ten batches, which all go round."""
    random = np.random.default_rng(0)
    shape = (10, 2, BATCH, CONFIG.max_position_embeddings)
    return [(ids[0], ids[1]) for ids in random.integers(0, CONFIG.vocab_size, shape)]


def engine(threads: int, optimizer: str) -> Run:
    """Return what trains the engine for a number of steps and tells the tokens per second."""
    train = TrainConfig(threads=threads, optimizer=optimizer)
    trainer, data = EngineTrainer(CONFIG, train, random_weights(CONFIG, 0, 0.02)), batches()

    def run(steps: int) -> float:
        began = time.perf_counter()
        for step in range(steps):
            trainer.step(*data[step % len(data)], 1e-3)
        return steps * TOKENS / (time.perf_counter() - began)

    return run


def eager() -> Run:
    """Return the same for the fewest lines of PyTorch that train this model with AdamW."""
    model = create_model(asdict(CONFIG))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    data = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches()]

    def run(steps: int) -> float:
        began = time.perf_counter()
        for step in range(steps):
            inputs, targets = data[step % len(data)]
            logits = model(inputs)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return steps * TOKENS / (time.perf_counter() - began)

    return run


def two_processes(optimizer: str) -> tuple[Run, Callable[[], None]]:
    """Return the same for two processes of one thread, their speeds added, and what ends them."""
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=_work, args=(end, optimizer)) for _, end in ends]
    for worker in workers:
        worker.start()

    def run(steps: int) -> float:
        for end, _ in ends:
            end.send(steps)
        return sum(float(end.recv()) for end, _ in ends)

    def stop() -> None:
        for end, _ in ends:
            end.send(0)
        for worker in workers:
            worker.join()

    return run, stop


def _work(end: Connection, optimizer: str) -> None:
    run = engine(1, optimizer)
    while steps := end.recv():
        end.send(run(steps))


def compare(runs: int, steps: int, **kinds: Run) -> dict[str, float]:
    """Median speed of each, in tokens per second, taken in turn."""
    for run in kinds.values():
        run(3)  # the first steps warm the allocators
    rows = [[run(steps) for run in kinds.values()] for _ in range(runs)]
    medians = map(statistics.median, zip(*rows, strict=True))
    return dict(zip(kinds, medians, strict=True))


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = provenance()
    print(
        f"{machine['processor']}, {machine['cores']} cores, kernels {kernels_of(load())}, "
        f"Python {platform.python_version()}, tinybuddy {machine['versions']['tinybuddy']} "
        f"({options.optimizer}), PyTorch {torch.__version__} eager (adamw); medians of "
        f"{options.runs} runs of {options.steps} steps in turn"
    )
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    kinds = {"engine": engine(1, options.optimizer), "eager": eager()}
    speeds = compare(options.runs, options.steps, **kinds)
    print(
        f"one core: engine {speeds['engine']:,.0f} tokens/s, PyTorch {speeds['eager']:,.0f}: ",
        end="",
    )
    print(f"ratio {speeds['engine'] / speeds['eager']:.2f}")
    if cores:
        os.sched_setaffinity(0, cores)
    if machine["cores"] < 2 or (cores and len(cores) < 2):
        return
    pair, stop = two_processes(options.optimizer)
    one, two = (engine(threads, options.optimizer) for threads in (1, 2))
    speeds = compare(options.runs, options.steps, one=one, two=two, processes=pair)
    stop()
    print(f"one thread {speeds['one']:,.0f} tokens/s, ", end="")
    print(f"two threads {speeds['two'] / speeds['one']:.2f} x, ", end="")
    print(f"two processes {speeds['processes'] / speeds['one']:.2f} x")


if __name__ == "__main__":
    main()
