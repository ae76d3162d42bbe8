"""The plots of a study as SVG, by matplotlib: bits per byte against parameters, and against bytes.

Text stays text. It is laid out in DejaVu Sans, which comes with matplotlib and is wider than what a
browser takes, so that labels which do not touch here do not touch anywhere. The colours are those
of the page (`page/page.css`), by a style in the file the dark ones where a reader has that.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from tinybuddy.frontier.findings import Findings, Point, sentence_of

COLOURS = {  # light, and dark
    "paper": ("#fbf9f4", "#141210"),
    "ink": ("#1d1b18", "#f0ece4"),
    "soft": ("#6b665d", "#a49d91"),
    "line": ("#e3ded3", "#332f2a"),
    "accent": ("#b8390e", "#ff8f5e"),
}
PAPER, INK, SOFT, LINE, ACCENT = (light for light, _ in COLOURS.values())
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinybuddy",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.parse_math": False,  # a sample may have two dollars
}
SIZE = (10.0, 6.4)  # inches of 72 points
BITS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 8)
PARAMETERS = [m * 10**e for e in range(2, 9) for m in (1, 2.5, 5)]
BYTES = [m * 10**e for e in range(2, 10) for m in (1, 3)]
MARKS = {"float32": "o", "int8": "s", "int4": "D"}
CALLED = {"float32": "float32", "int8": "int8", "int4": "4 bits"}
AROUND = ((1, 0), (1, 1), (1, -1), (0, 1), (0, -1), (-1, 0), (-1, 1), (-1, -1))  # of a point


def frontier_svg(found: Findings) -> str:
    """Bits per byte against parameters, both by their logarithm."""
    figure, axes = _axes(
        "How small can it be, and still speak?",
        f"Bits per byte of unseen stories ({found.data}) by parameters. Filled: it speaks English."
        + law_legend(found),
        [*((p.parameters, p.bits) for p in _points(found)), *_as_parameters(found)],
        PARAMETERS,
        _count,
        left=0.0 if found.references else 0.6,
    )
    taken = _Taken(axes)
    if found.trials:
        xs, ys = [p.parameters for p in found.trials], [p.bits for p in found.trials]
        axes.scatter(xs, ys, s=9, color=SOFT, alpha=0.3, linewidths=0, gid="trials")
    _boundary(axes, found.boundary)
    taken.line(_draw_baselines(axes, _as_parameters(found)))
    taken.line(_draw_law(axes, found), thin=True)
    xs, ys = [n for n, _ in found.line], [bits for _, bits in found.line]
    axes.plot(xs, ys, color=ACCENT, lw=1.4, drawstyle="steps-post", gid="line")
    taken.line(found.line)
    shown = [p for p in found.references if not p.name.endswith("-int4")]
    for point in (*found.finals, *shown):
        taken.point(point.parameters, point.bits)
    _draw_points(axes, found.finals, ACCENT, "o", "finals")
    _draw_points(axes, shown, INK, "D", "references")
    _sentences(axes, found, taken)
    for point in shown:
        taken.label(point.name.removesuffix(".bin"), (point.parameters, point.bits), INK)
    taken.end_label("Kneser-Ney n-grams\nin as many bytes", _as_parameters(found), SOFT)
    if not found.finals and found.line:
        taken.label("best trials", found.line[len(found.line) // 2], ACCENT)
    return _svg(figure, "Bits per byte against parameters")


def bytes_svg(found: Findings) -> str:
    """Bits per byte against the bytes of a model as stored, both by their logarithm."""
    stored = [
        (kind, size, bits, point)
        for point in (*found.finals, *found.references)
        for kind, (size, bits) in (point.stored or {}).items()
    ]
    figure, axes = _axes(
        "What do fewer bits a weight cost?",
        f"Bits per byte of unseen stories ({found.data}) by the bytes stored.",
        [*((size, bits) for _, size, bits, _ in stored), *found.baselines] or [(1000, 2.0)],
        BYTES,
        _bytes,
    )
    taken = _Taken(axes)
    taken.line(_draw_baselines(axes, found.baselines))
    for kind, mark in MARKS.items():
        own = [(size, bits) for k, size, bits, p in stored if k == kind and not p.name]
        if own:
            xs, ys = zip(*own, strict=True)
            style = {"float32": ":", "int8": "--", "int4": "-"}[kind]
            axes.plot(xs, ys, color=ACCENT, lw=1.4, ls=style, marker=mark, ms=5, gid=kind)
            taken.line(own)
    for kind, size, bits, point in stored:
        taken.point(size, bits)
        if point.name:
            face = INK if point.speaks else PAPER
            axes.plot(size, bits, MARKS[kind], ms=6, mfc=face, mec=INK, zorder=4)
    for kind in MARKS:
        own = [(size, bits) for k, size, bits, p in stored if k == kind and not p.name]
        if own:
            taken.label(CALLED[kind], own[0], ACCENT)
    for _, size, bits, point in stored:
        if point.name:
            taken.label(point.name.removesuffix(".bin"), (size, bits), INK)
    taken.end_label("Kneser-Ney n-grams", found.baselines, SOFT)
    return _svg(figure, "Bits per byte against bytes stored")


def _points(found: Findings) -> Iterable[Point]:
    return (*found.trials, *found.finals, *found.references)


def _as_parameters(found: Findings) -> list[tuple[float, float]]:
    """N-gram models by the float32 parameters that would take as many bytes."""
    return [(size / 4, bits) for size, bits in found.baselines]


def _axes(
    title: str,
    note: str,
    shown: Sequence[tuple[float, float]],
    x_ticks: Sequence[float],
    format_x: Any,
    left: float = 0.0,
) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(SIZE, 72, facecolor=PAPER)
        axes = figure.add_axes((0.055, 0.085, 0.915, 0.77), facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes.set(xscale="log", yscale="log")
    xs, ys = zip(*shown, strict=True)
    room = (max(xs) / min(xs)) ** left * 1.2
    axes.set_xlim(min(xs) / room, max(xs) * 1.9)
    span = max(ys) / min(ys) * 1.05
    axes.set_ylim(min(ys) / span**0.09, max(ys) * span**0.06)  # below is room for a sentence
    for axis, ticks, written in ((axes.xaxis, x_ticks, format_x), (axes.yaxis, BITS, _bits)):
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(written))
    axes.tick_params(length=0, pad=6)
    axes.grid(axis="y", color=LINE, lw=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    figure.text(0.02, 0.955, title, size=17, va="center", color=INK)
    figure.text(0.02, 0.905, note, size=10, va="center", color=SOFT)
    return figure, axes


_Text = tuple[str, str, dict[str, Any], int]  # colour, look, and how far below its point it is


class _Taken:
    """Where something is, so that no label is put over it."""

    def __init__(self, axes: Axes) -> None:
        self.axes, self.boxes, self.thin = axes, list[Bbox](), list[Bbox]()
        self.renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]

    def point(self, x: float, y: float, reach: float = 5) -> None:
        """A point is here."""
        at, to = self.axes.transData.transform((x, y))
        self.boxes.append(Bbox([[at - reach, to - reach], [at + reach, to + reach]]))

    def line(self, points: Sequence[tuple[float, float]], thin: bool = False) -> None:
        """A line goes through these points, sampled so that no label fits between two samples.

        Over a thin one a label may be put where it finds no other place.
        """
        boxes = self.thin if thin else self.boxes
        pixels: Any = self.axes.transData.transform(points) if points else []
        for (x, y), (to_x, to_y) in pairwise(pixels):
            steps = int(max(abs(to_x - x), abs(to_y - y)) / 6) + 1
            for i in range(steps + 1):
                at, to = x + (to_x - x) * i / steps, y + (to_y - y) * i / steps
                boxes.append(Bbox([[at - 1, to - 1], [at + 1, to + 1]]))

    def label(self, text: str, at: tuple[float, float], colour: str) -> None:
        """Write beside a point where nothing is, or else not at all."""
        for thin, (x, y) in product((self.thin, ()), AROUND):
            if self._write(text, at, colour, x, y, thin):
                return

    def end_label(self, text: str, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Write above the last point of a line that has room, if it has any."""
        for point in reversed(points):
            for x, y in ((0, 1), (1, 1), (-1, -1), (1, 0)):
                if self._write(text, point, colour, x, y, self.thin):
                    return

    def _write(
        self,
        text: str,
        at: tuple[float, float],
        colour: str,
        x: int,
        y: int,
        thin: Sequence[Bbox],
    ) -> bool:
        found = self.axes.annotate(
            text,
            at,
            xytext=(9 * x, 9 * y),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[x],
            va={1: "bottom", 0: "center", -1: "top"}[y],
            color=colour,
            size=10,
            parse_math=False,
            linespacing=1.25,
        )
        if self.take(found, thin):
            return True
        found.remove()
        return False

    def take(self, text: Any, thin: Sequence[Bbox] = ()) -> bool:
        """Note where a text is; False where something else is, or the picture ends."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a letter that the font has not
            box = text.get_window_extent(self.renderer).padded(1.5)
        room = self.axes.figure.bbox
        inside = box.x0 > room.x0 and box.x1 < room.x1 and box.y0 > self.axes.bbox.y0
        if not inside or any(box.overlaps(other) for other in (*self.boxes, *thin)):
            return False
        self.boxes.append(box)
        return True


def _draw_baselines(
    axes: Axes, points: Sequence[tuple[float, float]]
) -> Sequence[tuple[float, float]]:
    if points:
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, color=SOFT, lw=1.2, marker="o", ms=2.5, gid="baselines")
    return points


def _draw_points(axes: Axes, points: Sequence[Point], colour: str, mark: str, gid: str) -> None:
    """Points, filled if they speak, and a line from the best to the worst seed."""
    for point in points:
        axes.plot(
            [point.parameters] * 2, point.seeds, color=colour, lw=3, solid_capstyle="butt", zorder=3
        )
    if points:
        axes.scatter(
            [p.parameters for p in points],
            [p.bits for p in points],
            s=44,
            marker=mark,
            c=[colour if p.speaks else PAPER for p in points],
            edgecolors=colour,
            linewidths=1.5,
            zorder=4,
            gid=gid,
        )


def _boundary(axes: Axes, boundary: tuple[int | None, int | None]) -> None:
    """The gap between the largest NO and the smallest YES above it."""
    no, yes = boundary
    if yes is None:
        return
    axes.axvspan(no or yes, yes, color=LINE, lw=0.8, zorder=0, gid="gap")
    sides = ((yes, f"YES from {yes:,}", 8, "left"), (no, f"NO up to {no or 0:,}", -8, "right"))
    for x, text, away, align in sides:
        if x:
            axes.annotate(
                text,
                (x, 1),
                xycoords=("data", "axes fraction"),
                xytext=(away, -2),
                textcoords="offset points",
                ha=align,
                va="top",
                color=INK,
                weight="bold",
            )


def _draw_law(axes: Axes, found: Findings) -> Sequence[tuple[float, float]]:
    points = law_points(found)
    if points:
        axes.plot(*zip(*points, strict=True), color=ACCENT, lw=0.9, ls=(0, (1, 2)), gid="law")
    return points


def law_points(found: Findings) -> list[tuple[float, float]]:
    """The law from the largest budget to four times as much, within the plot.

    Below that it goes through the points, and would cross what is written beside them.
    """
    if not found.law:
        return []
    largest = found.law.largest
    xs = [largest.parameters * 4 ** (i / 20) for i in range(21)]
    points = [(x, found.law.bits(x, largest.tokens)) for x in xs]
    least = min(point.bits for point in (*found.finals, *found.trials, *found.references))
    return [(x, bits) for x, bits in points if bits >= least / 1.06]


def law_legend(found: Findings) -> str:
    """What the law's line is: of models trained as long as the largest was. Empty without one."""
    if not found.law or not law_points(found):
        return ""
    return f" Dotted: the law after {found.law.largest.tokens / 1e6:,.3g}M tokens."


def _sentences(axes: Axes, found: Findings, taken: _Taken) -> None:
    """Bits per byte and what each model writes, left of its point, where no line ever is."""
    for point in reversed(found.finals):
        value: _Text = (f"{point.bits:.2f}", ACCENT, {"va": "center", "weight": "bold"}, 0)
        said: _Text = (f"“{sentence_of(point.sample)}”", INK, {"va": "top", "style": "italic"}, -10)
        for text, colour, how, below in (value, said) if point.sample else (value,):
            label = axes.annotate(
                text,
                (point.parameters, point.bits),
                xytext=(-9, below),
                textcoords="offset points",
                ha="right",
                size=10,
                parse_math=False,
                color=colour,
                **how,
            )
            if not taken.take(label):
                label.remove()


def _svg(figure: Figure, title: str) -> str:
    """The file, the same for the same findings."""
    out = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context(SETTINGS):
        warnings.simplefilter("ignore")  # of a letter that the font has not
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    dark = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in COLOURS.values()
        for part in ("fill", "stroke")
    )
    text = out.getvalue().replace("'DejaVu Sans'", "system-ui, 'Segoe UI', sans-serif")
    style = f"<style>@media (prefers-color-scheme: dark){{{dark}}}</style>"
    head, mark, rest = text.partition(" <defs>")
    return f"{head}{style}\n{mark}{rest}"


def _bits(value: float, _: int) -> str:
    return f"{value:g}"


def _count(value: float, _: int = 0) -> str:
    for size, name in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _bytes(value: float, _: int = 0) -> str:
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if value >= size:
            return f"{value / size:g} {name}"
    return f"{value:g} B"
