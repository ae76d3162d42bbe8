"""The course: notebooks are those of their texts, and exercises check themselves."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jupytext")
FOLDER = Path(__file__).parents[1] / "docs" / "course"
sys.path.insert(0, str(FOLDER))  # as it is for a notebook there
import build  # noqa: E402
import course  # noqa: E402

CHAPTERS = [pytest.param(path, id=path.stem) for path in build.chapters()]


def exercises(chapter: Path) -> Iterator[tuple[str, Any]]:
    """Name and unsolved function of each exercise. Of its chapter it may use `np` and `math`."""
    for cell in json.loads(build.notebook(chapter))["cells"]:
        if "exercise" in cell["metadata"].get("tags", []):
            names: dict[str, Any] = {"np": np, "math": math}
            exec("".join(cell["source"]), names)
            (name,) = names.keys() - {"np", "math", "__builtins__"}
            yield name, names[name]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_notebook_is_its_text_without_outputs(chapter: Path):
    found = chapter.with_suffix(".ipynb").read_text("utf-8")
    assert found == build.notebook(chapter), "run python docs/course/build.py"
    assert not any(cell.get("outputs") for cell in json.loads(found)["cells"])


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_exercises_are_wrong_unsolved_and_right_answered(chapter: Path, capsys: Any):
    answers = course.load(FOLDER / "answers" / chapter.name)
    cells = json.loads(chapter.with_suffix(".ipynb").read_text("utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    found = dict(exercises(chapter))
    assert len(found) == 3
    for name, unsolved in found.items():
        assert f"course.check({name})" in code
        # It is wrong by what it gives, not because it could not run.
        wrong = course.verdict(unsolved)
        assert wrong
        assert "raises" not in wrong
        assert not course.check(unsolved)
        assert course.verdict(getattr(answers, name)) == ""
        assert course.check(getattr(answers, name))
        assert capsys.readouterr().out == f"{name}: not yet. {wrong}\n{name}: right!\n"


def test_no_two_exercises_have_one_name():
    names = [name for chapter in build.chapters() for name, _ in exercises(chapter)]
    assert len(names) == len(set(names))


def test_a_check_never_raises(capsys: Any):
    def unknown() -> None: ...

    assert not course.check(unknown)
    for chapter in build.chapters():
        for name, _ in exercises(chapter):

            def broken(*_: Any) -> None:
                raise RuntimeError("no")

            broken.__name__ = name
            assert not course.check(broken)
            assert "It raises RuntimeError: no" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (None, 1.5),
        ("x", 1.5),
        (1.50001, 1.5),
        (np.ones((2, 1)), np.ones(2)),
        ([1, 2, 4], [1, 2, 3]),
        ((1, 2), [1, 2]),
        (float("nan"), 1.0),
    ],
)
def test_what_differs_is_wrong(found: Any, right: Any):
    with pytest.raises(AssertionError, match="For a test it gives"):
        course.expect(found, right, "a test")


def test_what_agrees_is_right():
    course.expect(1.5 + 1e-9, 1.5, "a test")
    course.expect([[1.0], [2.0]], np.array([[1.0], [2.0]]), "a test")
    course.expect([b"a", b"b"], [b"a", b"b"], "a test")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_a_chapter_names_is_in_the_package(chapter: Path):
    text = chapter.read_text("utf-8")
    assert "Where this is in tinybuddy" in text
    assert "On TinyStories" in text
    for path in re.findall(r"`((?:src|docs)/[^`]+)`", text):
        assert (FOLDER.parents[1] / path).exists(), path
    names = set(re.findall(r"`(tinybuddy(?:\.\w+)+)`", text))
    assert names
    for name in names:
        try:
            import_module(name)
        except ImportError:
            module, _, rest = name.rpartition(".")
            assert hasattr(import_module(module), rest), name


def test_tales_are_split_as_the_package_splits_them():
    train, validation = course.tales(40, 2)
    assert (len(train), len(validation)) == (40, 2)
    assert not {*train} & {*validation}
