"""Words: the share of the generated words that are English ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from tinybuddy.corpus.statistics import words
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story, share_of_stories


def measure_words(stories: Sequence[Story], known: Collection[str], human: float | None) -> Metric:
    """Share of words that are ``known``: of the training text, or of the list of English words.

    The details name all others, the most frequent first.
    """
    found = [words(story.text) for story in stories]
    right = [sum(word in known for word in story) for story in found]
    share = share_of_stories(stories, right, [len(story) for story in found])
    unknown = Counter(word for story in found for word in story if word not in known)
    details = {"unknown": [word for word, _ in unknown.most_common()]}
    return Metric("words", [MetricValue("words.english", share, human)], details=details)
