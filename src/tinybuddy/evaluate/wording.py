"""How figures are named and written, in the terminal and in the report."""

from __future__ import annotations

import math

from tinybuddy.evaluate.bounds import BOUNDS
from tinybuddy.evaluate.gauge import Figure
from tinybuddy.evaluate.scorecard import Scorecard

VERDICTS = {True: "YES", False: "NO", None: "OPEN"}
MARKS = {True: "pass", False: "FAIL", None: ""}

LABELS = {
    "bits_per_byte.validation": "bits per byte",
    "words.english": "words that are English",
    "grammar.pairs": "right sentences preferred to wrong",
    "grammar.word_order": "own sentences better than shuffled",
    "coherence.pairs": "what belongs together preferred",
    "coherence.sentence_order": "own stories better than shuffled",
    "repetition.rows": "rows of 4 words repeated",
    "variety.own_rows": "rows of 4 words in no other story",
    "variety.distinct_words": "different words in 1,000",
    "originality.new_rows": "rows of 4 words not in training",
    "originality.longest_copy": "longest copy from training, words",
    "sentences.whole": "sentences that are whole",
    "tell_apart.accuracy": "told apart from human (50 % = not)",
}


def written(name: str, value: float | None) -> str:
    """A value in the unit of its figure; a dash for none."""
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


def bound_of(figure: Figure) -> str:
    """What the figure must reach, as words."""
    if figure.limit is None:
        return ""
    sign = "≥" if BOUNDS[figure.name].least else "≤"
    return f"{sign} {written(figure.name, figure.limit)}"


def interval_of(figure: Figure) -> str:
    """Its 95 % interval."""
    low, high = figure.share.interval()
    return f"{written(figure.name, low)} to {written(figure.name, high)}"


def verdict_of(card: Scorecard) -> str:
    """The verdict with its reasons, as one sentence."""
    size = f" ({card.parameters:,} parameters)" if card.parameters else ""
    head = f"{card.name}{size} speaks English: {VERDICTS[card.speaks_english]}"
    if card.speaks_english:
        return f"{head}. Every gauge passes."
    failed = [f for f in card.figures().values() if f.passed is False]
    if failed:
        reasons = [f"{LABELS[f.name]}: {interval_of(f)}, must be {bound_of(f)}" for f in failed]
        return f"{head}. It fails {len(failed)}: {'; '.join(reasons)}."
    lacks = dict.fromkeys(gauge.lacks for gauge in card.gauges.values() if gauge.lacks)
    return f"{head}. No gauge fails, but some need {'; '.join(lacks)}."
