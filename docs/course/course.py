"""What every chapter shares: the stories, and the check of an exercise."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Before NumPy is imported: the matrices here are so small that its threads mostly wait for each
# other, which on a busy machine made chapter 3 take six times as long and more.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from tinybuddy.corpus import open_corpus

HERE = Path(__file__).parent


def tales(train: int, validation: int) -> tuple[list[str], list[str]]:
    """Return so many built-in tales to train on, and so many others to score.

    They are the first of ``tinybuddy.corpus.open_corpus("tales")``, split as tinybuddy splits them:
    no tale is in both lists. At most 5,000 and 277.
    """
    found: dict[str, list[str]] = {"train": [], "validation": []}
    wanted = {"train": train, "validation": validation}
    for split, text in open_corpus("tales").labelled():
        if split in found and len(found[split]) < wanted[split]:
            found[split].append(text)
        if all(len(found[split]) == wanted[split] for split in found):
            break
    return found["train"], found["validation"]


def check(attempt: Callable[..., Any]) -> bool:
    """Print whether an exercise is solved, and if not, what is wrong; it never raises.

    Its check is the function of the same name in ``checks/``.
    """
    wrong = verdict(attempt)
    print(f"{attempt.__name__}: " + (f"not yet. {wrong}" if wrong else "right!"))
    return not wrong


def verdict(attempt: Callable[..., Any]) -> str:
    """What is wrong with an exercise, as a sentence; empty if nothing is."""
    name = attempt.__name__
    for path in sorted(HERE.glob("checks/*.py")):
        if f"\ndef {name}(" in path.read_text(encoding="utf-8"):
            try:
                getattr(load(path), name)(attempt)
            except AssertionError as wrong:
                return str(wrong)
            except Exception as error:  # whatever a learner's function may do
                return f"It raises {type(error).__name__}: {error}"
            return ""
    return "No exercise has this name: has it been changed?"


def expect(found: Any, right: Any, given: str, tolerance: float = 1e-6) -> None:
    """Raise AssertionError, with a sentence, unless two values agree.

    Args:
        found: what the attempt returned.
        right: what it should be. Numbers and arrays agree within the tolerance, relative and
            absolute, and must have the same shape; all else must be equal.
        given: what the attempt was given, in words.
        tolerance: of numbers.
    """
    if isinstance(right, float | np.floating | np.ndarray):
        try:
            same = np.shape(found) == np.shape(right) and np.allclose(
                np.asarray(found, float), right, tolerance, tolerance
            )
        except (TypeError, ValueError):
            same = False
    else:
        same = type(found) is type(right) and found == right
    assert same, f"For {given} it gives {_shown(found)}; right is {_shown(right)}."


def load(path: Path) -> ModuleType:
    """Import a file whose name need not be one of Python's."""
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _shown(value: Any) -> str:
    if value is None:
        return "nothing yet"
    if isinstance(value, float | np.floating):
        return f"{value:.5g}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, threshold=12, separator=", ")
    return repr(value)
