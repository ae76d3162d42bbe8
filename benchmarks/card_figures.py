"""Figures of a model card that need no data: 100 stories of a model, looked at word by word.

    python benchmarks/card_figures.py MODEL

Five beginnings, twenty seeds each, sampled as the model says, up to 512 tokens. Words and rows of
four words are compared with those of the training text, which the model has in its `facts.npz`.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

import tinybuddy
from tinybuddy.corpus.statistics import gram_hashes, read_statistics, words
from tinybuddy.errors import TinybuddyError
from tinybuddy.generation.model import MAX_NEW_TOKENS
from tinybuddy.training.metadata import statistics_beside

PROMPTS = ("Once upon a time", "One day, Tom", "Lily and Ben", "The little dog", "In the park")
SEEDS = 20


def values(name: str) -> list[str]:
    """Return the findings, a line each."""
    model = tinybuddy.load(name)
    path = statistics_beside(model.path)
    if path is None:
        raise TinybuddyError(f"{name} has no facts.npz: train it with tinybuddy train.")
    statistics = read_statistics(path)
    texts = [
        model.generate(prompt, seed=seed)[len(prompt) :]
        for prompt in PROMPTS
        for seed in range(SEEDS)
    ]
    lengths = [len(model.tokenizer.encode(text)) for text in texts]
    found = [words(text) for text in texts]
    count = sum(map(len, found))
    unknown = Counter(word for text in found for word in text if word not in statistics.counts)
    rows = [gram_hashes(text) for text in found]
    all_rows = np.concatenate([np.array(row, np.int64) for row in rows])
    repeated = sum(len(row) - len(set(row)) for row in rows) / len(all_rows)
    known = np.isin(all_rows, statistics.grams).mean()
    ended = sum(length < MAX_NEW_TOKENS for length in lengths) / len(texts)
    closed = sum(text.count('"') % 2 == 0 for text in texts) / len(texts)
    broken = ", ".join(word for word, _ in unknown.most_common(5))
    return [
        f"{len(texts)} stories of {count / len(texts):.0f} words on average; "
        f"{ended:.0%} end by themselves within {MAX_NEW_TOKENS} tokens",
        f"{1 - sum(unknown.values()) / count:.1%} of the words are words of the training text, "
        f"which {broken} are not",
        f"{closed:.0%} of the stories close every quotation that they open",
        f"{repeated:.1%} of the 4-grams repeat within a story",
        f"{1 - known:.1%} of the 4-grams are not in the training text",
    ]


def main() -> None:
    """Print the findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    print("\n".join(values(parser.parse_args().model)))


if __name__ == "__main__":
    main()
