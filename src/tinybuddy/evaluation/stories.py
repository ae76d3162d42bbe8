"""Texts as the metrics see them: a story after a prompt, its sentences, its 4-grams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from tinybuddy.evaluation.bootstrap import Share

# About 120 tokens of the reference tokenizer, which has 3.0 characters a token on TinyStories. A
# bound in tokens would give a character model 24 words and GPT-2 100, and repetition, variety and
# copying all grow with the length.
CHARACTERS = 360
PROMPT_WORDS = 4  # of a human story, standing for the prompt

_QUOTES = "\"'”’"  # noqa: RUF001
# A sentence ends at . ! or ? (and closing quotes) before white space, but "Stop!" said Tom goes on.
_END = re.compile(rf"(?<![.!?])[.!?]++(?:(?![{_QUOTES}])|[{_QUOTES}]+(?!\s+[a-z]))(?=\s|$)")
_WHOLE = re.compile(rf"[.!?][{_QUOTES}]*$")


class Story(NamedTuple):
    """What a source generated."""

    prompt: str
    text: str  # what follows the prompt
    cut: bool  # whether it went on
    group: int = -1  # of the stories that were drawn together, those of one prompt; -1 for none

    @property
    def whole(self) -> str:
        """Prompt and text."""
        return self.prompt + self.text


def share_of_stories(
    stories: Sequence[Story], parts: ArrayLike, wholes: ArrayLike | None = None
) -> Share:
    """A share over stories; its units are prompts with all their stories, or single stories."""
    alone = ((-1 - number) for number in range(len(stories)))
    groups = [
        n if story.group < 0 else story.group for story, n in zip(stories, alone, strict=True)
    ]
    return Share.grouped(groups, parts, wholes)


def story_of(prompt: str, text: str, group: int = -1) -> Story:
    """Cut a text to `CHARACTERS` and, if that or its source cut a sentence off, drop its rest.

    A text without any whole sentence is kept as it is, so that it is judged and not forgotten.
    """
    cut = len(text) >= CHARACTERS
    kept = text[:CHARACTERS].rstrip()
    ends = [match.end() for match in _END.finditer(kept)]
    if cut and ends and not _WHOLE.search(kept):
        kept = kept[: ends[-1]]
    return Story(prompt, kept, cut, group)


def human_story(text: str) -> Story:
    """Treat a human story as a model's: its first words are the prompt."""
    match = re.match(rf"\s*(?:\S+\s+){{{PROMPT_WORDS - 1}}}\S+", text)
    at = match.end() if match else 0
    return story_of(text[:at], text[at:])


def sentences(text: str) -> list[str]:
    """Sentences of a text in order, without the white space between them."""
    starts = [0, *(match.end() for match in _END.finditer(text))]
    pieces = (text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True))
    return [piece for piece in pieces if piece]
