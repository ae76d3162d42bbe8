"""What a request may say: OpenAI's parameters, and those of ours that it lacks.

What would change a text and is not done here is refused; what does not is ignored, as clients send
many such things. What is said here is what the API's document says.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tinybuddy.config import SampleConfig
from tinybuddy.generation.model import MAX_NEW_TOKENS
from tinybuddy.server import limits

MAX_SEED = 2**63 - 1 - limits.CHOICES  # each choice takes the next one
_SAMPLING = {item.name: item for item in fields(SampleConfig)}


def _sampling(name: str) -> Any:
    """A field of `SampleConfig`, with its range; without it the model's own value is taken."""
    meta = _SAMPLING[name].metadata
    return Field(default=None, ge=meta["low"], le=meta["high"], description=meta["doc"])


def _whole(value: Any) -> Any:
    """1.0 is a whole number in JSON, which Python's types do not say."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
Prompt = Annotated[str, Field(max_length=limits.PROMPT_CHARACTERS)]
TokenId = Annotated[int, Field(ge=0, lt=2**31), WHOLE]
Ids = Annotated[
    list[TokenId], Field(min_length=1, max_length=limits.PROMPT_TOKENS, title="Ids", fail_fast=True)
]
Prompts = Annotated[list[Prompt], Field(min_length=1, max_length=limits.PROMPTS, fail_fast=True)]
IdLists = Annotated[list[Ids], Field(min_length=1, max_length=limits.PROMPTS, fail_fast=True)]
Stop = Annotated[str, Field(max_length=limits.STOP_CHARACTERS)]
Stops = Annotated[list[Stop], Field(max_length=limits.STOPS, fail_fast=True)]
Zero = Annotated[float, Field(ge=0, le=0)]
Count = Annotated[int, Field(ge=0, le=limits.NEW_TOKENS), WHOLE]


class StreamOptions(BaseModel):
    """How a text is streamed."""

    model_config = ConfigDict(strict=True)

    include_usage: bool | None = Field(None, description="Count tokens in a last event.")


class TextRequest(BaseModel):
    """What both endpoints take."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    model: Annotated[str, Field(max_length=limits.NAME_CHARACTERS)] | None = Field(
        None, description="A name that /v1/models lists; by default the first."
    )
    n: Annotated[int, Field(ge=1, le=limits.CHOICES), WHOLE] | None = Field(
        None, description="Texts for each prompt: seeds seed, seed + 1, ..."
    )
    max_tokens: Count | None = Field(
        None, description=f"New tokens of a text at most; {MAX_NEW_TOKENS} by default."
    )
    temperature: float | None = _sampling("temperature")
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE] | None = Field(
        None, description=_SAMPLING["top_k"].metadata["doc"]
    )
    top_p: float | None = _sampling("top_p")
    min_p: float | None = _sampling("min_p")
    repetition_penalty: float | None = _sampling("repetition_penalty")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE] | None = Field(
        None,
        description="The same seed gives the same text; by default a random one, which is said.",
    )
    stop: Stop | Stops | None = Field(None, description="A text ends before any of these.")
    stream: bool | None = Field(None, description="Send events as the text comes.")
    stream_options: StreamOptions | None = None
    echo: bool | None = Field(None, description="Begin the text with its prompt.")
    frequency_penalty: Zero | None = Field(
        None, description="Not done here: see repetition_penalty."
    )
    presence_penalty: Zero | None = Field(
        None, description="Not done here: see repetition_penalty."
    )
    logit_bias: dict[str, None] | None = Field(None, max_length=0, description="Not done here.")

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields of `SampleConfig` that are given."""
        given = {name: getattr(self, name) for name in _SAMPLING}
        return {name: value for name, value in given.items() if value is not None}

    def sample(self, default: SampleConfig) -> SampleConfig:
        """How tokens are drawn: as this says, and else as the model's default."""
        return replace(default, **self.sampling) if self.sampling else default

    @property
    def count(self) -> int:
        """New tokens at most."""
        return MAX_NEW_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Texts before which a text ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a count of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """What each text begins with."""
        raise NotImplementedError

    @property
    def top_logprobs_asked(self) -> int | None:
        """How many log-probabilities to give beside each token's own; None for not even that."""
        raise NotImplementedError


class CompletionRequest(TextRequest):
    """A request to ``/v1/completions``."""

    prompt: Prompt | Prompts | Ids | IdLists | None = Field(
        None,
        description="How a text begins, or several do, as text or as token ids; "
        "nothing begins a new story.",
    )
    logprobs: Annotated[int, Field(ge=0, le=limits.TOP_LOGPROBS), WHOLE] | None = Field(
        None, description="How many of the most probable tokens to list at each place."
    )
    best_of: Annotated[int, Field(ge=1, le=1), WHOLE] | None = Field(
        None, description="Not done here."
    )
    suffix: Literal[""] | None = Field(None, description="Not done here.")

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """What each text begins with."""
        prompt: Any = self.prompt
        if not prompt or isinstance(prompt, str):
            return [prompt or ""]
        return [prompt] if isinstance(prompt[0], int) else prompt

    @property
    def top_logprobs_asked(self) -> int | None:
        """How many log-probabilities to give beside each token's own; None for not even that."""
        return self.logprobs


class Part(BaseModel):
    """A part of a message; only text is understood."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: Prompt


class Message(BaseModel):
    """A message of a chat."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: (
        Prompt | Annotated[list[Part], Field(max_length=limits.PROMPTS, fail_fast=True)] | None
    ) = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class ResponseFormat(BaseModel):
    """What the answer is to be; only text is written."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]


class ChatRequest(TextRequest):
    """A request to ``/v1/chat/completions``."""

    messages: Annotated[
        list[Message], Field(min_length=1, max_length=limits.MESSAGES, fail_fast=True)
    ] = Field(
        description="The last message of a user is how the story begins; without one it is new."
    )
    max_completion_tokens: Count | None = Field(None, description="The same as max_tokens.")
    logprobs: bool | None = Field(None, description="Give the log-probability of each token.")
    top_logprobs: Annotated[int, Field(ge=0, le=limits.TOP_LOGPROBS), WHOLE] | None = Field(
        None, description="How many of the most probable tokens to list at each place."
    )
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="Not done here."
    )
    functions: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="Not done here."
    )

    @property
    def count(self) -> int:
        """New tokens at most."""
        if self.max_completion_tokens is None:
            return super().count
        return self.max_completion_tokens

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """What each text begins with."""
        said = [message.text for message in self.messages if message.role == "user"]
        return [said[-1] if said else ""]

    @property
    def top_logprobs_asked(self) -> int | None:
        """How many log-probabilities to give beside each token's own; None for not even that."""
        return (self.top_logprobs or 0) if self.logprobs else None
