"""Jobs on a Ray cluster, as plain tasks: Ray brings shared values to each node once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tinybuddy.errors import TinybuddyError, require
from tinybuddy.frontier.pools import WorkerLostError

WAIT_SECONDS = 5.0  # after which the cluster is asked whether it is still there


class RayPool:
    """A core of a Ray cluster for each job; nodes may come and go."""

    def __init__(self, address: str) -> None:
        """Connect to a cluster.

        Raises:
            TinybuddyError: if there is none at the address, or Ray is not installed.
        """
        require("Ray", "ray", "cluster")
        import ray

        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise TinybuddyError(
                f"There is no Ray cluster at {address} ({reason}): start one with `ray start "
                "--head`, or leave out `cluster`."
            ) from None
        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=0)(_call)
        self._refs: dict[Any, str] = {}

    def workers(self) -> int:
        """All cores of the cluster as it is now; while there is none, jobs wait for one."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def share(self, value: Any) -> Any:
        """Put it into Ray's object store."""
        return self._ray.put(value)

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a job."""
        self._refs[self._task.remote(function, *arguments)] = key

    def wait(self) -> dict[str, Any]:
        """Wait until jobs have ended; those of a node that is gone are `WorkerLostError`."""
        done, _ = self._ray.wait(list(self._refs))
        return {self._refs.pop(ref): self._outcome(ref) for ref in done}

    def _outcome(self, ref: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            return error.cause
        except errors.RayError:
            return WorkerLostError()

    def close(self) -> None:
        """Leave the cluster; what runs there for this search ends."""
        self._ray.shutdown()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
