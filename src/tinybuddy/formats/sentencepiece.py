"""The tokenizer of karpathy/llama2.c (``tokN.bin``): SentencePiece BPE with byte fallback.

All numbers in the file are little-endian; whatever it claims is checked. The one that
`tinybuddy export llama2c` writes is read too: it differs in its first 259 tokens.
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

from tinybuddy.disk import read_bytes, write_bytes
from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import CHUNK_CHARACTERS, MAX_FILE_BYTES, check_unicode

BOS, EOS = 1, 2
FIRST_BYTE = 3  # after <unk>, <s> and </s>
FIRST_PIECE = FIRST_BYTE + 256
MAX_PIECE_BYTES = 1024
BYTE_NAMES = tuple(b"<0x%02X>" % byte for byte in range(256))
RAW_BYTES = tuple(bytes([byte]) for byte in range(256))
BEGIN = b"\n<s>\n"  # the piece of ``<s>``
LEAST_SCORE = -1e10  # llama2.c merges nothing that scores no more than this
MAX_CACHED_WORDS = 65_536
MAX_CACHED_CHARACTERS = 64


class SentencePieceTokenizer:
    """The encoder and decoder of llama2.c (``run.c``): SentencePiece BPE with byte fallback.

    Ids 0 to 2 are ``<unk>``, ``<s>`` and ``</s>``, byte ``b`` is ``3 + b``, the trained pieces
    follow. A text begins with a space of its own, and a character that is no piece becomes its
    UTF-8 bytes. Training text has ``<s>`` before each story and nothing after it, so the ``<s>`` of
    the next story is what ends one.

    Where the pieces of the bytes are these bytes, and not their names (``<0x41>``), they are merged
    too; and where piece 0 is ``<s>`` with a space, it takes the place of both, so that a text
    begins without a space.

    Attributes:
        bos, eos: both the id of ``<s>``, unless told otherwise.
        vocab_size: number of tokens, special ones included.
        kind: ``sentencepiece``.
        pieces, scores: the bytes and the score of each id, as the file has them.
    """

    bos = BOS
    kind = "sentencepiece"

    def __init__(self, pieces: Sequence[bytes], scores: Sequence[float], eos: int = BOS) -> None:
        """Take what the file has, ids 0 to 258 included, and the id that ends a story."""
        self.pieces, self.scores, self.eos = pieces, scores, eos
        self.vocab_size = len(pieces)
        self._space = "" if pieces[0] == pieces[BOS] + b" " else " "
        self._pieces = [*[b""] * FIRST_BYTE, *RAW_BYTES, *pieces[FIRST_PIECE:]]
        named = pieces[FIRST_BYTE] == BYTE_NAMES[0]
        # Special tokens, and names of bytes, never come of text that spells them.
        self._ids: dict[bytes, int] = {}
        for id in range(FIRST_PIECE if named else FIRST_BYTE, self.vocab_size):
            self._ids.setdefault(pieces[id], id)
        self._scores = {p: scores[id] for p, id in self._ids.items() if scores[id] > LEAST_SCORE}
        # Where no piece has a space after another character, none reaches into the next word, so
        # words can be merged one by one and cached; else the text is a single word.
        joined = any(re.search(b"[^ ] ", piece) for piece in self._ids)
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
        for match in self._word.finditer(self._space + text if text else ""):
            word = match[0]
            ids += (self._cached if len(word) <= MAX_CACHED_CHARACTERS else self._merge)(word)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, taken for the beginning of one: the space of its own is left out.

        So are special and unknown ids; broken UTF-8 becomes U+FFFD.
        """
        text = b"".join(self.piece(id) for id in ids).removeprefix(self._space.encode())
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
                piece, begins = piece.removeprefix(self._space.encode()), False
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
        symbols = self._symbols(word)
        size = len(symbols)
        # b"" marks a byte that is no piece, what was merged into another, and both ends.
        pieces = [symbol if symbol in self._ids else b"" for symbol in symbols] + [b""]
        before, after = list(range(-1, size)), list(range(1, size + 1))
        heap: list[tuple[float, int, bytes]] = []

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
            pieces[left], pieces[right] = merged, b""
            after[left] = after[right]
            before[after[left]] = left
            offer(before[left], left)
            offer(left, after[left])
        ids, place = [], 0
        while place < size:
            if piece := pieces[place]:
                ids.append(self._ids[piece])
            else:
                ids.append(FIRST_BYTE + symbols[place][0])
            place = after[place]
        return ids

    def _symbols(self, word: str) -> list[bytes]:
        """The characters of a word, those that are no piece as their bytes."""
        characters = (character.encode("utf-8") for character in word)
        return [
            symbol
            for character in characters
            for symbol in (
                [character] if character in self._ids else [RAW_BYTES[b] for b in character]
            )
        ]


def read_tokenizer(path: Path, vocab_size: int, eos: int = BOS) -> SentencePieceTokenizer:
    """Read a tokenizer of llama2.c, as its ``tokenizer.py`` writes it.

    It begins with the length of the longest token (uint32); each token is a score (float32), a
    length in bytes (int32) and these bytes.

    Args:
        path: of the file.
        vocab_size: number of its tokens, which the file does not say.
        eos: id that ends a story, nor this.

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
    if tuple(pieces[FIRST_BYTE:FIRST_PIECE]) not in (BYTE_NAMES, RAW_BYTES):
        raise TinybuddyError(
            f"{path} does not hold the 256 bytes, as <0x00> to <0xFF>, as its tokens 3 to 258: "
            "write it anew with the tokenizer.py of a later llama2.c."
        )
    return SentencePieceTokenizer(pieces, scores, eos)


def write_tokenizer(path: Path, pieces: Sequence[bytes], scores: Sequence[float]) -> None:
    """Write what `read_tokenizer` reads.

    Raises:
        TinybuddyError: if it cannot be written.
    """
    tokens = (struct.pack("<fi", s, len(p)) + p for p, s in zip(pieces, scores, strict=True))
    write_bytes(path, struct.pack("<I", max(map(len, pieces))) + b"".join(tokens))
