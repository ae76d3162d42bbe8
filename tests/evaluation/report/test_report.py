"""The report: one page that loads nothing, says everything, and believes no text from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.evaluation import bootstrap as statistic
from tinybuddy.evaluation import scorecard
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.comparison import compare
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.report import comparisons as report
from tinybuddy.evaluation.report.page import METRICS, NOTES, SOURCES, write_report
from tinybuddy.evaluation.report.pictures import AXES
from tinybuddy.evaluation.report.published import Record, records
from tinybuddy.evaluation.report.wording import LABELS, paradigm_name
from tinybuddy.evaluation.rivals.controls import CAUGHT_BY
from tinybuddy.evaluation.session import Evaluation, evaluate
from tinybuddy.evaluation.stories import Story
from tinybuddy.training.run import Run

HOSTILE = "<script>alert(1)</script>\"'&amp;\u202e\x00\ud800 日本 😀"
EMPTY = {"meta", "line", "circle", "rect", "path", "br"}


class _Page(HTMLParser):
    """Checks that tags are balanced; collects what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def evaluation(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A real one, with few stories and short bootstraps."""
    folder = tmp_path_factory.mktemp("split")
    for split, numbers in (("train", range(100)), ("validation", range(100, 140))):
        text = "\n<|endoftext|>\n".join(generate_tale(n).text for n in numbers)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorecard, "SEEDS", 3)
        patch.setattr(scorecard, "prompts", lambda: ["Once upon a time", "One day, Tom"])
        patch.setattr(statistic, "RESAMPLES", 20)
        return evaluate(small_run.model, data=folder, with_controls=True)


@pytest.fixture(autouse=True)
def _short_bootstraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistic, "RESAMPLES", 20)


def _drawn(evaluation: Evaluation, folder: Path) -> tuple[str, _Page]:
    path = folder / "report.html"
    write_report(evaluation, path)
    page = path.read_text(encoding="utf-8")
    return page, _Page(page)


def test_page_says_everything_and_loads_nothing(evaluation: Evaluation, tmp_path: Path):
    page, found = _drawn(evaluation, tmp_path)
    card = evaluation.scorecards[0]
    assert f"{card.parameters:,}" in found.text
    assert "does it speak English? NO" in found.text
    assert all(label in found.text for label in LABELS.values())
    assert all(name in found.text for name in ("human", *CAUGHT_BY))
    assert all(
        paradigm_name(paradigm) in found.text for paradigm in card.metrics["grammar"].details
    )
    assert evaluation.evidence.sha256[:12] in found.text
    assert ("html", {"lang": "en"}) in found.tags
    assert not re.search(r"url\(|@import", page)
    loading = {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not loading & {tag for tag, _ in found.tags}
    links = [a["href"] for tag, a in found.tags if tag == "a"]  # which a reader may follow
    assert links == list(SOURCES.values()) == re.findall(r'https?:[^"<> ]*', page)
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on") or a == "src"]
    assert str(tmp_path.parent) not in page  # the stories' folder, which tells of its owner


def test_every_style_is_used_and_every_class_has_a_style(evaluation: Evaluation, tmp_path: Path):
    page, found = _drawn(evaluation, tmp_path)
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style
    styled = set(re.findall(r"\.([a-z]+)\b(?=[^{}]*\{)", style[1]))
    used = {name for _, a in found.tags for name in (a.get("class") or "").split()}
    assert used <= styled
    assert styled - used <= {"differences", "lacks", "records", "warning"}  # nothing such here


def test_the_letters_of_controls_are_those_of_the_legend(evaluation: Evaluation, tmp_path: Path):
    page, _ = _drawn(evaluation, tmp_path)
    controls = [name for name in evaluation.beside if name != "human"]
    legend = dict(re.findall(r"<li><b>([a-z])</b> ([^<]+)</li>", page))
    assert [*legend.values()] == controls
    strips = page.split('<svg class="strip"')[1:]
    for strip in (part.split('<p class="value')[0] for part in strips):
        ticks = {name for name in controls if f"<title>{name}: " in strip}
        letters = "".join(re.findall(r'y="70"[^>]*>([a-z]+)<', strip))
        assert {legend[letter] for letter in letters} == ticks


def test_every_figure_is_drawn_with_its_verdict_in_words(evaluation: Evaluation, tmp_path: Path):
    _, found = _drawn(evaluation, tmp_path)
    strips = [a["aria-label"] or "" for tag, a in found.tags if a.get("class") == "strip"]
    values = evaluation.scorecards[0].values()
    assert len(strips) == len(values)
    for said, measured in zip(strips, values.values(), strict=True):
        assert said.startswith(LABELS[measured.name])
        assert {True: ": pass", False: ": fail"}.get(measured.passed, "") in said
    places = [float(a["x"][:-1]) for _, a in found.tags if (a.get("x") or "").endswith("%")]
    assert places and all(0 <= place <= 100 for place in places)


def test_wordings_cover_every_figure():
    assert LABELS.keys() == AXES.keys() == NOTES.keys()
    assert METRICS.keys() == {name.partition(".")[0] for name in LABELS}


def test_hostile_texts_are_only_shown(evaluation: Evaluation, tmp_path: Path):
    first = evaluation.scorecards[0]
    metrics = first.metrics | {
        "words": Metric("words", [], HOSTILE, {"unknown": ["script", "日本"]})
    }
    stories = [Story(HOSTILE, HOSTILE, True), *first.stories]
    card = replace(first, name=HOSTILE, stories=stories, warnings=[HOSTILE], metrics=metrics)
    evidence = replace(evaluation.evidence, source=HOSTILE)
    worst = replace(
        evaluation,
        scorecards=[card, first],
        differences={first.name: compare(card, first)},
        beside={HOSTILE: first},
        evidence=evidence,
        blimp={HOSTILE: {HOSTILE: Share.of([1.0, 0.0])}},
    )
    page, found = _drawn(worst, tmp_path)
    assert "script" not in {tag for tag, _ in found.tags}
    assert "<script" not in page
    assert not re.search("[\x00\u202e]", page)
    assert "日本 😀" in found.text
    assert "&lt;" not in found.text  # escaped once


def test_words_that_are_none_are_marked(evaluation: Evaluation, tmp_path: Path):
    card = evaluation.scorecards[0]
    metrics = card.metrics | {"words": Metric("words", [], details={"unknown": ["glorp"]})}
    texts = [Story("One day", " a Glorp! The glorps", False)]
    page, _ = _drawn(
        replace(evaluation, scorecards=[replace(card, stories=texts, metrics=metrics)]), tmp_path
    )
    assert '<b>One day</b> a <u title="not an English word">Glorp</u>! The glorps</p>' in page


def test_a_control_that_gets_through_is_told(evaluation: Evaluation, tmp_path: Path):
    assert "got through!" not in _drawn(evaluation, tmp_path)[1].text
    name, measured = "2-gram", CAUGHT_BY["2-gram"]
    good = Metric("bits_per_byte", [MetricValue(measured, Share.of([1.0] * 9), bound=2.0)])
    card = evaluation.beside[name]
    escaped = replace(card, metrics=card.metrics | {"bits_per_byte": good})
    beside = evaluation.beside | {name: escaped}
    assert "got through!" in _drawn(replace(evaluation, beside=beside), tmp_path)[1].text


def test_what_was_not_run_says_what_it_needs(evaluation: Evaluation, tmp_path: Path):
    card = evaluation.scorecards[0]
    lacking = Metric("bits_per_byte", [], "the training and validation stories")
    found = replace(
        evaluation,
        scorecards=[replace(card, metrics={"bits_per_byte": lacking}, plain={})],
        beside={},
    )
    text = _drawn(found, tmp_path)[1].text
    assert "not run, since it needs the training and validation stories." in text
    assert "does it speak English? OPEN" in text
    assert "what must fail" not in text


def test_records_are_shown_if_there_are_some(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(report, "records", list)
    assert "The record" not in _drawn(evaluation, tmp_path)[1].text
    row = Record("rival", 10**9, HOSTILE, None, 0.5, ("words.english",), "tinybuddy evaluate x")
    monkeypatch.setattr(report, "records", lambda: [row])
    text = _drawn(evaluation, tmp_path)[1].text
    assert text.index("this report") < text.index("1,000,000,000")  # the smallest first


def test_records_are_readable():
    for row in records():
        assert row.parameters > 0
        assert set(row.fails) <= LABELS.keys()


def test_page_is_written_whole_or_not_at_all(evaluation: Evaluation, tmp_path: Path):
    path = tmp_path / "new" / "report.html"
    write_report(evaluation, path)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "taken").touch()
    with pytest.raises(TinybuddyError, match="Cannot write"):
        write_report(evaluation, tmp_path / "taken" / "report.html")
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write_report(evaluation, tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()
