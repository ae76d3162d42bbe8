"""The body of a request, within its limits."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from tinybuddy.server import limits
from tinybuddy.server.errors import ApiError, invalid

T = TypeVar("T", bound=BaseModel)


async def parsed(request: Request, kind: type[T]) -> T:
    """Read a body of JSON.

    Its type must be said, so that a page of another site must ask the browser, and it this server,
    before it may send one.

    Raises:
        ApiError: if it is too large or too slow, or not what it should be.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(415, "Send the body with the header Content-Type: application/json.")
    try:
        async with asyncio.timeout(limits.BODY_SECONDS):
            body = await _read(request)
    except TimeoutError:
        raise ApiError(408, "The body came too slowly.", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ApiError(400, "The body is not whole.") from None  # nobody hears it
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


async def _read(request: Request) -> bytes:
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limits.BODY_BYTES:
            body += chunk
        elif size > limits.DRAINED_BYTES:
            break
    if size > limits.BODY_BYTES:
        raise ApiError(
            413,
            f"The body is larger than {limits.BODY_BYTES:,} bytes.",
            headers={"Connection": "close"},
        )
    return bytes(body)
