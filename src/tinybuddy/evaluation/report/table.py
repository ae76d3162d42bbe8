"""The scorecard as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tinybuddy.evaluation.comparison import Difference
from tinybuddy.evaluation.metrics.metric import MetricValue
from tinybuddy.evaluation.report.wording import (
    LABELS,
    MARKS,
    VERDICTS,
    bound_of,
    interval_of,
    paradigm_name,
    reasons_of,
    span,
    uncompared_of,
    verdict_of,
    written,
)
from tinybuddy.evaluation.scorecard import Scorecard
from tinybuddy.evaluation.session import Evaluation

STYLES = {True: "green", False: "bold red", None: "yellow"}


def tables(evaluation: Evaluation) -> Iterator[Table | Text]:
    """Yield what the terminal shows, in order."""
    for card in evaluation.scorecards:
        yield _scorecard(card)
        yield from _beside(card)
        for warning in card.warnings:
            yield Text(f"WARNING: {warning}", style="bold red")
        style = STYLES[card.speaks_english]
        yield Text(
            "\n".join([verdict_of(card), *(f"  {it}" for it in reasons_of(card)), ""]), style
        )
    for name, shares in evaluation.blimp.items():
        accuracies = [share.value for share in shares.values()]
        if not accuracies:
            yield Text(f"BLiMP, {name}: no pair has only words that it can know\n")
            continue
        yield Text(
            f"BLiMP, {name}: {sum(accuracies) / len(accuracies):.1%} on average over "
            f"{len(accuracies)} paradigms, {sum(len(s.parts) for s in shares.values()):,} pairs of "
            "words that it can know\n"
        )
    for other, differences in evaluation.differences.items():
        yield _differences(evaluation.scorecards[0].name, other, differences)
    if evaluation.beside:
        yield _others([*evaluation.beside.values()])


def _table(title: str, *columns: str) -> Table:
    # Narrow enough for 80 columns.
    table = Table(
        title=Text(title),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _scorecard(card: Scorecard) -> Table:
    table = _table(card.name, "", "value", "95 % interval", "plain", "human", "must be", "")
    plain = {f.name: f for metric in card.plain.values() for f in metric.values}
    for metric in card.metrics.values():
        for measured in metric.values:
            name, sampled = measured.name, plain.get(measured.name)
            table.add_row(
                LABELS[name],
                written(name, measured.value),
                interval_of(measured),
                _plain(sampled),
                written(name, measured.human),
                bound_of(measured),
                Text(MARKS[measured.passed], style=STYLES[measured.passed]),
            )
    return table


def _plain(sampled: MetricValue | None) -> Text:
    """A value of plain sampling, marked where it would not pass."""
    if sampled is None:
        return Text("-")
    mark = " ✗" if sampled.passed is False else ""
    return Text(written(sampled.name, sampled.value) + mark, style="dim red" if mark else "dim")


def _beside(card: Scorecard) -> Iterator[Text]:
    """The Kneser-Ney models beside a model, the paradigms, and what was not run."""
    details = card.metrics["bits_per_byte"].details if "bits_per_byte" in card.metrics else {}
    for kind, rival in details.get("kneser_ney", {}).items():
        yield Text(
            f"Kneser-Ney, {kind.replace('_', ' ')}: {rival['bits_per_byte']:.3f} bits per byte "
            f"(order {rival['order']}, {rival['n_grams']:,} n-grams)",
            style="dim",
        )
    for name in ("grammar", "coherence"):
        if parts := card.metrics[name].details:
            texts = ", ".join(f"{paradigm_name(part)} {v:.0%}" for part, v in parts.items())
            yield Text(f"{name}: {texts}", style="dim")
    for metric in card.metrics.values():
        if metric.lacks:
            whole = "not wholly run: it" if metric.values else "not run: it"
            yield Text(f"{metric.name} was {whole} needs {metric.lacks}.", style="yellow")
    for reason in uncompared_of(card):
        yield Text(f"{reason}.", style="yellow")


def _differences(first: str, second: str, differences: Sequence[Difference]) -> Table:
    table = _table(f"{first} minus {second}", "", "difference", "95 % interval", "")
    for it in differences:
        real = Text("real" if it.real else "perhaps chance", style="bold" if it.real else "dim")
        table.add_row(
            LABELS[it.name], written(it.name, it.value), span(it.name, it.low, it.high), real
        )
    return table


def _others(cards: Sequence[Scorecard]) -> Table:
    """Human stories and the controls, a row each, with what fails."""
    table = _table("Beside it", "source", "speaks English", "fails")
    table.columns[2].justify = "left"
    table.columns[2].no_wrap = False
    for card in cards:
        failed = [LABELS[f.name] for f in card.values().values() if f.passed is False]
        verdict = Text(VERDICTS[card.speaks_english], style=STYLES[card.speaks_english])
        table.add_row(card.name, verdict, ", ".join(failed) or "nothing that a text can fail")
    return table
