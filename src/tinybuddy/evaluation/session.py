"""Does it speak English? A scorecard that any language model can take, and that can say no."""

from __future__ import annotations

import math
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tinybuddy.corpus.kept import INPUT, is_read_once, keep
from tinybuddy.corpus.statistics import TextStatistics, read_statistics
from tinybuddy.disk import exists, expanded
from tinybuddy.errors import TinybuddyError, UsageError, counted
from tinybuddy.evaluation.adapters import open_evaluated
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.comparison import Difference, compare
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.evidence import Evidence, gather, overlapping, stored_evidence
from tinybuddy.evaluation.metrics.blimp import blimp as score_blimp
from tinybuddy.evaluation.metrics.bounds import EDITION
from tinybuddy.evaluation.rivals.ngrams import Rivals, open_rivals
from tinybuddy.evaluation.scorecard import (
    SAMPLING,
    Scorecard,
    Standard,
    open_standard,
    score_controls,
    score_model,
)
from tinybuddy.generation.model import Model
from tinybuddy.progress import Progress, shared
from tinybuddy.training.metadata import (
    run_data,
    short_source,
    statistics_beside,
    training_of,
)
from tinybuddy.training.provenance import provenance

FEW_TRAINING = 1_000  # stories; the judge of 3 stories failed a model that passes with 5,000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        scorecards: of each model, in the order given.
        differences: between the first model and each other one, by the other's name.
        beside: scorecards of human stories and of the controls, by name; empty unless asked for.
        evidence: what they were measured against.
        blimp: of each model, accuracy on BLiMP by paradigm; empty unless asked for.
        command: that does it again; of places on disk it has the last two parts.
        seconds: that all of it took.
        date: when it was done, in UTC.
        notes: what a reader should know of how it was done.

    Examples:
        >>> found = tinybuddy.evaluate("tinybuddy-80k-card")
        >>> found.speaks_english
        False
        >>> card = found.scorecards[0]
        >>> [name for name, value in card.values().items() if value.passed is False]
        ['words.english', 'grammar.pairs']
    """

    scorecards: list[Scorecard]
    differences: dict[str, list[Difference]]
    beside: dict[str, Scorecard]
    evidence: Evidence
    blimp: dict[str, dict[str, Share]]
    command: str = ""
    seconds: float = 0.0
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    notes: list[str] = field(default_factory=list)

    @property
    def speaks_english(self) -> bool | None:
        """The verdict on the first model."""
        return self.scorecards[0].speaks_english

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON: the first model's scorecard, and what else was measured."""
        first, *others = (card.to_mapping() for card in self.scorecards)
        differences = {
            name: [difference.to_mapping() for difference in found]
            for name, found in self.differences.items()
        }
        blimp = {
            name: {paradigm: share.value for paradigm, share in shares.items()}
            for name, shares in self.blimp.items()
        }
        data: dict[str, Any] = {"source": self.evidence.source, "sha256": self.evidence.sha256}
        data |= {"stories": len(self.evidence.train)}
        beside = {name: card.to_mapping() for name, card in self.beside.items()}
        more = {"others": others, "differences": differences, "beside": beside, "blimp": blimp}
        how = {
            "edition": EDITION,
            "date": self.date,
            "command": self.command,
            "seconds_in_all": self.seconds,
            "sampling": asdict(SAMPLING),
            "notes": self.notes,
            "provenance": provenance(),
        }
        mapping: dict[str, Any] = first | {"data": data} | how | more
        return {name: without_nan(value) for name, value in mapping.items()}


def evaluate(
    *models: str | Path | Model,
    data: str | Path | Sequence[str] | None = None,
    stories: int | None = None,
    split: str = "",
    text_key: str = "",
    with_controls: bool = False,
    blimp: str | Path | None = None,
    threads: int = 1,
    backend: str = "engine",
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Evaluation:
    """Measure whether models speak English.

    Args:
        models: directories, runs, released names, ``.buddy`` files, ``.bin`` files of llama2.c,
            directories of `transformers`, or loaded models; the first is compared with the others.
        data: human stories, as `tinybuddy.train` takes them, or a list of texts; by default those
            of the first model's run, if it is a run and they are still there. Without any, the
            metrics that need them are not run, and the verdict can only be no or open.
        stories: training stories of ``data`` at most; by default as many as the first model was
            trained on, where that is known, otherwise all.
        split: see `tinybuddy.corpus.open_corpus`.
        text_key: likewise.
        with_controls: measure human stories and the controls, too.
        blimp: a folder with the ``.jsonl`` files of BLiMP, to be scored, too.
        threads: of the processor.
        backend: what computes: ``engine`` or ``torch``; directories of transformers take PyTorch.
        on_progress: called with what is being done, how much of all is done, and of how much.

    Raises:
        UsageError: without a model, or for an impossible value.
        TinybuddyError: if a model or the data cannot be read, or a model is broken.

    Examples:
        >>> found = tinybuddy.evaluate("tinybuddy-80k-int4")
        >>> found.speaks_english is None  # open: only with its training text could it be yes
        True
    """
    if not models:
        raise UsageError("evaluate needs a model: give a directory or a released name.")
    if stories is not None and stories < 0:
        raise UsageError(f"`stories` must be 0, for all, or more, not {stories}.")
    if threads < 1:
        raise UsageError(f"`threads` must be 1 or more, not {threads}.")
    if blimp is not None and not expanded(blimp).is_dir():
        raise TinybuddyError(f"There is no folder {blimp}: give the data folder of BLiMP.")
    began = time.monotonic()
    evaluated_models = _named_apart([open_evaluated(model, threads, backend) for model in models])
    # On 5,000 stories of TinyStories, in seconds of one core.
    weights = (3, *[7] * len(models), 50 if with_controls else 0)
    reading, *parts, last = shared(
        lambda what, part: on_progress(what, int(999 * part), 999), weights
    )
    limit = _asked_for(evaluated_models[0]) if stories is None else stories
    evidence, notes = _evidence(data, evaluated_models[0], limit, reading, (split, text_key))
    if with_controls and not evidence.train:
        raise UsageError("The controls are made of human stories: give them by `data`.")
    pairs: dict[str, dict[str, Share]] = {}
    scorecards: list[Scorecard] = []
    first_rivals: Rivals | None = None
    for evaluated, part in zip(evaluated_models, parts, strict=True):
        counting, measuring = shared(part, (2, 5))
        standard = _standard(evaluated, evidence)
        if blimp is not None:
            counting(f"{evaluated.name}: BLiMP", 0.0)
            pairs[evaluated.name] = score_blimp(evaluated, expanded(blimp), standard.known)
        rivals = _rivals(evaluated, evidence, counting)
        first_rivals = first_rivals or rivals
        scorecards.append(_measure(evaluated, standard, rivals, measuring))
    first, *others = scorecards
    beside: dict[str, Scorecard] = {}
    if with_controls and first_rivals:
        standard = open_standard(evidence, evidence.statistics)
        beside = score_controls(evidence, standard, first_rivals, last)
    return Evaluation(
        scorecards=scorecards,
        differences={other.name: compare(first, other) for other in others},
        beside=beside,
        evidence=evidence,
        blimp=pairs,
        command=_command(evaluated_models, data, stories, with_controls),
        seconds=time.monotonic() - began,
        notes=notes,
    )


def take_scorecard(model: str | Path | Model, evidence: Evidence) -> Scorecard:
    """Let one model take the scorecard on evidence that was gathered before.

    Raises:
        TinybuddyError: if the model cannot be read, or is broken.
    """
    evaluated = open_evaluated(model)
    (counting, measuring) = shared(lambda what, part: None, (2, 5))
    rivals = _rivals(evaluated, evidence, counting)
    return _measure(evaluated, _standard(evaluated, evidence), rivals, measuring)


def _evidence(
    data: str | Path | Sequence[str] | None,
    first: EvaluatedModel,
    limit: int,
    on_progress: Progress,
    layout: tuple[str, str],
) -> tuple[Evidence, list[str]]:
    """Human stories: those asked for, or those of the first model's run, or stored values alone."""
    if data is not None:
        if not is_read_once(data):
            return gather(str(data), limit, on_progress, True, *layout), []
        with tempfile.TemporaryDirectory() as folder:
            found = gather(str(keep(data, Path(folder))), limit, on_progress, True, *layout)
        return replace(found, source="the given text"), []
    known = run_data(first.path) if first.path else None
    if known is None:
        return stored_evidence(), []
    try:
        found = gather(known.data, limit, on_progress, known.clean, known.split, known.text_key)
    except TinybuddyError as error:
        return stored_evidence(), [f"Its own stories cannot serve: {error}"]
    if found.sha256 != known.sha256 and limit == _asked_for(first):
        return stored_evidence(), [f"{known.data} has changed since it was trained on."]
    return found, [f"Measured on its own data, {known.data}."]


def _command(
    models: list[EvaluatedModel],
    data: str | Path | Sequence[str] | None,
    stories: int | None,
    controls: bool,
) -> str:
    """How to do it again, without places that tell of a disk's owner."""
    words = ["tinybuddy", "evaluate", *(short_source(model.name) for model in models)]
    if data is not None:
        words += ["--data", _place(data)]
    words += [] if stories is None else ["--stories", str(stories)]
    return shlex.join([*words, *(["--controls"] if controls else [])])


def _place(data: str | Path | Sequence[str]) -> str:
    if is_read_once(data):
        return INPUT
    return f"path/to/{short_source(str(data))}" if exists(str(data)) else str(data)


def _named_apart(evaluated_models: list[EvaluatedModel]) -> list[EvaluatedModel]:
    """Number models of one name, since results go by name."""
    named: dict[str, EvaluatedModel] = {}
    for evaluated in evaluated_models:
        name, number = evaluated.name, 2
        while name in named:
            name, number = f"{evaluated.name} ({number})", number + 1
        named[name] = replace(evaluated, name=name)
    return list(named.values())


def _standard(evaluated: EvaluatedModel, evidence: Evidence) -> Standard:
    """Compare with what is known of the training text: what travels with the model, and the data.

    Without data, originality has only the stored human values, of a training text of one size.
    """
    path = statistics_beside(evaluated.path) if evaluated.path else None
    statistics = read_statistics(path) if path else evidence.statistics
    if statistics and evidence.statistics:
        statistics = TextStatistics(
            statistics.counts, np.union1d(statistics.grams, evidence.statistics.grams)
        )
    elif _trained_on(evaluated) != evidence.stored_stories:
        stored = {n: v for n, v in evidence.stored.items() if not n.startswith("originality.")}
        evidence = replace(evidence, stored=stored)
    return open_standard(evidence, statistics)


def _measure(
    evaluated: EvaluatedModel, standard: Standard, rivals: Rivals | None, on_progress: Progress
) -> Scorecard:
    evidence, statistics = standard.evidence, standard.statistics
    card = score_model(evaluated, standard, rivals, on_progress)
    if statistics and (seen := overlapping(evidence.validation, statistics)):
        card.warnings.append(
            f"Of {len(seen)} of the {len(evidence.validation)} validation stories nearly all "
            "4-grams are in the training text of this model: its bits per byte and its coherence "
            "are too good."
        )
    if 0 < len(evidence.train) < FEW_TRAINING:
        card.warnings.append(
            f"The judge learned {counted(len(evidence.train), 'story', 'stories')} alone: what it "
            "says of the order of words and sentences is rough, and may be too hard."
        )
    if evidence.train and _trained_on(evaluated) > len(evidence.train):
        card.warnings.append(
            f"The n-gram model that it must beat learned {len(evidence.train):,} stories, this "
            f"model {_trained_on(evaluated):,}: give as many, or the bound may be too easy."
        )
    return card


def _rivals(evaluated: EvaluatedModel, evidence: Evidence, on_progress: Progress) -> Rivals | None:
    if not evidence.train:
        return None
    on_progress(f"{evaluated.name}: counting n-grams", 0.0)
    return open_rivals(evaluated.tokenizer, evidence.train, evidence.validation)


def _asked_for(evaluated: EvaluatedModel) -> int:
    """Training stories that the model's recipe asks for at most; 0 for all or if unknown."""
    match training_of(evaluated.path) if evaluated.path else {}:
        case {"recipe": {"train": {"stories": int(stories)}}} if stories >= 0:
            return stories
    return 0


def _trained_on(evaluated: EvaluatedModel) -> int:
    """Training stories of the model; 0 if unknown."""
    match training_of(evaluated.path) if evaluated.path else {}:
        case {"run": {"data": {"stories": int(stories)}}}:
            return stories
    return 0


def without_nan(value: Any) -> Any:
    """JSON has no NaN: what could not be measured is null."""
    match value:
        case dict():
            return {key: without_nan(item) for key, item in value.items()}
        case list() | tuple():
            return [without_nan(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value
