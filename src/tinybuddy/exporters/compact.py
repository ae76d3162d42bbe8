"""One small file with all of a model, its weights at 4 or 8 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.golden import BITS, own_tokenizer, rounded
from tinybuddy.formats.compact import MAX_TOP_K, read_compact, write_compact
from tinybuddy.formats.loaded import LoadedModel


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the file ``out``.

    Raises:
        TinybuddyError: if the model is too large, or its tokenizer is not of this package.
    """
    write_compact(out, own_tokenizer(model), BITS[weights])


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Compare what the file holds with the model: its quantized weights, and all else.

    Raises:
        TinybuddyError: if they differ.
    """
    files, copy = own_tokenizer(model), read_compact(out)
    expected = rounded(files, BITS[weights]).weights
    same = (
        copy.config == files.config
        and copy.sample == replace(files.sample, top_k=min(files.sample.top_k, MAX_TOP_K))
        and copy.tokenizer.to_json() == files.tokenizer.to_json()
        and copy.weights.keys() == expected.keys()
        and all(np.array_equal(copy.weights[name], expected[name]) for name in expected)
    )
    if not same:
        raise TinybuddyError(f"The model written to {out} is another: not kept.")
    return "read again, it is the same model"
