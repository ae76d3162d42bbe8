"""Stop strings, which may reach across the border of two tokens."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tinybuddy.generation.text import until

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
