"""One small file with all of a model, its weights at 4 or 8 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.compact import MAX_TOP_K, read_compact, write_compact
from tinybuddy.formats.hub import read_model
from tinybuddy.quantization import quantized


def write(source: Path, out: Path, bits: int) -> None:
    """Write the file ``out`` from the model directory ``source``.

    Raises:
        TinybuddyError: if ``source`` is damaged, or too large.
    """
    write_compact(out, read_model(source), bits)


def verify(source: Path, out: Path, bits: int) -> None:
    """Compare what the file holds with the model: its quantized weights, and all else.

    Raises:
        TinybuddyError: if they differ.
    """
    files, copy = read_model(source), read_compact(out)
    expected = quantized(files.weights, bits)
    same = (
        copy.config == files.config
        and copy.sample == replace(files.sample, top_k=min(files.sample.top_k, MAX_TOP_K))
        and copy.tokenizer.to_json() == files.tokenizer.to_json()
        and copy.weights.keys() == expected.keys()
        and all(np.array_equal(copy.weights[name], expected[name]) for name in expected)
    )
    if not same:
        raise TinybuddyError(f"The model written to {out} is another: not kept.")
