"""Evidence made of the built-in tales, for all that needs no TinyStories."""

from __future__ import annotations

import pytest

from tinybuddy.evaluation.evidence import Evidence, gather
from tinybuddy.evaluation.rivals.ngrams import Rivals, open_rivals
from tinybuddy.evaluation.scorecard import Standard, open_standard
from tinybuddy.tokenizer.training import train_tokenizer


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    return gather("tales", 1500, lambda *_: None)


@pytest.fixture(scope="session")
def standard(evidence: Evidence) -> Standard:
    return open_standard(evidence, evidence.statistics)


@pytest.fixture(scope="session")
def rivals(evidence: Evidence) -> Rivals:
    tokenizer = train_tokenizer(evidence.train, 512)
    return open_rivals(tokenizer, evidence.train, evidence.validation)
