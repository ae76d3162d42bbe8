"""What a speaker of English must reach, figure by figure.

Start values, to be frozen once human stories and the controls have been measured.
"""

from __future__ import annotations

from typing import NamedTuple


class Bound(NamedTuple):
    """A figure passes if the unfavourable end of its interval keeps this."""

    value: float
    least: bool = True  # at least, or at most
    of_human: bool = False  # as a ratio to the value of human stories


BOUNDS = {
    "bits_per_byte.validation": Bound(1.0, least=False),
    "words.english": Bound(0.97),
    "grammar.pairs": Bound(0.75),
    "grammar.word_order": Bound(0.90),
    "coherence.pairs": Bound(0.65),
    "coherence.sentence_order": Bound(0.65),
    "repetition.rows": Bound(0.10, least=False),
    "variety.own_rows": Bound(0.5, of_human=True),
    "variety.distinct_words": Bound(0.5, of_human=True),
    "originality.longest_copy": Bound(2.0, least=False, of_human=True),
    "originality.new_rows": Bound(0.5, of_human=True),
    "sentences.whole": Bound(0.80),
}
