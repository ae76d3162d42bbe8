"""What must be known of the training text to judge a model, without the text itself.

Which words it has and how often, and which 4-grams: enough to tell a word that is none
and a sentence that was copied. It travels with a model as ``facts.npz``.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinybuddy.disk import read_bytes, write_bytes
from tinybuddy.errors import TinybuddyError

GRAM = 4
# 5,000 stories have 0.6 million 4-grams, so 0.4 % of the slots are taken, and a new row
# is taken for a known one that often; 19,390 have 1.8 million, 1.4 %. The file has 8 to 10 bits for
# each.
HASH_BITS = 27
FRESH_HASHES = 1_000_000  # kept before they are merged: 4 MB
MAX_BYTES = 64_000_000

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # noqa: RUF001  (the curly apostrophe)


@dataclass(frozen=True)
class TextStatistics:
    """Words and 4-grams of a text.

    Attributes:
        counts: how often each word occurs, the most frequent first.
        grams: hashes of its 4-grams, sorted, each below 2^27.
    """

    counts: dict[str, int]
    grams: NDArray[np.uint32]

    def has_grams(self, words: list[str]) -> NDArray[np.bool_]:
        """Whether each row of four of the words stands in the text (words - 3,)."""
        rows = np.array(gram_hashes(words), np.uint32)
        if not len(self.grams):
            return np.zeros(len(rows), bool)
        places = np.searchsorted(self.grams, rows)  # np.isin takes 0.5 s, whatever the rows
        found: NDArray[np.bool_] = self.grams[np.minimum(places, len(self.grams) - 1)] == rows
        return found


def words(text: str) -> list[str]:
    """Words of a text in lower case, with straight apostrophes; no digits or punctuation."""
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]  # noqa: RUF001


def gram_hashes(words: list[str]) -> list[int]:
    """CRC-32 of each 4-gram, its lowest 27 bits."""
    rows = (" ".join(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1))
    return [zlib.crc32(row.encode("utf-8")) & (1 << HASH_BITS) - 1 for row in rows]


def text_statistics(stories: Iterable[str]) -> TextStatistics:
    """Read stories once; memory grows with the distinct words and 4-grams alone."""
    counts: Counter[str] = Counter()
    grams, fresh = np.zeros(0, np.uint32), array("I")
    for story in stories:
        found = words(story)
        counts.update(found)
        fresh.extend(gram_hashes(found))
        if len(fresh) > FRESH_HASHES:
            grams, fresh = _merged(grams, fresh), array("I")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return TextStatistics(dict(ranked), _merged(grams, fresh))


def _merged(grams: NDArray[np.uint32], fresh: array[int]) -> NDArray[np.uint32]:
    return np.unique(np.concatenate([grams, np.frombuffer(fresh, np.uint32)]))


def write_statistics(path: Path, statistics: TextStatistics) -> None:
    """Write ``facts.npz``: words as one UTF-8 text, their counts, and the gaps between hashes.

    The four bytes of the gaps stand in rows of their own, which compresses to 70 %.
    """
    gaps = np.diff(statistics.grams, prepend=np.uint32(0)).astype("<u4")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        words=np.frombuffer("\n".join(statistics.counts).encode("utf-8"), np.uint8),
        counts=np.fromiter(statistics.counts.values(), np.uint32),
        gaps=np.ascontiguousarray(gaps.view(np.uint8).reshape(-1, 4).T),
    )
    write_bytes(path, buffer.getvalue())


def read_statistics(path: Path) -> TextStatistics:
    """Read ``facts.npz``.

    Raises:
        TinybuddyError: if it cannot be read or is damaged.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path, MAX_BYTES)), allow_pickle=False) as file:
            names = file["words"].tobytes().decode("utf-8").split("\n")
            counts = [int(count) for count in file["counts"]]
            gaps = np.ascontiguousarray(file["gaps"].T, np.uint8).view("<u4")
            grams = np.cumsum(gaps, dtype=np.uint64)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TinybuddyError(f"{path} is damaged: {error}.") from None
    if len(grams) and grams[-1] >= 1 << HASH_BITS:
        raise TinybuddyError(f"{path} is damaged: it has hashes beyond {HASH_BITS} bits.")
    return TextStatistics(dict(zip(names, counts, strict=False)), grams.astype(np.uint32))
