"""Bits per byte: it predicts text better than an n-gram model of its own size."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.rivals.ngrams import Rivals
from tinybuddy.scoring import score

PARAMETER_BYTES = 4  # as float32
GRAM_BYTES = 10  # a token (2), the logarithms of a probability and of a back-off weight (4 each)


def measure_bits_per_byte(
    evaluated: EvaluatedModel, validation: Sequence[str], rivals: Rivals | None
) -> Metric:
    """Bits per byte of ``validation``, below those of the best Kneser-Ney model of its size.

    The rival was trained on the same text in the same tokens, has order 2 to 5, whichever is best,
    and at most one stored n-gram for each parameter. Beside it: the best of as many bytes, and the
    unlimited one of order 5.
    """
    if rivals is None:
        lacks = "the training and validation stories: give them as data"
        return Metric("bits_per_byte", [], lacks)
    began = time.monotonic()
    with evaluated.named():
        found = score(evaluated.backend, evaluated.tokenizer, evaluated.context, validation)
    speed = found.tokens / (time.monotonic() - began)
    beside = {
        "equal_count": rivals.best(evaluated.parameters),
        "equal_bytes": rivals.best(evaluated.parameters * PARAMETER_BYTES // GRAM_BYTES),
        "unlimited": rivals.unlimited(),
    }
    share = Share.of(found.story_bits, found.story_bytes)
    bound = beside["equal_count"]["bits_per_byte"]
    measured = MetricValue("bits_per_byte.validation", share, bound=bound)
    return Metric(
        "bits_per_byte", [measured], details={"kneser_ney": beside, "tokens_per_second": speed}
    )
