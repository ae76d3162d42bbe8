"""What a speaker of English must reach, value by value.

**Frozen**, second edition. The bounds were set with human stories, llama2.c's stories260K and the
controls alone, before any model of this project took this edition, and do not move to suit one.

What the second edition mended of the first: an interval is over what was drawn (templates within
their paradigm, prompts with their stories, couples of stories) instead of over pairs and stories as
if each were drawn alone; 60 templates a paradigm with 2 fillings instead of 20 with 5; 40 prompts
with 5 seeds instead of 20 with 10; and "what follows preferred" must be 0.85 instead of 0.65, which
an unlimited 5-gram had reached. No bound is lower than it was.

In the reasons, H is human stories from `v1/validation` (200 that are not the reference), S is
stories260K, and what follows is the unfavourable end of the 95 % interval. `tinybuddy evaluate
stories260K.bin --data v1 --stories 5000 --controls` prints them.
"""

from __future__ import annotations

from typing import NamedTuple

EDITION = 2


class Bound(NamedTuple):
    """A value passes if the unfavourable end of its interval keeps this."""

    value: float
    least: bool = True  # at least, or at most
    of_human: bool = False  # as a ratio to the value of human stories


BOUNDS = {
    # The bound is measured: the best Kneser-Ney model with an n-gram a parameter. S 1.045 under
    # 1.267; the 2-gram 2.191 against 1.638. Who is worse than counting was trained in vain.
    "bits_per_byte.validation": Bound(1.0, least=False),
    # H 0.996, S 0.993. A 2-gram of 512 tokens 0.642 at its best end, a 3-character chain 0.618: one
    # word in three wrong is plainly broken, one in 33 can still be a name.
    "words.english": Bound(0.97),
    # S 0.780; constant, uniform and unigram models exactly 0.5; 2-gram 0.609, unlimited 5-gram
    # 0.720 at their best ends. Halfway between: what no count of five tokens reaches needs
    # something like grammar.
    "grammar.pairs": Bound(0.75),
    # H 0.998, S 0.992; human sentences with their inner words shuffled 0.53 at best.
    "grammar.word_order": Bound(0.90),
    # S 0.960; 2-gram 0.575, unlimited 5-gram 0.752 at their best ends. Halfway between, as above.
    "coherence.pairs": Bound(0.85),
    # H 0.867, S 0.725; human stories with their inner sentences shuffled 0.52 at best, chance.
    "coherence.sentence_order": Bound(0.65),
    # H 0.004, S 0.005; one sentence eight times 0.87.
    "repetition.repeated_4grams": Bound(0.10, least=False),
    # H 0.98, S 0.96 of human; one story always 0.
    "variety.own_4grams": Bound(0.5, of_human=True),
    # H 0.95, S 0.94 of human; one story always 0.12, one sentence repeated 0.25.
    "variety.distinct_words": Bound(0.5, of_human=True),
    # H 1.07, S 0.89 of human; training stories copied 5.6.
    "originality.longest_copy": Bound(2.0, least=False, of_human=True),
    # H 0.98, S 1.07 of human; training stories copied 0.
    "originality.new_4grams": Bound(0.5, of_human=True),
    # H 0.981, S 0.991; a 3-character chain 0.71 at its best end.
    "sentences.whole": Bound(0.80),
}
