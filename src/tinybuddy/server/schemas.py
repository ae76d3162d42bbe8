"""The shapes of OpenAI's answers: what mypy checks, and what the API's document says."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

Finish = Literal["stop", "length"]


class Usage(TypedDict):
    """Tokens of a request: ``<bos>`` counts, the end of a text does not."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobs(TypedDict):
    """Log-probabilities of a text's tokens; offsets are characters of the text."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """A text, or the next part of one."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None
    seed: int


class Completion(TypedDict):
    """The answer of ``/v1/completions``."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class CompletionChunk(TypedDict):
    """An event of ``/v1/completions``: one choice, or only ``usage``."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: NotRequired[Usage | None]


class TopLogprob(TypedDict):
    """A token that might have been."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token that is, and the most probable ones."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    """Log-probabilities of a message's tokens."""

    content: list[TokenLogprob]


class ChatMessage(TypedDict):
    """What a model says."""

    role: Literal["assistant"]
    content: str


class ChatChoice(TypedDict):
    """A message with how it ended."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish | None
    seed: int


class ChatCompletion(TypedDict):
    """The answer of ``/v1/chat/completions``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(TypedDict, total=False):
    """The next part of a message."""

    role: Literal["assistant"]
    content: str


class ChatChunkChoice(TypedDict):
    """The next part of a message, with how it ended once it has."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: Finish | None
    seed: int


class ChatChunk(TypedDict):
    """An event of ``/v1/chat/completions``: one choice, or only ``usage``."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: NotRequired[Usage | None]


class ModelCard(TypedDict):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    """All models that are served, the default first."""

    object: Literal["list"]
    data: list[ModelCard]


class Health(TypedDict):
    """The server answers."""

    status: Literal["ok"]
