"""How long a whole `tinybuddy generate` takes, and how much memory a whole `tinybuddy train`.

    python benchmarks/cold_start.py [--runs 9] [--steps 50] [--json]

A process that generates 100 tokens, one of Python that does nothing, and one of transformers that
generates as many of the same model take turns; the median counts. The training is of the recipe
`card` on the built-in tales. This script imports nothing beyond Python, since a child's peak counts
its parent's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "tinybuddy-80k"
PROMPT, COUNT = "Once upon a time", 100
TRANSFORMERS = f"""
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
inputs = tokenizer({PROMPT!r}, return_tensors="pt", return_token_type_ids=False)
ids = model.generate(**inputs, max_new_tokens={COUNT}, do_sample=True, temperature=0.8, top_k=40)
print(tokenizer.decode(ids[0], skip_special_tokens=True))
"""
OF_EMPTY_BAR, OF_TRANSFORMERS_BAR, MEMORY_BAR = 10.0, 1 / 20, 120


def command() -> list[str]:
    """Return what starts this package: its command, or else the module."""
    script = Path(sys.executable).with_name("tinybuddy.exe" if os.name == "nt" else "tinybuddy")
    return [str(script)] if script.exists() else [sys.executable, "-m", "tinybuddy"]


def programs() -> dict[str, list[str]]:
    """Return the processes to compare; without transformers there are two."""
    generate = [*command(), "generate", PROMPT, "--model", MODEL, "--max-new-tokens", str(COUNT)]
    found = {"tinybuddy": generate, "empty Python": [sys.executable, "-c", "pass"]}
    if importlib.util.find_spec("transformers"):
        package = importlib.util.find_spec("tinybuddy")
        model = Path(package.submodule_search_locations[0]) / "models" / MODEL
        found["transformers"] = [sys.executable, "-c", TRANSFORMERS, str(model)]
    return found


def seconds(program: list[str]) -> float:
    """How long a process takes, from start to end."""
    began = time.perf_counter()
    subprocess.run(
        program,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    return time.perf_counter() - began


def training_megabytes(steps: int) -> float | None:
    """Peak memory of a training, where the system tells it of a child."""
    if not hasattr(os, "wait4"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        train = ["train", "--recipe", "card", "--data", "tales", "--steps", str(steps)]
        child = subprocess.Popen(
            [*command(), *train, "--out", str(Path(folder) / "run")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"The training ended with {child.returncode}.")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    """Print medians, ratios and the peak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    compared = programs()
    print(f"Python {sys.version.split()[0]}, {' '.join(command())}")
    for program in compared.values():
        seconds(program)  # the first time fills caches of files
    turns = [{n: seconds(p) for n, p in compared.items()} for _ in range(options.runs)]
    result: dict[str, object] = {}
    for name in compared:
        times = [turn[name] for turn in turns]
        result[name] = {"median": statistics.median(times), "best": min(times)}
        print(f"{name:<14}{statistics.median(times):>8.3f} s   best {min(times):.3f}")
    for other, bar in (("empty Python", OF_EMPTY_BAR), ("transformers", OF_TRANSFORMERS_BAR)):
        if other in compared:
            ratio = statistics.median(turn["tinybuddy"] / turn[other] for turn in turns)
            result[f"tinybuddy / {other}"] = ratio
            print(f"tinybuddy / {other}: {ratio:.3f}   bar {bar:g}, at most")
        else:
            print(f"missing: {other}")
    peak = training_megabytes(options.steps)
    result["train_megabytes"] = peak
    told = "not told by this system" if peak is None else f"{peak:.0f} MB"
    print(f"peak memory of {options.steps} steps of training: {told}   bar {MEMORY_BAR}, at most")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
