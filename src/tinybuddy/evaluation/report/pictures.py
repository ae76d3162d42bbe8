"""The pictures of the report in SVG: a value on its scale, and bars.

Places across a picture are percentages, so that its writing keeps its size on a narrow screen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from string import ascii_lowercase

from tinybuddy.evaluation.metrics.metric import MetricValue
from tinybuddy.evaluation.report.wording import LABELS, bound_of, span, written

# The worst and the best value on the scale of each value: better is always further right.
AXES = {
    "bits_per_byte.validation": (2.4, 0.8),
    "words.english": (0.85, 1.0),
    "grammar.pairs": (0.4, 1.0),
    "grammar.word_order": (0.4, 1.0),
    "coherence.pairs": (0.4, 1.0),
    "coherence.sentence_order": (0.4, 1.0),
    "repetition.repeated_4grams": (0.3, 0.0),
    "variety.own_4grams": (0.0, 1.0),
    "variety.distinct_words": (0.0, 0.4),
    "originality.new_4grams": (0.0, 1.0),
    "originality.longest_copy": (30.0, 0.0),
    "sentences.whole": (0.4, 1.0),
    "tell_apart.accuracy": (1.0, 0.5),
}
LOOKS = {True: "good", False: "bad", None: "open"}
SIGNS = {True: "✓", False: "✕", None: "?"}
PLAIN = "sampled at temperature 1, from all tokens"

_EDGE = 2.0  # per cent left free at both ends, for half a sign
_LINE = 30  # where the value stands, down from the top; what it is compared with, further down
_BESIDE = 52
_LETTER, _SCALE = 70, 86  # the letters of controls, and the ends of the scale
_NEAR = 3.0  # per cent: letters of controls that are nearer to each other would overlap
_DOT = {
    True: '<circle r="6.5"/>',
    False: '<circle r="6.5"/><path class="cross" d="M-3-3 3 3M3-3-3 3"/>',
    None: '<circle r="6.5"/>',
}
_DIAMOND, _RING = '<path d="M0-6 6 0 0 6-6 0z"/>', '<circle r="5"/>'
_TICK, _CAP = '<path d="M0-5V5"/>', '<path d="M0-9V9"/>'  # a cap is seen behind a dot
# Control characters, lone surrogates, and the marks that turn the direction of what follows.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    """Escape for HTML what came from outside; what must not be shown becomes a question mark."""
    return escape(_UNSAFE.sub("\ufffd", str(text)))


def axis_of(name: str, shown: Iterable[float | None]) -> tuple[float, float]:
    """The scale of a value, longer where what must be ``shown`` needs it."""
    worst, best = AXES[name]
    way = 1 if best > worst else -1
    values = [way * v for v in shown if v is not None and math.isfinite(v)]
    return way * min([way * worst, *values]), way * max([way * best, *values])


def strip(
    measured: MetricValue,
    axis: tuple[float, float],
    human: float | None,
    plain: float | None,
    controls: Mapping[str, float],
    letters: Mapping[str, str],
) -> str:
    """Draw a value on its scale.

    Args:
        measured: the value with its interval, and what it must keep.
        axis: the worst and the best value.
        human: what human stories get.
        plain: what the model gets where it is sampled plainly.
        controls: what each control gets.
        letters: that stand for them.
    """
    name, passed = measured.name, measured.passed
    low, high = measured.share.interval()
    value = f"{written(name, measured.value)}, 95% interval {span(name, low, high)}"
    shapes = [
        f'<line class="track" x1="{_EDGE}%" x2="{100 - _EDGE}%" y1="{_LINE}" y2="{_LINE}"/>',
        _writing(_EDGE, _SCALE, written(name, axis[0])),
        _writing(100 - _EDGE, _SCALE, written(name, axis[1])),
        *(_bound(measured, _place(axis, measured.limit)) if measured.limit is not None else ()),
        *_controls(name, axis, controls, letters),
    ]
    if human is not None:
        said = f"human stories: {written(name, human)}"
        shapes += _mark(axis, human, _BESIDE, "human", _DIAMOND, said)
    if plain is not None:
        shapes += _mark(axis, plain, _LINE, "plain", _RING, f"{PLAIN}: {written(name, plain)}")
    if math.isfinite(low):
        a, b = _place(axis, low), _place(axis, high)
        shapes.append(
            f'<line class="whisker" x1="{a:.2f}%" x2="{b:.2f}%" y1="{_LINE}" y2="{_LINE}"/>'
        )
        shapes += (m for end in (low, high) for m in _mark(axis, end, _LINE, "whisker", _CAP))
    shapes += _mark(axis, measured.value, _LINE, LOOKS[passed], _DOT[passed], value)
    verdict = {True: ": pass", False: ": fail", None: ""}[passed]
    aloud = f"{LABELS[name]} {value}; must be {bound_of(measured) or 'nothing'}{verdict}"
    aloud += f"; human {written(name, human)}"
    return f'<svg class="strip" role="img" aria-label="{clean(aloud)}">{"".join(shapes)}</svg>'


def _place(axis: tuple[float, float], value: float) -> float:
    """Per cent of the width; what is off the scale stands at its end."""
    part = (value - axis[0]) / (axis[1] - axis[0])
    return _EDGE + (100 - 2 * _EDGE) * min(1.0, max(0.0, part))


def _mark(
    axis: tuple[float, float], value: float, y: int, look: str, shape: str, title: str = ""
) -> Iterator[str]:
    """A shape around a value, with a title for who points at it; nothing of no number."""
    if math.isfinite(value):
        yield _shape(_place(axis, value), y, look, shape, title)


def _shape(at: float, y: int, look: str, shape: str, title: str) -> str:
    title = f"<title>{clean(title)}</title>" if title else ""
    return f'<svg x="{at:.2f}%" y="{y}" class="{look}">{title}{shape}</svg>'


def _writing(at: float, y: int, text: str) -> str:
    anchor = "start" if at < 12 else "end" if at > 88 else "middle"
    return f'<text x="{at:.2f}%" y="{y}" text-anchor="{anchor}">{text}</text>'


def _bound(measured: MetricValue, at: float) -> Iterator[str]:
    width = 100 - _EDGE - at
    yield f'<rect class="ok" x="{at:.2f}%" y="{_LINE - 12}" width="{width:.2f}%" height="24"/>'
    yield f'<line class="bound" x1="{at:.2f}%" x2="{at:.2f}%" y1="{_LINE - 14}" y2="{_LINE + 14}"/>'
    yield _writing(at, 11, bound_of(measured))


def letters_of(controls: Iterable[str]) -> dict[str, str]:
    """A letter for each control, the same on all of the page."""
    return dict(zip(controls, ascii_lowercase, strict=False))


def _controls(
    name: str,
    axis: tuple[float, float],
    controls: Mapping[str, float],
    letters: Mapping[str, str],
) -> Iterator[str]:
    """A tick for each control, an arrow head for those off the scale, with their letters."""
    near: list[tuple[float, str]] = []
    for who, value in sorted(controls.items(), key=lambda item: _place(axis, item[1])):
        if not math.isfinite(value):
            continue
        at = _place(axis, value)
        arrow = '<path d="M4-5-2 0 4 5"/>' if at < 50 else '<path d="M-4-5 2 0-4 5"/>'
        shape = _TICK if min(axis) <= value <= max(axis) else arrow
        yield _shape(at, _BESIDE, "tick", shape, f"{who}: {written(name, value)}")
        if near and at - near[-1][0] < _NEAR * len(near[-1][1]):
            near[-1] = (near[-1][0], near[-1][1] + letters[who])
        else:
            near.append((at, letters[who]))
    yield from (_writing(at, _LETTER, said) for at, said in near)


def legend(with_plain: bool, controls: Sequence[str]) -> str:
    """The signs of `strip`, each with its meaning, and the letter of each control."""
    signs = [
        ("good", _DOT[True], "passes"),
        ("bad", _DOT[False], "fails"),
        ("whisker", '<path d="M-9 0H9M-9-4V4M9-4V4"/>', "95% interval"),
        ("ok", '<rect x="-9" y="-8" width="18" height="16"/>', "where it must stand to pass"),
        ("human", _DIAMOND, "human stories"),
        *([("plain", _RING, PLAIN)] if with_plain else ()),
        *([("tick", _TICK, "controls, by their letters")] if controls else ()),
    ]
    items = "".join(
        '<li><svg viewBox="-10 -10 20 20" width="20" height="20" aria-hidden="true">'
        f'<g class="{look}">{shape}</g></svg>{meaning}</li>'
        for look, shape, meaning in signs
    )
    names = "".join(
        f"<li><b>{letter}</b> {clean(who)}</li>" for who, letter in letters_of(controls).items()
    )
    return (
        f'<ul class="legend">{items}<li><b>Further right is better →</b></li></ul>'
        f'<ul class="legend">{names}</ul>'
    )


Bar = tuple[str, float, str, bool | None]  # label, part of the width, what is written, verdict


def bars(title: str, note: str, rows: Iterable[Bar], **lines: float) -> str:
    """Draw horizontal bars; ``lines`` stand across all of them, by their look."""
    across = "".join(
        f'<line class="{look}" x1="{at:.1%}" x2="{at:.1%}" y1="0" y2="100%"/>'
        for look, at in lines.items()
    )
    drawn = "".join(
        f'<div class="bar"><span>{clean(label)}</span>'
        f'<svg aria-hidden="true"><rect class="{LOOKS[fine]}" y="25%" height="50%" '
        f'width="{part:.1%}"/>{across}</svg><b>{clean(said)}</b></div>'
        for label, part, said, fine in rows
    )
    return f'<article class="bars"><h3>{title}</h3><p>{note}</p>{drawn}</article>'
