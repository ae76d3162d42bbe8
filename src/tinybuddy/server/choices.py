"""The texts of one request: from ids, as engine threads give them, to what a client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from tinybuddy.generation.model import random_seed
from tinybuddy.generation.text import TextStream
from tinybuddy.server.engine import BusyError, EnginePool, Text
from tinybuddy.server.errors import ApiError
from tinybuddy.server.logprobs import Scored, Scorer
from tinybuddy.server.models import ServedModel
from tinybuddy.server.requests import TextRequest

LONG_PROMPT = 2_000  # characters; encoding as many takes 1 ms, which the event loop bears


class Prompt(NamedTuple):
    """How texts begin: as text, and as ids, the first of which is ``<bos>``."""

    text: str
    ids: list[int]
    given: int  # of the ids, those that the client's prompt stands for: all, or all but ``<bos>``


class Delta(NamedTuple):
    """What is new of a choice.

    Attributes:
        choice: its index.
        text: may be empty.
        tokens: with their log-probabilities, where they were asked for.
        finish: ``stop`` or ``length`` at its end.
    """

    choice: int
    text: str
    tokens: list[Scored] | None
    finish: str | None


class Choice:
    """One text of a request.

    Attributes:
        index: its place among them.
        source: what an engine thread generates.
        finish: ``stop`` or ``length`` once it has ended.
    """

    def __init__(self, index: int, prompt: Prompt, source: Text, request: TextRequest) -> None:
        model: ServedModel = source.model  # type: ignore[assignment]  # it is one here
        self.index, self.source = index, source
        self.finish: str | None = None
        self._prompt = prompt
        self._echo = bool(request.echo)
        self._begun = False
        self._taken = 0
        self._stream = TextStream(model.tokenizer, request.stops)
        if not prompt.text:  # some tokenizers begin a text with a space, no part of the story
            self._stream.push([model.tokenizer.bos])
        self._skipped = self._stream.tokens
        top = request.top_logprobs_asked
        self._scorer = None if top is None else Scorer(model, top)

    @property
    def tokens(self) -> int:
        """New ones, up to the end of a stop string."""
        return self._stream.tokens - self._skipped

    async def delta(self) -> Delta | None:
        """Return what is new, if anything.

        Raises:
            ApiError: if the text could not be ended.
        """
        ended = self.source.ended  # before the ids are looked at, which are whole then
        if self.finish:
            return None
        if self.source.error:
            raise ApiError(500, self.source.error)
        new = self.source.ids[self._taken :]
        self._taken += len(new)
        before = self._stream.tokens
        text = self._stream.push(new)
        if ended and not self._stream.stopped:
            text += self._stream.close()
        if self._stream.stopped:
            self.finish = "stop"
        elif ended:
            self.finish = "length" if self._taken >= self.source.count else "stop"
        new = new[: self._stream.tokens - before]
        begins, self._begun = not self._begun, True
        if begins and self._echo:
            text = self._prompt.text + text
        tokens = await self._scored(begins, new) if self._scorer else None
        if not (text or tokens or self.finish):
            return None
        return Delta(self.index, text, tokens, self.finish)

    async def _scored(self, begins: bool, new: list[int]) -> list[Scored]:
        assert self._scorer
        before = self._prompt.ids if begins else []
        scored = await asyncio.to_thread(self._scorer.push, [*before, *new])
        shown = self._prompt.given if self._echo else 0
        return scored[len(before) - shown :] if begins else scored


class Choices:
    """All texts of a request.

    Attributes:
        choices: in the order of their indices: those of the first prompt first.
        seeds: of each.
        prompt_tokens: of all prompts.
    """

    def __init__(
        self, pool: EnginePool, model: ServedModel, request: TextRequest, prompts: list[Prompt]
    ) -> None:
        """Put them together; `submit` lets them begin."""
        self._pool, self._news, self._expired = pool, asyncio.Event(), False
        seed = random_seed() if request.seed is None else request.seed
        sample, streams = request.sample(model.sample), bool(request.stream)
        self.choices: list[Choice] = []
        self.seeds: list[int] = []
        for prompt in prompts:
            for place in range(request.n or 1):
                text = Text(
                    model, prompt.ids, request.count, sample, seed + place, self._news, streams
                )
                self.choices.append(Choice(len(self.choices), prompt, text, request))
                self.seeds.append(seed + place)
        self.prompt_tokens = sum(len(prompt.ids) for prompt in prompts)

    @property
    def tokens(self) -> int:
        """New ones of all texts."""
        return sum(choice.tokens for choice in self.choices)

    def submit(self) -> None:
        """Let the texts begin, or wait for a place.

        Raises:
            ApiError: if too many wait.
        """
        try:
            self._pool.submit([choice.source for choice in self.choices])
        except BusyError:
            raise ApiError(
                429,
                "Too many texts are being generated: ask again in a second.",
                code="rate_limit_exceeded",
                headers={"Retry-After": "1"},
            ) from None

    def cancel(self) -> None:
        """Give up what has not ended."""
        self._pool.cancel([choice.source for choice in self.choices])

    async def deltas(self, seconds: float) -> AsyncIterator[list[Delta]]:
        """Yield what is new as it comes, until all texts have ended.

        Raises:
            ApiError: if one could not be ended, or that takes more than so many seconds.
        """
        # Not asyncio.timeout, which would end what its caller waits for between two yields.
        timer = asyncio.get_running_loop().call_later(seconds, self._expire)
        try:
            async for deltas in self._deltas():
                yield deltas
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        self._news.set()

    async def _deltas(self) -> AsyncIterator[list[Delta]]:
        going = self.choices
        while going:
            await self._news.wait()
            self._news.clear()
            if self._expired:
                raise ApiError(504, "The text took too long: ask for fewer tokens.")
            found = [delta for choice in going if (delta := await choice.delta())]
            if any(delta.finish for delta in found):
                done = [choice.source for choice in going if choice.finish]
                self._pool.cancel(done)  # those that a stop string ended
                going = [choice for choice in going if not choice.finish]
            if found:
                yield found


async def encoded(model: ServedModel, prompt: str | list[int]) -> Prompt:
    """Encode a prompt; ids are taken as they are, after a ``<bos>`` where they lack it.

    Raises:
        ApiError: for an id that is not in the vocabulary.
    """
    tokenizer = model.tokenizer
    if isinstance(prompt, str):
        if len(prompt) > LONG_PROMPT:
            ids = await asyncio.to_thread(tokenizer.encode, prompt)
        else:
            ids = tokenizer.encode(prompt)
        return Prompt(prompt, [tokenizer.bos, *ids], len(ids))
    if max(prompt) >= tokenizer.vocab_size:
        raise ApiError(400, f"prompt: ids must be below {tokenizer.vocab_size:,}.", param="prompt")
    ids = prompt if prompt[0] == tokenizer.bos else [tokenizer.bos, *prompt]
    return Prompt(tokenizer.decode(prompt), ids, len(prompt))
