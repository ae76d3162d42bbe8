"""How values are named and written, in the terminal and in the report."""

from __future__ import annotations

import math

from tinybuddy.evaluation.metrics.bounds import BOUNDS
from tinybuddy.evaluation.metrics.metric import MetricValue
from tinybuddy.evaluation.scorecard import Scorecard

VERDICTS = {True: "YES", False: "NO", None: "OPEN"}
MARKS = {True: "pass", False: "FAIL", None: ""}

LABELS = {  # at most 25 characters, so that the table fits 80 columns
    "bits_per_byte.validation": "bits per byte",
    "words.english": "English words",
    "grammar.pairs": "right sentence preferred",
    "grammar.word_order": "own sentences in order",
    "coherence.pairs": "what follows preferred",
    "coherence.sentence_order": "own stories in order",
    "repetition.repeated_4grams": "4-grams repeated",
    "variety.own_4grams": "4-grams in no other story",
    "variety.distinct_words": "different words in 1,000",
    "originality.new_4grams": "4-grams not in training",
    "originality.longest_copy": "longest copy, words",
    "sentences.whole": "whole sentences",
    "tell_apart.accuracy": "told apart from human",
}


_ALTERNATIVES = {"was_were", "has_have", "a_an", "this_these", "one_many", "he_she"}


def paradigm_name(name: str) -> str:
    """How people call a paradigm, such as this/these or word order."""
    return name.replace("_", "/" if name in _ALTERNATIVES else " ")


def written(name: str, value: float | None) -> str:
    """A value in the unit of its value; a dash for none."""
    if value is None or math.isnan(value):
        return "-"
    match name:
        case "bits_per_byte.validation":
            return f"{value:.3f}"
        case "originality.longest_copy":
            return f"{value:.1f}"
        case "variety.distinct_words":
            return f"{1000 * value:.0f}"
    return f"{value:.1%}"


def bound_of(measured: MetricValue) -> str:
    """What the value must reach, as words."""
    if measured.limit is None:
        return ""
    sign = "≥" if BOUNDS[measured.name].least else "≤"
    return f"{sign} {written(measured.name, measured.limit)}"


def interval_of(measured: MetricValue) -> str:
    """Its 95 % interval."""
    return span(measured.name, *measured.share.interval())


def span(name: str, low: float, high: float) -> str:
    """An interval, its unit once."""
    return f"{written(name, low).removesuffix('%')} to {written(name, high)}"


def verdict_of(card: Scorecard) -> str:
    """The verdict, as one line."""
    size = f" ({card.parameters:,} parameters)" if card.parameters else ""
    return f"{card.name}{size} speaks English: {VERDICTS[card.speaks_english]}"


def reasons_of(card: Scorecard) -> list[str]:
    """Why: the values that fail, or else what could not be measured; none for a yes."""
    if card.is_silent:
        return ["it writes next to nothing: most of its stories have fewer than four words"]
    failed = [f for f in card.values().values() if f.passed is False]
    if failed:
        return [
            f"{LABELS[f.name]}: nothing that it generated could be measured"
            if math.isnan(f.value)
            else f"{LABELS[f.name]} {interval_of(f)}, must be {bound_of(f)}"
            for f in failed
        ]
    lacks = [
        f"{metric.name} needs {metric.lacks}"
        for metric in card.metrics.values()
        if metric.lacks and metric.name != "tell_apart"  # which is not judged
    ]
    return lacks + uncompared_of(card)


def uncompared_of(card: Scorecard) -> list[str]:
    """The values that would be judged, had human stories given them a bound."""
    return [
        f"{LABELS[f.name]} cannot be compared: there are too few human stories of its kind"
        for f in card.values().values()
        if f.name in BOUNDS and f.limit is None
    ]
