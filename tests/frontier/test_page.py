"""The page of a study, in Chromium from its file, with no network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs the extra frontier")
pytest.importorskip("scipy", reason="needs the extra frontier")

from tests.conftest import Opened
from tests.exporters.chromium import check_policy
from tests.exporters.test_html import AXE
from tests.frontier.made import study, written
from tests.frontier.test_plot import HOSTILE, STORIES
from tinybuddy.formats.references import released_names
from tinybuddy.frontier.findings import OTHERS, find
from tinybuddy.frontier.page import page_of


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    rows = [each | STORIES for each in study()]
    page = folder / "frontier.html"
    text = page_of(find(written(folder / "runs.jsonl", rows)))
    page.write_text(text, encoding="utf-8", newline="\n")
    return page


def test_the_policy_allows_what_is_in_the_page_alone(page_file: Path):
    text = page_file.read_text("utf-8")
    check_policy(text)
    assert not re.findall(r"(?:src|href)=", text)


def test_all_points_are_there_and_trials_can_be_hidden(page_file: Path, opened: Opened):
    page = opened(page_file, viewport={"width": 1400, "height": 900})
    assert page.locator("#size .trial").count() == 20
    assert page.locator("#size .final").count() == 4
    assert page.locator("#size .final.yes").count() == 2
    shown = [name for name in released_names() if not name.endswith("-int4")]
    assert page.locator("#size .reference").count() == len(OTHERS) + len(shown)
    assert page.locator("#bytes .final").count() == 12
    assert page.locator("tbody tr").count() == 4
    page.uncheck("#trials")
    assert not page.locator("#size .trial").first.is_visible()


def test_a_hover_shows_the_model(page_file: Path, opened: Opened):
    page = opened(page_file, viewport={"width": 1400, "height": 900})
    page.locator("#size .final").first.hover()
    told = page.locator("#sizeDetails").inner_text()
    assert "64 x 8, 1 layer, 2 heads" in told
    assert "English words" in told
    assert "It had 8 little cats at home." in told
    assert re.search(r"speaks English\s+NO", told)
    page.locator("#bytes .final").last.hover()
    assert re.search(r"stored\s+[\d,]+ bytes, ", page.locator("#bytesDetails").inner_text())


def test_the_keyboard_goes_through_the_models(page_file: Path, opened: Opened):
    page = opened(page_file, viewport={"width": 400, "height": 800})
    page.focus("#trials")
    page.keyboard.press("Tab")
    seen = [page.evaluate("document.activeElement.getAttribute('aria-label')")]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert len(set(seen)) == 4
    assert seen[-1].split(", ")[0] in page.locator("#sizeDetails").inner_text()
    page.keyboard.press("Tab")  # one stop for all of its points
    assert page.evaluate("document.activeElement.closest('#size')") is None


@pytest.mark.parametrize("width", [320, 400, 768, 1400])
def test_nothing_is_wider_than_the_screen_and_no_label_covers_another(
    width: int, page_file: Path, opened: Opened
):
    page = opened(page_file, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in ("#size", "#bytes"):
        boxes = page.eval_on_selector_all(
            f"{chart} text.said, {chart} text.hot, {chart} text.strong",
            "all => all.map((each) => each.getBoundingClientRect().toJSON())",
        )
        assert len(boxes) > 3
        for i, one in enumerate(boxes):
            assert one["left"] >= 0
            assert one["right"] <= width
            for other in boxes[:i]:
                assert (
                    one["right"] <= other["left"]
                    or other["right"] <= one["left"]
                    or one["bottom"] <= other["top"]
                    or other["bottom"] <= one["top"]
                )


def test_a_hostile_study_is_text(tmp_path: Path, opened: Opened):
    rows = [each | {"study": HOSTILE, "sample": f"One. {HOSTILE}"} for each in study()]
    page_path = tmp_path / "frontier.html"
    page_path.write_text(
        page_of(find(written(tmp_path / "runs.jsonl", rows))), encoding="utf-8", newline="\n"
    )
    page = opened(page_path)
    page.locator("#size .final").first.hover()
    assert "</script><script>alert(1)" in page.locator("blockquote").first.inner_text()
    assert page.locator("script").count() == 2


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(width: int, scheme: str, page_file: Path, opened: Opened):
    if not AXE.exists():
        pytest.skip(f"needs axe-core: npm ci --prefix {AXE.parents[2]}")
    how = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page = opened(page_file, **how)
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["nodes"]) for each in found["violations"]] == []
    assert {each["id"] for each in found["passes"]} >= {"color-contrast", "label"}
