"""What strangers send: too much, too slowly, not at all; and who may ask."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import HANG
from tests.server.conftest import DEFAULTS, MODEL, Client, running
from tinybuddy.server import limits, protocol
from tinybuddy.server.models import Models, ServedModel
from tinybuddy.server.run import allow_files, listen

ROOT = Path(__file__).parents[2]


def _connection(server: Client) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=HANG)


def _request(body: bytes, path: str = "/v1/completions") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _all(connection: socket.socket) -> bytes:
    """Read until the other side ends."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def _idle(server: Client) -> bool:
    """Whether no text runs or waits."""
    found = server.metrics()
    return found["tinybuddy_streams"] == found["tinybuddy_waiting"] == 0


ENDLESS = {"prompt": "", "max_tokens": 4_096, "n": 16, "temperature": 2, "top_k": 0, "stream": True}

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
NAMES = ("prompt", "n", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop")
NAMES += (
    "stream",
    "stream_options",
    "echo",
    "logprobs",
    "messages",
    "model",
    "logit_bias",
    "tools",
)


@settings(max_examples=150)
@given(
    path=st.sampled_from(["/v1/completions", "/v1/chat/completions"]),
    body=st.dictionaries(st.sampled_from(NAMES), JSON_VALUES) | JSON_VALUES,
)
def test_no_json_makes_it_fail(server: Client, path: str, body: Any):
    if isinstance(body, dict):
        body = {"max_tokens": 2} | body
    status = server.post(path, json.dumps(body).encode("ascii")).status
    assert status in (200, 400, 404), body


@settings(max_examples=50)
@given(body=st.binary(max_size=200))
def test_no_bytes_make_it_fail(server: Client, body: bytes):
    reply = server.post("/v1/completions", body)
    assert reply.status == 400
    assert reply.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"temperature": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": 1e999}',
        b'{"max_tokens": ' + b"9" * 100_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"prompt": ' + b"[" * 100_000,
        b'{"prompt": ' + b'{"a": ' * 1_000 + b"1" + b"}" * 1_000 + b"}",
        b'{"stop": [' + b'"",' * 60_000 + b'""]}',
        b'{"prompt": [' + b"1," * 120_000 + b"1]}",
        b'{"prompt": [' + b'"a",' * 60_000 + b"1]}",
        b'{"prompt": [' + b"[1]," * 60_000 + b"1]}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_hostile_bodies_are_refused(server: Client, body: bytes):
    reply = server.post("/v1/completions", body)
    assert reply.status == 400
    assert len(reply.body) < 500


@pytest.mark.parametrize("size", [limits.BODY_BYTES + 1, 10_000_000, 40_000_000])
def test_a_large_body_is_refused_and_its_sender_hears_why(server: Client, size: int):
    """All of one of 10 MB is read for that; a larger one may be cut off."""
    try:
        reply = server.post("/v1/completions", b" " * size)
    except (BrokenPipeError, ConnectionResetError):
        assert size > limits.DRAINED_BYTES
        return
    assert reply.status == 413
    assert "larger than" in reply.json["error"]["message"]


def test_the_largest_body_is_taken(server: Client):
    body = b'{"max_tokens": 1}'
    assert server.post("/v1/completions", body.ljust(limits.BODY_BYTES)).status == 200


def test_a_body_that_is_not_said_to_be_json_is_refused(server: Client):
    """A page of another site can send nothing else unasked."""
    reply = server.post("/v1/completions", {}, content_type="text/plain")
    assert reply.status == 415
    assert "application/json" in reply.json["error"]["message"]
    assert server.post("/v1/completions", {"max_tokens": 1}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1/completions", 405), ("PUT", "/health", 405)],
)
def test_errors_of_the_framework_have_the_shape(
    server: Client, method: str, path: str, status: int
):
    reply = server.send(method, path)
    assert reply.status == status
    assert reply.json["error"]["type"] == "invalid_request_error"


def test_slow_headers_end_the_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.1)
    with running() as server:
        for begin in (b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: a\r\nX: "):
            with _connection(server) as connection:
                connection.sendall(begin)
                assert _all(connection) == b""
        with _connection(server) as connection:  # nor may a second request be slow
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /hea")
            assert _all(connection).count(b"HTTP/1.1 200") == 1


def test_endless_headers_end_the_connection(server: Client):
    with _connection(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                connection.sendall(b"X-Header: " + b"a" * 1_000 + b"\r\n")


def test_a_body_that_nobody_reads_is_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.0)
    monkeypatch.setattr(protocol, "SLACK_SECONDS", 0.1)
    with running() as server, _connection(server) as connection:
        connection.sendall(_request(b"{" + b" " * 100, path="/nothing")[:-50])
        assert _all(connection).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", ["/nothing", "/v1/completions"])
def test_an_endless_body_ends_the_connection(server: Client, path: str):
    """Chunk after chunk, or what stands behind the last one."""
    for endless in (b"10000\r\n" + b" " * 65_536 + b"\r\n", b"0\r\n" + b"X: a\r\n" * 10_000):
        with _connection(server) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            with pytest.raises(ConnectionError):
                for _ in range(10_000):
                    connection.sendall(endless)
                    endless = endless.removeprefix(b"0\r\n")


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.1)
    with running() as server, _connection(server) as connection:
        connection.sendall(_request(b"{" + b" " * 100)[:-50])
        reply = _all(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"too slowly" in reply


def test_a_body_that_breaks_off_does_no_harm(server: Client, caplog: pytest.LogCaptureFixture):
    with _connection(server) as connection:
        connection.sendall(_request(b"{" + b" " * 100)[:-50])
    assert server.get("/health").status == 200
    assert not caplog.records


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["closed", "reset", "half-closed"])
def test_clients_that_go_free_their_places(how: str, stream: bool):
    """Thirty-two of them, after the first bytes of a stream or while they wait for all of it."""
    with running(replace(DEFAULTS, places=1024)) as server:
        body = json.dumps(ENDLESS | {"stream": stream}).encode("utf-8")
        connections = [_connection(server) for _ in range(32)]
        for connection in connections:
            connection.sendall(_request(body))
        for connection in connections:
            if stream:
                assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
            if how == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if how == "half-closed":
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.close()
        while not _idle(server):
            pass
        assert server.complete(max_tokens=5).status == 200
        for connection in connections:
            connection.close()


@pytest.mark.slow
def test_a_thousand_clients_that_are_killed_free_their_places():
    if allow_files() < 3_000:
        pytest.skip("needs 3,000 open files: ulimit -n")
    with running(replace(DEFAULTS, places=1_024, queue=1_024)) as server:
        body = json.dumps(ENDLESS | {"n": 2}).encode("utf-8")
        connections = [_connection(server) for _ in range(1_000)]
        for connection in connections:
            connection.sendall(_request(body))
        for connection in connections:
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for connection in connections:
            connection.close()
        while not _idle(server):
            pass
        assert server.complete(max_tokens=5).status == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_a_client_that_is_no_longer_there_is_noticed():
    """What a listener is set to holds for what it accepts; the rest is the system's."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            unread = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert unread == 1_000 * limits.UNREAD_SECONDS
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_client_that_reads_nothing_holds_up_nobody(server: Client):
    """Its texts end all the same, since they wait for no reader."""
    with _connection(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(_request(json.dumps(ENDLESS | {"logprobs": 0}).encode("utf-8")))
        while not _idle(server):
            pass
        assert server.complete(max_tokens=5).status == 200
        assert b"[DONE]" not in connection.recv(100, socket.MSG_PEEK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_who_finds_no_room_is_told_when_to_ask_again():
    with running(replace(DEFAULTS, threads=1, places=16, queue=16)) as server:
        assert server.complete(prompt=["a", "b", "c"], n=11, max_tokens=0).status == 429
        connections = [_connection(server) for _ in range(2)]
        for connection in connections:
            connection.sendall(_request(json.dumps(ENDLESS).encode("utf-8")))
        for connection in connections[:1]:
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        reply = server.complete(prompt=["a"] * 3, n=11)
        assert reply.status == 429
        assert reply.headers["retry-after"] == "1"
        assert reply.json["error"]["type"] == "rate_limit_error"
        for connection in connections:
            connection.close()
        while not _idle(server):
            pass
        assert server.complete(prompt=["a"] * 2, n=16, max_tokens=1).status == 200


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_takes_too_long_is_ended(stream: bool):
    with running(replace(DEFAULTS, seconds=0)) as server:
        reply = server.complete(**ENDLESS | {"stream": stream})
        if stream:
            last = reply.body.decode("utf-8").strip().split("\n\n")[-1]
            error = json.loads(last.removeprefix("data: "))["error"]
        else:
            assert reply.status == 504
            error = reply.json["error"]
        assert "too long" in error["message"]
        assert error["type"] == "server_error"
        while not _idle(server):
            pass


def test_a_failing_engine_is_said_and_the_next_text_is_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    models = Models([MODEL], 2)
    with running(models=models) as server:
        wanted = server.complete(seed=1).json["choices"]
        (model,) = models._loaded.values()
        assert isinstance(model, ServedModel)

        def fail(*_: Any) -> None:
            raise RuntimeError("the secret prompt")

        with monkeypatch.context() as patch:
            for backend in model.backends:
                patch.setattr(backend, "advance", fail)
            reply = server.complete(prompt="the secret prompt", seed=1)
            assert (reply.status, reply.json["error"]["type"]) == (500, "server_error")
            assert reply.json["error"]["message"] == "The engine failed: ask again."
            body = server.chat("a", seed=1, stream=True).body.decode("utf-8")
            assert "The engine failed" in body
            assert "[DONE]" not in body
        assert server.complete(seed=1).json["choices"] == wanted
        assert _idle(server)
        failed = 'tinybuddy_requests_total{path="/v1/completions",status="500"}'
        assert server.metrics()[failed] == 1
    assert any("engine failed" in record.message.lower() for record in caplog.records)


def test_a_failure_of_ours_has_the_shape_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(self: Models, name: str | None) -> str:
        raise RuntimeError("the secret prompt")

    monkeypatch.setattr(Models, "check", fail)
    with running() as server:
        reply = server.complete()
        assert (reply.status, reply.json["error"]["type"]) == (500, "server_error")
        assert "secret" not in reply.body.decode("utf-8")
        failed = 'tinybuddy_requests_total{path="/v1/completions",status="500"}'
        assert server.metrics()[failed] == 1
    assert "RuntimeError" in capsys.readouterr().err  # the log says why


def test_a_model_that_cannot_be_loaded_is_said_without_its_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "mine"
    source = ROOT / "src" / "tinybuddy" / "released" / MODEL
    folder.mkdir()
    for file in source.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.safetensors").write_bytes(b"none")
    with running(models=Models([MODEL, str(folder)], 2)) as server:
        assert server.complete(max_tokens=1).status == 200
        for reply in (server.complete(model="mine"), server.complete(model="mine", stream=True)):
            assert reply.status == 503
            assert reply.json["error"]["message"] == "The model mine cannot be loaded."
            assert str(tmp_path) not in reply.body.decode("utf-8")
    assert str(folder) in caplog.text  # the log says why


def test_a_token_is_asked_for():
    with running(replace(DEFAULTS, token="sesame")) as server:
        for path in ("/v1/models", "/metrics"):
            assert server.get(path, authorization="Bearer sesame").status == 200
            for wrong in ("", "Bearer", "Bearer sesam", "Bearer sesame1", "Basic sesame"):
                reply = server.get(path, authorization=wrong)
                assert reply.status == 401
                assert reply.headers["www-authenticate"] == "Bearer"
                assert reply.json["error"]["code"] == "invalid_api_key"
        assert server.complete(max_tokens=1).status == 401
        assert server.get("/health").status == server.get("/").status == 200


def test_a_token_may_be_any_text():
    with running(replace(DEFAULTS, token="sésame 日本")) as server:
        sent = "sésame 日本".encode().decode("latin-1")
        assert server.get("/v1/models", authorization=f"Bearer {sent}").status == 200
        assert server.get("/v1/models", authorization="Bearer sesame").status == 401


def test_other_sites_may_ask_only_where_that_is_wanted(server: Client):
    preflight = {"access_control_request_method": "POST", "origin": "https://a.example"}
    reply = server.send("OPTIONS", "/v1/completions", **preflight)
    assert "access-control-allow-origin" not in reply.headers
    settings = replace(DEFAULTS, origins=["https://a.example"], token="sesame")
    with running(settings) as other:
        reply = other.send("OPTIONS", "/v1/completions", **preflight)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "https://a.example"
        reply = other.send(
            "OPTIONS", "/v1/completions", **preflight | {"origin": "https://b.example"}
        )
        assert "access-control-allow-origin" not in reply.headers


def test_no_prompt_is_logged(server: Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    server.complete(prompt="the secret prompt", max_tokens=3)
    server.complete(prompt=["the secret prompt", 5])
    server.post("/v1/completions", b'"the secret prompt')
    assert "secret" not in caplog.text


def test_metrics_count_only_what_there_is(server: Client):
    """Names that strangers make up add nothing."""
    server.get("/made-up")
    server.complete(model="made-up")
    server.get("/v1/models/made-up")
    text = server.get("/metrics").body.decode("utf-8")
    assert "made-up" not in text
    assert f'tinybuddy_tokens_total{{model="{MODEL}"}}' in text
    assert 'tinybuddy_requests_total{path="other",status="404"}' in text


def test_many_threads_of_clients_leave_nothing_behind(server: Client):
    def ask() -> None:
        for seed in range(5):
            assert server.complete(seed=seed, max_tokens=50).status == 200

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert _idle(server)
