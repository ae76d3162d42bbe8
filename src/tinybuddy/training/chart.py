"""The loss curve as an SVG text: small, without dependencies, for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tinybuddy.config import Recipe
from tinybuddy.corpus import Survey
from tinybuddy.training.metadata import short_source

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 56, 52

STYLE = """
  svg { font: 13px system-ui, sans-serif; background: #fff; color: #222 }
  @media (prefers-color-scheme: dark) { svg { background: #16181d; color: #dde } }
  text { fill: currentColor } .grid { stroke: currentColor; opacity: .15 }
  path { fill: none; stroke-width: 2; stroke-linejoin: round }
"""


@dataclass(frozen=True)
class Line:
    """One curve: points ``(x, y)``, an SVG colour, and ``stroke-dasharray`` if dashed."""

    points: Sequence[tuple[float, float]]
    colour: str
    dash: str = ""
    width: float = 2.0


def loss_chart(
    recipe: Recipe, rows: Sequence[Mapping[str, Any]], found: Survey, tokens: int
) -> str:
    """Draw a run's curves, the recipe's expected one beside them, as SVG.

    Args:
        recipe: what is trained.
        rows: of ``metrics.jsonl``.
        found: the training text.
        tokens: that it has.
    """
    bytes_per_token = found.bytes / max(1, tokens)
    to_bits = 1 / math.log(2) / bytes_per_token  # nats a token to bits a byte
    lines = {
        "validation": Line([(r["step"], r["bits_per_byte"]) for r in rows], "#2a7de1", width=3),
        "training": Line([(r["step"], r["loss"] * to_bits) for r in rows], "#8fb8e8"),
    }
    for name, curve in recipe.expected.items():
        if name.casefold() in found.source.casefold():
            points = list(zip(curve["steps"], curve["bits_per_byte"], strict=True))
            lines[f"expected on {name}"] = Line(points, "#e1812a", dash="6 4")
    size, source = recipe.model.parameters, short_source(found.source)
    title = f"{recipe.name}: {size:,} parameters on {source}"
    return line_chart(title, "steps", "bits per byte", lines)


def line_chart(title: str, x_label: str, y_label: str, lines: Mapping[str, Line]) -> str:
    """Draw curves, named in a legend in their order; empty ones are left out."""
    lines = {name: line for name, line in lines.items() if line.points}
    xs = [x for line in lines.values() for x, _ in line.points] or [0.0, 1.0]
    ys = [y for line in lines.values() for _, y in line.points] or [0.0, 1.0]
    x_ticks, y_ticks = ticks(0.0, max(xs)), ticks(min(ys), max(ys))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + across * inner_width, TOP + (1 - up) * inner_height

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
        f'<text x="{LEFT + inner_width / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
        f'<text transform="translate(16 {TOP + inner_height / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>',
    ]
    for y in y_ticks:
        _, at = place(x_ticks[0], y)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>',
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>',
        ]
    for x in x_ticks:
        at, _ = place(x, y_ticks[0])
        label = f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x:g}</text>'
        parts.append(label)
    legend_at = float(LEFT)
    for name, line in lines.items():
        spots = " L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in line.points)
        look = f'stroke="{line.colour}" stroke-dasharray="{line.dash}" stroke-width="{line.width}"'
        parts += [
            f'<path d="M{spots}" {look} style="stroke-width:{line.width}"/>',
            *(_dot(*place(*point), line.colour) for point in line.points if len(line.points) < 3),
            f'<path d="M{legend_at} 39 h22" {look}/>',
            f'<text x="{legend_at + 28}" y="43">{escape(name)}</text>',
        ]
        legend_at += 28 + 7.2 * len(name) + 24
    return "\n".join([*parts, "</svg>"]) + "\n"


def _dot(x: float, y: float, colour: str) -> str:
    """Mark a point, so that a curve of one or two can be seen."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers, equally far apart, from at or below ``low`` to at or above ``high``."""
    span = (high - low) or abs(high) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / about))
    step = next(m * magnitude for m in (1, 2, 5, 10) if span / (m * magnitude) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]
