"""What every export must reproduce: the tokens that a model generates greedily."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tinybuddy.backends import open_backend
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.quantization import quantized
from tinybuddy.sampling import PCG32, sample

PROMPTS = ("Once upon a time", "The big dog ran to", "", "The café 日本 😀")
TOKENS = 40  # new ones at most
LEAD = 0.01  # of the best token's logit; where it is less, float32 rounding may decide
BITS = {"float32": 32, "int8": 8, "int4": 4}  # of a weight, by its type
SHAKE, SHAKES = 0.001, 16  # of the logits, and how often, before a draw is believed


Some = TypeVar("Some", bound=LoadedModel)


class Golden(NamedTuple):
    """A prompt and what follows it.

    Attributes:
        prompt: the text.
        ids: of the prompt, ``<bos>`` first.
        new: the best token after them, the best after that, ..., up to the story's end, which is
            the last of them then, or to where two are about as good.
    """

    prompt: str
    ids: list[int]
    new: list[int]


def golden(
    model: LoadedModel, prompts: Sequence[str] = PROMPTS, lead: float = LEAD
) -> list[Golden]:
    """Continue prompts with the most probable tokens, by the engine.

    Args:
        model: whatever the engine computes.
        prompts: the texts.
        lead: of the best token's logit, more where another program rounds what it computes with.
    """
    backend = open_backend(model.config, model.weights)
    found = []
    for prompt in prompts:
        ids = [model.tokenizer.bos, *model.tokenizer.encode(prompt)]
        stream, fed, new = backend.stream(), ids, list[int]()
        while len(new) < min(TOKENS, model.config.max_position_embeddings - len(ids)):
            (logits,) = stream.feed(np.array([fed]))
            second, best = np.sort(logits)[-2:]
            if best - second < lead:
                break
            new.append(int(logits.argmax()))
            if new[-1] == model.tokenizer.eos:
                break
            fed = new[-1:]
        found.append(Golden(prompt, ids, new))
    return found


def seeded(model: LoadedModel, prompt: str, seed: int) -> Golden:
    """Continue a prompt with tokens drawn as the model says, by the engine's logits.

    It ends before the story's end, or where slightly other logits would give another token.
    """
    ids = [model.tokenizer.bos, *model.tokenizer.encode(prompt)]
    stream = open_backend(model.config, model.weights).stream()
    random, noise = PCG32(seed), np.random.default_rng(seed)
    fed, new = ids, list[int]()
    while len(new) < min(TOKENS, model.config.max_position_embeddings - len(ids)):
        (logits,) = stream.feed(np.array([fed]))
        before, seen = copy(random), [*ids, *new]
        fed = [sample(logits, model.sample, random, seen)]
        shaken = logits + noise.uniform(-SHAKE, SHAKE, (SHAKES, len(logits)))
        firm = all(sample(row, model.sample, copy(before), seen) == fed[0] for row in shaken)
        if fed[0] == model.tokenizer.eos or not firm:
            break
        new += fed
    return Golden(prompt, ids, new)


def compare(expected: Golden, ids: Sequence[int], new: Sequence[int], out: Path, who: str) -> None:
    """Check what another program made of a prompt.

    Args:
        expected: what the engine did.
        ids: of the prompt, as the other reads it.
        new: what the other generated; it may have gone on further.
        out: the export, for the message.
        who: the program, for the message.

    Raises:
        TinybuddyError: if they differ.
    """
    for what, theirs, ours in (
        ("reads", list(ids), expected.ids),
        ("continues", list(new)[: len(expected.new)], expected.new),
    ):
        if theirs != ours:
            raise TinybuddyError(
                f"{who} {what} {expected.prompt!r} otherwise with {out} ({theirs} instead of "
                f"{ours}): not kept."
            )


def rounded(model: Some, bits: int) -> Some:
    """The model with the weights that an export of so many bits computes with."""
    return model if bits == 32 else replace(model, weights=quantized(model.weights, bits))


def own_tokenizer(model: LoadedModel) -> ModelFiles:
    """The model, if its tokenizer is of this package.

    Raises:
        TinybuddyError: if it is llama2.c's.
    """
    if not isinstance(model, ModelFiles):
        raise TinybuddyError(
            "The tokenizer of this model is llama2.c's, which the format cannot hold."
        )
    return model
