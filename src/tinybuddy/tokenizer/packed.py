"""A tokenizer in some thousand bytes: its tokens with their scores, or its merges.

All the rest of ``tokenizer.json`` follows from the kind. Numbers are little-endian, and those of
several bytes stand in planes: of all numbers the first byte, of all the second, ..., which deflate
packs better. The layout is in ``docs/compact.md``.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence

from tokenizers import Tokenizer as Backend

from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import Tokenizer, parse_tokenizer
from tinybuddy.tokenizer.assembly import bpe, byte_level_bpe, single_characters, unigram
from tinybuddy.tokenizer.layout import LONGEST_TOKEN, MAX_TOKENS, SPECIAL, byte_alphabet

KINDS = (("bpe", "bytes"), ("bpe", "seen"), ("characters", "seen"), ("unigram", "seen"))
HEADER = struct.Struct("<BBII")  # kind; decimals of scores; characters or tokens; merges
END = b"\xff"  # of a token: UTF-8 has no such byte
EXACT = 255  # decimals, of scores that are stored as float64
MAX_DECIMALS = 6  # with which scores fit 32 bits
MAX_BYTES = 4_000_000  # of a packed tokenizer: 65,535 tokens of 16 characters of 3 bytes


def pack_tokenizer(tokenizer: Tokenizer) -> bytes:
    """Return the bytes of a tokenizer.

    Raises:
        TinybuddyError: if it is laid out otherwise than training does, so that its ids would be
            others.
    """
    data = _pack(tokenizer)
    if len(data) > MAX_BYTES or unpack_tokenizer(data).to_json() != tokenizer.to_json():
        raise TinybuddyError("The tokenizer is not laid out as this package does: train it anew.")
    return data


def unpack_tokenizer(data: bytes, name: str = "the packed tokenizer") -> Tokenizer:
    """Read what `pack_tokenizer` gave.

    Raises:
        TinybuddyError: if it is damaged; ``name`` says where it lies.
    """
    try:
        text = _assembled(data).to_str()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises plain Exceptions, and panics, which are not
        raise TinybuddyError(f"{name} is damaged ({type(error).__name__}).") from None
    return parse_tokenizer(text, name)


def _pack(tokenizer: Tokenizer) -> bytes:
    model = json.loads(tokenizer.to_json())["model"]
    kind = KINDS.index((tokenizer.kind, tokenizer.alphabet))
    if tokenizer.kind == "unigram":
        tokens = [token for token, _ in model["vocab"][len(SPECIAL) :]]
        scores = [score for _, score in model["vocab"][len(SPECIAL) :]]
        decimals = _decimals(scores)
        numbers = (
            struct.pack(f"<{len(scores)}d", *scores)
            if decimals == EXACT
            else _planes(_differences([round(-s * 10**decimals) for s in scores]), 4)
        )
        return HEADER.pack(kind, decimals, len(tokens), 0) + _joined(tokens) + numbers
    tokens = sorted(model["vocab"], key=model["vocab"].get)[len(SPECIAL) :]
    characters = [] if tokenizer.alphabet == "bytes" else [t for t in tokens if len(t) == 1]
    ids = [model["vocab"][part] for merge in model["merges"] for part in merge]
    header = HEADER.pack(kind, 0, len(characters), len(ids) // 2)
    return header + _joined(characters) + _planes([*ids[::2], *ids[1::2]], 2)


def _assembled(data: bytes) -> Backend:
    """Put a tokenizer together; anything may be raised for damaged data."""
    kind, decimals, count, merge_count = HEADER.unpack_from(data)
    if count + merge_count > MAX_TOKENS:
        raise ValueError
    *tokens, rest = data[HEADER.size :].split(END, count)
    if len(tokens) != count:
        raise ValueError
    texts = [token.decode("utf-8") for token in tokens]
    if any(not 0 < len(text) <= LONGEST_TOKEN for text in texts):
        raise ValueError
    match KINDS[kind]:
        case ("unigram", _):
            return unigram(zip(texts, _scores(rest, count, decimals), strict=True))
        case ("characters", _) if not (rest or merge_count):
            return single_characters(texts)
        case ("bpe", alphabet):
            ids = _whole(rest, 2 * merge_count, 2)
            base = byte_alphabet() if alphabet == "bytes" else texts
            merges = _merges(base, ids[:merge_count], ids[merge_count:])
            return byte_level_bpe(merges) if alphabet == "bytes" else bpe(base, merges)
    raise ValueError


def _merges(
    alphabet: Sequence[str], lefts: Sequence[int], rights: Sequence[int]
) -> list[tuple[str, str]]:
    """The texts of merges; what one gives is the next id, unless it is a token already."""
    tokens = [*SPECIAL, *alphabet]
    known, merges, size = {*tokens}, [], 0
    for left, right in zip(lefts, rights, strict=True):
        merges.append((tokens[left], tokens[right]))
        merged = tokens[left] + tokens[right]
        size += len(merged)
        if size > MAX_BYTES:  # a token may double in each merge
            raise ValueError
        if merged not in known:
            known.add(merged)
            tokens.append(merged)
    return merges


def _decimals(scores: Sequence[float]) -> int:
    """The fewest decimals that all scores have and 32 bits hold; else `EXACT`."""
    for decimals in range(MAX_DECIMALS + 1):
        whole = (round(s, decimals) == s and -s * 10**decimals < 2**31 for s in scores)
        if all(whole) and all(math.copysign(1, s) < 0 for s in scores):
            return decimals
    return EXACT


def _scores(data: bytes, count: int, decimals: int) -> Sequence[float]:
    if decimals == EXACT:
        return struct.unpack(f"<{count}d", data)
    if decimals > MAX_DECIMALS:
        raise ValueError
    scores, total = [], 0
    for difference in _whole(data, count, 4):
        total = (total + difference) % 2**32
        scores.append(-(total / 10**decimals))  # -0.0 where it is 0, as training rounds it
    return scores


def _differences(numbers: Sequence[int]) -> list[int]:
    """Each number less the one before it, modulo 2^32: most scores are in falling order."""
    return [(b - a) % 2**32 for a, b in zip([0, *numbers], numbers, strict=False)]


def _joined(tokens: Sequence[str]) -> bytes:
    return b"".join(token.encode("utf-8") + END for token in tokens)


def _planes(numbers: Sequence[int], size: int) -> bytes:
    data = b"".join(number.to_bytes(size, "little") for number in numbers)
    return b"".join(data[byte::size] for byte in range(size))


def _whole(data: bytes, count: int, size: int) -> list[int]:
    """Read ``count`` numbers that `_planes` wrote."""
    if len(data) != count * size:
        raise ValueError
    return [int.from_bytes(data[number::count], "little") for number in range(count)]
