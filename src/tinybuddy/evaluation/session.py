"""Does it speak English? A scorecard that any language model can take, and that can say no."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinybuddy.corpus.statistics import TextStatistics, read_statistics
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.evaluation.adapters import open_evaluated
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.comparison import Difference, compare
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.evidence import Evidence, gather, overlapping, stored_evidence
from tinybuddy.evaluation.metrics.blimp import blimp as score_blimp
from tinybuddy.evaluation.rivals.ngrams import Rivals, open_rivals
from tinybuddy.evaluation.scorecard import (
    Progress,
    Scorecard,
    Standard,
    open_standard,
    score_controls,
    score_model,
)
from tinybuddy.generation.model import Model
from tinybuddy.training.metadata import statistics_beside, training_of
from tinybuddy.training.provenance import provenance


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        scorecards: of each model, in the order given.
        differences: between the first model and each other one, by the other's name.
        beside: scorecards of human stories and of the controls, by name; empty unless asked for.
        evidence: what they were measured against.
        blimp: of each model, accuracy on BLiMP by paradigm; empty unless asked for.
    """

    scorecards: list[Scorecard]
    differences: dict[str, list[Difference]]
    beside: dict[str, Scorecard]
    evidence: Evidence
    blimp: dict[str, dict[str, Share]]

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
        mapping: dict[str, Any] = first | {"data": data, "provenance": provenance()} | more
        return {name: _without_nan(value) for name, value in mapping.items()}


def evaluate(
    *models: str | Path | Model,
    data: str | Path | None = None,
    stories: int | None = None,
    with_controls: bool = False,
    blimp: str | Path | None = None,
    threads: int = 1,
    backend: str = "engine",
    on_progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Measure whether models speak English.

    Args:
        models: directories, runs, released names, ``.bin`` files of llama2.c, directories of
            `transformers`, or loaded models; the first is compared with the others.
        data: human stories, as `tinybuddy.train` takes them; without them, the metrics that need
            them are not run, and the verdict can only be no or open.
        stories: training stories of ``data`` at most; by default as many as the first model was
            trained on, where that is known, otherwise all.
        with_controls: measure human stories and the controls, too.
        blimp: a folder with the ``.jsonl`` files of BLiMP, to be scored, too.
        threads: of the processor.
        backend: what computes: ``engine`` or ``torch``; directories of transformers take PyTorch.
        on_progress: called with what is being done, how much is done, and of how much.

    Raises:
        UsageError: without a model, or for an impossible value.
        TinybuddyError: if a model or the data cannot be read, or a model is broken.
    """
    if not models:
        raise UsageError("evaluate needs a model: give a directory or a released name.")
    if with_controls and data is None:
        raise UsageError("The controls are made of human stories: give them by --data.")
    if stories is not None and stories < 0:
        raise UsageError(f"--stories must be 0, for all, or more, not {stories}.")
    if threads < 1:
        raise UsageError(f"--threads must be 1 or more, not {threads}.")
    if blimp is not None and not Path(blimp).is_dir():
        raise TinybuddyError(f"There is no folder {blimp}: give the data folder of BLiMP.")
    evaluated_models = _named_apart([open_evaluated(model, threads, backend) for model in models])
    if data is None:
        evidence = stored_evidence()
    else:
        limit = _asked_for(evaluated_models[0]) if stories is None else stories
        evidence = gather(str(data), limit, lambda what: on_progress(what, 0, 0))
    standards = [_standard(evaluated, evidence) for evaluated in evaluated_models]
    pairs: dict[str, dict[str, Share]] = {}
    for evaluated, standard in zip(evaluated_models, standards, strict=True):
        if blimp is not None:
            on_progress(f"{evaluated.name}: BLiMP", 0, 0)
            pairs[evaluated.name] = score_blimp(evaluated, Path(blimp), standard.known)
    rivals = [_rivals(evaluated, evidence, on_progress) for evaluated in evaluated_models]
    scorecards = [
        _measure(*each, on_progress)
        for each in zip(evaluated_models, standards, rivals, strict=True)
    ]
    first, *others = scorecards
    beside: dict[str, Scorecard] = {}
    if with_controls and rivals[0]:
        standard = open_standard(evidence, evidence.statistics)
        beside = score_controls(evidence, standard, rivals[0], on_progress)
    differences = {other.name: compare(first, other) for other in others}
    return Evaluation(scorecards, differences, beside, evidence, pairs)


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
            f"{len(seen)} of the {len(evidence.validation)} validation stories stand in the "
            "training text of this model: its bits per byte and its coherence are too good."
        )
    if evidence.train and _trained_on(evaluated) > len(evidence.train):
        card.warnings.append(
            f"The n-gram model that it must beat learned {len(evidence.train):,} stories, this "
            f"model {_trained_on(evaluated):,}: give as many, or the bound is too easy."
        )
    return card


def _rivals(evaluated: EvaluatedModel, evidence: Evidence, on_progress: Progress) -> Rivals | None:
    if not evidence.train:
        return None
    on_progress(f"{evaluated.name}: counting n-grams", 0, 0)
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


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what could not be measured is null."""
    match value:
        case dict():
            return {key: _without_nan(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_nan(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value
