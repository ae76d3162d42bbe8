"""Errors in the shape that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

# OpenAI's words for what its clients tell apart; all below 500 but these are the caller's mistake.
TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class ErrorDetail(TypedDict):
    """What went wrong: a sentence, its kind, the parameter that it is about, and a code."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The answer to a request that failed."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that failed, with what its sender is told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.body: ErrorBody = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }

    def response(self) -> Response:
        """Return what is sent."""
        return JSONResponse(self.body, self.status, self.headers)


def invalid(error: ValidationError) -> ApiError:
    """Say the first mistake in a request's body; what it holds is not repeated.

    Where a value may be of several types, each has its complaint: that of the one that it is of is
    said, or else all of them.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    place = found[0]["loc"][:1]
    own = [item for item in found if item["loc"][:1] == place]
    messages = [item["msg"] for item in own if not item["type"].endswith("_type")][:1]
    messages = messages or list(dict.fromkeys(item["msg"] for item in own))
    message = " Or: ".join(f"{text.partition(' at line ')[0]}." for text in messages)
    param = str(place[0]) if place else None
    return ApiError(400, f"{param}: {message}" if param else message, param=param)


def on_api_error(request: Request, error: Exception) -> Response:
    """Answer with an `ApiError`."""
    assert isinstance(error, ApiError)
    return error.response()


def on_http_error(request: Request, error: Exception) -> Response:
    """Answer with what the framework found: no such page, or a method that it does not take."""
    assert isinstance(error, HTTPException)
    return ApiError(error.status_code, f"{error.detail}.", headers=error.headers).response()


def on_failure(request: Request, error: Exception) -> Response:
    """Answer to a mistake of ours, of which the log says more."""
    return ApiError(500, "The server failed: its log says why.").response()
