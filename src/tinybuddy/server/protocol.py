"""HTTP of uvicorn, with what it lacks: limits of a request as it comes, in bytes and in time."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tinybuddy.server import limits

SLACK_SECONDS = 5.0  # for the application to say first that a body is too slow,
SLACK_BYTES = 1 << 20  # or too large


class LimitedProtocol(HttpToolsProtocol):
    """A connection that ends where a request is too slow or too large, be it looked at or not."""

    _timer: asyncio.TimerHandle | None = None  # while a request is awaited or not whole
    _in_headers = True
    _bytes = 0  # of the headers, or else of the body

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        if self._timer:
            most = limits.HEADER_BYTES if self._in_headers else limits.DRAINED_BYTES + SLACK_BYTES
            if self._bytes > most:
                self.transport.abort()
                return
            self._bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to wait for a request's headers."""
        super().on_message_begin()
        if not self._timer:
            self._await_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what stands behind a body is none."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass the request on, and wait for the rest of it."""
        self._end()
        self._in_headers, self._bytes = False, 0
        self._start(limits.BODY_SECONDS + SLACK_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for nothing more of it."""
        self._end()
        super().on_message_complete()

    def _await_headers(self) -> None:
        self._in_headers, self._bytes = True, 0
        self._start(limits.HEADER_SECONDS)

    def _start(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _end(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
