"""The tokenizer of karpathy/llama2.c (``tokN.bin``): SentencePiece BPE with byte fallback.

All numbers in the file are little-endian; whatever it claims is checked.
"""

from __future__ import annotations

import codecs
import math
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from pathlib import Path

from tinybuddy.disk import read_bytes
from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import CHUNK_CHARACTERS, MAX_FILE_BYTES, check_unicode

BOS = 1
FIRST_BYTE = 3  # after <unk>, <s> and </s>
FIRST_PIECE = FIRST_BYTE + 256
MAX_PIECE_BYTES = 1024
LEAST_SCORE = -1e10  # llama2.c merges nothing that scores no more than this
MAX_CACHED_WORDS = 65_536
MAX_CACHED_CHARACTERS = 64


class SentencePieceTokenizer:
    """The encoder and decoder of llama2.c (``run.c``): SentencePiece BPE with byte fallback.

    Ids 0 to 2 are ``<unk>``, ``<s>`` and ``</s>``, byte ``b`` is ``3 + b``, the trained pieces
    follow. A text begins with a space of its own, and a character that is no piece becomes its
    UTF-8 bytes. Training text has ``<s>`` before each story and nothing after it, so the ``<s>`` of
    the next story is what ends one.

    Attributes:
        bos, eos: both the id of ``<s>``.
        vocab_size: number of tokens, special ones included.
        kind: ``sentencepiece``.
    """

    bos, eos = BOS, BOS
    kind = "sentencepiece"

    def __init__(self, pieces: Sequence[bytes], scores: Sequence[float]) -> None:
        """Take the bytes and the score of each id, as the file has them, ids 0 to 258 included."""
        self.vocab_size = len(pieces)
        self._pieces = [
            *[b""] * FIRST_BYTE,
            *(bytes([b]) for b in range(256)),
            *pieces[FIRST_PIECE:],
        ]
        # Special and byte tokens never come of text that spells them.
        self._ids: dict[str, int] = {}
        for id in range(FIRST_PIECE, self.vocab_size):
            if (text := _text_or_none(pieces[id])) is not None:
                self._ids.setdefault(text, id)
        self._scores = {t: scores[id] for t, id in self._ids.items() if scores[id] > LEAST_SCORE}
        # Where no piece has a space after another character, none reaches into the next word, so
        # words can be merged one by one and cached; else the text is a single word.
        joined = any(re.search("[^ ] ", text) for text in self._ids)
        most = CHUNK_CHARACTERS
        self._word = re.compile(
            f"(?s:.{{1,{most}}})" if joined else f" {{1,{most}}}[^ ]{{0,{most}}}|[^ ]{{1,{most}}}"
        )
        self._cached = lru_cache(MAX_CACHED_WORDS)(self._merge)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without the beginning and the end.

        A word of more than 65,536 characters is cut, to bound the memory: its tokens may then
        differ from llama2.c's, but they decode to the same.

        Raises:
            UsageError: for text with lone surrogates, which is no Unicode text.
        """
        check_unicode(text)
        ids: list[int] = []
        for match in self._word.finditer(" " + text if text else ""):
            word = match[0]
            ids += (self._cached if len(word) <= MAX_CACHED_CHARACTERS else self._merge)(word)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, taken for the beginning of one: a first space is left out.

        So are special and unknown ids; broken UTF-8 becomes U+FFFD.
        """
        text = b"".join(self.piece(id) for id in ids).removeprefix(b" ")
        return text.decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as they come, one piece an id; never half a character.

        They go on from a text, so a first space is kept, unless ``bos`` comes before it.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        begins = False
        for id in ids:
            piece = self.piece(id)
            if begins and piece:
                piece, begins = piece.removeprefix(b" "), False
            begins = begins or id == self.bos
            yield decoder.decode(piece)
        if rest := decoder.decode(b"", final=True):
            yield rest

    def lost_bytes(self, text: str, ids: Sequence[int]) -> int:
        """0: any text can be encoded."""
        return 0

    def piece(self, id: int) -> bytes:
        """Bytes that token ``id`` stands for; none for special and unknown ids."""
        return self._pieces[id] if 0 <= id < self.vocab_size else b""

    def _merge(self, word: str) -> list[int]:
        """Ids of a word: the best-scored piece that two neighbours make is put in their place.

        Ties go to the leftmost. A heap keeps long words from taking quadratic time.
        """
        size = len(word)
        # "" marks a character that is no piece, one that was merged into another, and both ends.
        pieces = [c if c in self._ids else "" for c in word] + [""]
        before, after = list(range(-1, size)), list(range(1, size + 1))
        heap: list[tuple[float, int, str]] = []

        def offer(left: int, right: int) -> None:
            if pieces[left] and pieces[right]:
                merged = pieces[left] + pieces[right]
                if (score := self._scores.get(merged)) is not None:
                    heappush(heap, (-score, left, merged))

        for right in range(1, size):
            offer(right - 1, right)
        while heap:
            _, left, merged = heappop(heap)
            right = after[left] if pieces[left] else size
            if not pieces[right] or pieces[left] + pieces[right] != merged:
                continue  # one of the two has been merged otherwise since
            pieces[left], pieces[right] = merged, ""
            after[left] = after[right]
            before[after[left]] = left
            offer(before[left], left)
            offer(left, after[left])
        return self._ids_of(word, pieces, after)

    def _ids_of(self, word: str, pieces: Sequence[str], after: Sequence[int]) -> list[int]:
        ids, place = [], 0
        while place < len(word):
            if piece := pieces[place]:
                ids.append(self._ids[piece])
            else:
                ids += [FIRST_BYTE + byte for byte in word[place].encode("utf-8")]
            place = after[place]
        return ids


def read_tokenizer(path: Path, vocab_size: int) -> SentencePieceTokenizer:
    """Read a tokenizer of llama2.c, as its ``tokenizer.py`` writes it.

    It begins with the length of the longest token (uint32); each token is a score (float32), a
    length in bytes (int32) and these bytes.

    Raises:
        TinybuddyError: if it cannot be read or does not hold ``vocab_size`` tokens.
    """
    data = read_bytes(path, MAX_FILE_BYTES)
    pieces: list[bytes] = []
    scores: list[float] = []
    at = 4
    for id in range(vocab_size):
        score, size = struct.unpack_from("<fi", data, at) if at + 8 <= len(data) else (0.0, -1)
        at += 8
        if not 0 <= size <= min(MAX_PIECE_BYTES, len(data) - at) or not math.isfinite(score):
            raise TinybuddyError(
                f"{path} is not a whole llama2.c tokenizer of {vocab_size:,} tokens: it is broken "
                f"at token {id}."
            )
        pieces.append(data[at : at + size])
        scores.append(score)
        at += size
    if at != len(data):
        raise TinybuddyError(f"{path} goes on after the {vocab_size:,} tokens of its model.")
    if pieces[FIRST_BYTE:FIRST_PIECE] != [b"<0x%02X>" % byte for byte in range(256)]:
        raise TinybuddyError(
            f"{path} does not hold the 256 bytes, as <0x00> to <0xFF>, as its tokens 3 to 258: "
            "write it anew with the tokenizer.py of a later llama2.c."
        )
    return SentencePieceTokenizer(pieces, scores)


def _text_or_none(piece: bytes) -> str | None:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return None  # no text merges into it, as characters are merged whole
