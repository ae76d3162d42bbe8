"""How ``tokenizer.json`` is laid out, and the check that one from a stranger is laid out so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import ByteLevel

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>")
MAX_TOKENS = 65_535  # ids are stored as uint16
LONGEST_TOKEN = 16  # characters, of what is not byte-level; more could be slow to encode with

# GPT-2's: a token of BPE lies within one of these.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Of the special tokens in a Unigram model: so low that no text is encoded as one.
NEVER = -1e6

# Of the scores that training gives a Unigram model: counted in hundredths, their sums are exact.
SCORE_DECIMALS = 2


def unseen(characters: Iterable[str]) -> str:
    r"""Regular expression of the characters that are none of these, which encoding drops.

    Each stands for itself: ``\x{41}`` is no JavaScript, nor ``\u{41}`` what this library reads.
    """
    escaped = (f"\\{c}" if c in "\\[]^-" else c for c in sorted(characters))
    return f"[^{''.join(escaped)}]"


def byte_alphabet() -> list[str]:
    """GPT-2's printable character for each of the 256 bytes.

    Printable Latin-1 stands for itself; the others take the characters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + n) for n in range(256))
    return [chr(b) if b in printable else next(others) for b in range(256)]


def kind_of(backend: Backend) -> tuple[str, str]:
    """Kind and alphabet, as a recipe names them."""
    if isinstance(backend.model, Unigram):
        return "unigram", "seen"
    if backend.pre_tokenizer is None:
        return "characters", "seen"
    return "bpe", "bytes" if isinstance(backend.pre_tokenizer, ByteLevel) else "seen"


def check_layout(values: Any) -> None:
    """Raise ValueError unless the parsed ``tokenizer.json`` is as `training` lays it out.

    What the format allows besides could alter a text, or let it grow without end.
    """
    if not isinstance(values, dict) or not isinstance(model := values.get("model"), dict):
        raise ValueError("it has no model")
    _check(
        {
            "truncation": (values.get("truncation"), None),
            "padding": (values.get("padding"), None),
            "other special tokens": (
                [(token["id"], token["content"]) for token in values["added_tokens"]],
                list(enumerate(SPECIAL)),
            ),
            "too many tokens": (len(model["vocab"]) > MAX_TOKENS, False),
        }
    )
    if model.get("type") == "Unigram":
        _check_unigram(values, model)
    else:
        _check_bpe(values, model)


def _check_bpe(values: dict[str, Any], model: dict[str, Any]) -> None:
    pre: Any = values.get("pre_tokenizer")
    settings: Any = pre
    wanted: Any = None
    match pre:
        case {"type": "ByteLevel"}:
            settings = pre["add_prefix_space"], pre["use_regex"]
            wanted = False, True
        case {"type": "Split"}:
            settings = pre["pattern"], pre["behavior"], pre["invert"]
            wanted = {"Regex": WORDS}, "Isolated", False
    _check(
        {
            "a normalizer": (values.get("normalizer"), None),
            "another kind of model": (model.get("type"), "BPE"),
            "an unknown token": (model.get("unk_token"), None),
            "dropout": (model.get("dropout"), None),
            "word marks": (
                (model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")),
                (None, None),
            ),
            "byte fallback": (model.get("byte_fallback", False), False),
            "another pre-tokenizer": (settings, wanted),
            "other ids for them": ([model["vocab"].get(token) for token in SPECIAL], [0, 1, 2]),
            "ids other than 0, 1, 2, ...": (
                sorted(model["vocab"].values()),
                list(range(len(model["vocab"]))),
            ),
        }
    )


def _check_unigram(values: dict[str, Any], model: dict[str, Any]) -> None:
    pieces = [piece for piece, _ in model["vocab"]]
    characters = {piece for piece in pieces if len(piece) == 1}
    scores = [float(score) for _, score in model["vocab"][len(SPECIAL) :]]
    normalizer = {"type": "Replace", "pattern": {"Regex": unseen(characters)}, "content": ""}
    _check(
        {
            "another normalizer": (values.get("normalizer"), normalizer),
            "a pre-tokenizer": (values.get("pre_tokenizer"), None),
            "another unknown token": (model.get("unk_id"), PAD),
            "byte fallback": (model.get("byte_fallback", False), False),
            "other ids for them": (
                model["vocab"][: len(SPECIAL)],
                [[token, NEVER] for token in SPECIAL],
            ),
            "a token twice, or an empty one": (len({*pieces} - {""}), len(pieces)),
            "a token that is too long": (max(map(len, pieces)) > LONGEST_TOKEN, False),
            "no characters": (not characters, False),
            "scores that are no log-probabilities": (
                all(NEVER < score <= 0 and math.isfinite(score) for score in scores),
                True,
            ),
        }
    )


def _check(expected: dict[str, tuple[Any, Any]]) -> None:
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise ValueError(f"it has {what}")
