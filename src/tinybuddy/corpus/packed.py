"""Stories as one long row of token ids, kept on disk and mapped into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybuddy.disk import replacing
from tinybuddy.tokenizer import Tokenizer, encode_story

Tokens = NDArray[np.uint16]

COUNTED_TOGETHER = 1_000_000  # tokens, which bounds the memory


def pack(stories: Iterable[str], tokenizer: Tokenizer, content: str, cache: Path) -> Tokens:
    """Token ids of all stories, each from ``<bos>`` to ``<eos>``, as a mapped uint16 array.

    Args:
        stories: read only if the cache does not have them; nothing is kept if they raise.
        tokenizer: whose ids are written.
        content: SHA-256 of the stories; with the tokenizer's it names the file in the cache.
        cache: folder of the cache.

    Raises:
        TinybuddyError: if the cache cannot be written.
    """
    name = hashlib.sha256(f"{content}\n{tokenizer.to_json()}".encode()).hexdigest()
    path = cache / "tokens" / f"{name}.uint16"
    tokens = _open(path, tokenizer)
    if tokens is None:
        _write(path, stories, tokenizer)
        tokens = _open(path, tokenizer)
        assert tokens is not None, "a file just written is whole"
    return tokens


def bytes_of(tokens: Tokens, tokenizer: Tokenizer) -> int:
    """Bytes of text that the tokens hold."""
    sizes = np.array([len(tokenizer.piece(id)) for id in range(tokenizer.vocab_size)])
    chunks = range(0, len(tokens), COUNTED_TOGETHER)
    return sum(int(sizes[tokens[start : start + COUNTED_TOGETHER]].sum()) for start in chunks)


def _open(path: Path, tokenizer: Tokenizer) -> Tokens | None:
    """Map the file, or return None if it is not there or not of this tokenizer."""
    try:
        if path.stat().st_size == 0:
            return np.zeros(0, np.uint16)
        tokens = np.memmap(path, np.uint16, mode="r")
    except (OSError, ValueError):
        return None
    return tokens if tokens.max() < tokenizer.vocab_size else None


def _write(path: Path, stories: Iterable[str], tokenizer: Tokenizer) -> None:
    with replacing(path) as file:
        for story in stories:
            file.write(np.array(encode_story(tokenizer, story), np.uint16).tobytes())
