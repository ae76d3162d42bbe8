"""The documents say what the code does."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="help is laid out as Python 3.11 does")
def test_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in (("cli.md", generate.cli_page()), ("recipes.md", generate.recipes_page())):
        written = (ROOT / "docs" / name).read_text("utf-8")
        assert written == page, f"run python docs/generate.py, {name} is old"


def test_every_file_of_the_tree_exists_and_every_module_is_in_it():
    readme = (ROOT / "README.md").read_text("utf-8")
    tree = readme[readme.index("src/tinybuddy/\n") :].split("```")[0]
    named = set(re.findall(r"^ +(\S+?\.py|\S+/)  ", tree, re.MULTILINE))
    modules = {p.name for p in (ROOT / "src" / "tinybuddy").glob("*.py")} - {"__main__.py"}
    folders = {f"{p.name}/" for p in (ROOT / "src" / "tinybuddy").iterdir() if p.is_dir()}
    assert named == modules | (folders - {"__pycache__/"})


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)


def test_the_readme_runs(cli: Cli, tmp_path: Path):
    """Its commands and its Python, one after another in one folder, as a reader would type them."""
    commands = [
        line
        for block in _blocks("sh")
        for line in block.splitlines()
        if line.startswith("tinybuddy ")
    ]
    assert len(commands) >= 5
    for command in commands:
        words = shlex.split(command.split(" | ")[0], comments=True)
        done = cli(*words[1:], timeout=900)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    for code in _blocks("python"):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=900)
