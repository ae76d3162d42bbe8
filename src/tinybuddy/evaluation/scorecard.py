"""The scorecard of one source: every metric, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from tinybuddy.config import SampleConfig
from tinybuddy.corpus.statistics import GRAM, TextStatistics, words
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.evidence import Evidence
from tinybuddy.evaluation.metrics.bits_per_byte import measure_bits_per_byte
from tinybuddy.evaluation.metrics.coherence import measure_coherence
from tinybuddy.evaluation.metrics.discriminator import measure_discriminator
from tinybuddy.evaluation.metrics.english import english_words
from tinybuddy.evaluation.metrics.grammar import measure_grammar
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.metrics.originality import measure_originality
from tinybuddy.evaluation.metrics.repetition import measure_repetition
from tinybuddy.evaluation.metrics.sentences import measure_sentences
from tinybuddy.evaluation.metrics.variety import measure_variety
from tinybuddy.evaluation.metrics.words import measure_words
from tinybuddy.evaluation.rivals.controls import CAUGHT_BY, MODELS, open_controls
from tinybuddy.evaluation.rivals.ngrams import Rivals
from tinybuddy.evaluation.stories import CHARACTERS, Story, story_of
from tinybuddy.progress import Progress, shared

SEEDS = 5  # stories of each prompt
SAMPLING = SampleConfig()  # the reference model's: temperature 0.8, top-k 40
PLAIN = SampleConfig(temperature=1.0, top_k=0)  # what the probabilities themselves say


@dataclass(frozen=True, eq=False)
class Scorecard:
    """What was measured of one source.

    Attributes:
        name: of the source.
        parameters: of the model; 0 of a text.
        metrics: by name.
        plain: the metrics of text again, sampled plainly; empty of a text.
        stories: what it generated.
        warnings: what makes the values doubtful.
        seconds: that it took.
    """

    name: str
    parameters: int
    metrics: dict[str, Metric]
    plain: dict[str, Metric]
    stories: Sequence[Story]
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def speaks_english(self) -> bool | None:
        """True if every judged metric passes, False if one fails, None if that is not known."""
        if self.is_silent:
            return False
        verdicts = [g.passed for g in self.metrics.values() if g.name != "tell_apart"]
        if False in verdicts:
            return False
        return True if all(verdicts) and "bits_per_byte" in self.metrics else None

    @property
    def is_silent(self) -> bool:
        """Whether most stories are too short for any metric, which would judge the few others."""
        return sum(len(words(story.text)) >= GRAM for story in self.stories) * 2 < len(self.stories)

    def values(self) -> dict[str, MetricValue]:
        """All values by name."""
        return {f.name: f for metric in self.metrics.values() for f in metric.values}

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON."""
        values = self.values()
        bits = values.get("bits_per_byte.validation")
        return {
            "name": self.name,
            "speaks_english": self.speaks_english,
            "bits_per_byte": bits.value if bits else None,
            "parameters": self.parameters,
            "seconds": self.seconds,
            "tokens_per_second": self.metrics["bits_per_byte"].details.get("tokens_per_second")
            if bits
            else None,
            "gauges": {name: metric.to_mapping() for name, metric in self.metrics.items()},
            "plain_sampling": {name: metric.to_mapping() for name, metric in self.plain.items()},
            "warnings": self.warnings,
        }


def prompts() -> list[str]:
    """Return the forty beginnings that every model continues."""
    text = (resources.files(__package__) / "prompts.txt").read_text("utf-8")
    return text.splitlines()


def generate_stories(
    evaluated: EvaluatedModel, config: SampleConfig, on_progress: Progress
) -> list[Story]:
    """Two hundred stories, five of each prompt, each with a seed of its own.

    With the seeds of one prompt for all, a model that hardly looks at the prompt would give every
    prompt the same stories.
    """
    plainly = "" if config == SAMPLING else ", plainly sampled"
    what = f"{evaluated.name}: generating stories{plainly}"
    asked = [(prompt, group) for group, prompt in enumerate(prompts()) for _ in range(SEEDS)]
    beginnings, count = [prompt for prompt, _ in asked], len(asked)

    def on_story(done: int) -> None:
        on_progress(what, done / count)

    texts = evaluated.generate(beginnings, range(count), CHARACTERS, config, on_story)
    return [story_of(p, text, group) for (p, group), text in zip(asked, texts, strict=True)]


@dataclass(frozen=True, eq=False)
class Standard:
    """What texts of sources with one training text are compared with.

    Attributes:
        evidence: human stories and the judge.
        facts: of the training text, if they are known.
        known: words that are English.
        human: value of each value of human stories.
    """

    evidence: Evidence
    statistics: TextStatistics | None
    known: Collection[str]
    human: Mapping[str, float]


def open_standard(evidence: Evidence, statistics: TextStatistics | None) -> Standard:
    """Measure the human stories against a training text."""
    known = english_words() | (statistics.counts.keys() if statistics else frozenset())
    standard = Standard(evidence, statistics, known, evidence.stored)
    if not evidence.human:
        return standard
    metrics = text_metrics(standard, evidence.human)
    values = {f.name: f.value for metric in metrics.values() for f in metric.values}
    del values["tell_apart.accuracy"]  # of the human stories against themselves
    return Standard(evidence, statistics, known, values)


def text_metrics(
    standard: Standard, stories: Sequence[Story], evaluated: EvaluatedModel | None = None
) -> dict[str, Metric]:
    """Measure what a source writes; with an ``evaluated`` model, also what it prefers."""
    evidence, human = standard.evidence, standard.human
    judge = evidence.judge
    metrics = [
        measure_words(stories, standard.known, human.get("words.english")),
        measure_grammar(evaluated, stories, judge, human.get("grammar.word_order")),
        measure_coherence(
            evaluated, evidence.validation, stories, judge, human.get("coherence.sentence_order")
        ),
        measure_repetition(stories, human.get("repetition.repeated_4grams")),
        measure_variety(stories, human),
        measure_originality(stories, standard.statistics, human),
        measure_sentences(stories, evidence.lengths, human.get("sentences.whole")),
        measure_discriminator(stories, evidence.human),
    ]
    return {metric.name: metric for metric in metrics}


def score_model(
    evaluated: EvaluatedModel,
    standard: Standard,
    rivals: Rivals | None,
    on_progress: Progress,
    plainly: bool = True,
) -> Scorecard:
    """Measure a model with every metric.

    Args:
        evaluated: the model.
        standard: what its texts are compared with.
        rivals: n-grams of its tokens; None without data.
        on_progress: called with what is being done, and which part of all is done.
        plainly: generate stories by plain sampling too, to measure them beside.
    """
    began = time.monotonic()
    # Of a released model in the engine: scoring with its rivals takes half of the time.
    scoring, generating, measuring, again = shared(on_progress, (5, 1, 2, 2 if plainly else 0))
    if rivals:
        scoring(f"{evaluated.name}: scoring the validation stories", 0.0)
    first = measure_bits_per_byte(evaluated, standard.evidence.validation, rivals)
    stories = generate_stories(evaluated, SAMPLING, generating)
    measuring(f"{evaluated.name}: measuring its stories", 0.0)
    metrics = {first.name: first} | text_metrics(standard, stories, evaluated)
    plain = text_metrics(standard, generate_stories(evaluated, PLAIN, again)) if plainly else {}
    return Scorecard(
        name=evaluated.name,
        parameters=evaluated.parameters,
        metrics=metrics,
        plain=plain,
        stories=stories,
        seconds=time.monotonic() - began,
    )


def score_text(name: str, stories: Sequence[Story], standard: Standard) -> Scorecard:
    """Measure stories that come from no model."""
    return Scorecard(name, 0, text_metrics(standard, stories), {}, stories)


def score_controls(
    evidence: Evidence, standard: Standard, rivals: Rivals, on_progress: Progress
) -> dict[str, Scorecard]:
    """Measure human stories and all controls, by name."""
    cards = {"human": score_text("human", evidence.more_human, standard)}
    # A model takes some three times as long as a text, and the unlimited 5-gram longest.
    weights = [3 if name in MODELS else 1 for name in CAUGHT_BY]
    sources = open_controls(evidence.train, evidence.more_human, rivals)
    for (name, source), part in zip(sources, shared(on_progress, weights), strict=True):
        part(f"control: {name}", 0.0)
        if isinstance(source, EvaluatedModel):
            own = rivals if source.tokenizer is rivals.tokenizer else None
            cards[name] = score_model(source, standard, own, part, plainly=False)
        else:
            cards[name] = score_text(name, source, standard)
    return cards
