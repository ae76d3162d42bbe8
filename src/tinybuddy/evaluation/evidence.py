"""What a source is measured against: human stories, the training text, and a judge made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

from tinybuddy.corpus import VALIDATION_SHARE, Corpus, Survey, open_corpus, survey
from tinybuddy.corpus.statistics import TextStatistics, text_statistics, words
from tinybuddy.errors import TinybuddyError, counted
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.sentences import human_lengths
from tinybuddy.evaluation.rivals.judge import JUDGED_STORIES, open_judge
from tinybuddy.evaluation.stories import Story, human_story
from tinybuddy.progress import Progress

HUMAN_STORIES = 200  # as many as a model generates
FEWEST_STORIES = 20  # human ones; with fewer there is nothing to compare with
MOST_STORY_BYTES = 1_000_000  # of a story that is scored: its tokens must fit the memory
OVERLAP = 0.9  # of a story's 4-grams
MOST_TRAINING_BYTES = 40_000_000  # counting n-grams takes 50 times as many bytes of memory
FEWEST_ROWS = 10  # in a story that can be said to overlap


@dataclass(frozen=True, eq=False)
class Evidence:
    """Human stories and what was made of them; without data, only the stored human values.

    Attributes:
        source: what served the stories, in words.
        sha256: of the stories.
        train: training stories.
        validation: stories that models have not trained on.
        human: validation stories, treated as a model's.
        more_human: others, for the control.
        judge: see `tinybuddy.evaluation.rivals.judge`.
        lengths: fewest and most words of a sentence.
        stored: human values by value, where there are no human stories.
        stored_stories: number of training stories that the stored values are of.
    """

    source: str
    sha256: str
    train: Sequence[str]
    validation: Sequence[str]
    human: Sequence[Story]
    more_human: Sequence[Story]
    judge: EvaluatedModel | None
    lengths: tuple[float, float]
    stored: dict[str, float]
    stored_stories: int = 0

    @cached_property
    def statistics(self) -> TextStatistics | None:
        """Words and 4-grams of the training stories."""
        return text_statistics(self.train) if self.train else None


def gather(
    data: str,
    stories: int,
    on_progress: Progress,
    clean: bool = True,
    split: str = "",
    text_key: str = "",
) -> Evidence:
    """Read the human stories of a user's data.

    Args:
        data: as `tinybuddy.corpus.open_corpus` takes it.
        stories: training stories at most; 0 for all.
        on_progress: called with what is being done, and which part of it is done.
        clean: mend mojibake in training stories.
        split: see `tinybuddy.corpus.open_corpus`.
        text_key: likewise.

    Raises:
        TinybuddyError: if the data cannot be read, or its validation stories are too few or too
            long.
    """
    on_progress("reading the stories", 0.0)
    corpus, found = survey(open_corpus(data, stories, clean, split=split, text_key=text_key))
    return evidence_of(corpus, found, on_progress)


def evidence_of(corpus: Corpus, found: Survey, on_progress: Progress) -> Evidence:
    """Read the human stories of a corpus that was surveyed; see `gather`."""
    if found.bytes > MOST_TRAINING_BYTES:
        raise TinybuddyError(
            f"{found.source} has {found.bytes:,} bytes of training stories; at most "
            f"{MOST_TRAINING_BYTES:,} can be counted: use fewer with `stories`."
        )
    train, validation = list(corpus.train()), corpus.validation()
    if len(validation) < FEWEST_STORIES:
        gives = counted(len(validation), "validation story", "validation stories")
        raise TinybuddyError(
            f"{found.source} gives {gives}, and the scorecard needs "
            f"{FEWEST_STORIES}: give a folder with a validation file, or some "
            f"{round(FEWEST_STORIES / VALIDATION_SHARE)} different stories in all."
        )
    longest = max(len(story.encode("utf-8")) for story in validation)
    if longest > MOST_STORY_BYTES:
        raise TinybuddyError(
            f"{found.source} has a validation story of {longest:,} bytes; at most "
            f"{MOST_STORY_BYTES:,} can be scored at once: separate its stories."
        )
    # Alternating, so that the parts are alike however the stories are sorted.
    human = [human_story(story) for story in validation[0::2][:HUMAN_STORIES]]
    more = [human_story(story) for story in validation[1::2][:HUMAN_STORIES]]
    on_progress("training the judge", 0.5)
    judge = open_judge(train[:JUDGED_STORIES])
    lengths = human_lengths(human)
    return Evidence(found.source, found.sha256, train, validation, human, more, judge, lengths, {})


def stored_evidence() -> Evidence:
    """Return human values measured once on TinyStories, for use without any data."""
    text = (resources.files(__package__) / "human.json").read_text("utf-8")
    known = json.loads(text)
    low, high = known["lengths"]
    source = f"stored figures of {known['source']}"
    values, stories = known["figures"], known["training_stories"]
    return Evidence(source, "", [], [], [], [], None, (low, high), values, stories)


def overlapping(validation: Sequence[str], statistics: TextStatistics) -> list[int]:
    """Numbers of the validation stories that stand in the training text, by their content."""
    found = []
    for number, story in enumerate(validation):
        known = statistics.has_grams(words(story))
        if len(known) >= FEWEST_ROWS and known.mean() >= OVERLAP:
            found.append(number)
    return found
