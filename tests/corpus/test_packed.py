from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinybuddy.corpus.packed import pack
from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import encode_story
from tinybuddy.tokenizer.training import train_tokenizer

TEXTS = ["A cat sat.", "日本 😀", "A dog."]
TOKENIZER = train_tokenizer(TEXTS, 280)


def test_tokens_are_all_stories_from_end_to_end(tmp_path: Path):
    tokens = pack(TEXTS, TOKENIZER, "hash", tmp_path)
    assert tokens.dtype == np.uint16
    assert isinstance(tokens, np.memmap)
    assert tokens.tolist() == [id for text in TEXTS for id in encode_story(TOKENIZER, text)]


def test_the_cache_serves_the_second_time(tmp_path: Path):
    def fail():
        raise AssertionError("read again")
        yield ""

    first = pack(TEXTS, TOKENIZER, "hash", tmp_path).tolist()
    assert pack(fail(), TOKENIZER, "hash", tmp_path).tolist() == first
    other = train_tokenizer(TEXTS, 270)
    assert pack(TEXTS, other, "hash", tmp_path).tolist() != first
    assert pack(TEXTS[:1], TOKENIZER, "other hash", tmp_path).tolist() != first


def test_nothing_gives_nothing(tmp_path: Path):
    for _ in range(2):
        assert len(pack([], TOKENIZER, "hash", tmp_path)) == 0


def test_a_damaged_cache_is_written_anew(tmp_path: Path):
    first = pack(TEXTS, TOKENIZER, "hash", tmp_path).tolist()
    (file,) = (tmp_path / "tokens").iterdir()
    for damage in (b"\xff" * 40, b"\x01"):
        file.write_bytes(damage)
        assert pack(TEXTS, TOKENIZER, "hash", tmp_path).tolist() == first


def test_a_failure_leaves_no_half_file(tmp_path: Path):
    def broken():
        yield TEXTS[0]
        raise TinybuddyError("the text ends here")

    with pytest.raises(TinybuddyError, match="the text ends here"):
        pack(broken(), TOKENIZER, "hash", tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TinybuddyError, match="Cannot write"):
        pack(TEXTS, TOKENIZER, "hash", tmp_path / "file")
