"""What is drawn of a study: every run once, and nothing that a stranger's row could break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib", reason="needs the extra frontier")
pytest.importorskip("scipy", reason="needs the extra frontier")

from tests.conftest import Cli
from tests.frontier.made import row, study, written
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation.report.published import records
from tinybuddy.frontier.findings import find, sentence_of
from tinybuddy.frontier.page import page_of
from tinybuddy.frontier.pictures import bytes_svg, frontier_svg

SVG = "{http://www.w3.org/2000/svg}"
STORIES = {"data": "tinystories/v1+v2"}


def groups(svg: str) -> dict[str, int]:
    """How many points each named group of a picture has."""
    return {
        group.get("id", ""): len(list(group.iter(f"{SVG}use")))
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
    }


def texts(svg: str) -> str:
    return "\n".join("".join(t.itertext()) for t in ElementTree.fromstring(svg).iter(f"{SVG}text"))


def test_the_picture_has_every_run(tmp_path: Path):
    rows = [*study(), row(8, 3.0, "pruned", fingerprint="p"), row(8, 3.0, "failed")]
    found = find(written(tmp_path / "runs.jsonl", rows))
    svg = frontier_svg(found)
    points = groups(svg)
    assert points["trials"] == 20
    assert points["finals"] == 4
    assert "NO up to " in texts(svg)
    assert "YES from " in texts(svg)
    assert "“It had 64 little cats at home.”" in texts(svg)
    assert {"float32", "int8", "int4"} <= groups(bytes_svg(found)).keys()
    assert "4 bits" in texts(bytes_svg(found))


def test_the_same_study_is_the_same_file_wherever_it_lies(tmp_path: Path):
    for draw in (frontier_svg, bytes_svg, page_of):
        first = draw(find(written(tmp_path / "a" / "runs.jsonl", study())))
        assert draw(find(tmp_path / "a")) == first


def test_the_line_falls_and_the_boundary_lies_between_the_verdicts(tmp_path: Path):
    found = find(written(tmp_path / "runs.jsonl", study(speaks_from=32)))
    line = list(found.line)
    assert line == sorted(line)
    assert [bits for _, bits in line] == sorted((bits for _, bits in line), reverse=True)
    sizes = [point.parameters for point in found.finals]
    assert found.boundary == (sizes[1], sizes[2])
    assert find(written(tmp_path / "no.jsonl", study(speaks_from=999))).boundary[1] is None
    assert find(written(tmp_path / "all.jsonl", study(speaks_from=1))).boundary == (None, sizes[0])


def test_one_seed_that_fails_is_a_no(tmp_path: Path):
    rows = study(speaks_from=64)
    rows[-1]["speaks_english"] = False
    point = find(written(tmp_path / "runs.jsonl", rows)).finals[-1]
    assert point.speaks is False and point.note == "3 seeds (2 YES), 800 steps"


def test_figures_of_tinystories_stand_beside_runs_on_it_alone(tmp_path: Path):
    known = {record.name: record for record in records()}
    assert not find(written(tmp_path / "tales.jsonl", study())).references
    rows = [each | STORIES for each in study()]
    found = find(written(tmp_path / "stories.jsonl", rows))
    shown = {point.name: point for point in found.references}
    small = shown["stand-in for Small-ever"]
    assert small.bits == known["stand-in for Small-ever"].bits_per_byte
    assert shown["tinybuddy-60k"].seeds[1] == known["tinybuddy-60k, seed 1"].bits_per_byte
    assert "stories260K" in texts(frontier_svg(found))


def test_n_gram_models_of_the_same_stories_are_drawn(tmp_path: Path):
    runs = written(tmp_path / "runs.jsonl", study())
    rivals: list[dict[str, Any]] = [
        {"bytes": 4000 * n, "bits_per_byte": 3.0 / n, "data_sha256": sha * 64}
        for n, sha in ((1, "0"), (2, "0"), (2, "f"))
    ]
    written(tmp_path / "baselines.jsonl", rivals)
    found = find(runs)
    assert found.baselines == [(4000, 3.0), (8000, 1.5)]
    assert groups(frontier_svg(found))["baselines"] == 2
    written(tmp_path / "baselines.jsonl", [{"bytes": "many"}])
    with pytest.raises(TinybuddyError, match="something else than n-gram models"):
        find(runs)


def test_a_trial_that_was_not_scored_on_all_stories_is_left_out(tmp_path: Path):
    rows = [row(8, 1.8), row(16, 0.0, fingerprint="b", budget=1)]
    rows[1] |= {"bits_per_byte": None}
    found = find(written(tmp_path / "runs.jsonl", rows))
    assert [point.bits for point in found.trials] == [1.8]


HOSTILE = '</script><script>alert(1)</script> $\\frac{ \ud800 \x00 \u202e 漢字 😀 <b>"&'


def test_a_hostile_row_breaks_nothing(tmp_path: Path):
    rows = [each | {"study": HOSTILE, "sample": f"One. {HOSTILE}"} for each in study()]
    rows += [
        row(8, bits, fingerprint=f"hostile-{n}")
        for n, bits in enumerate((float("nan"), float("inf"), -1.0, 1e300, 0.0, 8.1))
    ]
    found = find(written(tmp_path / "runs.jsonl", rows))
    assert len(found.trials) == 20
    for picture in (frontier_svg(found), bytes_svg(found)):
        ElementTree.fromstring(picture)
        assert "<script" not in picture.encode("utf-8").decode("utf-8")
    page = page_of(found).encode("utf-8").decode("utf-8")
    assert page.count("</script>") == 2
    assert "alert(1)&lt;/script&gt;" in page
    assert '<b>"' not in page


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": 10**400},
        {"bits_per_byte": "low"},
        {"bits_per_byte": [1]},
        {"steps": -1},
        {"tokens": 1e400},
        {"tokens": 10**30},
    ],
)
def test_what_is_no_run_is_named(change: dict[str, Any], tmp_path: Path):
    path = written(tmp_path / "runs.jsonl", [*study(), row(8, 2.0) | change])
    with pytest.raises(TinybuddyError, match="The run 8-100-trial is not as a study writes it"):
        find(path)


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"vocab_size": "<b>"}},
        {"model": None},
        {"model": {"unknown": 1}},
        {"speaks_english": "yes"},
    ],
)
def test_the_line_of_what_is_no_run_is_named(change: dict[str, Any], tmp_path: Path):
    path = written(tmp_path / "runs.jsonl", [*study(), row(8, 2.0) | change])
    with pytest.raises(TinybuddyError, match=r"Line 33 of .* is no run of a study"):
        find(path)


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": [1]},
        {"metrics": {"words.english": "x", "nothing": {"passed": False}}},
        {"stored": {"int4": {"bytes": 10**30, "bits_per_byte": 1.0}, "<b>": 1}},
        {"stored": "x"},
        {"sample": None},
        {"sample": ["x"] * 100_000},
    ],
)
def test_what_is_missing_is_not_drawn(change: dict[str, Any], tmp_path: Path):
    rows = [each | change if each["kind"] == "final" else each for each in study()]
    found = find(written(tmp_path / "runs.jsonl", rows))
    for draw in (frontier_svg, bytes_svg, page_of):
        assert draw(found)


def test_runs_of_two_texts_are_not_drawn_together(tmp_path: Path):
    rows = [*study(), row(8, 2.0, data_sha256="1" * 64)]
    with pytest.raises(TinybuddyError, match="are of 2 texts"):
        find(written(tmp_path / "runs.jsonl", rows))


def test_nothing_to_draw_is_said(tmp_path: Path):
    with pytest.raises(TinybuddyError, match="There are no runs in"):
        find(tmp_path)
    with pytest.raises(TinybuddyError, match="nothing to draw yet"):
        find(written(tmp_path / "runs.jsonl", [row(8, 2.0, "pruned")]))


def test_a_sentence_is_whole_or_cut():
    assert sentence_of("Once there was a cat. It was a very small cat. Yes.") == (
        "It was a very small cat."
    )
    assert sentence_of("One. " + "word " * 40).endswith("…")
    assert len(sentence_of("x" * 500)) <= 66
    assert sentence_of("") == ""


def test_the_command_writes_three_files(cli: Cli, tmp_path: Path):
    written(tmp_path / "my-study" / "runs.jsonl", study())
    done = cli("frontier", "plot", "my-study", "-o", "plots", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "bytes.svg",
        "frontier.html",
        "frontier.svg",
    ]
    assert len(found["written"]) == 3
    assert found["law"]["law"].startswith("bits per byte = ")
    assert found["held_back"] is None
    assert "at least 4 budgets" in found["lacks"]
    shown = cli("frontier", "plot", "my-study/runs.jsonl")
    assert "plots/frontier.svg" in shown.stdout.replace("\\", "/")
    assert "bits per byte = " in shown.stdout


def test_the_command_says_what_is_wrong(cli: Cli, tmp_path: Path):
    assert cli("frontier", "plot", "nowhere").returncode == 1
    done = cli("frontier", "plot", "nowhere", "--workers", "2")
    assert done.returncode == 2
    assert "leave all options" in done.stderr
