"""`tinybuddy serve` as a process: how it begins, ends and bears a crowd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import HANG, Cli
from tests.server.conftest import MODEL, Reply, Serve
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.formats.references import released_names

PROMPT = "Once upon a time"
LONG = {"prompt": PROMPT, "temperature": 2, "top_k": 0, "max_tokens": 4_096, "n": 16}


def test_all_released_models_are_served_and_a_seed_gives_the_story_of_the_command_line(
    serve: Serve, cli: Cli
):
    process = serve()
    names = [card["id"] for card in process.client.get("/v1/models").json["data"]]
    assert names[0] == DEFAULT_MODEL
    assert sorted(names) == released_names()
    for name in names:
        reply = process.client.complete(model=name, prompt=PROMPT, seed=11, n=2, echo=True).json
        printed = cli("generate", PROMPT, "-m", name, "-s", 11, "-n", 2, "--json").stdout
        stories = [story["text"] for story in json.loads(printed)["stories"]]
        assert [choice["text"] for choice in reply["choices"]] == stories
    first = process.client.complete(prompt=PROMPT, seed=1).json
    assert first["model"] == DEFAULT_MODEL


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_ended_before_it_stops(serve: Serve, how: signal.Signals):
    """Texts that are being generated and texts that wait, one half of them as streams."""
    process = serve(MODEL, "--places", 64, "--threads", 2)
    replies: list[Reply] = []

    def ask(seed: int) -> None:
        replies.append(process.client.complete(**LONG, seed=seed, stream=seed % 2 == 0))

    clients = [threading.Thread(target=ask, args=(16 * seed,)) for seed in range(12)]
    for client in clients:
        client.start()
    while process.client.metrics()["tinybuddy_open_requests"] <= len(clients):  # this one counts
        assert not replies, "an answer was whole before all were begun"
    process.popen.send_signal(how)
    for client in clients:
        client.join(HANG)
    assert len(replies) == len(clients)
    for reply in replies:
        assert reply.status == 200
        if reply.headers["content-type"].startswith("text/event-stream"):
            choices = [choice for event in reply.events for choice in event["choices"]]
            assert sum(choice["finish_reason"] is not None for choice in choices) == 16
        else:
            assert len(reply.json["choices"]) == 16
    out, err = process.end()
    assert out == ""
    assert "Traceback" not in err
    assert process.popen.returncode in (-how, 130)
    with pytest.raises(ConnectionRefusedError):
        process.client.get("/health")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_what_takes_too_long_is_given_up_when_it_stops(serve: Serve):
    process = serve(MODEL, "--grace", 0)
    body = json.dumps(LONG | {"stream": True}).encode("utf-8")
    with socket.create_connection((process.client.host, process.client.port), HANG) as connection:
        head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.recv(1)
        process.popen.terminate()
        process.end()
    assert process.popen.returncode == -signal.SIGTERM


def test_no_prompt_and_no_token_stands_in_what_it_prints(serve: Serve, tmp_path: Path):
    (tmp_path / "token.txt").write_text("sesame\n", encoding="utf-8")
    process = serve(MODEL, "--token-file", "token.txt")
    for authorization, status in (("Bearer sesame", 200), ("Bearer other", 401)):
        body = {"prompt": "the secret prompt", "max_tokens": 3}
        reply = process.client.post("/v1/completions", body, authorization=authorization)
        assert reply.status == status
        process.client.post("/v1/completions", b'"the secret prompt', authorization=authorization)
    process.popen.terminate()
    out, err = process.end()
    assert "secret" not in out + err
    assert "sesame" not in out + err


def test_the_environment_may_hold_the_token(serve: Serve):
    process = serve(MODEL, env=os.environ | {"TINYBUDDY_TOKEN": "sesame"})
    assert process.client.get("/v1/models").status == 401
    assert process.client.get("/v1/models", authorization="Bearer sesame").status == 200


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no-such-model"], 1, "There is no model"),
        (["--port", 70_000], 2, "--port must lie between 0 and 65,535"),
        (["--threads", 0], 2, "--threads must lie between 1"),
        (["--places", 0], 2, "--places must lie between 1"),
        (["--token-file", "none.txt"], 1, "none.txt"),
        (["--host", "no.such.host.invalid"], 1, "cannot be served on"),
        (["--host", "two..dots"], 1, "'two..dots' is not the name of a machine"),
    ],
)
def test_mistakes_are_said_in_a_sentence(cli: Cli, arguments: list[object], code: int, words: str):
    done = cli("serve", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said(cli: Cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "--port", taken.getsockname()[1])
    assert done.returncode == 1
    assert "cannot be served on" in done.stderr


def test_two_models_of_one_name_are_refused(cli: Cli, tmp_path: Path):
    for parent in ("a", "b"):
        (tmp_path / parent / "x").mkdir(parents=True)
        (tmp_path / parent / "x" / "config.json").write_text("{}", encoding="utf-8")
    done = cli("serve", "a/x", "b/x")
    assert done.returncode == 2
    assert "one name" in done.stderr


def test_without_its_libraries_it_says_what_to_install():
    code = (
        "import sys, tinybuddy.cli\n"
        "import importlib.util as util; found = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'uvicorn' else found(name, *a)\n"
        "sys.exit(tinybuddy.cli.main(['serve']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=HANG
    )
    assert done.returncode == 1
    assert "pip install 'tinybuddy[serve]'" in done.stderr


def test_the_command_line_imports_none_of_it():
    code = (
        "import sys, tinybuddy.cli; tinybuddy.cli.build_parser('serve')\n"
        "heavy = {'starlette', 'uvicorn', 'pydantic', 'asyncio', 'numpy', 'prometheus_client'}\n"
        "sys.exit(str(heavy & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=HANG
    )
    assert done.stderr.strip() == ""
