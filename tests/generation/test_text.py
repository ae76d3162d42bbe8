"""Stop strings, which may reach across the border of two tokens."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.generation.text import TextStream, until

SHORT = st.text("ab ", max_size=4)


@given(st.lists(SHORT), st.lists(SHORT, max_size=3))
@example([" b", " "], ["b", " b "])  # the second begins first and is whole last
def test_a_text_ends_before_the_first_stop(pieces: list[str], stops: list[str]):
    whole = "".join(pieces)
    places = [whole.find(stop) for stop in stops if stop and stop in whole]
    assert "".join(until(pieces, stops)) == whole[: min(places, default=len(whole))]


@given(st.lists(SHORT), SHORT)
def test_nothing_is_held_back_that_cannot_be_a_stop(pieces: list[str], stop: str):
    shown, given_ = "", ""

    def as_given():
        nonlocal given_
        for piece in pieces:
            given_ += piece
            yield piece

    for piece in until(as_given(), [stop]):
        assert piece
        shown += piece
        held = given_[len(shown) :]
        assert not stop or stop.startswith(held) or stop in given_


def test_it_reads_no_further_than_the_stop():
    pieces = iter(["one", " two.", " three."])
    assert list(until(pieces, ["wo"])) == ["one", " t"]
    assert next(pieces) == " three."


@given(st.lists(SHORT), st.lists(SHORT, max_size=3))
def test_ids_that_are_pushed_say_what_the_whole_text_says(parts: list[str], stops: list[str]):
    tokenizer = read_model(find_directory("tinybuddy-80k-card")).tokenizer
    ids = [id for part in [*parts, "café 日本 😀"] for id in tokenizer.encode(part)]
    stream = TextStream(tokenizer, stops)
    said = [stream.push(ids[place : place + 3]) for place in range(0, len(ids), 3)]
    assert "".join([*said, stream.close()]) == "".join(until([tokenizer.decode(ids)], stops))
    assert stream.tokens == len(ids) or stream.stopped


def test_half_a_character_at_the_end_is_said_as_one():
    tokenizer = read_model(find_directory("tinybuddy-80k-card")).tokenizer
    stream = TextStream(tokenizer)
    assert stream.push(tokenizer.encode("a😀")[:-1]) == "a"
    assert stream.close() == "\ufffd"


def test_tokens_are_those_up_to_the_end_of_the_stop():
    tokenizer = read_model(find_directory("tinybuddy-80k-card")).tokenizer
    ids = tokenizer.encode("The end. And more.")
    stream = TextStream(tokenizer, ["end."])
    assert stream.push(ids) == "The "
    assert stream.stopped
    assert tokenizer.decode(ids[: stream.tokens]) == "The end."
    assert stream.push([5]) == stream.close() == ""
