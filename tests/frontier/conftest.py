"""A study that takes a second, and a pool that trains in this very process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import SMALL
from tinybuddy.config import Recipe
from tinybuddy.frontier.pools import WorkerLostError
from tinybuddy.frontier.study import Range, Study

pytest.importorskip("optuna", reason="needs Optuna: pip install 'tinybuddy[frontier]'")


class HerePool:
    """Does one job after another, when it is waited for.

    Attributes:
        on_job: called with the number of each job before it is done; what it raises comes out of
            `wait`, as if it had happened there.
        jobs: how many have been done.
    """

    def __init__(self, workers: int = 1, on_job: Callable[[int], None] = lambda job: None) -> None:
        self.count, self.on_job, self.jobs = workers, on_job, 0
        self.waiting: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def workers(self) -> int:
        return self.count

    def share(self, value: Any) -> Any:
        return value

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        assert key not in self.waiting
        self.waiting[key] = function, arguments

    def wait(self) -> dict[str, Any]:
        key = next(iter(self.waiting))
        function, arguments = self.waiting.pop(key)
        self.jobs += 1
        try:
            self.on_job(self.jobs)
            return {key: function(*arguments)}
        except WorkerLostError as error:
            return {key: error}

    def close(self) -> None:
        self.waiting.clear()


@pytest.fixture(scope="session")
def study() -> Study:
    """Two budgets with four trials each, on four hundred tales."""
    settings = SMALL | {"vocab_size": 300, "data": "tales", "stories": 400, "steps": 8}
    return Study(
        name="small",
        recipe=Recipe("small").with_settings(settings),
        budgets=(3_000, 6_000),
        space={
            "num_hidden_layers": Range(1, 3),
            "num_attention_heads": (1, 2),
            "feed_forward_ratio": Range(1.0, 3.0),
            "learning_rate": Range(1e-3, 1e-1, log=True),
        },
        start=({"num_hidden_layers": 1},),
        trials=4,
        rungs=(4, 8),
        final_steps=16,
        final_seeds=(),
        seed=0,
    )
