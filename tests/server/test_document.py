"""The API's document says what the server does: Schemathesis asks it, with all of its checks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.conftest import HANG
from tests.server.conftest import DEFAULTS, Client, running
from tinybuddy.server import schemas

# It does not expect that what breaks a rule may be so large that it is not looked at.
CONFIG = """
[checks]
negative_data_rejection.expected-statuses = ["400", "401", "404", "405", "413", "415"]
"""


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("schemathesis"), reason="needs Schemathesis")
@pytest.mark.parametrize("token", ["", "sesame"])
def test_schemathesis_finds_nothing(token: str, tmp_path: Path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    with running(replace(DEFAULTS, token=token)) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
        command += ["--checks", "all", "--max-examples", "40", "--seed", "1"]
        command += ["--header", f"Authorization: Bearer {token}"] if token else []
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path,
            timeout=HANG,
        )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_document_lists_every_address(server: Client):
    found = server.get("/openapi.json").json
    assert found == server.get("/docs").json
    paths = {"/", "/health", "/metrics", "/v1/models", "/v1/models/{model}"}
    assert set(found["paths"]) == paths | {"/v1/completions", "/v1/chat/completions"}
    fields = found["components"]["schemas"]["CompletionRequest"]["properties"]
    assert all("description" in field for name, field in fields.items() if name != "stream_options")


def test_answers_and_events_have_the_documented_shapes(server: Client):
    asked = {"seed": 1, "n": 2, "max_tokens": 9, "stream_options": {"include_usage": True}}
    whole = server.complete(**asked, logprobs=1).json
    TypeAdapter(schemas.Completion).validate_python(whole, strict=True)
    for event in server.complete(**asked, logprobs=1, stream=True).events:
        TypeAdapter(schemas.CompletionChunk).validate_python(event, strict=True)
    chat = server.chat("Hi", **asked, logprobs=True, top_logprobs=1)
    TypeAdapter(schemas.ChatCompletion).validate_python(chat.json, strict=True)
    for event in server.chat("Hi", **asked, logprobs=True, stream=True).events:
        TypeAdapter(schemas.ChatChunk).validate_python(event, strict=True)
