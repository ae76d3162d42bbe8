"""Decoding speed of the engine and of its peers, on one core, with the same weights.

    RUN_C=llama2.c/run.c python benchmarks/decode_speed.py [--runs 5] [--seconds 0.3]
                                          [--peers numpy,llama.cpp] [--model NAME] [--json]

All generate stories of a whole context from `<bos>`, drawing by temperature 0.8 alone and then from
the 40 best, and all are first checked to take the same best tokens as the engine. They take turns,
so that what else the machine does falls on all of them; the median counts, and the best is what an
idle core would give. A ratio is the median of the turns' ratios.

Peers: transformers, torch, numpy, llama.cpp (the extra `peers`) and llama2.c, whose
`run.c` is fetched by hand. What is not installed is left out, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuddy.config import SampleConfig
from tinybuddy.training.provenance import provenance

if TYPE_CHECKING:
    from peers.generators import Generator

SAMPLINGS = {
    "temperature": SampleConfig(temperature=0.8, top_k=0),
    "top-k 40": SampleConfig(temperature=0.8, top_k=40),
}
ENGINE, MANY = "engine, 1 text", "engine, 64 texts"
BARS = {"transformers": 100.0, "llama.cpp": 8.0, "numpy": 8.0, "llama2.c": 1.3}
MANY_BAR = 1.5

Rates = dict[tuple[str, str], list[float]]


def use_one_core() -> None:
    """Keep this process and its children on one core, and every library at one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


def find_peers(
    name: str, folder: Path, wanted: Sequence[str] | None
) -> tuple[dict[str, Generator], dict[str, str]]:
    """Return the wanted peers, made ready, and why others are missing."""
    from peers import generators  # after use_one_core, as NumPy starts its threads when imported

    from tinybuddy.formats.hub import read_model
    from tinybuddy.formats.references import find_directory

    path = find_directory(name)
    model = read_model(path)
    makers: dict[str, Callable[[], Generator]] = {
        "transformers": lambda: generators.Transformers(model, path),
        "torch": lambda: generators.Torch(model),
        "numpy": lambda: generators.Numpy(model),
        "llama.cpp": lambda: generators.LlamaCpp(model, folder),
        "llama2.c": lambda: generators.Llama2c(model, folder),
    }
    if unknown := set(wanted or ()) - set(makers):
        sys.exit(f"There is no peer {', '.join(sorted(unknown))}: {', '.join(makers)} are.")
    found: dict[str, Generator] = {
        ENGINE: generators.Engine(model),
        MANY: generators.Engine(model, texts=64),
        "engine int8, 1 text": generators.Engine(model, int8=True),
    }
    missing = {}
    for peer in makers if wanted is None else wanted:
        try:
            found[peer] = makers[peer]()
        except generators.MissingError as reason:
            missing[peer] = str(reason)
    return found, missing


def check(generators: dict[str, Generator]) -> None:
    """Leave with a sentence unless all take the same best tokens; the first story also warms."""
    greedy = SampleConfig(temperature=0.0)
    (expected,), _ = generators[ENGINE].generate(greedy, 0)
    for name, generator in generators.items():
        for ids in generator.generate(greedy, 0)[0]:
            if len(ids) != len(expected) or (generator.exact and ids != expected):
                sys.exit(f"{name} takes other best tokens than the engine: {ids} != {expected}")


def measure(generators: dict[str, Generator], runs: int, seconds: float) -> Rates:
    """Tokens per second of each generator and sampling, one a run."""
    rates: Rates = {}
    for run in range(runs):
        for sampling, sample in SAMPLINGS.items():
            for name, generator in generators.items():
                if generator.top_k or not sample.top_k:
                    _, speed = generator.generate(sample, 1000 * run, seconds)
                    rates.setdefault((name, sampling), []).append(speed)
    return rates


def ratios(rates: Rates, generators: dict[str, Generator]) -> list[dict[str, Any]]:
    """What one text is over each peer, and 64 over one, with the bars."""
    pairs = [(ENGINE, name, BARS.get(name)) for name in generators if not name.startswith("engine")]
    found = []
    for first, second, bar in [*pairs, (MANY, ENGINE, MANY_BAR)]:
        for sampling in SAMPLINGS:
            if (second, sampling) in rates:
                both = zip(rates[first, sampling], rates[second, sampling], strict=True)
                ratio = statistics.median(a / b for a, b in both)
                row = {"of": first, "over": second, "sampling": sampling, "ratio": ratio}
                found.append(row | {"bar": bar})
    return found


def main() -> None:
    """Print versions, the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tinybuddy-80k-card", help="a folder or released name")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each turn, at least")
    parser.add_argument("--peers", help="some of them, with commas between; '' for none")
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    use_one_core()
    wanted = None if options.peers is None else [n for n in options.peers.split(",") if n]
    with tempfile.TemporaryDirectory() as folder:
        generators, missing = find_peers(options.model, Path(folder), wanted)
        check(generators)
        rates = measure(generators, options.runs, options.seconds)
    machine = provenance()
    print(f"{machine['processor']}, one core; Python {platform.python_version()}")
    versions = {name: generator.version for name, generator in generators.items()}
    for name, version in versions.items():
        print(f"  {name:<22}{version}")
    if missing:
        print("missing: " + "; ".join(f"{name} ({why})" for name, why in missing.items()))
    print(f"\n{'tokens/s':<22}" + "".join(f"{f'{s}: median':>22}{'best':>11}" for s in SAMPLINGS))
    table = {}
    for name in generators:
        some = {s: rates[name, s] for s in SAMPLINGS if (name, s) in rates}
        table[name] = {s: {"median": statistics.median(r), "best": max(r)} for s, r in some.items()}
        cells = (f"{v['median']:>22,.0f}{v['best']:>11,.0f}" for v in table[name].values())
        print(f"{name:<22}" + "".join(cells))
    print()
    found = ratios(rates, generators)
    for row in found:
        bar = f"   bar {row['bar']:g}" if row["bar"] else ""
        print(f"{row['of']} / {row['over']}, {row['sampling']}: {row['ratio']:.2f}{bar}")
    if options.json:
        result = {"machine": machine, "versions": versions, "missing": missing}
        print(json.dumps(result | {"tokens_per_second": table, "ratios": found}))


if __name__ == "__main__":
    main()
