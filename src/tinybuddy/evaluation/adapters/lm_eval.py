"""Any model under evaluation in EleutherAI's lm-evaluation-harness, beside its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from tinybuddy.config import SampleConfig
from tinybuddy.errors import TinybuddyError, require
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.generation.text import until
from tinybuddy.scoring import LOST_BYTE_BITS, batched, log_likelihoods

LOST_BYTE_NATS = LOST_BYTE_BITS * float(np.log(2))
MAX_NEW_TOKENS = 256  # as the harness has it where a task says nothing


def harness_model(evaluated: EvaluatedModel) -> Any:
    """Return an ``lm_eval.api.model.LM`` that answers for a model.

    >>> import lm_eval  # doctest: +SKIP
    >>> found = lm_eval.simple_evaluate(  # doctest: +SKIP
    ...     model=harness_model(model), tasks=["blimp", "lambada_openai"]
    ... )

    Every text begins with the model's `bos`, where the harness's own ``hf`` model gives GPT-2's
    kind none and, in rolling texts, Llama's kind two. Bytes that the tokenizer cannot represent
    cost 8 bits each, as in scoring. HF_HUB_OFFLINE=1 keeps the harness from the network.

    Raises:
        TinybuddyError: if lm-eval is not installed.
    """
    require("lm-eval", "lm_eval", "harness")
    from lm_eval.api.model import LM

    adaptor: type[_Requests] = type("TinybuddyModel", (_Requests, LM), {})
    return adaptor(evaluated)


class _Window(NamedTuple):
    """Ids of one forward pass; those from ``first`` on are predicted."""

    request: int
    ids: Sequence[int]
    first: int


class _Requests:
    """What ``lm_eval.api.model.LM`` asks of a model; requests hold their arguments in ``args``."""

    def __init__(self, evaluated: EvaluatedModel) -> None:
        super().__init__()
        self.evaluated = evaluated

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Log-probability in nats of each continuation, and whether greedy decoding gives it.

        Args:
            requests: of ``(context, continuation)``. A context too long is cut on the left, and an
                empty one is the beginning of a story.

        Raises:
            TinybuddyError: if the model's numbers are not finite.
        """
        nats, greedy = np.zeros(len(requests)), np.ones(len(requests), bool)
        windows: list[_Window] = []
        for number, request in enumerate(requests):
            ids, first, lost = self._encode(*request.args)
            windows += self._windows(number, ids, first)
            nats[number] -= LOST_BYTE_NATS * lost
            greedy[number] = not lost
        for batch in batched(windows, _first, _length):
            self._predict(batch[0].first, batch, nats, greedy)
        return list(zip(nats.tolist(), greedy.tolist(), strict=True))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Log-probability in nats of each text ``(text,)``, from the beginning of a story.

        A longer text than the context is cut as the harness does it, so that values are
        comparable: into windows that share one token, the last one as long as the others. (Our own
        scoring gives half a window of context, and so fewer bits.)

        Raises:
            TinybuddyError: if the model's numbers are not finite.
        """
        nats = np.zeros(len(requests))
        windows: list[_Window] = []
        for number, request in enumerate(requests):
            ids, _, lost = self._encode("", *request.args)
            windows += self._windows(number, ids, 1)
            nats[number] -= LOST_BYTE_NATS * lost
        backend, context = self.evaluated.backend, self.evaluated.context
        whole = log_likelihoods(backend, context, [window.ids for window in windows])
        given = log_likelihoods(
            backend, context, [window.ids[: window.first] for window in windows]
        )
        np.add.at(nats, [window.request for window in windows], whole - given)
        found: list[float] = nats.tolist()
        return found

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Continue each context.

        Args:
            requests: of ``(context, settings)``: ``until`` are texts that end the continuation and
                are no part of it, ``max_gen_toks`` its tokens at most (256), ``do_sample`` and
                ``temperature`` (0) whether it is drawn, ``top_k``, ``top_p``, ``min_p`` and
                ``repetition_penalty`` how. The n-th request has the seed n.

        Raises:
            TinybuddyError: if the model's numbers are not finite, or a setting is impossible.
        """
        return [self._continue(seed, *request.args) for seed, request in enumerate(requests)]

    def _encode(self, context: str, continuation: str) -> tuple[list[int], int, int]:
        """Ids from `bos` on, the place of the first of the continuation, and its lost bytes.

        White space between the two belongs to the continuation, and both are encoded together, as
        in the harness's own models. The continuation begins where the ids of the context alone end,
        or where they first differ, so that a token across the boundary is not forgotten.
        """
        codec = self.evaluated.tokenizer
        start = context.rstrip()
        text = context + continuation
        alone, ids = codec.encode(start), codec.encode(text)
        same = (one == other for one, other in zip(alone, ids, strict=False))
        first = next((i for i, equal in enumerate(same) if not equal), min(len(alone), len(ids)))
        lost = max(0, codec.lost_bytes(text, ids) - codec.lost_bytes(start, alone))
        return [codec.bos, *ids], first + 1, lost

    def _windows(self, request: int, ids: Sequence[int], first: int) -> Iterator[_Window]:
        """Cover ``ids[first:]``, each window as long as it may be: ``context`` predictions."""
        context = self.evaluated.context
        for start in range(first, len(ids), context):
            end = min(start + context, len(ids))
            a = max(0, end - context - 1)
            yield _Window(request, ids[a:end], start - a)

    def _predict(self, given: int, windows: Sequence[_Window], nats: Any, greedy: Any) -> None:
        """Add what each window predicts to its request; all have ``given`` ids of context.

        The shorter ones are filled behind their end, which a causal model does not see.
        """
        longest = max(len(window.ids) for window in windows)
        ids = np.array(
            [[*window.ids, *[window.ids[0]] * (longest - len(window.ids))] for window in windows]
        )
        stream, new = self.evaluated.backend.stream(len(windows)), ids[:, :given]
        for place in range(given, longest):
            logits = self._finite(stream.feed(new))
            log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            new = ids[:, place : place + 1]
            for row, window in enumerate(windows):
                if place < len(window.ids):
                    nats[window.request] += log_p[row, new[row, 0]]
                    greedy[window.request] &= log_p[row].argmax() == new[row, 0]

    def _continue(self, seed: int, context: str, settings: dict[str, Any]) -> str:
        named = settings.get("until") or []
        stops = [named] if isinstance(named, str) else named
        pieces = self.evaluated.tokenizer.decode_stream(self._new_ids(seed, context, settings))
        return "".join(until(pieces, stops))

    def _new_ids(self, seed: int, prompt: str, settings: dict[str, Any]) -> Iterator[int]:
        """Ids after a prompt."""
        evaluated = self.evaluated
        temperature = settings.get("temperature", 0.0) if settings.get("do_sample", True) else 0.0
        drawn = {"temperature": float(temperature), "top_k": 0}
        named = settings.keys() & SampleConfig.__dataclass_fields__.keys() - {"temperature"}
        config = SampleConfig.from_mapping(drawn | {name: settings[name] for name in named})
        ids = [evaluated.tokenizer.bos, *evaluated.tokenizer.encode(prompt)]
        count, eos = int(settings.get("max_gen_toks", MAX_NEW_TOKENS)), evaluated.tokenizer.eos
        texts = continue_ids(evaluated.backend, [ids], count, config, [seed], eos)
        return chain.from_iterable(new for _, new in texts)

    def _finite(self, logits: Any) -> Any:
        if not np.isfinite(logits).all():
            raise TinybuddyError(
                f"The logits of {self.evaluated.name} are not finite: it is broken."
            )
        return logits.astype(np.float64)


def _length(window: _Window) -> int:
    return len(window.ids)


def _first(window: _Window) -> int:
    return window.first
