"""A list of common English words, to tell a word from a string of letters."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def english_words() -> frozenset[str]:
    """Common English words and names, as `tinybuddy.corpus.statistics.words` gives them.

    The file has the words of the dictionary SCOWL (to size 50) that film subtitles often have, from
    the frequencies of pyspellchecker: its header says which versions and bounds, and
    ``english_words.LICENSE.txt`` has their notices. ``benchmarks/make_word_list.py`` makes it.

    Returns:
        The words of the file, and the possessive of each without an apostrophe: ``mom`` gives
        ``mom's``. Listing the dictionary's own possessives would double the file.
    """
    file = resources.files(__package__) / "english_words.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    plain = frozenset(line for line in lines if not line.startswith("#"))
    return plain | {f"{word}'s" for word in plain if "'" not in word}
