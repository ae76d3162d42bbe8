"""The page at ``/``: served, it works as from a file, and asks the server for nothing more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.conftest import HANG
from tests.server.conftest import MODEL, Client, running
from tinybuddy.exporters.session import export
from tinybuddy.generation.model import load
from tinybuddy.server.models import Models


def test_it_leads_to_the_api(server: Client):
    reply = server.get("/")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.body.lower().startswith(b"<!doctype html>")
    assert server.get("/").body == reply.body


def test_a_model_without_such_a_page_gets_a_plain_one(tmp_path: Path):
    """As the format html takes no tokenizer of llama2.c."""
    export("llama2c", MODEL, tmp_path / "llama2c")
    with running(models=Models([str(tmp_path / "llama2c" / "model.bin")], 2)) as server:
        assert server.complete(prompt="Once", seed=1, max_tokens=5).status == 200
        assert b'<a href="/v1/models">' in server.get("/").body


def test_chromium_tells_a_story_with_it(browser: Any, server: Client, tmp_path: Path):
    export("compact", MODEL, tmp_path / "model.buddy")
    story = load(tmp_path / "model.buddy").generate("The dog", seed=3)
    asked: list[str] = []
    wrong: list[Any] = []
    page = browser.new_page()
    page.set_default_timeout(1000 * HANG)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(error))
    page.goto(f"{server.url}/#prompt=The%20dog&seed=3")
    page.locator("#status", has_text=re.compile("The end|It went on")).wait_for()
    told = page.evaluate("document.getElementById('story').textContent")
    page.close()
    assert (told, wrong) == (story, [])
    ours = [url for url in asked if not url.startswith("blob:")]
    assert {url.partition("#")[0] for url in ours} <= {
        f"{server.url}/",
        f"{server.url}/favicon.ico",
    }
