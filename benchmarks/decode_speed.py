"""Decoding speed of the engine: one text, and 64 side by side, on one core.

    python benchmarks/decode_speed.py [--model MODEL] [--runs 5] [--int8] [--library FILE]

Each run tells stories of a whole context from `<bos>`, sampling by temperature 0.8 alone and then
with top-k 40, drawing included. The kinds take turns, so that what else the machine does falls on
all of them; the median counts, and the best is what an idle core would give.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import statistics
import time

import tinybuddy
from tinybuddy.config import SampleConfig
from tinybuddy.engine.decoder import Decoder, Story
from tinybuddy.modelfile import find_model, read_model

KINDS = {
    "1 text, temperature": (1, 0),
    "64 texts, temperature": (64, 0),
    "1 text, top-k 40": (1, 40),
    "64 texts, top-k 40": (64, 40),
}


def speed(decoder: Decoder, texts: int, top_k: int, seed: int, seconds: float) -> float:
    """Tokens per second while telling stories for about so long."""
    length = decoder.config.max_position_embeddings - 1
    sample = SampleConfig(temperature=0.8, top_k=top_k)
    told, spent = 0, 0.0
    while spent < seconds:
        stories = [Story(decoder, [1], length, sample, seed + i) for i in range(texts)]
        began = time.perf_counter()
        decoder.advance(stories, length)
        spent += time.perf_counter() - began
        told += sum(len(story.new_ids()) for story in stories)
        seed += texts
    return told / spent


def main() -> None:
    """Print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tinybuddy-80k-card")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each run")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--library", help="a compiled engine other than the package's")
    options = parser.parse_args()
    files = read_model(find_model(options.model))
    library = ctypes.CDLL(options.library) if options.library else None
    decoder = Decoder(files.config, files.weights, int8=options.int8, library=library)
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for run in range(options.runs):
        for kind, (texts, top_k) in KINDS.items():
            rates[kind].append(speed(decoder, texts, top_k, 1000 * run, options.seconds))
    print(
        f"tinybuddy {tinybuddy.__version__}, {decoder.kernels}, Python "
        f"{platform.python_version()}, {platform.machine()}"
    )
    for kind, some in rates.items():
        print(f"{kind:<24}{statistics.median(some):>10,.0f} tokens/s   best {max(some):>10,.0f}")
    pairs = zip(rates["64 texts, temperature"], rates["1 text, temperature"], strict=True)
    print(f"64 texts over 1: {statistics.median(a / b for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
