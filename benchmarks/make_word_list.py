"""Make the list of common English words: a dictionary's words that are frequent in film subtitles.

    python benchmarks/make_word_list.py SCOWL WHEEL [--check FILE]

SCOWL is the folder `usr/share/dict/scowl` of the Debian package scowl, WHEEL the wheel of
pyspellchecker. Writes `english_words.txt` of the metrics and prints how many random strings are
words of it; with `--check`, also the share of the words of FILE (`.txt`, `.jsonl`, `.parquet`)
that are.

The bounds are chosen by measurement. The 18,727 of 73,272 words that pass make up 99.2 % of the
words of the TinyStories validation split (98.5 % before possessives are formed); bounds twice as
high leave 13,289 and 98.3 %.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path

from tinybuddy.corpus.files import read_file
from tinybuddy.corpus.statistics import words
from tinybuddy.evaluation.metrics.english import english_words

LIST = (
    Path(__file__).parents[1] / "src" / "tinybuddy" / "evaluation" / "metrics" / "english_words.txt"
)
FREQUENCIES = "spellchecker/resources/en.json.gz"
# Sizes of SCOWL run from 10, the most common words, to 95. Up to 50 it has the common names.
SPELLINGS, SIZES = ("english", "american", "british"), (10, 20, 35, 40, 50)
SOURCES = """\
Words: SCOWL, the Debian package scowl 2020.12.07-2, permissive licence: english, american and
british up to size 50; the SHA-256 of these files one after the other, by name:
e61781708d6550bcafb3a75ccdda4466fd0717bed0ef31cdd7df85f69a3af5f8
Frequencies: en.json.gz of pyspellchecker 0.9.1, MIT licence; its SHA-256:
2474a48af86fd81dccea9edd0bba6cd36dd2ecedc0ae217cefcb233bba28613c
Notices: english_words.LICENSE.txt"""

# Of 1.6 billion words of film subtitles: 0.7 in a million.
WORD = 1100
# Lower, as what a tagger took for a name was not counted: Timmy 391, Lila 410, Susie 433.
NAME = 300
SINGLE = frozenset("aio")


def read_scowl(folder: Path) -> tuple[dict[str, int], str]:
    """Return the least size of each entry, and the SHA-256 of the files."""
    sizes: dict[str, int] = {}
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        size = int(path.suffix[1:])
        if path.name.split("-")[0] in SPELLINGS and size in SIZES:
            content = path.read_bytes()
            digest.update(content)
            for entry in content.decode("utf-8").split():
                sizes[entry] = min(size, sizes.get(entry, size))
    return sizes, digest.hexdigest()


def accepted(entry: str, size: int, counts: dict[str, int]) -> bool:
    """Whether an entry of SCOWL is in the list (in lower case)."""
    word = entry.lower()
    if words(word) != [word] or word.endswith("'s"):
        return False
    if len(word) == 1:
        return word in SINGLE
    if "'" in word:
        return True  # 80 words; their counts are unreliable: you're has 50
    if entry == word:
        # Rare words have a count of 50, but by an oversight so have afternoon and all others that
        # begin with after; British spellings have none. So the most common words need no count.
        return size == min(SIZES) or counts.get(word, 0) >= WORD
    # Neither acronyms nor names of two letters, which are chemical symbols and codes: without
    # them 8 % of all pairs of letters are words, with them 14 %.
    return len(word) > 2 and entry[1:].islower() and counts.get(word, 0) >= NAME


def text_of_list(scowl: Path, frequencies: bytes) -> str:
    """Return the file's text: where it comes from, then the words, sorted by code point."""
    sizes, digest = read_scowl(scowl)
    if not {digest, hashlib.sha256(frequencies).hexdigest()} <= set(SOURCES.split()):
        raise SystemExit("A source is of another version than SOURCES says: update both.")
    counts = json.loads(gzip.decompress(frequencies))
    found = sorted({entry.lower() for entry in sizes if accepted(entry, sizes[entry], counts)})
    header = f"""\
Common English words, made by: python benchmarks/make_word_list.py SCOWL WHEEL
{SOURCES}
Bounds: words counted {WORD:,} times or of size 10, names {NAME} times; no possessives, which the
reader forms.
Count: {len(found)}"""
    lines = [f"# {line}" for line in header.splitlines()]
    return "\n".join([*lines, *found]) + "\n"


def print_acceptance(known: Collection[str]) -> None:
    """Print which share of random strings are words, by length: exact, not drawn.

    Letters are drawn alike, or by a chain: each as often as it follows the one before (at the
    start: begins a word) in the words of the list, with no end until the length is reached.
    """
    plain = [word for word in known if re.fullmatch("[a-z]+", word)]
    follow: dict[str, Counter[str]] = defaultdict(Counter)
    for word in plain:
        for before, letter in zip(" " + word, word, strict=False):
            follow[before][letter] += 1
    totals = {before: letters.total() for before, letters in follow.items()}
    alike, chained = Counter[int](), defaultdict[int, float](float)
    for word in plain:
        probability = 1.0
        for before, letter in zip(" " + word, word, strict=False):
            probability *= follow[before][letter] / totals[before]
        alike[len(word)] += 1
        chained[len(word)] += probability
    print("random strings that are words: letters  letters drawn alike  letters by a chain")
    for n in range(2, 9):
        print(f"{n:38}  {alike[n] / 26**n:19.5%}  {chained[n]:18.3%}")


def print_coverage(path: Path, known: Collection[str]) -> None:
    """Print which share of a file's words are in the list, and the most frequent that are not."""
    found = Counter(word for story in read_file(path) for word in words(story))
    missed = Counter({word: count for word, count in found.items() if word not in known})
    share = 1 - missed.total() / found.total()
    formed = sum(n for word, n in found.items() if word in known and word.endswith("'s"))
    print(f"{share:.2%} of {found.total():,} words, {formed / found.total():.2%} with 's")
    print("missed:", ", ".join(f"{word} {count}" for word, count in missed.most_common(40)))


def main() -> None:
    """Write the list and print what it accepts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scowl", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--check", type=Path, metavar="FILE")
    args = parser.parse_args()
    with zipfile.ZipFile(args.wheel) as wheel:
        text = text_of_list(args.scowl, wheel.read(FREQUENCIES))
    LIST.write_bytes(text.encode("utf-8"))
    print(f"{LIST.name}: {LIST.stat().st_size:,} bytes")
    print_acceptance(english_words())
    if args.check:
        print_coverage(args.check, english_words())


if __name__ == "__main__":
    main()
