"""Train a Llama on the built-in tales in NumPy; chapter 6 explains it, function by function."""

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from course import tales
from llama import Array, cross_entropy, forward

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.formats.hub import write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.tokenizer import Tokenizer, encode_story
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.weights import random_weights

OWN = Path(__file__).parent / "runs" / "own"  # the learner's own model
SHAPE = ModelConfig(1536, hidden_size=40, intermediate_size=96, num_hidden_layers=2)
TALES, STEPS, BATCH, PEAK = 5000, 1500, 16, 1.5e-2


def prepare(stories: list[str]) -> tuple[Tokenizer, Array]:
    """A tokenizer trained on the stories, and all their tokens, one story after the other."""
    tokenizer = train_tokenizer(stories, SHAPE.vocab_size)
    return tokenizer, np.concatenate([encode_story(tokenizer, story) for story in stories])


def new_weights(seed: int = 0) -> dict[str, Array]:
    """Small random matrices, and norms of ones."""
    return dict(random_weights(SHAPE, seed, init_std=0.02))


def anywhere(row: Array, random: np.random.Generator) -> Array:
    """Where a batch of crops begins: at any token of the row."""
    return random.integers(0, len(row) - SHAPE.max_position_embeddings, BATCH)


def within_stories(row: Array, random: np.random.Generator) -> Array:
    """The same, but each crop lies within one story; each story must be longer than a crop."""
    length = SHAPE.max_position_embeddings
    begins = np.flatnonzero(row == Tokenizer.bos)
    ends = np.append(begins[1:], len(row))
    held = random.integers(0, len(row), BATCH)  # tokens that the crops shall hold
    story = np.searchsorted(begins, held, side="right") - 1  # the last that begins by then
    start = held - random.integers(0, length + 1, BATCH)  # held anywhere, from first to last
    return np.clip(start, begins[story], ends[story] - length - 1)  # pushed into the story


def schedule(step: int, steps: int, warmup: int = 50) -> float:
    """Share of the peak rate: up in a line, then down to 0 along half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (steps - warmup))


def clip(gradient: dict[str, Array], most: float = 1.0) -> None:
    """Shorten the gradient, all arrays as one, to the length ``most``, unless it is shorter."""
    length = math.sqrt(sum(float((g * g).sum()) for g in gradient.values()))
    for g in gradient.values():
        g *= min(1.0, most / length)


def adamw(
    weights: dict[str, Array],
    gradient: dict[str, Array],
    means: dict[str, Array],
    squares: dict[str, Array],
    step: int,
    rate: float,
) -> None:
    """One step of AdamW (Kingma & Ba 2014, Loshchilov & Hutter 2017), all in place."""
    for name, g in gradient.items():
        weight, mean, square = weights[name], means[name], squares[name]
        mean += 0.1 * (g - mean)  # 0.9 of the old, 0.1 of the new
        square += 0.01 * (g * g - square)  # 0.99 and 0.01
        unbiased = mean / (1 - 0.9 ** (step + 1))
        spread = np.sqrt(square / (1 - 0.99 ** (step + 1)))
        if weight.ndim == 2:
            weight *= 1 - 0.1 * rate  # weight decay
        weight -= rate * unbiased / (spread + 1e-8)  # never by 0


def train(
    weights: dict[str, Array],
    row: Array,
    steps: int = STEPS,
    begins: Callable[[Array, np.random.Generator], Array] = within_stories,
) -> Iterator[float]:
    """Train the weights in place; yields the loss of each step."""
    random = np.random.default_rng(0)
    means, squares = ({n: np.zeros_like(w) for n, w in weights.items()} for _ in range(2))
    for step in range(steps):
        start = begins(row, random)[:, np.newaxis]
        crops = row[start + np.arange(SHAPE.max_position_embeddings + 1)]
        logits, back = forward(weights, SHAPE, crops[:, :-1])
        loss, d = cross_entropy(logits, crops[:, 1:])
        gradient = back(d)
        clip(gradient)
        adamw(weights, gradient, means, squares, step, PEAK * schedule(step, steps))
        yield loss


def save(weights: dict[str, Array], tokenizer: Tokenizer, folder: Path) -> None:
    """Write a model directory, in place of one that is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        new, old = Path(beside) / "new", Path(beside) / "old"
        write_model(new, ModelFiles(SHAPE, weights, tokenizer, SampleConfig()))
        if folder.exists():
            folder.replace(old)
        new.replace(folder)


def own_model() -> Path:
    """The learner's own model; where chapter 6 has not made it yet, it is trained now."""
    if not OWN.exists():
        print("There is no model of your own yet: it is trained now, in about two minutes.")
        tokenizer, row = prepare(tales(TALES, 0)[0])
        weights = new_weights()
        for _ in train(weights, row):
            pass
        save(weights, tokenizer, OWN)
    return OWN
