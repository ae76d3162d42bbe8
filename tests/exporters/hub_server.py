"""The few calls of the hub that an upload needs, on this machine alone."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """What was uploaded, by path; ``refuse`` answers every call with that status."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.names: list[str] = []
        self.tokens: set[str] = set()
        self.refuse = 0
        self.url = ""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, value: Any, status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_POST(self) -> None:
            body = self._body()
            hub.tokens.add(self.headers.get("Authorization", ""))
            if hub.refuse:
                self._answer({"error": "no"}, hub.refuse)
            elif self.path == "/api/repos/create":
                hub.names.append(json.loads(body)["name"])
                self._answer({"url": f"{hub.url}/me/tiny"})
            elif self.path == "/api/models/me/tiny/preupload/main":
                modes = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self._answer({"files": modes})
            elif self.path.startswith("/api/models/me/tiny/commit/main"):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        value = line["value"]
                        hub.files[value["path"]] = base64.b64decode(value["content"])
                oid = "0" * 40
                url = f"{hub.url}/me/tiny/commit/{oid}"
                self._answer({"success": True, "commitOid": oid, "commitUrl": url})
            else:
                self._answer({}, 200)

        def do_GET(self) -> None:
            if hub.refuse:
                self._answer({"error": "no"}, hub.refuse)
            else:
                self._answer(
                    {"id": "me/tiny", "modelId": "me/tiny", "siblings": [], "sha": "0" * 40}
                )

    return Handler


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
