"""HTTP of uvicorn, with what it lacks: limits of a request's headers, in bytes and in time."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tinybuddy.server.limits import HEADER_BYTES, HEADER_SECONDS


class LimitedProtocol(HttpToolsProtocol):
    """A connection that ends where a request's headers are too slow or too large."""

    _timer: asyncio.TimerHandle | None = None
    _bytes = 0  # that came since the headers were last whole

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        if self._timer:
            self._bytes += len(data)
            if self._bytes > HEADER_BYTES + len(data):  # what this read brings may be of a body
                self.transport.abort()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin to wait for a request's headers."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        self._end()
        super().on_headers_complete()

    def _wait(self) -> None:
        if not self._timer:
            self._bytes = 0
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _end(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
