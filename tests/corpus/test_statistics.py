from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.corpus.statistics import (
    TextStatistics,
    gram_hashes,
    read_statistics,
    text_statistics,
    words,
    write_statistics,
)
from tinybuddy.errors import TinybuddyError


def test_words_are_what_one_would_count():
    text = "“Don’t,” said Zoë's 3 cats_and\nDON'T-stop."  # noqa: RUF001
    assert words(text) == ["don't", "said", "zoë's", "cats", "and", "don't", "stop"]


def test_facts_count_and_know_the_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tinybuddy.corpus.statistics.FRESH_HASHES", 0)
    statistics = text_statistics(["a b c d e", "a b c", "A b!"])
    assert statistics.counts == {"a": 3, "b": 3, "c": 2, "d": 1, "e": 1}
    assert statistics.grams.tolist() == sorted(gram_hashes(["a", "b", "c", "d", "e"]))
    assert len(statistics.grams) == 2


@given(
    st.dictionaries(st.text("abcé", min_size=1), st.integers(1, 9), min_size=1),
    st.sets(st.integers(0, 2**27 - 1)),
)
def test_written_and_read_is_the_same(tmp_path_factory, counts, grams):
    path = tmp_path_factory.mktemp("facts") / "facts.npz"
    write_statistics(path, TextStatistics(counts, np.array(sorted(grams), np.uint32)))
    again = read_statistics(path)
    assert again.counts == counts
    assert again.grams.tolist() == sorted(grams)
    first = path.read_bytes()
    write_statistics(path, again)
    assert path.read_bytes() == first


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\0\xff\xff"])
def test_damage_is_one_sentence(tmp_path: Path, damage: bytes):
    path = tmp_path / "facts.npz"
    path.write_bytes(damage)
    with pytest.raises(TinybuddyError, match="is damaged"):
        read_statistics(path)
    write_statistics(path, text_statistics(["a b c d"]))
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(TinybuddyError, match="is damaged"):
        read_statistics(path)
