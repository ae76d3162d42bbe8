"""OpenAI's answers, whole and as events."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tinybuddy.server.choices import Choices, Delta
from tinybuddy.server.logprobs import Scored
from tinybuddy.server.schemas import (
    ChatLogprobs,
    CompletionLogprobs,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from tinybuddy.tokenizer import PieceCodec

DONE = b"data: [DONE]\n\n"


class CompletionAnswer:
    """An answer of ``/v1/completions``.

    Attributes:
        name: of its kind, whole.
        part: of its kind, as an event.
        prefix: of its id.
    """

    name = part = "text_completion"
    prefix = "cmpl"

    def __init__(self, model: str, tokenizer: PieceCodec, choices: Choices, counts: bool) -> None:
        """Take the texts, and whether events have a place for a count of tokens."""
        self._tokenizer, self._choices = tokenizer, choices
        self._usage: dict[str, None] = {"usage": None} if counts else {}
        self._said = [0] * len(choices.choices)  # characters of each
        self._head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, deltas: Sequence[Delta]) -> dict[str, Any]:
        """Return the answer made of all deltas."""
        choices = [self.choice(delta) for delta in _joined(deltas, len(self._said))]
        return self._head | {"object": self.name, "choices": choices, "usage": self._count()}

    def opening(self) -> Iterator[bytes]:
        """Yield the events before any text."""
        return iter(())

    def events(self, deltas: Sequence[Delta]) -> Iterator[bytes]:
        """Yield the events that say what is new."""
        for delta in deltas:
            yield self._event([self.choice_part(delta)], self._usage)

    def closing(self) -> Iterator[bytes]:
        """Yield the events after all text."""
        if self._usage:
            yield self._event([], {"usage": self._count()})
        yield DONE

    def choice(self, delta: Delta) -> dict[str, Any]:
        """Return a choice of a whole answer."""
        return {
            "index": delta.choice,
            "text": delta.text,
            "logprobs": self._logprobs(delta),
            "finish_reason": delta.finish,
            "seed": self._choices.seeds[delta.choice],
        }

    def choice_part(self, delta: Delta) -> dict[str, Any]:
        """Return a choice of an event."""
        return self.choice(delta)

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> bytes:
        return event(self._head | {"object": self.part, "choices": choices} | usage)

    def _count(self) -> Usage:
        prompt, new = self._choices.prompt_tokens, self._choices.tokens
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}

    def _logprobs(self, delta: Delta) -> Any:
        return None if delta.tokens is None else self._listed(delta.choice, delta.tokens)

    def _listed(self, index: int, tokens: Sequence[Scored]) -> Any:
        result: CompletionLogprobs = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token in tokens:
            text = self._tokenizer.decode([token.id])
            top = {self._tokenizer.decode([id]): logprob for id, logprob in token.best}
            result["tokens"].append(text)
            result["token_logprobs"].append(token.logprob)
            result["top_logprobs"].append(
                None if token.logprob is None else top | {text: token.logprob}
            )
            result["text_offset"].append(self._said[index])
            self._said[index] += len(text)
        return result


class ChatAnswer(CompletionAnswer):
    """An answer of ``/v1/chat/completions``."""

    name, part = "chat.completion", "chat.completion.chunk"
    prefix = "chatcmpl"

    def opening(self) -> Iterator[bytes]:
        """Yield the events before any text: who speaks."""
        for index in range(len(self._said)):
            delta = {"role": "assistant", "content": ""}
            yield self._event([self._part(index, delta, None, None)], self._usage)

    def choice(self, delta: Delta) -> dict[str, Any]:
        """Return a choice of a whole answer."""
        return {
            "index": delta.choice,
            "message": {"role": "assistant", "content": delta.text},
            "logprobs": self._logprobs(delta),
            "finish_reason": delta.finish,
            "seed": self._choices.seeds[delta.choice],
        }

    def choice_part(self, delta: Delta) -> dict[str, Any]:
        """Return a choice of an event."""
        said = {"content": delta.text} if delta.text else {}
        return self._part(delta.choice, said, self._logprobs(delta), delta.finish)

    def _part(
        self, index: int, delta: dict[str, str], logprobs: Any, finish: str | None
    ) -> dict[str, Any]:
        return {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish,
            "seed": self._choices.seeds[index],
        }

    def _listed(self, index: int, tokens: Sequence[Scored]) -> ChatLogprobs:
        return {"content": [self._token(token) for token in tokens]}

    def _token(self, token: Scored) -> TokenLogprob:
        assert token.logprob is not None  # <bos> comes before all of a chat
        best = [self._named(id, logprob) for id, logprob in token.best]
        return {**self._named(token.id, token.logprob), "top_logprobs": best}

    def _named(self, id: int, logprob: float) -> TopLogprob:
        piece = list(self._tokenizer.piece(id))
        return {"token": self._tokenizer.decode([id]), "logprob": logprob, "bytes": piece}


def event(data: Any) -> bytes:
    """Return a server-sent event."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return b"data: %b\n\n" % text.encode("utf-8")


def _joined(deltas: Sequence[Delta], count: int) -> list[Delta]:
    """One delta for each choice."""
    whole = []
    for index in range(count):
        own = [delta for delta in deltas if delta.choice == index]
        scored = [delta.tokens for delta in own if delta.tokens is not None]
        tokens = [token for some in scored for token in some] if scored else None
        whole.append(Delta(index, "".join(d.text for d in own), tokens, own[-1].finish))
    return whole
