"""The documents say what the code does."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import HANG
from tinybuddy.cli import build_parser
from tinybuddy.exporters import FORMATS

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="help is laid out as Python 3.11 does")
def test_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in (
        ("cli.md", generate.cli_page()),
        ("recipes.md", generate.recipes_page()),
        ("formats.md", generate.with_table("formats.md", generate.formats_table())),
        ("frontier.md", generate.with_table("frontier.md", generate.frontier_table())),
    ):
        written = (ROOT / "docs" / name).read_text("utf-8")
        assert written == page, f"run python docs/generate.py, {name} is old"


def test_commands_of_the_formats_page_can_be_typed():
    page = (ROOT / "docs" / "formats.md").read_text("utf-8")
    commands = [line.split() for line in re.findall(r"\| `tinybuddy (export .*?)` \|", page)]
    parsed = [build_parser("export").parse_args(words) for words in commands]
    assert [(p.format, p.weights or FORMATS[p.format].weights[0]) for p in parsed] == [
        (name, weights) for name, row in FORMATS.items() for weights in row.weights
    ]


def test_every_file_of_the_tree_exists_and_every_module_is_in_it():
    readme = (ROOT / "README.md").read_text("utf-8")
    tree = readme[readme.index("src/tinybuddy/\n") :].split("```")[0]
    named = set(re.findall(r"^ +(\S+?\.py|\S+/)  ", tree, re.MULTILINE))
    modules = {p.name for p in (ROOT / "src" / "tinybuddy").glob("*.py")} - {"__main__.py"}
    folders = {f"{p.name}/" for p in (ROOT / "src" / "tinybuddy").iterdir() if p.is_dir()}
    assert named == modules | (folders - {"__pycache__/"})


def test_links_lead_somewhere():
    """The part behind the # of a link to a file of code is a name that it defines."""
    named = 0
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target, name in re.findall(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)", page.read_text("utf-8")):
            if "://" not in target:
                path = (page.parent / target).resolve()
                assert path.exists(), f"{page.name}: {target}"
                if name and path.suffix in (".c", ".py"):
                    assert defines(path, name), f"{page.name}: {target} has no {name}"
                    named += 1
    assert named >= 40  # the map of how-it-works.md


def defines(path: Path, name: str) -> bool:
    if path.suffix == ".c":
        return re.search(rf"^\w.*\b{name}\(", path.read_text("utf-8"), re.MULTILINE) is not None
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    value: object = import_module(".".join(part for part in parts if part != "__init__"))
    for word in name.split("."):
        value = getattr(value, word, None)
    return value is not None


def test_a_name_that_a_file_does_not_define_is_seen():
    folder = ROOT / "src" / "tinybuddy"
    assert defines(folder / "sampling.py", "PCG32.uniform")
    assert not defines(folder / "sampling.py", "PCG32.normal")
    assert defines(folder / "backends" / "engine" / "sample.c", "tb_sample")
    assert not defines(folder / "backends" / "engine" / "sample.c", "tb_samples")


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_every_block_of_a_page_is_run_or_marked(page: Path):
    """What is in `console` is run; what could be typed and is not says why."""
    text = page.read_text("utf-8")
    for before, language in re.findall(
        r"(?:^|\n)(.*)\n```(\S*)\n.*?\n```(?=\n|$)", text, re.DOTALL
    ):
        if language in ("sh", "python", "js"):
            assert before.rpartition("\n")[2].startswith("<!-- not run: "), (
                f"{page}: {before[-80:]}"
            )
        else:
            assert language in ("console", "text", "toml", "yaml", "ini", "dockerfile"), page


# What a page may show for readers and this test leaves alone: it installs, or takes minutes.
NOT_RUN = ("make ", "pip ", "git ", "source ", ".venv/", "python3 -m venv ")


class Command(NamedTuple):
    """What a reader would type, and the lines that it prints where the page shows them."""

    line: str
    shown: list[str] | None


def commands(language: str, block: str) -> list[Command]:
    r"""Read the commands of a fenced block.

    In ``sh`` each line is one. In ``console`` they begin with ``$ ``, and what follows one, up to
    the next, is its standard output, all of it; ``...`` on a line of its own stands for any lines.
    A line that ends in ``\`` goes on in the next.
    """
    lines = block.replace("\\\n", "").splitlines()
    if language == "sh":
        return [Command(line, None) for line in lines]
    assert not lines or lines[0].startswith("$ "), f"a console block begins with $: {lines[0]}"
    found: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].shown.append(line)  # type: ignore[union-attr]
    return found


def is_shown(shown: list[str], printed: str) -> bool:
    """Whether a command printed what the page shows, but for blanks at the ends of lines."""
    parts = ("(.*\n)*?" if line == "..." else re.escape(line.rstrip()) + "\n" for line in shown)
    lines = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    return re.fullmatch("".join(parts), lines) is not None


def test_a_page_shows_all_that_is_printed():
    one, other = commands("console", "$ a | b \\\n  -c\nx\n...\ny\n$ d\n")
    assert one == Command("a | b   -c", ["x", "...", "y"])
    assert other == Command("d", [])
    assert all(is_shown(["x", "...", "y"], text) for text in ("x\ny\n", "x \n1\n\n2\ny"))
    assert not any(is_shown(["x", "...", "y"], text) for text in ("", "x\n", "x\ny\nz\n", "y\nx"))
    assert is_shown([], "")
    assert not is_shown([], "more\n")
    assert not is_shown(["a.c"], "abc\n")


def _pages() -> list[str]:
    pages = [
        path for path in (ROOT / "docs").rglob("*.md") if "```console" in path.read_text("utf-8")
    ]
    return ["README.md", *(str(path.relative_to(ROOT)) for path in sorted(pages))]


@pytest.mark.skipif(os.name != "posix", reason="the commands are written for a POSIX shell")
@pytest.mark.parametrize("page", _pages())
def test_what_a_page_tells_to_type_does_what_it_shows(page: str, tmp_path: Path):
    """One thing after another in one folder, as a reader would type them.

    Of the README all commands and all Python, of the other pages what stands in ``console``.
    """
    languages = "sh|console|python" if page == "README.md" else "console"
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=tmp_path,
            env=environment,
            input="",
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=HANG,
        )

    ran = 0
    text = (ROOT / page).read_text("utf-8")
    if "\n$ cc " in text and not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    for language, block in re.findall(rf"^```({languages})\n(.*?)^```", text, re.M | re.S):
        if language == "python":
            done = run(sys.executable, "-c", block)
            assert done.returncode == 0, f"{block}{done.stderr}"
            continue
        for line, shown in commands(language, block):
            if not line.strip() or line.startswith(NOT_RUN):
                continue
            done = run("bash", "-o", "pipefail", "-c", line)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            if shown is not None:
                assert is_shown(shown, done.stdout), f"{line}\n{done.stdout}"
            ran += 1
    assert ran >= (5 if page == "README.md" else 1)
