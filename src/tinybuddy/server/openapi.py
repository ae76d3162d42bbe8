"""The API's document (OpenAPI 3.1), from the types of requests and answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tinybuddy import __version__
from tinybuddy.server import schemas
from tinybuddy.server.errors import ErrorBody
from tinybuddy.server.models import Models
from tinybuddy.server.requests import ChatRequest, CompletionRequest

REF = "#/components/schemas/{model}"
TYPES: tuple[Any, ...] = (
    CompletionRequest,
    ChatRequest,
    schemas.Completion,
    schemas.CompletionChunk,
    schemas.ChatCompletion,
    schemas.ChatChunk,
    schemas.ModelCard,
    schemas.ModelList,
    schemas.Health,
    ErrorBody,
)
ERRORS = {
    400: "The request is not as it should be.",
    401: "The token is wrong or missing.",
    404: "There is no such model.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    429: "Too many texts wait: ask again later.",
    500: "The server failed.",
    503: "The model cannot be loaded.",
    504: "The text took too long.",
}


def document(models: Models, needs_token: bool) -> dict[str, Any]:
    """Return the document for a server of some models."""
    _, found = TypeAdapter.json_schemas(
        [(kind, "validation", TypeAdapter(kind)) for kind in TYPES], ref_template=REF
    )
    components: dict[str, Any] = {"schemas": found["$defs"]}
    guard: list[dict[str, list[str]]] = []
    if needs_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        guard = [{"token": []}]
    _limit_ids(components["schemas"]["CompletionRequest"], models.vocab_size)
    name = {
        "name": "model",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }

    def post(
        operation: str, summary: str, body: type[BaseModel], answers: dict[str, Any]
    ) -> dict[str, Any]:
        failures = _errors(400, 401, 404, 408, 413, 415, 429, 500, 503, 504)
        return {
            "post": {
                "operationId": operation,
                "summary": summary,
                "security": guard,
                "requestBody": _json(body, required=True),
                "responses": answers | failures,
            }
        }

    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tinybuddy",
            "version": __version__,
            "description": "Stories of small language models, by OpenAI's API.",
        },
        "paths": {
            "/v1/completions": post(
                "complete",
                "Go on with a text.",
                CompletionRequest,
                _streamed(schemas.Completion, schemas.CompletionChunk),
            ),
            "/v1/chat/completions": post(
                "chat",
                "Go on with the last message of a user.",
                ChatRequest,
                _streamed(schemas.ChatCompletion, schemas.ChatChunk),
            ),
            "/v1/models": {
                "get": {
                    "operationId": "models",
                    "summary": "List the models.",
                    "security": guard,
                    "responses": _ok(schemas.ModelList) | _errors(401, 500),
                }
            },
            "/v1/models/{model}": {
                "get": {
                    "operationId": "model",
                    "summary": "Look a model up.",
                    "security": guard,
                    "parameters": [name],
                    "responses": _ok(schemas.ModelCard) | _errors(401, 404, 500),
                }
            },
            "/health": {
                "get": {
                    "operationId": "health",
                    "summary": "Say that the server answers.",
                    "responses": _ok(schemas.Health),
                }
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Count, for Prometheus.",
                    "security": guard,
                    "responses": _text("text/plain") | _errors(401),
                }
            },
            "/": {
                "get": {
                    "operationId": "page",
                    "summary": "Show the default model, which the page holds and computes.",
                    "responses": _text("text/html") | _errors(500, 503),
                }
            },
        },
        "components": components,
    }


def _limit_ids(schema: Any, vocab_size: int) -> None:
    """Say how large a token id may be here: the type allows for any vocabulary."""
    if isinstance(schema, dict):
        if schema.get("exclusiveMaximum") == 2**31:
            schema["exclusiveMaximum"] = vocab_size
        for value in schema.values():
            _limit_ids(value, vocab_size)
    elif isinstance(schema, list):
        for value in schema:
            _limit_ids(value, vocab_size)


def _ref(kind: type[Any]) -> dict[str, str]:
    return {"$ref": REF.format(model=kind.__name__)}


def _json(kind: type[BaseModel], **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": _ref(kind)}}, **more}


def _ok(kind: type[Any]) -> dict[str, Any]:
    return {
        "200": {"description": "Done.", "content": {"application/json": {"schema": _ref(kind)}}}
    }


def _streamed(kind: type[Any], part: type[Any]) -> dict[str, Any]:
    """An answer that is whole, or events: the schema is that of one, the last being ``[DONE]``."""
    data = {
        "anyOf": [
            {"const": "[DONE]"},
            {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [_ref(part), _ref(ErrorBody)]},
            },
        ]
    }
    answer = _ok(kind)
    answer["200"]["content"]["text/event-stream"] = {
        "schema": {"type": "object", "properties": {"data": data}, "required": ["data"]}
    }
    return answer


def _text(media_type: str) -> dict[str, Any]:
    return {
        "200": {"description": "Done.", "content": {media_type: {"schema": {"type": "string"}}}}
    }


def _errors(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": _ref(ErrorBody)}},
        }
        for status in statuses
    }
