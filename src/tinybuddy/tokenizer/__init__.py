"""Text to token ids and back.

Ids are fixed: ``<pad>`` 0, ``<bos>`` 1, ``<eos>`` 2. There are four kinds, which `training` makes:

- byte-level BPE (Radford et al. 2019, GPT-2): byte ``b`` is id ``3 + b`` and the merges follow, so
  that any Unicode text can be encoded;
- BPE over the characters that the training text has, and a Unigram model over them (Kudo 2018,
  arXiv 1804.10959), which spend no id on a byte that no text has;
- single characters, where the vocabulary is too small for more.

All but the first drop the characters that they do not know.
"""

from __future__ import annotations

import codecs
import json
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer as Backend

from tinybuddy.disk import read_text
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.tokenizer.layout import BOS, EOS, SPECIAL, byte_alphabet, check_layout, kind_of

# A long text is encoded in pieces of this size: the library needs some 90 bytes a token meanwhile.
CHUNK_CHARACTERS = 65_536
MAX_FILE_BYTES = 16_000_000


class Codec(Protocol):
    """Text to ids and back, for a model of whatever origin.

    Attributes:
        bos: id that a story begins with.
        eos: id that ends it; in some models the same.
        vocab_size: number of tokens, special ones included.
    """

    bos: int
    eos: int
    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without the beginning and the end."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, special ones left out."""
        ...

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as they come, one piece an id; never half a character."""
        ...

    def lost_bytes(self, text: str, ids: Sequence[int]) -> int:
        """UTF-8 bytes of ``text`` that ``ids``, its encoding, do not hold."""
        ...


class PieceCodec(Codec, Protocol):
    """One whose tokens stand for bytes, each by itself."""

    def piece(self, id: int) -> bytes:
        """Bytes that token ``id`` stands for; none for special and unknown ids."""
        ...


class Tokenizer:
    """A vocabulary and the two ways through it.

    Attributes:
        bos, eos: ids of ``<bos>`` and ``<eos>``.
        backend: the ``tokenizers.Tokenizer``; its ``to_str()`` is ``tokenizer.json``.
        vocab_size: number of tokens, special ones included.
        kind: ``bpe``, ``unigram`` or ``characters``, as a recipe's ``tokenizer``.
        alphabet: ``bytes`` or ``seen``, as a recipe's.
    """

    bos, eos = BOS, EOS

    def __init__(self, backend: Backend) -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # the text "<eos>" in a story is five characters
        self.backend = backend
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        self.kind, self.alphabet = kind_of(backend)
        self._pieces = _pieces(vocabulary, self.alphabet, self.vocab_size)

    def __reduce__(self) -> tuple[Any, ...]:
        # The library's own pickle forgets that special tokens in a text are text.
        return parse_tokenizer, (self.to_json(),)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without ``<bos>`` and ``<eos>``.

        Raises:
            UsageError: for text with lone surrogates, which is no Unicode text.
        """
        check_unicode(text)
        ids: list[int] = []
        for chunk in _chunks(text):
            (encoding,) = self.backend.encode_batch_fast([chunk], add_special_tokens=False)
            ids += encoding.ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``: special and unused ids are left out, broken UTF-8 becomes U+FFFD."""
        return b"".join(self.piece(id) for id in ids).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as they come, one piece an id; never half a character.

        The pieces joined are ``decode(ids)``; a piece is empty while a character is unfinished.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for id in ids:
            yield decoder.decode(self.piece(id))
        if rest := decoder.decode(b"", final=True):
            yield rest

    def lost_bytes(self, text: str, ids: Sequence[int]) -> int:
        """UTF-8 bytes of ``text`` that ``ids``, its encoding, lost; 0 for an alphabet of bytes."""
        return len(text.encode("utf-8")) - sum(len(self.piece(id)) for id in ids)

    def piece(self, id: int) -> bytes:
        """Bytes that token ``id`` stands for; none for special and unused ids."""
        return self._pieces[id] if 0 <= id < self.vocab_size else b""

    @property
    def characters(self) -> str:
        """All characters that it knows, where its alphabet is what was seen."""
        texts = sorted(piece.decode("utf-8", "replace") for piece in self._pieces)
        return "".join(text for text in texts if len(text) == 1)

    def to_json(self) -> str:
        """``tokenizer.json``, the same text for the same tokenizer."""
        return self.backend.to_str(pretty=True)


def parse_tokenizer(text: str, name: str = "tokenizer.json") -> Tokenizer:
    """Read a tokenizer from the text of a ``tokenizer.json`` that this module wrote.

    Other kinds are refused: with what the format allows, text could be altered or grow without end.

    Raises:
        TinybuddyError: if it is not one, or is laid out otherwise.
    """
    try:
        check_layout(json.loads(text))
        return Tokenizer(Backend.from_str(text))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises plain Exceptions, and panics, which are not
        reason = reprlib.repr(str(error)) if str(error) else type(error).__name__
        raise TinybuddyError(f"{name} is not a tokenizer of this package ({reason}).") from None


def load_tokenizer(path: Path) -> Tokenizer:
    """Read ``tokenizer.json``.

    Raises:
        TinybuddyError: if it is missing, larger than 16 MB or not a tokenizer.
    """
    return parse_tokenizer(read_text(path, MAX_FILE_BYTES), str(path))


def check_unicode(text: str) -> None:
    """Raise UsageError if ``text`` holds lone surrogates, as undecodable arguments do."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The text is not valid Unicode at character {error.start}: give it as UTF-8."
        ) from None


def _pieces(vocabulary: dict[str, int], alphabet: str, size: int) -> list[bytes]:
    """Bytes of each id, read off the vocabulary."""
    bytes_of = {character: bytes([b]) for b, character in enumerate(byte_alphabet())}
    pieces = [b""] * size
    for token, id in vocabulary.items():
        if token in SPECIAL:
            continue
        if alphabet == "bytes":
            pieces[id] = b"".join(bytes_of.get(character, b"") for character in token)
        else:
            pieces[id] = token.encode("utf-8", errors="replace")
    return pieces


def _chunks(text: str) -> list[str]:
    """Cut a long text where GPT-2's regular expression always begins a new token.

    That is before a single space that stands between two non-spaces. A stretch without one is cut
    anyway: its tokens may then differ from those of the uncut text, but they decode to the same.
    """
    chunks, start = [], 0
    while len(text) - start > CHUNK_CHARACTERS:
        end = start + CHUNK_CHARACTERS
        cut = next(
            (
                i
                for i in islice(range(end, start, -1), CHUNK_CHARACTERS // 2)
                if text[i] == " "
                and not text[i - 1].isspace()
                and not text[i + 1 : i + 2].isspace()
            ),
            end,
        )
        chunks.append(text[start:cut])
        start = cut
    return [*chunks, text[start:]]


def encode_story(tokenizer: Codec, text: str) -> list[int]:
    """Token ids of a whole story, from its beginning to its end."""
    return [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos]


def unknown_characters(tokenizer: Codec, text: str, ids: Sequence[int]) -> str:
    """The characters of ``text`` that ``ids``, its encoding, lost, each once."""
    if not tokenizer.lost_bytes(text, ids):
        return ""
    each = dict.fromkeys(text)
    return "".join(c for c in each if tokenizer.lost_bytes(c, tokenizer.encode(c)) > 0)
