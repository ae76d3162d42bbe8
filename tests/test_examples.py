"""The examples of the API's docstrings do what they show."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest

import tinybuddy
from tinybuddy.evaluation.comparison import Difference
from tinybuddy.evaluation.evidence import Evidence
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.scorecard import Scorecard
from tinybuddy.exporters.session import Exported
from tinybuddy.progress import Hooks

# What the public functions take and give, beside what is public itself.
BESIDE = (Difference, Evidence, Exported, Hooks, Metric, MetricValue, Scorecard)


def _examples_of(name: str, value: Any) -> list[doctest.DocTest]:
    return doctest.DocTestFinder().find(value, name, globs={"tinybuddy": tinybuddy})


@pytest.mark.parametrize("name", tinybuddy.__all__)
def test_examples_of_a_public_name_do_what_they_show(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for test in _examples_of(name, getattr(tinybuddy, name)):
        runner.run(test, out=said.append)
    assert not said, "".join(said)
    assert runner.tries > 0, f"{name} shows no example"


def test_an_example_that_is_wrong_is_seen():
    said: list[str] = []
    (test,) = doctest.DocTestFinder().find(wrong, "wrong", globs={})
    assert doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed == 1
    assert "Expected" in "".join(said)


def wrong() -> None:
    """Be wrong.

    >>> 1 + 1
    3
    """


@pytest.mark.parametrize("value", [*map(tinybuddy.__getattr__, tinybuddy.__all__), *BESIDE])
def test_all_that_is_public_is_described(value: Any):
    assert value.__doc__
    for name, member in vars(value).items() if isinstance(value, type) else ():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert member.__doc__, f"{value.__name__}.{name}"
