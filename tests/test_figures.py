"""Every figure of README and docs has a line in `results/figures.jsonl` that says its source."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LINES: list[dict[str, Any]] = [
    json.loads(line)
    for line in (ROOT / "results" / "figures.jsonl").read_text("utf-8").splitlines()
]
FIELDS = {"page", "name", "value", "spread", "kind", "command", "machine", "date", "commit"}
GENERATED = {"docs/cli.md", "docs/recipes.md"}  # by docs/generate.py, from the code
PAGES = sorted(
    {
        p.relative_to(ROOT).as_posix()
        for p in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md")]
    }
    - GENERATED
)
# The table of results/frontier.jsonl, which docs/generate.py writes.
RUNS = re.compile(r"^\| parameters \| shape \|.*?^<!--", re.DOTALL | re.MULTILINE)
# A number with decimals, of three digits or more that is no year, or before one of these.
UNITS = "%|tokens/s|GB/s|GFLOP/s|us|ms|s|seconds|minutes|min|hours|KB|MB|bytes|times"
FIGURE = re.compile(
    r"(?<![\w.,/-])"
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|(?!(?:19|20)\d\d(?!\d))\d{3,}"
    rf"|\d+(?=(?: to \d+)? ?(?:{UNITS})(?!\w)))(?![\w]*\.\d)(?![\w])"
)


def figures(page: str) -> list[str]:
    """The figures of a page as they are written; code, links and their addresses are left out."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>", " ", text)
    return FIGURE.findall(re.sub(r"arXiv [\d.]+", "", text))


def as_written(number: float, texts: list[str]) -> str:
    """How a page writes a number: the one of its texts that it rounds to, with most decimals."""
    for text in sorted(texts, key=lambda text: len(text.partition(".")[2]), reverse=True):
        if f"{number:.{len(text.partition('.')[2])}f}" == text.replace(",", ""):
            return text
    return f"{number} (on no page)"


@pytest.mark.parametrize("page", PAGES)
def test_figures_of_a_page_are_those_of_results(page: str):
    left, unknown = figures(RUNS.sub("", (ROOT / page).read_text("utf-8"))), []
    for line in LINES:
        if line["page"] == page:
            spread = line["spread"] if isinstance(line["spread"], list) else [line["spread"]]
            for number in (line["value"], *(end for end in spread if end is not None)):
                text = as_written(number, left)
                if text in left:
                    left.remove(text)
                else:
                    unknown.append(text)
    assert (left, unknown) == ([], [])


def test_a_changed_figure_is_seen():
    page = "It has 83,648 parameters, 1.110 ± 0.006 bits per byte in 62 min, `12.5` and 3 layers."
    assert figures(page) == ["83,648", "1.110", "0.006", "62"]
    assert as_written(1.1102, figures(page)) == "1.110"
    assert as_written(1.1112, figures(page)) == "1.1112 (on no page)"


def test_lines_of_results_say_where_they_are_from():
    for line in LINES:
        assert line.keys() == FIELDS
        assert line["page"] in PAGES
        assert line["kind"] in ("measured", "setting")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", line["date"])
        assert re.fullmatch(r"[0-9a-f]{7,40}", line["commit"])
        assert line["command"] and line["machine"] and line["name"]
