"""A page in a headless Chromium, which sends back what it found."""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import re
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HANG

# Without a sandbox, since root has none; and with all of the page's time, as if it were looked at.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
)


def open_page(folder: Path, page: str) -> Any:
    """Open a page of a folder, and return the JSON that it sends by POST.

    The folder is served by HTTP, as modules of a page need.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("needs Chromium: apt-get install chromium")
    answers: queue.Queue[Any] = queue.Queue()
    handler = partial(_Handler, answers, directory=str(folder))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{page}"
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", address]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return answers.get(timeout=HANG)
        finally:
            browser.terminate()
            browser.wait(HANG)
            server.shutdown()


def check_policy(text: str) -> None:
    """Hold that a page allows its own style and script alone."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    for part in (r"<style>(.*?)</style>", r'<script type="module">(.*?)</script>'):
        found = re.search(part, text, re.DOTALL)
        assert found
        digest = base64.b64encode(hashlib.sha256(found[1].encode("utf-8")).digest()).decode("ascii")
        assert f"'sha256-{digest}'" in policy[1]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, answers: queue.Queue[Any], *arguments: Any, **options: Any) -> None:
        self.answers = answers
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.answers.put(json.loads(body))

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
