"""Texts continued: one loop for whatever computes a model, or the engine's own where it does.

Past the context, a text goes on from the newer half of what it has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from tinybuddy.backends.engine.backend import EngineBackend
from tinybuddy.backends.engine.decoder import LOOK_EVERY
from tinybuddy.backends.interface import Backend
from tinybuddy.config import SampleConfig
from tinybuddy.errors import TinybuddyError


def continue_ids(
    backend: Backend,
    context: int,
    prompts: Sequence[Sequence[int]],
    count: int,
    sample: SampleConfig,
    seeds: Sequence[int],
    eos: int,
    goes_on: Callable[[int], bool] | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """Continue texts side by side.

    Args:
        backend: the model.
        context: ids that it reads at most.
        prompts: what each text begins with, one id or more.
        count: new ids of each at most.
        sample: how they are drawn.
        seeds: of the random numbers of each. One tells the same story whatever computes it, and
            whatever is told beside it.
        eos: the id that ends a text and is no part of it.
        goes_on: asked now and then, with the place of a text, whether more of it is wanted.

    Yields:
        The place of a text in ``prompts``, and its next ids: several where they come fast.

    Raises:
        TinybuddyError: if the model's numbers are not finite.
    """
    if isinstance(backend, EngineBackend):
        yield from backend.decoder.continue_all(prompts, count, sample, seeds, eos, goes_on)
        return
    places = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    for _, same in groupby(places, key=lambda place: len(prompts[place])):
        yield from _in_step(
            backend,
            context,
            {p: list(prompts[p]) for p in same},
            count,
            sample,
            seeds,
            eos,
            goes_on,
        )


def _in_step(
    backend: Backend,
    context: int,
    texts: dict[int, list[int]],
    count: int,
    sample: SampleConfig,
    seeds: Sequence[int],
    eos: int,
    goes_on: Callable[[int], bool] | None,
) -> Iterator[tuple[int, list[int]]]:
    """Continue texts of one length, by place; one that has ended is dragged along."""
    import numpy as np

    from tinybuddy.generation import sampling

    randoms = {place: sampling.PCG32(seeds[place]) for place in texts}
    stream, length, new = backend.stream(len(texts)), 0, list(texts.values())
    going = list(texts)
    for step in range(count):
        if length + len(new[0]) > context:
            stream, length = backend.stream(len(texts)), 0
            new = [ids[-max(1, context // 2) :] for ids in texts.values()]
        logits = stream.feed(np.array(new))
        length += len(new[0])
        if not np.isfinite(logits).all():
            raise TinybuddyError("The model's numbers are not finite: its weights are broken.")
        for row, (place, ids) in enumerate(texts.items()):
            id = eos
            if place in going:
                seen = ids if sample.repetition_penalty != 1.0 else ()
                id = sampling.sample(logits[row], sample, randoms[place], seen)
            ids.append(id)
            if id != eos:
                yield place, [id]
            elif place in going:
                going.remove(place)
        if goes_on and step % LOOK_EVERY == 0:
            going = [place for place in going if goes_on(place)]
        if not going:
            return
        new = [ids[-1:] for ids in texts.values()]
