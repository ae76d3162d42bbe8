"""What every request passes: who may ask, and what is counted."""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinybuddy.server.errors import ApiError
from tinybuddy.server.metrics import Metrics


class Measured:
    """Counts answers and their time; of paths only those that there are, so that none is added."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500  # what has no answer yet fails, which others say

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.open.inc()
        try:
            await self._app(scope, receive, sent)
        finally:
            self._metrics.open.dec()
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.on_answer(path, status, time.monotonic() - began)


class Bearer:
    """Asks for a token where the API or the metrics are asked for; the page is open to all."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode("utf-8")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its sender may ask."""
        guarded = scope["type"] == "http" and scope["path"].startswith(("/v1", "/metrics"))
        if guarded and not self._may(Request(scope)):
            refusal = ApiError(
                401,
                "Send this server's token with the header Authorization: Bearer TOKEN.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip().encode("latin-1")  # as HTTP decodes bytes of any kind
        return kind.lower() == "bearer" and hmac.compare_digest(given, self._token)
