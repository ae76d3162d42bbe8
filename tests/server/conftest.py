"""A server in a thread of the test's process, and one in a process of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.conftest import HANG

pytest.importorskip(
    "uvicorn", reason="needs the server's libraries: pip install 'tinybuddy[serve]'"
)

from tinybuddy.server.app import Settings, create_app
from tinybuddy.server.models import Models
from tinybuddy.server.run import listen, server_of

MODEL = "tinybuddy-80k-card"
DEFAULTS = Settings(threads=2, places=64, queue=64, seconds=HANG)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """What each event holds, without the last, which says that it is the last."""
        *events, last, rest = self.body.decode("utf-8").split("\n\n")
        assert (last, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]


class Client(NamedTuple):
    """What a test asks a server by."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; names of headers have _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=HANG)) as connection:
            connection.request(method, path, body, named)
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, found, reply.read())

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8")
        return self.send("POST", path, data, **{"content_type": "application/json"} | headers)

    def metrics(self) -> dict[str, float]:
        """Values by name and labels."""
        lines = self.get("/metrics").body.decode("utf-8").splitlines()
        found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in found}

    def complete(self, **body: Any) -> Reply:
        return self.post("/v1/completions", body)

    def chat(self, text: str, **body: Any) -> Reply:
        messages = [{"role": "user", "content": text}]
        return self.post("/v1/chat/completions", {"messages": messages} | body)


@contextmanager
def running(
    settings: Settings = DEFAULTS, models: Models | None = None, host: str = "127.0.0.1"
) -> Iterator[Client]:
    """Serve in a thread of this process."""
    models = models or Models([MODEL], settings.threads)
    listener = listen(host, 0)
    client = Client(*listener.getsockname()[:2])
    server = server_of(create_app(models, settings), grace=HANG)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield client
    finally:
        server.should_exit = True
        thread.join(HANG)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def server() -> Iterator[Client]:
    with running() as client:
        yield client


class Process(NamedTuple):
    """A server in a process of its own."""

    popen: subprocess.Popen[str]
    client: Client

    def end(self) -> tuple[str, str]:
        """Wait for its end; return what it wrote."""
        return self.popen.communicate(timeout=HANG)


Serve = Callable[..., Process]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start the command with some options, and wait until it answers."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: object, **more: Any) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "tinybuddy", "serve", "--port", "0", "--json"]
            + [str(option) for option in options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=tmp_path,
            **more,
        )
        started.append(popen)
        assert popen.stdout
        where = urlsplit(json.loads(popen.stdout.readline())["url"])
        assert where.hostname
        assert where.port
        return Process(popen, Client(where.hostname, where.port))

    yield start
    for popen in started:
        popen.kill()
        popen.communicate()
