"""Files as llama2.c writes them, small and random."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

PEERS = Path(__file__).parents[3] / "shared" / "peers"
SHAPE = {"dim": 16, "hidden": 24, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 280, "seq": 12}
BYTES = [b"<0x%02X>" % byte for byte in range(256)]
SPECIAL = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]

# Learned pieces, best first. Each has several ways to come about, and some can come about in none.
WORDS = [b" t", b"he", b" the", b"aa", b"aaa", b"\xc3\xa9a", b"  ", b"ee", b"the", b" a", b"at"]
LETTERS = [b" ", b"e", b"t", b"a", b"h", "—".encode(), b"\xe2\x80", b"<", b"0x0A", b"e"]


def vocabulary(words: list[bytes], size: int = 280) -> tuple[list[bytes], list[float]]:
    pieces = [*SPECIAL, *BYTES, *words]
    pieces = [*pieces, *(b"\xff%d" % n for n in range(size - len(pieces)))]
    return pieces, [0.0] * 259 + [-float(n) for n in range(size - 259)]


def tokenizer_bytes(pieces: list[bytes], scores: list[float]) -> bytes:
    tokens = (struct.pack("<fi", s, len(p)) + p for p, s in zip(pieces, scores, strict=True))
    return struct.pack("<I", max(map(len, pieces))) + b"".join(tokens)


def arrays(shape: dict[str, int]) -> dict[str, np.ndarray]:
    """Random weights in the order of the file, under llama2.c's names."""
    dim, hidden, layers, heads, kv_heads, vocab, seq = shape.values()
    kv = dim // heads * kv_heads
    sizes = {
        "embedding": (vocab, dim),
        "rms_att": (layers, dim),
        "wq": (layers, dim, dim),
        "wk": (layers, kv, dim),
        "wv": (layers, kv, dim),
        "wo": (layers, dim, dim),
        "rms_ffn": (layers, dim),
        "w1": (layers, hidden, dim),
        "w2": (layers, dim, hidden),
        "w3": (layers, hidden, dim),
        "rms_final": (dim,),
        "cos": (seq, dim // heads // 2),
        "sin": (seq, dim // heads // 2),
    }
    random = np.random.default_rng(0)
    arrays = {n: random.normal(0, 0.3, size).astype(np.float32) for n, size in sizes.items()}
    for norm in ("rms_att", "rms_ffn", "rms_final"):
        arrays[norm] += 1
    return arrays


def model_bytes(shape: dict[str, int]) -> bytes:
    header = struct.pack("<7i", *shape.values())
    return header + b"".join(array.tobytes() for array in arrays(shape).values())
