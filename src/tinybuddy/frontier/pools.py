"""Where jobs run: in processes of this machine, or on a Ray cluster. One interface for both."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

KEPT = 2  # shared values in a worker's memory; a dataset of 20,000 stories has 18 MB


class WorkerLostError(Exception):
    """A worker ended before its job was done: the job may be given again."""


class Pool(Protocol):
    """Runs jobs, each in a process that has a core of its own."""

    def workers(self) -> int:
        """How many jobs run at once; a cluster may grow and shrink."""
        ...

    def share(self, value: Any) -> Any:
        """Bring a value to every machine once; what it returns stands for it among arguments."""
        ...

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a job."""
        ...

    def wait(self) -> dict[str, Any]:
        """Wait until jobs have ended, and return by key what each returned, or raised."""
        ...

    def close(self) -> None:
        """End all workers at once, with what they do."""
        ...


@dataclass(frozen=True)
class _Shared:
    """A value that lies in a file, since it is too large to go with every job."""

    path: str


class LocalPool:
    """Processes of this machine."""

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._futures: dict[Future[Any], str] = {}
        self._files = 0
        self._others = {*multiprocessing.active_children()}
        self._executor = self._begin()

    def _begin(self) -> ProcessPoolExecutor:
        # Begun anew, since a fork would copy the threads of Optuna's database as they stand.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._count, context, initializer=_begin_worker)

    def workers(self) -> int:
        """As many as it was opened with."""
        return self._count

    def share(self, value: Any) -> Any:
        """Write it into a file, which goes with the pool."""
        self._files += 1
        path = Path(self._folder.name) / f"{self._files}.pickle"
        path.write_bytes(pickle.dumps(value))
        return _Shared(str(path))

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a job."""
        try:
            future = self._executor.submit(_call, function, arguments)
        except BrokenProcessPool:  # which a worker's end leaves behind
            self._executor = self._begin()
            future = self._executor.submit(_call, function, arguments)
        self._futures[future] = key

    def wait(self) -> dict[str, Any]:
        """Wait until jobs have ended; where one worker was killed, all are `WorkerLostError`."""
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        return {self._futures.pop(future): _outcome(future) for future in done}

    def close(self) -> None:
        """End the processes."""
        processes = {*multiprocessing.active_children()} - self._others
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        self._folder.cleanup()


def _outcome(future: Future[Any]) -> Any:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return WorkerLostError()
    return error if error else future.result()


def _begin_worker() -> None:
    """Leave Ctrl-C to the process that began this one, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*(_load(a.path) if isinstance(a, _Shared) else a for a in arguments))


@lru_cache(KEPT)
def _load(path: str) -> Any:
    return pickle.loads(Path(path).read_bytes())  # our own, of a moment ago
