"""The processor's seconds that recipe `speedrun` needs, against those of `card` in PyTorch.

    python benchmarks/speedrun.py DATA [--seeds 0 1 2]

Both train in turn on the same core, in processes of their own, from reading the stories on, the
tokenizer included and evaluations not; both are scored on all of DATA's validation split. Needs
PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from decode_speed import use_one_core

from tinybuddy.training.provenance import provenance

KINDS = {"card": "torch", "speedrun": "engine"}  # recipe: back end
BAR = 1 / 4


def run(recipe: str, backend: str, data: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train once, and return what `tinybuddy train --json` prints."""
    command = [sys.executable, "-m", "tinybuddy", "train", "--json", "--data", data]
    command += ["--recipe", recipe, "--backend", backend, "--seed", str(seed)]
    command += ["--out", str(folder / f"{recipe}-{seed}"), "--set", "eval_every=1000000"]
    cache = {"TINYBUDDY_CACHE": str(folder / f"cache-{recipe}-{seed}")}  # all encode the stories
    done = subprocess.run(command, env=os.environ | cache, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.splitlines()[-1])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Print a line a run, then means and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    use_one_core()
    os.environ["RAYON_NUM_THREADS"] = "1"  # of the tokenizers library
    machine = provenance(True)
    print(f"{machine['processor']}, one core; {machine['versions']}; engine {machine['engine']}")
    found: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            for recipe, backend in KINDS.items():
                result = run(recipe, backend, options.data, seed, Path(scratch))
                found[recipe].append(result)
                print(
                    f"{recipe} ({backend}), seed {seed}: {result['bits_per_byte']:.4f} bits per "
                    f"byte, {result['cpu_seconds']:.1f} s",
                    flush=True,
                )
    for recipe, results in found.items():
        scores = [result["bits_per_byte"] for result in results]
        spread = f", standard deviation {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        seconds = statistics.median(result["cpu_seconds"] for result in results)
        print(f"{recipe}: mean {statistics.mean(scores):.4f}{spread}; median {seconds:.1f} s")
    pairs = zip(found["speedrun"], found["card"], strict=True)
    ratio = statistics.median(a["cpu_seconds"] / b["cpu_seconds"] for a, b in pairs)
    print(f"speedrun / card, processor's seconds: {ratio:.3f}, 1/{1 / ratio:.1f}   bar {BAR}")


if __name__ == "__main__":
    main()
