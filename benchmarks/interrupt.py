"""How long the engine goes on after Ctrl-C, in calls that would take seconds.

    python benchmarks/interrupt.py [--runs 20]

A signal reaches a step of training and a scoring after 0.1 to 0.5 s, drawn at random; the time from
it to the `KeyboardInterrupt` counts.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from tinybuddy.backends.engine.trainer import EngineTrainer
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.weights import random_weights

BAR = 0.2
CASES = {  # model, sequences in the batch
    "the card's shape": (ModelConfig(), 16000),
    "652,128 parameters": (ModelConfig(1024, 96, 384, 4, 4, 2, 128), 4000),
    "8,130,816 parameters": (ModelConfig(1024, 256, 1024, 8, 4, 2, 512), 200),
}


def seconds_to_end(call: Callable[[], object], after: float) -> float:
    """Interrupt a call and return how long it then went on."""
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, interrupt)
    timer.start()
    try:
        call()
        timer.cancel()
        sys.exit("A call ended before it was interrupted: give it more sequences.")
    except KeyboardInterrupt:
        return time.perf_counter() - sent[0]
    finally:
        timer.join()


def main() -> None:
    """Print the median and the worst for each model and call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    draw = random.Random(0)
    for case, (config, rows) in CASES.items():
        trainer = EngineTrainer(config, TrainConfig(threads=1), random_weights(config, 0, 0.02))
        shape = (2, rows, config.max_position_embeddings)
        inputs, targets = np.random.default_rng(0).integers(0, config.vocab_size, shape)
        calls: dict[str, Callable[[], object]] = {
            "step": lambda t=trainer, x=inputs, y=targets: t.step(x, y, 1e-3),
            "scoring": lambda t=trainer, x=inputs, y=targets: t.log_likelihoods(x, y),
        }
        for name, call in calls.items():
            times = [seconds_to_end(call, draw.uniform(0.1, 0.5)) for _ in range(runs)]
            print(
                f"{case + ', ' + name:<36}median {statistics.median(times) * 1e3:6.1f} ms"
                f"   worst {max(times) * 1e3:6.1f} ms   bar {BAR * 1e3:.0f} ms"
            )


if __name__ == "__main__":
    main()
