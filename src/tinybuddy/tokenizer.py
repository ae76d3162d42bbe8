"""Text to token ids and back: byte-level BPE trained from scratch, or single characters.

Ids are fixed: ``<pad>`` 0, ``<bos>`` 1, ``<eos>`` 2. In byte-level BPE (Radford et al. 2019, GPT-2)
byte ``b`` is id ``3 + b`` and the merges follow, so any Unicode text can be encoded. Where the
vocabulary is too small for the 256 bytes, the most frequent characters are the tokens, and
characters outside it are dropped.
"""

from __future__ import annotations

import codecs
import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from tinybuddy.disk import read_text
from tinybuddy.errors import TinybuddyError, UsageError

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>")
FIRST_BYTE = len(SPECIAL)

# The text that merges are counted on is bounded, since counts settle early and the distinct words
# of a large corpus would fill the memory: at worst, text without spaces, 180 bytes a character.
MAX_TRAINING_CHARACTERS = 5_000_000
# A long text is encoded in pieces of this size: the library needs some 90 bytes a token meanwhile.
CHUNK_CHARACTERS = 65_536
MAX_FILE_BYTES = 16_000_000
MAX_TOKENS = 65_535  # ids are stored as uint16


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


class Tokenizer:
    """A vocabulary and the two ways through it.

    Attributes:
        bos, eos: ids of ``<bos>`` and ``<eos>``.
        backend: the ``tokenizers.Tokenizer``; its ``to_str()`` is ``tokenizer.json``.
        vocab_size: number of tokens, special ones included.
        kind: ``bpe`` or ``characters``.
    """

    bos, eos = BOS, EOS

    def __init__(self, backend: Backend) -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # the text "<eos>" in a story is five characters
        self.backend = backend
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        self.kind = "bpe" if backend.pre_tokenizer else "characters"
        self._pieces = _pieces(vocabulary, self.kind, self.vocab_size)

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
        """UTF-8 bytes of ``text`` that ``ids``, its encoding, lost; 0 for byte-level BPE."""
        return len(text.encode("utf-8")) - sum(len(self.piece(id)) for id in ids)

    def piece(self, id: int) -> bytes:
        """Bytes that token ``id`` stands for; none for special and unused ids."""
        return self._pieces[id] if 0 <= id < self.vocab_size else b""

    def to_json(self) -> str:
        """``tokenizer.json``, the same text for the same tokenizer."""
        return self.backend.to_str(pretty=True)


def train_tokenizer(stories: Iterable[str], vocab_size: int, kind: str = "bpe") -> Tokenizer:
    """Train a vocabulary of at most ``vocab_size`` tokens from stories.

    Args:
        stories: training texts; at most the first 5 million characters are looked at.
        vocab_size: tokens at most, special ones included; a small text may give fewer.
        kind: ``bpe`` or ``characters``.
    """
    stories = _bounded(stories, MAX_TRAINING_CHARACTERS)
    backend = (
        _train_bpe(stories, vocab_size) if kind == "bpe" else _train_characters(stories, vocab_size)
    )
    backend.add_special_tokens(list(SPECIAL))
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS)]
    )
    return Tokenizer(backend)


def parse_tokenizer(text: str, name: str = "tokenizer.json") -> Tokenizer:
    """Read a tokenizer from the text of a ``tokenizer.json`` that this module wrote.

    Other kinds are refused: with what the format allows, text could be altered or grow without end.

    Raises:
        TinybuddyError: if it is not one, or is laid out otherwise.
    """
    try:
        _check_layout(json.loads(text))
        return Tokenizer(Backend.from_str(text))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises plain Exceptions, and panics, which are not
        reason = reprlib.repr(str(error)) if str(error) else type(error).__name__
        raise TinybuddyError(f"{name} is not a tokenizer of this package ({reason}).") from None


def _check_layout(values: Any) -> None:
    """Raise ValueError unless the parsed ``tokenizer.json`` is as `train_tokenizer` lays it out."""
    if not isinstance(values, dict) or not isinstance(model := values.get("model"), dict):
        raise ValueError("it has no model")
    pre: Any = values.get("pre_tokenizer")
    byte_level = isinstance(pre, dict) and pre.get("type") == "ByteLevel"
    expected = {
        "a normalizer": (values.get("normalizer"), None),
        "truncation": (values.get("truncation"), None),
        "padding": (values.get("padding"), None),
        "another kind of model": (model.get("type"), "BPE"),
        "an unknown token": (model.get("unk_token"), None),
        "dropout": (model.get("dropout"), None),
        "word marks": (
            (model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")),
            (None, None),
        ),
        "byte fallback": (model.get("byte_fallback", False), False),
        "another pre-tokenizer": (
            (pre["add_prefix_space"], pre["use_regex"]) if byte_level else pre,
            (False, True) if byte_level else None,
        ),
        "other special tokens": (
            [(token["id"], token["content"]) for token in values["added_tokens"]],
            list(enumerate(SPECIAL)),
        ),
        "other ids for them": ([model["vocab"].get(token) for token in SPECIAL], [0, 1, 2]),
        "ids other than 0, 1, 2, ...": (
            sorted(model["vocab"].values()),
            list(range(len(model["vocab"]))),
        ),
        "too many tokens": (len(model["vocab"]) > MAX_TOKENS, False),
    }
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise ValueError(f"it has {what}")


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


def byte_alphabet() -> list[str]:
    """GPT-2's printable character for each of the 256 bytes.

    Printable Latin-1 stands for itself; the others take the characters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + n) for n in range(256))
    return [chr(b) if b in printable else next(others) for b in range(256)]


def _train_bpe(stories: Iterable[str], vocab_size: int) -> Backend:
    """Train merges with the library, then give every token its fixed id."""
    learner = Backend(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(stories, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*SPECIAL, *byte_alphabet(), *(left + right for left, right in merges)]
    vocabulary = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    backend = Backend(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _train_characters(stories: Iterable[str], vocab_size: int) -> Backend:
    counts: Counter[str] = Counter()
    for story in stories:
        counts.update(story)
    # The most frequent first, ties by code point, so that the order of the stories does not matter.
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    tokens = [*SPECIAL, *ranked[: vocab_size - len(SPECIAL)]]
    backend = Backend(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=[]))
    backend.decoder = decoders.Fuse()
    return backend


def _bounded(stories: Iterable[str], characters: int) -> Iterator[str]:
    for story in stories:
        yield story[:characters]
        characters -= len(story)
        if characters <= 0:
            return


def _pieces(vocabulary: dict[str, int], kind: str, size: int) -> list[bytes]:
    """Bytes of each id, read off the vocabulary."""
    bytes_of = {character: bytes([b]) for b, character in enumerate(byte_alphabet())}
    pieces = [b""] * size
    for token, id in vocabulary.items():
        if token in SPECIAL:
            continue
        if kind == "bpe":
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
