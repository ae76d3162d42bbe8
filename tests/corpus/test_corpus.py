from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.corpus import Corpus, empty, in_memory, open_corpus, survey, verified
from tinybuddy.corpus.overview import describe_corpus
from tinybuddy.errors import TinybuddyError, UsageError

MOJIBAKE = "The cafÃ© was “open”."

story_lists = st.lists(st.text("abc", min_size=1), min_size=1, max_size=80)


def _corpus(stories: list[str], **settings: object) -> Corpus:
    return Corpus("a list", {"all": lambda: iter(stories)}, **settings)  # type: ignore[arg-type]


@given(story_lists)
def test_each_story_is_on_one_side_once(stories: list[str]):
    corpus = _corpus(stories)
    train, validation = list(corpus.train()), corpus.validation()
    assert sorted(train + validation) == sorted(set(stories))


@given(story_lists, story_lists)
def test_the_split_does_not_move_as_data_grows(stories: list[str], more: list[str]):
    before, after = _corpus(stories), _corpus(stories + more)
    assert {*before.validation()} <= {*after.validation()}
    assert {*before.train()} <= {*after.train()}


def test_about_a_twentieth_is_validation():
    corpus = _corpus([f"story {n}" for n in range(4000)])
    assert 150 < len(corpus.validation()) < 250


def test_own_splits_are_kept_and_training_repeats_none_of_validation():
    readers = {"train": lambda: iter("abcab"), "validation": lambda: iter("xay")}
    corpus, found = survey(Corpus("two lists", readers))  # type: ignore[arg-type]
    assert list(corpus.train()) == ["b", "c"]
    assert corpus.validation() == ["x", "a", "y"]
    assert (found.stories, found.validation_stories, found.duplicates) == (2, 3, 3)


def test_the_limit_counts_training_stories():
    stories = [f"story {n}" for n in range(300)]
    assert list(_corpus(stories, limit=7).train()) == list(_corpus(stories).train())[:7]


def test_only_training_text_is_mended():
    readers = {"train": lambda: iter([MOJIBAKE]), "validation": lambda: iter([MOJIBAKE + "!"])}
    corpus = Corpus("two lists", readers)  # type: ignore[arg-type]
    assert list(corpus.train()) == ["The café was “open”."]
    assert corpus.validation() == [MOJIBAKE + "!"]
    assert next(Corpus("two", readers, clean=False).train()) == MOJIBAKE  # type: ignore[arg-type]


def test_survey_counts_and_hashes():
    stories = [f"story {n}" for n in range(100)]
    corpus, found = survey(_corpus([*stories, stories[0]]))
    train, validation = list(corpus.train()), corpus.validation()
    assert (found.stories, found.validation_stories) == (len(train), len(validation))
    assert found.bytes == sum(map(len, train))
    assert found.validation_bytes == sum(map(len, validation))
    assert found.duplicates == 1
    assert found.sha256 == survey(_corpus(stories))[1].sha256
    assert found.sha256 != survey(_corpus(stories[::-1]))[1].sha256


def test_a_small_text_still_has_a_story_to_score():
    stories = ["a", "b", "c"]
    assert not _corpus(stories).validation()
    corpus, found = survey(_corpus(stories))
    assert (found.stories, found.validation_stories) == (2, 1)
    assert len(corpus.validation()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "holds no text"), (" \n", "holds no text"), ("One story.", "give at least 2")],
)
def test_too_few_stories(tmp_path: Path, text: str, says: str):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TinybuddyError, match=says):
        survey(open_corpus(str(path)))


def test_a_separator_that_is_not_there_is_said(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("One.\n\nTwo.\n\nThree.", "utf-8")
    with pytest.raises(UsageError, match=r"'blnk' does not occur in .*did you mean `split` blank"):
        survey(open_corpus(str(path), split="blnk"))
    assert survey(open_corpus(str(path), split="blank"))[1].stories == 2


def test_too_few_stories_are_blamed_on_the_limit_where_it_is_the_cause():
    with pytest.raises(UsageError, match="With `stories` 1 none of a list is left to score"):
        survey(_corpus(["a", "a", "b"], limit=1))
    with pytest.raises(TinybuddyError, match="holds 1 story to train on"):
        survey(_corpus(["a", "a"], limit=1))
    assert survey(_corpus(["a", "a", "b"], limit=2))[1].validation_stories == 1


def test_standard_input_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stdin = io.TextIOWrapper(io.BytesIO("Öne.<|endoftext|>Two.<|endoftext|>Three.".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    facts = describe_corpus("-", 0, str(tmp_path / "out.txt"))
    assert facts["source"] == "standard input"
    assert facts["stories"] + facts["validation_stories"] == 3
    assert sorted(open_corpus(str(tmp_path / "out.txt")).train()) == ["Three.", "Two.", "Öne."]


def test_a_missing_file_is_not_looked_for_on_the_hub():
    for name in ("stories/none.txt", "a/b/c", "none"):
        with pytest.raises(TinybuddyError, match="no file or folder"):
            open_corpus(name)


def test_tales_are_split_and_counted():
    _, found = survey(open_corpus("tales", stories=100))
    assert found.stories == 100
    assert found.validation_stories > 0
    assert found.source == "tales (built in)"


@pytest.mark.parametrize("name", ["out.txt", "out.jsonl"])
def test_what_is_written_reads_back_the_same(tmp_path: Path, name: str):
    out = tmp_path / name
    facts = describe_corpus("tales", 50, str(out))
    assert facts["stories"] == 50
    assert 0 < facts["entropy"]["bits_per_byte"] < 8
    again = describe_corpus(str(out), 0)
    keys = ("stories", "bytes", "validation_stories", "sha256")
    assert [again[k] for k in keys] == [facts[k] for k in keys]


def test_an_unknown_kind_of_output_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"must end in \.txt or \.jsonl"):
        describe_corpus("tales", 50, str(tmp_path / "out.doc"))


def test_what_is_there_stays_unless_forced(tmp_path: Path):
    out = tmp_path / "out.txt"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(TinybuddyError, match=r"out\.txt is there already: .*`force`"):
        describe_corpus("tales", 50, str(out))
    assert out.read_text("utf-8") == "mine"
    describe_corpus("tales", 50, str(out), force=True)
    written = out.read_bytes()
    for data in (out, tmp_path):
        with pytest.raises(TinybuddyError, match="is what is read"):
            describe_corpus(str(data), 0, str(tmp_path / "." / "out.txt"), force=True)
    assert out.read_bytes() == written


@pytest.mark.slow
def test_tinystories(tinystories: Path):
    _, found = survey(open_corpus(str(tinystories), stories=5000))
    assert (found.stories, found.validation_stories, found.duplicates) == (5000, 759, 0)
    assert found.validation_bytes == 672_362


@pytest.mark.parametrize("data", ["tales", "file"])
def test_what_is_held_in_memory_is_the_same_where_its_file_is_gone(data: str, tmp_path: Path):
    path = tmp_path / "stories.txt"
    stories = [f"Story {n} of a cat." for n in range(300)]
    path.write_text("\n\n\n".join([*stories, stories[7]]), encoding="utf-8")
    corpus, found = survey(open_corpus(data if data == "tales" else str(path), 200))
    read = [*verified(corpus, found)]
    held = in_memory(corpus)
    path.unlink()
    again = pickle.loads(pickle.dumps(held))
    assert [*verified(again, found)] == read
    assert [*again.train()] == [story for split, story in read if split == "train"]
    assert again.validation() == [story for split, story in read if split == "validation"]
    assert [*empty(held).labelled()] == []
