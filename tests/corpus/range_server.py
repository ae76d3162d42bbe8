"""A web server on this machine that serves one file by ranges, or misbehaves as it is told."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self


@dataclass
class Seen:
    """A request that came, and how many bytes of a body it was sent."""

    path: str
    headers: dict[str, str]
    sent: int = 0

    @property
    def range(self) -> str:
        return self.headers.get("range", "").removeprefix("bytes=")


@dataclass
class RangeServer:
    """Serves `content`. Each answer takes its faults from `once`, or else from `always`.

    status, location: answer with that instead; body: bytes to send with it.
    ranges=False: send everything, with status 200.
    cut: drop the connection after so many bytes of the body.
    stall: send nothing more after so many bytes of the body; -1 sends no answer at all.
    drip: send one byte after another of what never becomes an answer, that many seconds apart.
    extra: bytes to send after those that were asked for.
    framing: "length" (as sent), "chunked", "close" (neither).
    total, extent, etag: announce that instead of the truth. coding: a Content-Encoding.
    """

    content: bytes = b""
    etag: str | None = '"one"'
    once: deque[dict[str, Any]] = field(default_factory=deque)
    always: dict[str, Any] = field(default_factory=dict)
    listing: list[str] | None = None
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"owner": self})
        self.over, self.stalled = Event(), Event()
        self.server = _Server(("127.0.0.1", 0), handler)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.seen)

    @property
    def ranges(self) -> list[str]:
        return [request.range for request in self.seen]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for them, and closes their sockets

    def handle_error(self, *_: object) -> None:
        pass  # a client that went away


class _Handler(BaseHTTPRequestHandler):
    owner: RangeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        owner = self.owner
        self.request_seen = Seen(self.path, {k.lower(): v for k, v in self.headers.items()})
        owner.seen.append(self.request_seen)
        if self.path.startswith("/api/") and owner.listing is not None:
            siblings = [{"rfilename": name} for name in owner.listing]
            return self.answer(status=200, body=json.dumps({"siblings": siblings}).encode())
        return self.answer(**(owner.once.popleft() if owner.once else owner.always))

    def answer(self, status: int = 0, body: bytes = b"", location: str = "", **faults: Any) -> None:
        if faults.get("stall") == -1:
            self.owner.over.wait()
        elif pause := faults.get("drip"):
            while not self.owner.over.wait(pause):
                self.wfile.write(b"?")
        elif status or location:
            self.send_response(status or 302)
            if location:
                self.send_header("Location", location)
            for key, value in faults.get("headers", {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.push(body)
        else:
            self.serve(**faults)

    def serve(
        self,
        ranges: bool = True,
        cut: int | None = None,
        stall: int | None = None,
        extra: bytes = b"",
        framing: str = "length",
        total: int | None = None,
        extent: str | None = None,
        etag: str | None = None,
        coding: str = "",
    ) -> None:
        content = self.owner.content
        total = len(content) if total is None else total
        first, last = 0, total - 1
        if ranges and (match := re.fullmatch(r"(\d+)-(\d+)", self.request_seen.range)):
            first, last = int(match[1]), min(int(match[2]), total - 1)
        if first > last and ranges:
            headers = {"Content-Range": f"bytes */{total}"}
            return self.answer(status=416, headers=headers)
        body = content[first : last + 1] + extra
        length = last + 1 - first + len(extra)
        self.send_response(206 if ranges else 200)
        if ranges and extent != "":
            self.send_header("Content-Range", extent or f"bytes {first}-{last}/{total}")
        if tag := etag or self.owner.etag:
            self.send_header("ETag", tag)
        if coding:
            self.send_header("Content-Encoding", coding)
        if framing == "length":
            self.send_header("Content-Length", str(length))
        elif framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self.end_headers()
        self.push(body[:cut] if stall is None else body[:stall])
        if stall is not None:
            self.owner.stalled.set()
            self.owner.over.wait()
        return None

    def push(self, body: bytes) -> None:
        for start in range(0, len(body), 1 << 16):
            piece = body[start : start + (1 << 16)]
            self.request_seen.sent += len(piece)  # before whoever reads it can look
            self.wfile.write(piece)
