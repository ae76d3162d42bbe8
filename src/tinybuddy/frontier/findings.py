"""What a study has found, as its plots and its page show it.

Rows may come from strangers: what is drawn is checked here, so that the plots need not.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tinybuddy.config import ModelConfig
from tinybuddy.disk import read_text
from tinybuddy.errors import TinybuddyError, counted
from tinybuddy.evaluation.report.published import Record, records, released_models
from tinybuddy.evaluation.report.wording import LABELS
from tinybuddy.frontier import law, results
from tinybuddy.frontier.results import Row, bits_of
from tinybuddy.frontier.study import MOST_BUDGET

MOST_BITS = 8.0  # of a byte that nothing is known of: what does worse has learned nothing
MOST_TOKENS = 10**15
MOST_BYTES = 10**9
MOST_TEXT = 500  # characters of a sample
# Models of others, beside those that come with this package.
OTHERS = ("stand-in for Small-ever", "stories260K.bin")
SENTENCE = re.compile(r"(?<=[.!?])[\"”]?\s+")
LONGEST_SENTENCE = 66  # characters beside a point


@dataclass(frozen=True)
class Point:
    """A model in the plots.

    Attributes:
        name: of a model known by one, empty for a run.
        parameters, bits: trained numbers, and bits per byte.
        seeds: lowest and highest bits per byte of its seeds.
        shape: in words.
        speaks: the verdict, of all seeds; None without a scorecard.
        fails: what fails, in words.
        sample: of what it writes.
        stored: of each type of weights, bytes and bits per byte.
        note: how it was trained.
    """

    name: str
    parameters: int
    bits: float
    seeds: tuple[float, ...] = ()
    shape: str = ""
    speaks: bool | None = None
    fails: tuple[str, ...] = ()
    sample: str = ""
    stored: dict[str, tuple[int, float]] | None = None
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """What is drawn.

    Attributes:
        study: its name, or the names of several.
        data: the text that its bits per byte are of.
        trials: that came to their end, of which no scorecard was taken.
        finals: recipes trained in full, such as the best of each budget; one for all seeds.
        line: parameters and bits per byte where a run is better than all that are as small.
        references: models measured before, where they were scored on the same text; those that
            are the best of a budget are among ``finals``.
        baselines: n-gram models: bytes, and bits per byte.
        boundary: parameters of the largest model below the smallest that speaks, and of that one,
            None for either where there is none.
        law: fitted to the runs, and what it predicts of a held-back budget.
        lacks: why there is no law.
    """

    study: str
    data: str
    trials: Sequence[Point]
    finals: Sequence[Point]
    line: Sequence[tuple[int, float]]
    references: Sequence[Point]
    baselines: Sequence[tuple[int, float]]
    boundary: tuple[int | None, int | None]
    law: law.Law | None
    held_back: dict[str, Any] | None
    lacks: str


def find(source: Path) -> Findings:
    """Read the runs of a study and what lies beside them.

    Args:
        source: the study's folder or its file of runs. N-gram models are read from
            ``baselines.jsonl`` beside it, if they are of the same stories.

    Raises:
        TinybuddyError: if there is nothing to draw.
    """
    path = source / "runs.jsonl" if source.is_dir() else source
    if not path.is_file():
        raise TinybuddyError(f"There are no runs in {source}: give a study's folder or its file.")
    rows = finished(results.read(path))
    if not rows:
        raise TinybuddyError(f"No run in {path} has come to its end: there is nothing to draw yet.")
    texts = {str(row.get("data_sha256")) for row in rows}
    if len(texts) > 1:
        raise TinybuddyError(f"The runs in {path} are of {len(texts)} texts: draw each by itself.")
    finals = _finals(rows)
    data = printable(rows[0].get("data"), 80)
    references = _references(finals) if "tinystories" in data.casefold() else []
    fitted, held_back, lacks = _law(rows)
    return Findings(
        study=printable(" and ".join({str(row.get("study")): None for row in rows}), 80),
        data=data,
        trials=[_point([row]) for row in rows if row["kind"] == "trial"],
        finals=finals,
        line=_line(rows),
        references=references,
        baselines=_baselines(path.with_name("baselines.jsonl"), *texts),
        boundary=_boundary([*finals, *(p for p in references if p.name not in OTHERS)]),
        law=fitted,
        held_back=held_back,
        lacks=lacks,
    )


def finished(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows of the runs that came to their end and can be drawn.

    Raises:
        TinybuddyError: if a row is not as `tinybuddy.frontier.results.row_of` makes it.
    """
    found = []
    for row in rows:
        if row["kind"] not in ("trial", "final"):
            continue
        try:
            checked = _checked(row)
        except (KeyError, TypeError, ValueError, TinybuddyError, AttributeError, OverflowError):
            name = printable(row["fingerprint"], 12)
            raise TinybuddyError(f"The run {name} is not as a study writes it.") from None
        found.append(checked)
    return [row for row in found if _drawn(row["bits_per_byte"])]


def _drawn(bits: float | None) -> bool:
    return bits is not None and 0 < bits <= MOST_BITS  # which no NaN is


def _checked(row: Row) -> dict[str, Any]:
    """A row whose numbers are numbers."""
    config = ModelConfig(**row["model"])
    if row["parameters"] != config.parameters or config.parameters > MOST_BUDGET:
        raise ValueError
    numbers = {key: int(row[key]) for key in ("steps", "tokens")}
    if not all(0 < number <= MOST_TOKENS for number in numbers.values()):
        raise ValueError
    bits = None if row["bits_per_byte"] is None else float(row["bits_per_byte"])
    return {**row, **numbers, "bits_per_byte": bits}


def _finals(rows: Iterable[Row]) -> list[Point]:
    recipes = defaultdict(list)
    for row in rows:
        if row["kind"] == "final":
            recipes[row["fingerprint"]].append(row)
    return sorted(map(_point, recipes.values()), key=lambda point: point.parameters)


def _point(rows: Sequence[Row]) -> Point:
    """A recipe; ``rows`` are its seeds."""
    first, bits = rows[0], tuple(map(bits_of, rows))
    verdicts = [row.get("speaks_english") for row in rows]
    fails = {
        LABELS[name]: None
        for row in rows
        for name, value in _mapping(row.get("metrics")).items()
        if name in LABELS and _mapping(value).get("passed") is False
    }
    runs = counted(len(rows), "seed") if first["kind"] == "final" else "a trial"
    if 0 < (yes := verdicts.count(True)) < len(rows):  # so that it is luck of the seed
        runs += f" ({yes} YES)"
    model = first["model"]
    return Point(
        name="",
        parameters=first["parameters"],
        bits=fmean(bits),
        seeds=(min(bits), max(bits)),
        shape=f"{results.shape_of(first)}, {counted(model['num_attention_heads'], 'head')}",
        speaks=None if None in verdicts else all(verdict is True for verdict in verdicts),
        fails=tuple(fails),
        sample=printable(first.get("sample", ""), MOST_TEXT),
        stored=_stored(rows),
        note=f"{runs}, {counted(first['steps'], 'step')}",
    )


def _stored(rows: Sequence[Row]) -> dict[str, tuple[int, float]]:
    """Of each type of weights bytes and bits per byte, the means over the seeds."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        for kind, value in _mapping(row.get("stored")).items():
            match value:
                case {"bytes": int(size), "bits_per_byte": float(bits)} if (
                    kind in ("float32", "int8", "int4") and 0 < size <= MOST_BYTES and _drawn(bits)
                ):
                    found[kind].append((size, bits))
    return {
        kind: (round(fmean(n for n, _ in pairs)), fmean(bits for _, bits in pairs))
        for kind, pairs in found.items()
    }


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(rows: Iterable[Row]) -> list[tuple[int, float]]:
    """The Pareto line: where fewer parameters never do as well."""
    line: list[tuple[int, float]] = []
    for row in sorted(rows, key=lambda row: (row["parameters"], bits_of(row))):
        if not line or bits_of(row) < line[-1][1]:
            line.append((row["parameters"], bits_of(row)))
    return line


def _references(finals: Sequence[Point]) -> list[Point]:
    """Models measured before: those of others, and those released, with all seeds measured."""
    known = {record.name: record for record in records()}
    size = {model["name"]: model["kilobytes"] * 1000 for model in released_models()}
    found = []
    for name in [*OTHERS, *size]:
        if (record := known.get(name)) and record.bits_per_byte:
            point = _reference(record, known.values())
            if any(_same(point, final) for final in finals):
                continue
            compact = name.endswith("-int4")
            stored = {
                "int4" if compact else "float32": (
                    size[name] if compact else 4 * record.parameters,
                    point.bits,
                )
            }
            found.append(Point(**{**vars(point), "stored": stored}))
    return found


def _same(point: Point, final: Point) -> bool:
    """Whether they are one model, of which one figure was published with four decimals."""
    low, high = final.seeds
    return point.parameters == final.parameters and low - 5e-5 <= point.bits <= high + 5e-5


def _reference(record: Record, known: Iterable[Record]) -> Point:
    seeds = [
        other
        for other in known
        if other.parameters == record.parameters
        and other.bits_per_byte
        and (other is record or other.name.rpartition(", seed ")[0] in (record.name, "card"))
    ]
    bits = tuple(other.bits_per_byte for other in seeds if other.bits_per_byte)
    return Point(
        name=record.name,
        parameters=record.parameters,
        bits=fmean(bits),
        seeds=(min(bits), max(bits)),
        speaks=record.speaks_english,
        fails=tuple(LABELS[name] for name in record.fails),
        note=record.claim,
    )


def _baselines(path: Path, sha256: str) -> list[tuple[int, float]]:
    """Bytes and bits per byte of n-gram models of the same stories."""
    if not path.is_file():
        return []
    found = []
    for line in read_text(path, results.MAX_RESULTS_BYTES).splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        match row:
            case {"bytes": int(size), "bits_per_byte": float(bits), "data_sha256": str(data)} if (
                0 < size <= MOST_BYTES and _drawn(bits)
            ):
                if data == sha256:
                    found.append((size, bits))
            case _:
                raise TinybuddyError(f"{path} holds something else than n-gram models: delete it.")
    return sorted(found)


def _boundary(points: Iterable[Point]) -> tuple[int | None, int | None]:
    judged = [point for point in points if point.speaks is not None]
    yes = min((point.parameters for point in judged if point.speaks), default=None)
    no = max(
        (p.parameters for p in judged if not p.speaks and (yes is None or p.parameters < yes)),
        default=None,
    )
    return no, yes


def _law(rows: list[dict[str, Any]]) -> tuple[law.Law | None, dict[str, Any] | None, str]:
    """The law, what it predicts of the largest budget from the others, and what they lack."""
    try:
        fitted = law.fit(rows)
    except TinybuddyError as error:
        return None, None, str(error)
    try:
        return fitted, law.held_back(rows, max(row["budget"] for row in rows)), ""
    except TinybuddyError as error:
        return fitted, None, str(error)


def printable(text: Any, most: int) -> str:
    """A text from outside, on one line, of what can be shown."""
    shown = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * most])
    return " ".join(shown.split())[:most]


def sentence_of(sample: str) -> str:
    """A sentence of a sample that fits beside a point: not the first, which the prompt began."""
    sentences = SENTENCE.split(sample)[1:] or [sample]
    fitting = [each for each in sentences if 20 <= len(each) <= LONGEST_SENTENCE]
    if fitting:
        return fitting[0]
    clipped = sentences[0]
    return clipped if len(clipped) <= LONGEST_SENTENCE else f"{clipped[: LONGEST_SENTENCE - 1]}…"
