"""Training speed of `tinybuddy train` against a bare PyTorch loop of the same model, one thread.

    python benchmarks/train_speed.py [--runs 5] [--steps 100]

Both train the recipe `card` (batches of 32 x 128) in this process, in turn, so that what else the
machine does falls on both. Ours is a whole run, of which the steps count and the evaluation and the
checkpoints do not, as `tokens_per_second` in `tinybuddy train --json` counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

import tinybuddy
from tinybuddy.config import load_recipe
from tinybuddy.model import create_model
from tinybuddy.terminal import Watcher


def bare_loop(steps: int) -> float:
    """Tokens per second of the fewest lines that train the same model."""
    recipe = load_recipe("card")
    batch_size, context = recipe.train.batch_size, recipe.model.max_position_embeddings
    model = create_model(asdict(recipe.model))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
    tokens = torch.randint(recipe.model.vocab_size, (1_000_000,))
    offsets = torch.arange(context + 1)
    began = time.perf_counter()
    for _ in range(steps):
        crops = tokens[torch.randint(len(tokens) - context, (batch_size, 1)) + offsets]
        logits = model(crops[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), crops[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return steps * batch_size * context / (time.perf_counter() - began)


def our_run(steps: int) -> float:
    """Tokens per second of `tinybuddy train`."""
    with tempfile.TemporaryDirectory() as folder:
        run = tinybuddy.train(
            "card",
            data="tales",
            stories=500,
            steps=steps,
            eval_every=steps,
            eval_stories=1,
            out=Path(folder) / "run",
            watcher=Watcher(),
        )
        return float(run.result["tokens_per_second"])


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bare_loop(10)  # the first steps warm the allocator
    pairs = [(our_run(options.steps), bare_loop(options.steps)) for _ in range(options.runs)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"tinybuddy {tinybuddy.__version__}     {ours:>10,.0f} tokens/s")
    print(f"bare PyTorch {torch.__version__}  {bare:>10,.0f} tokens/s")
    print(f"ratio {ratio:.2f} (median of {options.runs} pairs, {options.steps} steps each)")


if __name__ == "__main__":
    main()
