"""A tokenizer as C's tables."""

from __future__ import annotations

import json
from typing import NamedTuple

from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.layout import SCORE_DECIMALS, SPECIAL

SCALE = 10**SCORE_DECIMALS
MOST_COST = 65_535  # hundredths, which 16 bits hold


class Vocabulary(NamedTuple):
    """What `encode_bpe.c` or `encode_unigram.c` reads.

    Attributes:
        pieces: bytes of each token, in the order of their ids.
        by_text: ids in the order of their bytes: of all tokens for Unigram, else of the single
            bytes or characters that words begin as.
        costs: of Unigram, minus log-probabilities in hundredths, by id; else none.
        merges: of BPE, left and right id, rank and the id they become, in this order; else none.
        bytewise: whether words begin as single bytes.
        longest: of Unigram, characters of the longest token.
    """

    pieces: list[bytes]
    by_text: list[int]
    costs: list[int]
    merges: list[tuple[int, int, int, int]]
    bytewise: bool
    longest: int


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Take a tokenizer apart.

    Raises:
        TinybuddyError: if it is a Unigram model whose scores are no hundredths, as training
            rounds them to.
    """
    model = json.loads(tokenizer.to_json())["model"]
    pieces = [tokenizer.piece(id) for id in range(tokenizer.vocab_size)]
    used = sorted((id for id, piece in enumerate(pieces) if piece), key=pieces.__getitem__)
    bytewise = tokenizer.alphabet == "bytes"
    if tokenizer.kind == "unigram":
        longest = max(len(piece.decode("utf-8")) for piece in pieces)
        return Vocabulary(pieces, used, _costs(model["vocab"]), [], False, longest)
    singles = [
        id for id in used if len(pieces[id] if bytewise else pieces[id].decode("utf-8")) == 1
    ]
    ids = model["vocab"]
    merges = sorted(
        (ids[left], ids[right], rank, ids[left + right])
        for rank, (left, right) in enumerate(model["merges"])
    )
    return Vocabulary(pieces, singles, [], merges or [(0, 0, 0, 0)], bytewise, 0)


def _costs(scores: list[tuple[str, float]]) -> list[int]:
    """Of special tokens 0, which nothing looks at."""
    own = [score for _, score in scores[len(SPECIAL) :]]
    costs = [round(-SCALE * score) for score in own]
    if any(
        cost > MOST_COST or -(cost / SCALE) != score for cost, score in zip(costs, own, strict=True)
    ):
        raise TinybuddyError(
            "The C export holds scores of a Unigram tokenizer in hundredths, down to -655.35, and "
            "this one has others: train it with tinybuddy."
        )
    return [0] * len(SPECIAL) + costs
