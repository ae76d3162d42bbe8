"""Variety: different seeds give different stories, in more than a handful of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from tinybuddy.corpus.statistics import gram_hashes, words
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story, share_of_stories

# Words; the number of distinct ones grows with the length, so it is fixed. A stretch has the
# stories of some three prompts, so that drawing stretches anew draws prompts.
STRETCH = 1000


def measure_variety(stories: Sequence[Story], human: Mapping[str, float]) -> Metric:
    """4-grams that no other story has, and distinct words in each thousand."""
    found = [words(story.text) for story in stories]
    grams = [{*gram_hashes(story)} for story in found]
    holders = Counter(chain.from_iterable(grams))
    own = [sum(holders[gram] == 1 for gram in story) for story in grams]
    text = list(chain.from_iterable(found))
    ends = range(STRETCH, len(text) + 1, STRETCH)
    distinct = Share.of([len({*text[end - STRETCH : end]}) / STRETCH for end in ends])
    values = {
        "variety.own_4grams": share_of_stories(stories, own, [len(story) for story in grams]),
        "variety.distinct_words": distinct,
    }
    return Metric("variety", [MetricValue(n, share, human.get(n)) for n, share in values.items()])
