from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.terminal import sparkline
from tinybuddy.training.chart import Line, line_chart, ticks

numbers = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)


@given(numbers, numbers)
def test_ticks_cover_what_they_must(a: float, b: float):
    low, high = min(a, b), max(a, b)
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 9
    assert marks == sorted(set(marks))
    slack = 1e-6 * max(1.0, high - low)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack


def test_a_chart_is_an_image_with_its_curves_inside():
    lines = {
        "mine & yours": Line([(1, 2.0), (100, 1.5), (200, 1.4)], "#123456"),
        "expected": Line([(0, 2.1), (200, 1.3)], "#654321", dash="6 4"),
        "nothing": Line([], "#000000"),
    }
    svg = ElementTree.fromstring(line_chart("A <title>", "steps", "bits", lines))
    name = "{http://www.w3.org/2000/svg}"
    texts = [t.text for t in svg.iter(f"{name}text")]
    assert {"A <title>", "steps", "bits", "mine & yours", "expected"} <= {*texts}
    assert "nothing" not in texts
    curves = [p.get("d", "") for p in svg.iter(f"{name}path") if " h" not in p.get("d", "")]
    assert len(curves) == 2
    points = [tuple(map(float, p.strip("ML ").split())) for p in curves[0].split("L")]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted(y for _, y in points)  # falling: down is more
    assert all(0 < x < 720 and 0 < y < 420 for x, y in points)


def test_a_single_point_is_seen():
    svg = ElementTree.fromstring(line_chart("t", "x", "y", {"a": Line([(5, 1.0)], "#123456")}))
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) == 1


def test_a_chart_of_nothing_is_still_an_image():
    ElementTree.fromstring(line_chart("t", "x", "y", {}))


@given(st.lists(numbers, max_size=200))
def test_sparklines_are_as_wide_as_they_may(values: list[float]):
    assert len(sparkline(values, 40)) == min(40, len(values))


def test_a_sparkline_shows_the_way():
    assert sparkline([3, 2, 1, 0]) == "█▆▃▁"
    assert sparkline([1, 1]) == "▁▁"
