"""A directory for karpathy/llama2.c: ``run model.bin -z tokenizer.bin -i "Once upon a time"``.

``run.c`` feeds token 1 first and ends a story at token 1, where ours begin with ``<bos>``, 1, and
end with ``<eos>``, 2. So the head is written apart from the embedding, with rows 1 and 2 exchanged.

It puts a space before a prompt, which our models have never seen there. Token 0, ``<pad>``, is of
no use to them, so it takes the text of token 1 and a space, the highest score, and the embedding of
token 1: ``run.c`` merges these two into it before anything else.

A byte-level BPE is held by scores that fall from merge to merge. ``run.c`` does not cut a text into
words, and merges whatever two neighbours make a token: it reads 758 of 759 stories as we do, and
``'shush`` as ``'s`` and ``hush``. A Unigram tokenizer is refused: by merging, 25 % of the words of
stories come out otherwise, and a character that it does not know as some other token. ``run.c``
does not print a byte from 128 on that is a token of its own.
"""

from __future__ import annotations

import os
import string
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tinybuddy.errors import NotInstalledError, TinybuddyError, UsageError
from tinybuddy.exporters.golden import Golden, compare, golden
from tinybuddy.formats.llama2c import EPSILON, THETA, read_llama2c, write_weights
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.formats.sentencepiece import (
    BEGIN,
    BOS,
    EOS,
    FIRST_PIECE,
    RAW_BYTES,
    SentencePieceTokenizer,
    write_tokenizer,
)
from tinybuddy.tokenizer import Tokenizer

MODEL_FILE, TOKENIZER_FILE = "model.bin", "tokenizer.bin"
PRINTABLE = string.printable.encode("ascii")
EMBEDDING = "model.embed_tokens.weight"


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the directory ``out``.

    Raises:
        UsageError: if ``out`` is the name of a file.
        TinybuddyError: if ``run.c`` computes no such model or has no such tokenizer.
    """
    if out.suffix == ".bin":
        raise UsageError("llama2.c reads two files: give a folder for them, without .bin.")
    config, arrays, head = model.config, dict(model.weights), None
    if (config.rope_theta, config.rms_norm_eps) != (THETA, EPSILON):
        raise TinybuddyError(
            f"llama2.c computes with rope_theta {THETA:g} and rms_norm_eps {EPSILON:g} only, and "
            f"this model has {config.rope_theta:g} and {config.rms_norm_eps:g}."
        )
    pieces, scores = _vocabulary(model)
    if model.tokenizer.eos != BOS:
        head = arrays[EMBEDDING].copy()
        head[[BOS, EOS]] = head[[EOS, BOS]]
        arrays[EMBEDDING] = arrays[EMBEDDING].copy()
        arrays[EMBEDDING][0] = arrays[EMBEDDING][BOS]
    write_weights(out / MODEL_FILE, config, arrays, head)
    write_tokenizer(out / TOKENIZER_FILE, pieces, scores)


def _vocabulary(model: LoadedModel) -> tuple[Sequence[bytes], Sequence[float]]:
    """Text and score of each token."""
    tokenizer = model.tokenizer
    if isinstance(tokenizer, SentencePieceTokenizer):
        return tokenizer.pieces, tokenizer.scores
    assert isinstance(tokenizer, Tokenizer)
    if (tokenizer.kind, tokenizer.alphabet) != ("bpe", "bytes"):
        raise TinybuddyError(
            "llama2.c reads a text by merging bytes, and the tokenizer of this model has none: "
            "train one of kind bpe, with an alphabet of bytes."
        )
    merged = [tokenizer.piece(id) for id in range(FIRST_PIECE, tokenizer.vocab_size)]
    unused = [b"<unused%d>" % id for id in range(tokenizer.vocab_size, model.config.vocab_size)]
    pieces = [BEGIN + b" ", BEGIN, b"\n</s>\n", *RAW_BYTES, *merged, *unused]
    return pieces, [1.0, *(-float(id) for id in range(1, len(pieces)))]


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Compare golden texts with what our own reader makes of the files, and ``run.c``.

    The path of ``run.c`` is taken from the environment variable RUN_C, the compiler from CC.

    Raises:
        NotInstalledError: if RUN_C cannot be compiled.
        TinybuddyError: if they differ.
    """
    expected = golden(model)
    for ours, theirs in zip(expected, golden(read_llama2c(out / MODEL_FILE)), strict=True):
        compare(ours, theirs.ids, theirs.new, out, "Our own reader")
    if not (source := os.environ.get("RUN_C")):
        return "read again, it generates the golden texts; for run.c too, set RUN_C to its path"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "run"
        _compile(Path(source), program)
        for case in expected:
            _compare_text(model, case, out, program)
    return "run.c generates the golden texts"


def _compile(source: Path, program: Path) -> None:
    compiler = os.environ.get("CC", "cc")
    command: list[str | Path] = [compiler, "-O2", "-w", source, "-o", program, "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise NotInstalledError(
            f"{compiler} could not compile {source}: set RUN_C to llama2.c's run.c, and CC to a "
            "C compiler."
        ) from None


def _compare_text(model: LoadedModel, case: Golden, out: Path, program: Path) -> None:
    """Compare what ``run.c`` prints of a prompt and its continuation.

    Raises:
        TinybuddyError: if it is another text.
    """
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, Tokenizer | SentencePieceTokenizer)
    ids, ends = [*case.ids[1:], *case.new], case.new[-1:] == [tokenizer.eos]
    steps = 0 if ends else len(ids)  # 0: as many as the context has, unless the story ends
    command: list[str | bytes | Path] = [program, out / MODEL_FILE, "-z", out / TOKENIZER_FILE]
    command += ["-t", "0", "-n", str(steps), "-i", case.prompt.encode("utf-8")]
    printed = subprocess.run(command, capture_output=True, check=False).stdout
    ids = ids[: model.config.max_position_embeddings]  # a longer prompt is cut
    text = b"".join(_printed(tokenizer.piece(id)) for id in ids) + b"\n"
    if not case.prompt or tokenizer.eos == BOS:  # it leaves out a space after token 1
        text = text.removeprefix(b" ")
    if printed != text:
        raise TinybuddyError(
            f"run.c continues {case.prompt!r} otherwise with {out} ({printed!r} instead of "
            f"{text!r}): not kept."
        )


def _printed(piece: bytes) -> bytes:
    """What ``run.c`` prints of a token: bytes alone only if they are printable ASCII."""
    return b"" if len(piece) == 1 and piece not in PRINTABLE else piece
