"""Jobs on a Ray cluster, as plain tasks: Ray brings shared values to each node once.

Ray ends the process that speaks to a cluster a minute after its head is gone, with nothing to
catch, and writes the logs of lost nodes to standard error. So it is spoken to by a process of its
own, whose end is an error like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

from tinybuddy.errors import TinybuddyError, require
from tinybuddy.frontier.pools import WorkerLostError

GATHER_SECONDS = 0.1  # in which results that come one after another are sent together
CONNECT_SECONDS = 60.0


@dataclass(frozen=True)
class _Shared:
    """Stands for a value in Ray's object store."""

    number: int


class RayPool:
    """A core of a Ray cluster for each job; nodes may come and go."""

    def __init__(self, address: str) -> None:
        """Connect to a cluster.

        Raises:
            TinybuddyError: if there is none at the address, or Ray is not installed.
        """
        require("Ray", "ray", "cluster")
        _check_address(address)
        self._address, self._values, self._cores = address, 0, 1
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_speak, args=(address, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen
        match self._received() if self._connection.poll(CONNECT_SECONDS) else "no answer":
            case int(cores):
                self._cores = cores
            case reason:
                self.close()
                raise _not_there(address, reason)

    def workers(self) -> int:
        """All cores of the cluster; while it has none, one job waits for one."""
        return max(1, self._cores)

    def share(self, value: Any) -> Any:
        """Put it into Ray's object store."""
        self._send("share", value)
        self._values += 1
        return _Shared(self._values - 1)

    def submit(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a job."""
        self._send("submit", (key, function, arguments))

    def wait(self) -> dict[str, Any]:
        """Wait until jobs have ended; those of a node that is gone are `WorkerLostError`.

        Raises:
            TinybuddyError: if the cluster itself is gone.
        """
        self._cores, outcomes = self._received()
        return cast(dict[str, Any], outcomes)

    def close(self) -> None:
        """Leave the cluster; what runs there for this search ends."""
        self._process.terminate()
        self._process.join()

    def _send(self, command: str, value: Any) -> None:
        try:
            self._connection.send((command, value))
        except OSError:
            raise self._gone() from None

    def _received(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise self._gone() from None

    def _gone(self) -> TinybuddyError:
        return TinybuddyError(
            f"The Ray cluster at {self._address} is gone: what has been trained is kept. Start it "
            "again, and go on with tinybuddy frontier resume."
        )


def _check_address(address: str) -> None:
    """Raise unless somebody listens there, which Ray itself would find out after a minute."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return  # such as auto
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _not_there(address, getattr(error, "strerror", None) or error) from None


def _not_there(address: str, reason: object) -> TinybuddyError:
    return TinybuddyError(
        f"There is no Ray cluster at {address} ({reason}): start one with ray start --head, or "
        "leave out `cluster`."
    )


def _speak(address: str, connection: Connection) -> None:
    """Speak to the cluster for a `RayPool`: first its cores or what is wrong, then results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (1, 2):  # what is written without Python too
        os.dup2(sys.stdout.fileno(), stream)
    import ray

    try:
        ray.init(address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        connection.send(str(error).partition("\n")[0].partition(". ")[0].rstrip("."))
        return
    task: Any = ray.remote(num_cpus=1, max_retries=0)(_call)
    values: list[Any] = []
    refs: dict[Any, str] = {}

    def cores() -> int:
        return int(cast(Any, ray).cluster_resources().get("CPU", 0))

    connection.send(cores())
    commands: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Read at once, since two ends that both send what fills the pipe would wait for each other.
    threading.Thread(target=_receive, args=(connection, commands), daemon=True).start()
    while True:
        while not refs or not commands.empty():
            match commands.get():
                case None:  # the search has ended
                    return
                case "share", value:
                    values.append(ray.put(value))
                case _, (key, function, arguments):
                    given = (values[a.number] if isinstance(a, _Shared) else a for a in arguments)
                    refs[task.remote(function, *given)] = key
        done, _ = ray.wait([*refs], num_returns=len(refs), timeout=GATHER_SECONDS)
        if done:
            connection.send((cores(), {refs.pop(ref): _outcome(ray, ref) for ref in done}))


def _receive(connection: Connection, commands: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            commands.put(connection.recv())
        except (EOFError, OSError):
            commands.put(None)
            return


def _outcome(ray: Any, ref: Any) -> Any:
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        return error.cause
    except ray.exceptions.RayError:  # its worker or its node is gone
        return WorkerLostError()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
