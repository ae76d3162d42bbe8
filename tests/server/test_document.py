"""The API's document says what the server does: Schemathesis asks it, with all of its checks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import HANG
from tests.server.conftest import DEFAULTS, Client, running

CONFIG = """
[checks]
# The largest token id depends on the model, and the size of a body on its spaces.
positive_data_acceptance.expected-statuses = ["2xx", "404", "413", "429"]
"""


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("schemathesis"), reason="needs Schemathesis")
@pytest.mark.parametrize("token", ["", "sesame"])
def test_schemathesis_finds_nothing(token: str, tmp_path: Path):
    with running(replace(DEFAULTS, token=token)) as server:
        headers = ["--header", f"Authorization: Bearer {token}"] if token else []
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
            + ["--checks", "all", "--max-examples", "40", "--seed", "1", *headers],
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
