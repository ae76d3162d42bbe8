"""Clients that vanish without a word, as where a cable is pulled."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import DEFAULTS, MODEL, running
from tinybuddy.config import ModelConfig
from tinybuddy.formats.hub import write_model
from tinybuddy.formats.references import open_model
from tinybuddy.server import limits
from tinybuddy.server.models import Models
from tinybuddy.weights import random_weights

HOST, OTHER = "198.18.77.1", "198.18.77.2"  # of a network that is kept for tests (RFC 2544)
SLOW = ModelConfig(1024, 256, 1024, 4, 8, 4, 128)  # all that is asked for takes it a minute
ASKED = {"prompt": [""] * 16, "n": 16, "max_tokens": 4_096, "temperature": 2, "top_k": 0}
CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
body = sys.argv[3].encode()
head = f"POST /v1/completions HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: {len(body)}\\r\\n"
connection.sendall(f"{head}Content-Type: application/json\\r\\n\\r\\n".encode() + body)
input()
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def other() -> Iterator[str]:
    """The name of a network of its own, and of the cable that leads there."""
    name = f"buddy{os.getpid()}"
    if not shutil.which("ip"):
        pytest.skip("needs ip, of iproute2")
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError:
        pytest.skip("needs root, who may make networks")
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "end", "netns", name)
        _ip("address", "add", f"{HOST}/30", "dev", name)
        _ip("link", "set", name, "up")
        _ip("-n", name, "address", "add", f"{OTHER}/30", "dev", "end")
        _ip("-n", name, "link", "set", "end", "up")
        yield name
    finally:
        _ip("netns", "delete", name)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_vanishes_frees_its_place(
    stream: bool, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No packet comes from it any more, and none says that it is gone."""
    monkeypatch.setattr(limits, "UNREAD_SECONDS", 1)
    monkeypatch.setattr(limits, "PROBE_SECONDS", 1)
    files: Any = open_model(MODEL)
    write_model(
        tmp_path / "slow", replace(files, config=SLOW, weights=random_weights(SLOW, 0, 0.02))
    )
    models = Models([str(tmp_path / "slow")], 2)
    with running(replace(DEFAULTS, places=256), models, host=HOST) as server:
        body = json.dumps(ASKED | {"stream": stream})
        command = [sys.executable, "-c", CLIENT, HOST, str(server.port), body]
        with subprocess.Popen(
            ["ip", "netns", "exec", other, *command], stdin=subprocess.PIPE
        ) as client:
            while server.metrics()["tinybuddy_streams"] < 256:
                pass
            _ip("-n", other, "link", "set", "end", "down")
            while (found := server.metrics())["tinybuddy_open_requests"] > 1:  # this one counts
                pass
            client.kill()
    assert found["tinybuddy_waiting"] == 0
    status = 200 if stream else 499  # had the texts ended by themselves, it would be 200
    assert found[f'tinybuddy_requests_total{{path="/v1/completions",status="{status}"}}'] == 1
