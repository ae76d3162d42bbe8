"""One page that shows what a study has found, put together from small files without a bundler.

A content security policy lets it fetch nothing and run no script but its own; what comes from the
study's file is data in it, or text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from tinybuddy.errors import counted
from tinybuddy.evaluation.report.wording import VERDICTS
from tinybuddy.exporters.html import source_hash
from tinybuddy.exporters.js import joined
from tinybuddy.frontier.findings import Findings, Point
from tinybuddy.frontier.law import said_of
from tinybuddy.frontier.pictures import law_legend, law_points

HERE = Path(__file__).parent.resolve()
POWER = re.compile(r"\^([\d.]+)")
PARTS = ("chart", "page")  # in the order in which they run


def page_of(found: Findings) -> str:
    """Text of the page."""
    style, script = _text("page.css"), "\n".join(joined(_text(f"{name}.js")) for name in PARTS)
    parts = {
        "policy": f"default-src 'none'; script-src {source_hash(script)}; "
        f"style-src {source_hash(style)}; base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "study": escape(found.study),
        "data": escape(found.data),
        "runs": counted(len(found.trials), "finished trial")
        + (f" and {counted(len(found.finals), 'recipe')} trained in full" if found.finals else ""),
        "finding": _finding(found),
        "dotted": law_legend(found),
        "law": _law(found),
        "rows": "".join(map(_row, found.finals)),
        "points": _data(found),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _text("page.html"))


def _finding(found: Findings) -> str:
    no, yes = found.boundary
    if yes is None:
        fewest = min((len(point.fails) for point in found.finals), default=0)
        if not found.finals:
            return "No budget is finished yet: these are the trials so far."
        values = counted(fewest, "value")
        return f"None speaks English yet; the best of a budget fails {values} of the scorecard."
    text = f"The smallest that speaks English has {yes:,} parameters."
    return text + (f" The next one down, with {no:,}, does not." if no else "")


def _law(found: Findings) -> str:
    if not found.law:
        return f"<p>{escape(found.lacks)}</p>"
    described = found.law.to_mapping()
    exponent, count = described["constants"]["a"], described["observations"]
    formula = POWER.sub(r"<sup>\1</sup>", escape(str(found.law)))
    text = (
        f'<p class="formula">{formula}</p><p>N is the number of parameters'
        + (", D of training tokens" if found.law.tokens > 1 else "")
        + f". The exponent of N lies between {exponent['low']:.2f} and {exponent['high']:.2f} "
        f"(95 % of bootstrap samples of {count} points: the best of each budget and number of "
        "steps).</p>"
    )
    known = said_of(found.held_back) if found.held_back else found.lacks
    return f"{text}<p>{escape(known)}</p>"


def _row(point: Point) -> str:
    return (
        f'<tr><th scope="row">{point.parameters:,}</th><td>{escape(point.shape)}</td>'
        f'<td>{escape(point.note)}</td><td class="number">{point.bits:.3f}</td>'
        f"<td>{VERDICTS[point.speaks]}</td><td>{escape(', '.join(point.fails))}</td></tr>"
    )


def _data(found: Findings) -> str:
    """What the script draws, as JSON in which nothing ends the element that it stands in."""
    kinds: Iterable[tuple[str, Iterable[Point]]] = (
        ("trial", found.trials),
        ("final", found.finals),
        ("reference", found.references),
    )
    values: dict[str, Any] = {
        "points": [_values(kind, point) for kind, points in kinds for point in points],
        "line": found.line,
        "law": law_points(found),
        "baselines": found.baselines,
        "boundary": found.boundary,
    }
    return json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _values(kind: str, point: Point) -> dict[str, Any]:
    values = {**vars(point), "kind": kind, "stored": point.stored or {}}
    values["name"] = point.name.removesuffix(".bin")
    values["low"], values["high"] = values.pop("seeds")
    return values


def _text(name: str) -> str:
    return (HERE / name).read_text("utf-8")
