"""The scorecard of one source: every gauge, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from tinybuddy.config import SampleConfig
from tinybuddy.corpus.statistics import GRAM, Facts, words
from tinybuddy.evaluation.evidence import Evidence
from tinybuddy.evaluation.metrics.bits_per_byte import Rivals, gauge_bits_per_byte
from tinybuddy.evaluation.metrics.coherence import gauge_coherence
from tinybuddy.evaluation.metrics.english import english_words
from tinybuddy.evaluation.metrics.grammar import gauge_grammar
from tinybuddy.evaluation.metrics.metric import Figure, Gauge
from tinybuddy.evaluation.metrics.originality import gauge_originality
from tinybuddy.evaluation.metrics.repetition import gauge_repetition
from tinybuddy.evaluation.metrics.sentences import gauge_sentences
from tinybuddy.evaluation.metrics.tell_apart import gauge_tell_apart
from tinybuddy.evaluation.metrics.variety import gauge_variety
from tinybuddy.evaluation.metrics.words import gauge_words
from tinybuddy.evaluation.stories import CHARACTERS, Story, told
from tinybuddy.evaluation.subject import Subject

SEEDS = 10  # stories of each prompt
SAMPLING = SampleConfig()  # the reference model's: temperature 0.8, top-k 40
PLAIN = SampleConfig(temperature=1.0, top_k=0)  # what the probabilities themselves say

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Scorecard:
    """What was measured of one source.

    Attributes:
        name: of the source.
        parameters: of the model; 0 of a text.
        gauges: by name.
        plain: the gauges of text again, sampled plainly; empty of a text.
        stories: what it told.
        warnings: what makes the figures doubtful.
        seconds: that it took.
    """

    name: str
    parameters: int
    gauges: dict[str, Gauge]
    plain: dict[str, Gauge]
    stories: Sequence[Story]
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def speaks_english(self) -> bool | None:
        """True if every judged gauge passes, False if one fails, None if that is not known."""
        if self.is_silent:
            return False
        verdicts = [g.passed for g in self.gauges.values() if g.name != "tell_apart"]
        if False in verdicts:
            return False
        return True if all(verdicts) and "bits_per_byte" in self.gauges else None

    @property
    def is_silent(self) -> bool:
        """Whether most stories are too short for any gauge, which would judge the few others."""
        return sum(len(words(story.text)) >= GRAM for story in self.stories) * 2 < len(self.stories)

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        return {f.name: f for gauge in self.gauges.values() for f in gauge.figures}

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON."""
        figures = self.figures()
        bits = figures.get("bits_per_byte.validation")
        return {
            "name": self.name,
            "speaks_english": self.speaks_english,
            "bits_per_byte": bits.value if bits else None,
            "parameters": self.parameters,
            "seconds": self.seconds,
            "tokens_per_second": self.gauges["bits_per_byte"].details.get("tokens_per_second")
            if bits
            else None,
            "gauges": {name: gauge.to_mapping() for name, gauge in self.gauges.items()},
            "plain_sampling": {name: gauge.to_mapping() for name, gauge in self.plain.items()},
            "warnings": self.warnings,
        }


def prompts() -> list[str]:
    """Return the twenty beginnings that every model continues."""
    text = (resources.files(__package__) / "prompts.txt").read_text("utf-8")
    return text.splitlines()


def tell_stories(subject: Subject, config: SampleConfig, on_progress: Progress) -> list[Story]:
    """Two hundred stories, ten of each prompt, each with a seed of its own.

    With the seeds of one prompt for all, a model that hardly looks at the prompt would tell every
    prompt the same stories.
    """
    plainly = "" if config == SAMPLING else ", plainly sampled"
    what = f"{subject.name}: telling stories{plainly}"
    beginnings = [prompt for prompt in prompts() for _ in range(SEEDS)]
    count = len(beginnings)

    def on_story(done: int) -> None:
        on_progress(what, done, count)

    texts = subject.tell(beginnings, range(count), CHARACTERS, config, on_story)
    return [told(prompt, text) for prompt, text in zip(beginnings, texts, strict=True)]


@dataclass(frozen=True, eq=False)
class Standard:
    """What texts of sources with one training text are compared with.

    Attributes:
        evidence: human stories and the judge.
        facts: of the training text, if they are known.
        known: words that are English.
        human: value of each figure of human stories.
    """

    evidence: Evidence
    facts: Facts | None
    known: Collection[str]
    human: Mapping[str, float]


def open_standard(evidence: Evidence, facts: Facts | None) -> Standard:
    """Measure the human stories against a training text."""
    known = english_words() | (facts.counts.keys() if facts else frozenset())
    standard = Standard(evidence, facts, known, evidence.stored)
    if not evidence.human:
        return standard
    gauges = text_gauges(standard, evidence.human)
    values = {f.name: f.value for gauge in gauges.values() for f in gauge.figures}
    del values["tell_apart.accuracy"]  # of the human stories against themselves
    return Standard(evidence, facts, known, values)


def text_gauges(
    standard: Standard, stories: Sequence[Story], subject: Subject | None = None
) -> dict[str, Gauge]:
    """Measure what a source tells; with a ``subject``, also what it prefers."""
    evidence, human = standard.evidence, standard.human
    judge = evidence.judge
    gauges = [
        gauge_words(stories, standard.known, human.get("words.english")),
        gauge_grammar(subject, stories, judge, human.get("grammar.word_order")),
        gauge_coherence(
            subject, evidence.validation, stories, judge, human.get("coherence.sentence_order")
        ),
        gauge_repetition(stories, human.get("repetition.rows")),
        gauge_variety(stories, human),
        gauge_originality(stories, standard.facts, human),
        gauge_sentences(stories, evidence.lengths, human.get("sentences.whole")),
        gauge_tell_apart(stories, evidence.human),
    ]
    return {gauge.name: gauge for gauge in gauges}


def score_model(
    subject: Subject,
    standard: Standard,
    rivals: Rivals | None,
    on_progress: Progress,
    plainly: bool = True,
) -> Scorecard:
    """Measure a model with every gauge.

    Args:
        subject: the model.
        standard: what its texts are compared with.
        rivals: n-grams of its tokens; None without data.
        on_progress: told what is being done, how much is done, and of how much.
        plainly: tell stories by plain sampling too, to measure them beside.
    """
    began = time.monotonic()
    if rivals:
        on_progress(f"{subject.name}: scoring the validation stories", 0, 0)
    first = gauge_bits_per_byte(subject, standard.evidence.validation, rivals)
    stories = tell_stories(subject, SAMPLING, on_progress)
    on_progress(f"{subject.name}: measuring its stories", 0, 0)
    gauges = {first.name: first} | text_gauges(standard, stories, subject)
    plain = text_gauges(standard, tell_stories(subject, PLAIN, on_progress)) if plainly else {}
    return Scorecard(
        name=subject.name,
        parameters=subject.parameters,
        gauges=gauges,
        plain=plain,
        stories=stories,
        seconds=time.monotonic() - began,
    )


def score_text(name: str, stories: Sequence[Story], standard: Standard) -> Scorecard:
    """Measure stories that come from no model."""
    return Scorecard(name, 0, text_gauges(standard, stories), {}, stories)
