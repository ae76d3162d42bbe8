"""What 8-bit weights cost: bits per byte with float32 weights, with int8 ones, and the difference.

    python benchmarks/int8_cost.py DATA MODEL [MODEL ...]

All of DATA's validation split is scored twice by the same decoder; int8 has one scale for each row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinybuddy.backends.engine.decoder import Decoder
from tinybuddy.corpus import open_corpus
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.scoring import score

BAR = 0.002  # a tenth of what two seeds of the recipe `card` differ by


def int8_cost(model: Path, stories: list[str]) -> str:
    """The three figures, as a line."""
    files = read_model(model)
    context = files.config.max_position_embeddings
    exact, coarse = (
        score(
            Decoder(files.config, files.weights, bits=bits), files.tokenizer, context, stories
        ).bits_per_byte
        for bits in (32, 8)
    )
    return f"{exact:.4f} bits per byte with float32 weights, {coarse:.4f} with int8 ones, " + (
        f"{coarse - exact:+.4f}; must be at most {BAR}: {'yes' if coarse - exact <= BAR else 'no'}"
    )


def main() -> None:
    """Print a line a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    stories = open_corpus(options.data).validation()
    for name in options.models:
        print(f"{name}: {int8_cost(find_directory(name), stories)}")


if __name__ == "__main__":
    main()
