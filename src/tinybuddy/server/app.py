"""The application: a handler for each address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tinybuddy.server import limits
from tinybuddy.server.answers import ChatAnswer, CompletionAnswer, event
from tinybuddy.server.body import parsed
from tinybuddy.server.choices import Choices, Delta, encoded
from tinybuddy.server.engine import EnginePool
from tinybuddy.server.errors import ApiError, on_api_error, on_failure, on_http_error
from tinybuddy.server.metrics import Metrics
from tinybuddy.server.middleware import Bearer, Measured
from tinybuddy.server.models import Models
from tinybuddy.server.openapi import document
from tinybuddy.server.page import page
from tinybuddy.server.requests import ChatRequest, CompletionRequest, TextRequest
from tinybuddy.server.schemas import ModelCard

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How a server works.

    Attributes:
        threads: of the engine.
        places: texts that are generated side by side at most.
        queue: texts that wait at most.
        seconds: that an answer may take.
        token: that a client must send; empty for none.
        origins: of pages of other sites that may ask; ``*`` for all.
    """

    threads: int
    places: int
    queue: int
    seconds: float
    token: str = ""
    origins: Sequence[str] = ()


class Service:
    """What the handlers share."""

    pool: EnginePool

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models, self._settings = models, settings
        self.metrics = Metrics()
        self._document = document(models, bool(settings.token))

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run the engine's threads."""
        settings = self._settings
        self.pool = EnginePool(settings.threads, settings.places, settings.queue, self.metrics)
        self.metrics.watch(self.pool)
        try:
            yield
        finally:
            self.pool.close()

    async def completions(self, request: Request) -> Response:
        """``/v1/completions``."""
        return await self._answer(
            request, await parsed(request, CompletionRequest), CompletionAnswer
        )

    async def chat(self, request: Request) -> Response:
        """``/v1/chat/completions``."""
        return await self._answer(request, await parsed(request, ChatRequest), ChatAnswer)

    async def _answer(
        self, request: Request, asked: TextRequest, kind: type[CompletionAnswer]
    ) -> Response:
        model = await self._models.get(asked.model)
        prompts = [await encoded(model, prompt) for prompt in asked.prompts]
        choices = Choices(self.pool, model, asked, prompts)
        answer = kind(model.name, model.tokenizer, choices, asked.includes_usage)
        choices.submit()
        if asked.stream:
            return _Events(choices, answer, self._settings.seconds)
        try:
            deltas = await _unless_gone(request, _all(choices, self._settings.seconds))
        finally:
            choices.cancel()
        return Response(status_code=499) if deltas is None else JSONResponse(answer.whole(deltas))

    async def models(self, request: Request) -> Response:
        """``/v1/models``."""
        return JSONResponse(
            {"object": "list", "data": [self._card(name) for name in self._models.names]}
        )

    async def model(self, request: Request) -> Response:
        """``/v1/models/NAME``."""
        return JSONResponse(self._card(self._models.check(request.path_params["model"])))

    def _card(self, name: str) -> ModelCard:
        return {
            "id": name,
            "object": "model",
            "created": self._models.since,
            "owned_by": "tinybuddy",
        }

    async def health(self, request: Request) -> Response:
        """``/health``."""
        return JSONResponse({"status": "ok"})

    async def measured(self, request: Request) -> Response:
        """``/metrics``."""
        return self.metrics.response()

    async def described(self, request: Request) -> Response:
        """``/docs`` and ``/openapi.json``."""
        return JSONResponse(self._document)

    async def front(self, request: Request) -> Response:
        """``/``."""
        return await page(await self._models.get(None))


class _Events(StreamingResponse):
    """A stream of events; however it ends, its texts are given up."""

    media_type = "text/event-stream"

    def __init__(self, choices: Choices, answer: CompletionAnswer, seconds: float) -> None:
        self._choices = choices
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter for nginx
        super().__init__(_events(choices, answer, seconds), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._choices.cancel()


async def _events(
    choices: Choices, answer: CompletionAnswer, seconds: float
) -> AsyncIterator[bytes]:
    opening = b"".join(answer.opening())
    if opening:
        yield opening
    try:
        async for deltas in choices.deltas(seconds):
            yield b"".join(answer.events(deltas))
    except ApiError as error:  # the status is sent already
        yield event(error.body)
    else:
        yield b"".join(answer.closing())


async def _all(choices: Choices, seconds: float) -> list[Delta]:
    found, logprobs = [], 0
    async for deltas in choices.deltas(seconds):
        for delta in deltas:
            found.append(delta)
            logprobs += sum(1 + len(token.best) for token in delta.tokens or ())
        if logprobs > limits.WHOLE_LOGPROBS:
            raise ApiError(
                400,
                "logprobs: these are too many for one answer: ask for a stream.",
                param="logprobs",
            )
    return found


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work, unless the client goes meanwhile."""
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(models: Models, settings: Settings) -> Starlette:
    """Return the application, as any ASGI server runs it."""
    service = Service(models, settings)
    routes = [  # looked through in this order, so the busiest come first
        Route("/v1/completions", service.completions, methods=["POST"]),
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/", service.front),
        Route("/docs", service.described),
        Route("/openapi.json", service.described),
        Route("/health", service.health),
        Route("/metrics", service.measured),
        Route("/v1/models", service.models),
        Route("/v1/models/{model}", service.model),
    ]
    paths = [route.path for route in routes]
    middleware = [Middleware(Measured, metrics=service.metrics, paths=paths)]
    if settings.origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )
        )
    if settings.token:
        middleware.append(Middleware(Bearer, token=settings.token))
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_error,
            Exception: on_failure,
        },
        lifespan=service.lifespan,
    )
    app.router.redirect_slashes = False  # it would repeat what the client calls this host
    return app
