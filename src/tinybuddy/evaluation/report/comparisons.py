"""The tables of the report that set several sources side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinybuddy.evaluation.comparison import Difference
from tinybuddy.evaluation.metrics.metric import MetricValue
from tinybuddy.evaluation.report.html import html_table, name_tag, row_head, section, verdict_cell
from tinybuddy.evaluation.report.pictures import (
    AXES,
    LOOKS,
    SIGNS,
    clean,
)
from tinybuddy.evaluation.report.published import Record, records
from tinybuddy.evaluation.report.wording import (
    LABELS,
    span,
    written,
)
from tinybuddy.evaluation.rivals.controls import CAUGHT_BY
from tinybuddy.evaluation.scorecard import Scorecard
from tinybuddy.evaluation.session import Evaluation


def matrix(evaluation: Evaluation, names: Mapping[str, str]) -> str:
    """What every source gets in every value, with what is meant to catch each control."""
    if not evaluation.beside:
        return ""
    sources = [(names[card.name], "", card) for card in evaluation.scorecards]
    sources += [(who, CAUGHT_BY.get(who, ""), card) for who, card in evaluation.beside.items()]
    rows = []
    for who, caught_by, card in sources:
        values = card.values()
        cells = "".join(_cell(values.get(name), name == caught_by) for name in LABELS)
        rows.append(f"{row_head(who)}{verdict_cell(card.speaks_english)}{cells}")
    note = """<p>The controls are made not to speak English, each in a way of its own, and the
outlined value is to catch it: a scorecard that lets one through measures nothing. Stories that
come from no model have no probabilities, so the verdict on them is open at best. What is new is
counted against the training stories given here; further up, the human mark stands for what is new
compared with all that the model itself was trained on.</p>"""
    head = ["", "speaks English", *LABELS.values()]
    return section("Beside it: people, and what must fail", note, html_table("matrix", head, rows))


def _cell(measured: MetricValue | None, catches: bool) -> str:
    if measured is None:
        return "<td></td>"
    passed = measured.passed
    look, title = LOOKS[passed], LABELS[measured.name]
    if catches:
        look, title = f"{look} catch", f"{title}, meant to catch it"
    sign = SIGNS[passed] if passed is not None else ""
    escaped = "<em>got through!</em>" if catches and passed is not False else ""
    value = written(measured.name, measured.value)
    return f'<td class="{look}" title="{title}">{value} <b>{sign}</b>{escaped}</td>'


def differences_table(first: str, other: str, differences: Sequence[Difference]) -> str:
    """Which values of two models differ by more than chance."""
    rows = []
    for it in differences:
        worst, best = AXES[it.name]
        ahead = first if (it.value > 0) == (best > worst) else other
        real = f"<b>real</b>, in favour of {name_tag(ahead)}" if it.real else "perhaps chance"
        sign = "+" if it.value > 0 else ""
        rows.append(
            f'<th scope="row">{LABELS[it.name]}</th><td>{sign}{written(it.name, it.value)}</td>'
            f"<td>{span(it.name, it.low, it.high)}</td><td>{real}</td>"
        )
    head = ("", "difference", "95% interval", "")
    table = html_table("differences", head, rows)
    return section(f"{name_tag(first)} minus {name_tag(other)}", table)


def published_table(cards: Sequence[Scorecard], names: Mapping[str, str]) -> str:
    """The record table with the models just measured; nothing without records."""
    if not (known := records()):
        return ""
    fresh = [_as_record(card, names[card.name]) for card in cards]
    rows = []
    known = [row for row in known if row.name not in names.values()]
    for row in sorted([*known, *fresh], key=lambda row: row.parameters):
        bits = written("bits_per_byte.validation", row.bits_per_byte)
        fails = ", ".join(LABELS.get(name, name) for name in row.fails)
        rows.append(
            f"{row_head(row.name)}<td>{row.parameters:,}</td>{verdict_cell(row.speaks_english)}"
            f"<td>{bits}</td><td>{fails}</td><td>{clean(row.claim)}</td>"
            f"<td><code>{clean(row.measured_by)}</code></td>"
        )
    head = ("", "parameters", "speaks English", "bits per byte", "fails", "claim", "measured by")
    note = "<p>The smallest first. Bits per byte compare on the same stories alone.</p>"
    return section("The record", note, html_table("records", head, rows))


def _as_record(card: Scorecard, name: str) -> Record:
    values = card.values()
    bits = values.get("bits_per_byte.validation")
    fails = tuple(measured.name for measured in values.values() if measured.passed is False)
    value = bits.value if bits else None
    return Record(name, card.parameters, "", card.speaks_english, value, fails, "this report")
