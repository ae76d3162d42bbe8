"""BLiMP, the Benchmark of Linguistic Minimal Pairs, on the sentences whose words a model knows.

Of Warstadt et al. 2020 (arXiv 1912.00582); its sentences are not part of this package.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from tinybuddy.corpus.statistics import words
from tinybuddy.disk import read_text
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.pairs import Pair

MAX_FILE_BYTES = 16_000_000  # those of BLiMP, of 1000 pairs each, have less than 1 MB


def blimp(evaluated: EvaluatedModel, folder: Path, known: Collection[str]) -> dict[str, Share]:
    """Share of pairs whose better sentence the model finds more probable; a tie counts one half.

    Args:
        evaluated: the model.
        folder: the user's copy: a ``.jsonl`` file for each paradigm, of objects with the texts
            ``sentence_good`` and ``sentence_bad``.
        known: words in lower case; a pair with another word is left out.

    Returns:
        By paradigm, which is the file's name; without those that have no pair of known words.

    Raises:
        TinybuddyError: if the folder has no such file, or one of them is damaged.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise TinybuddyError(f"There is no .jsonl file in {folder}: give the data folder of BLiMP.")
    words_known = frozenset(known)
    found = {
        path.stem: [
            pair
            for pair in _pairs(path)
            if words_known.issuperset(words(" ".join(pair.good + pair.bad)))
        ]
        for path in files
    }
    return {name: Share.of(evaluated.prefers(pairs)) for name, pairs in found.items() if pairs}


def _pairs(path: Path) -> Iterator[Pair]:
    for number, line in enumerate(read_text(path, MAX_FILE_BYTES).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            good, bad = row["sentence_good"], row["sentence_bad"]
        except (ValueError, RecursionError):
            raise TinybuddyError(f"Line {number} of {path} is not valid JSON.") from None
        except (KeyError, TypeError):
            good = bad = None
        if not (isinstance(good, str) and isinstance(bad, str)):
            raise TinybuddyError(
                f"Line {number} of {path} lacks the text sentence_good or sentence_bad: it is not "
                "of BLiMP."
            )
        yield Pair((good,), (bad,))
