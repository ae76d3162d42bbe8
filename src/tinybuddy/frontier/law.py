"""A law of bits per byte against parameters N and training tokens D, fitted to runs.

    bits = E + A / N^a + B / D^b          (Hoffmann et al. 2022, arXiv 2203.15556)

Of each budget and number of steps the recipe with the lowest mean over its seeds counts. Most
trials are worse by a learning rate or a shape that was merely tried, and a law through all would
be one of how proposals are drawn. Pruned runs do not count: their rate had not fallen yet.

D counts tokens as often as they were seen; a repeated one is worth less (Muennighoff et al. 2023,
arXiv 2305.16264), so the law holds for texts as long as the one that it was fitted on.

A study has few numbers of tokens. Where no budget was trained for three of them, E, B and b cannot
be told apart, and b is taken to be a, which Hoffmann's 0.34 and 0.28 nearly are; where none was for
two, all that D does is within E.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from tinybuddy.errors import TinybuddyError, counted
from tinybuddy.frontier.results import Row, bits_of

Numbers = NDArray[np.float64]

FEWEST_BUDGETS = 4  # E, A and a alone go through any three
APART = 3  # numbers of tokens that differ by less are one: contexts of 64 and 128 differ by 2
HUBER = 0.01  # of the logarithm, beyond which a residual counts linearly: seeds differ by 0.006
DRAWS = 400
NAMES = ("E", "A", "a", "B", "b")
NONE = -700.0  # logarithm of a B that is nothing

# How log E, log A, a, log B and b follow from those that are fitted; by the numbers of tokens.
FORMS = {
    1: np.eye(5, 3),
    2: np.vstack([np.eye(4), [0, 0, 1, 0]]),
    3: np.eye(5),
}


class Observation(NamedTuple):
    """The best of a budget and number of steps: bits per byte, the mean over its seeds."""

    budget: int
    parameters: int
    tokens: int
    bits: float


class Prediction(NamedTuple):
    """Bits per byte, with the ends of the 95 % interval of a measurement."""

    bits: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Law:
    """The fitted law.

    Attributes:
        constants: E, A, a, B, b; B is 0 where all runs had as many tokens.
        draws: the same (DRAWS, 5) of as many samples of the observations.
        spread: what observations differ from the law by, as differences of the logarithm.
        observations: that it was fitted to.
        tokens: how many different numbers of tokens the budget with most of them was trained for, 3
            at most; see the top of this file.
    """

    constants: Numbers
    draws: Numbers
    spread: Numbers
    observations: Sequence[Observation]
    tokens: int

    @property
    def longest(self) -> int:
        """Most training tokens of an observation."""
        return max(each.tokens for each in self.observations)

    @property
    def largest(self) -> Observation:
        """The one of the largest budget, where it was trained longest."""
        return max(self.observations, key=lambda each: (each.budget, each.tokens))

    def bits(self, parameters: float, tokens: float) -> float:
        """Bits per byte of the best model of so many parameters after so many tokens."""
        return float(_bits(self.constants, parameters, tokens))

    def predict(self, parameters: float, tokens: float) -> Prediction:
        """The same with the interval within which 95 % of measurements should lie.

        It has both what the law is not sure of and what observations differ from it by.
        """
        rng = np.random.default_rng(0)
        noise = rng.choice(self.spread, len(self.draws))
        low, high = np.quantile(
            _bits(self.draws.T, parameters, tokens) * np.exp(noise), [0.025, 0.975]
        )
        return Prediction(self.bits(parameters, tokens), float(low), float(high))

    def __str__(self) -> str:
        e, a, power_a, b, power_b = self.constants
        terms = [f"{e:.2f}"] if e >= 0.005 else []
        terms.append(f"{a:,.3g} / N^{power_a:.2f}")
        if b:
            terms.append(f"{b:,.3g} / D^{power_b:.2f}")
        return "bits per byte = " + " + ".join(terms)

    def to_mapping(self) -> dict[str, Any]:
        """The law as JSON takes it: constants with 95 % intervals, and what it stands on."""
        low, high = np.quantile(self.draws, [0.025, 0.975], axis=0)
        return {
            "law": str(self),
            "constants": {
                name: {"value": value, "low": at, "high": to}
                for name, value, at, to in zip(
                    NAMES, self.constants.tolist(), low.tolist(), high.tolist(), strict=True
                )
            },
            "observations": len(self.observations),
            "token_counts": self.tokens,
            "typical_error": float(np.median(np.abs(self.spread))),
        }


def observations(rows: Iterable[Row]) -> list[Observation]:
    """The best of each budget and number of steps.

    Args:
        rows: as `tinybuddy.frontier.findings.finished` returns them.
    """
    groups: dict[tuple[int, int], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row["budget"], row["steps"]][row["fingerprint"]].append(row)
    found = []
    for (budget, _), recipes in sorted(groups.items()):
        means = {key: fmean(map(bits_of, seeds)) for key, seeds in recipes.items()}
        best = min(means, key=means.__getitem__)
        row = recipes[best][0]
        found.append(Observation(budget, row["parameters"], row["tokens"], means[best]))
    return found


def fit(rows: Iterable[Row]) -> Law:
    """Fit the law by the Huber loss of log bits per byte, with a bootstrap over observations.

    Raises:
        TinybuddyError: if the rows are too few to fit anything.
    """
    found, form = _usable(observations(rows))
    if _budgets(found) < FEWEST_BUDGETS:
        raise TinybuddyError(
            f"A law needs finished runs of at least {FEWEST_BUDGETS} budgets, and there are of "
            f"{counted(_budgets(found), 'budget')}."
        )
    n, d, bits = np.array([each[1:] for each in found], float).T
    constants, free = _fitted(n, d, bits, form)
    rng = np.random.default_rng(0)
    draws: list[Numbers] = []
    while len(draws) < DRAWS:
        drawn = rng.integers(len(found), size=len(found))
        sample = [found[i] for i in drawn]
        if _budgets(sample) < FEWEST_BUDGETS - 1 or _usable(sample)[1] < form:
            continue  # it could not be fitted
        draws.append(_fitted(n[drawn], d[drawn], bits[drawn], form, free)[0])
    residuals = np.log(bits) - np.log(_bits(constants, n, d))
    degrees = len(found) / (len(found) - FORMS[form].shape[1])  # a fit hides some of what differs
    return Law(constants, np.array(draws), residuals * degrees**0.5, found, form)


def held_back(rows: Sequence[Row], budget: int) -> dict[str, Any]:
    """What the law of the other budgets predicts for one, beside what was measured there.

    Returns:
        ``budget``; ``parameters`` and ``tokens`` of its best run that was trained longest, but not
        longer than the others;
        ``measured``, ``predicted``, and ``low`` and ``high`` of a 95 % interval, in bits per byte.

    Raises:
        TinybuddyError: if that budget has no run, or the others are too few.
    """
    law = fit([row for row in rows if row["budget"] != budget])
    own = [
        each
        for each in observations(rows)
        if each.budget == budget and each.tokens < APART * law.longest
    ]
    if not own:
        raise TinybuddyError(f"No run of {budget:,} parameters has come to its end.")
    best = max(own, key=lambda each: each.tokens)
    predicted = law.predict(best.parameters, best.tokens)
    return {
        "budget": budget,
        "parameters": best.parameters,
        "tokens": best.tokens,
        "measured": best.bits,
        "predicted": predicted.bits,
        "low": predicted.low,
        "high": predicted.high,
    }


def said_of(known: dict[str, Any]) -> str:
    """What `held_back` returned, as a sentence."""
    return (
        "From all budgets but {budget:,} it predicts {predicted:.3f} bits per byte ({low:.3f} to "
        "{high:.3f}) for {parameters:,} parameters; measured were {measured:.3f}.".format(**known)
    )


def _budgets(found: Iterable[Observation]) -> int:
    return len({each.budget for each in found})


def _usable(found: Sequence[Observation]) -> tuple[list[Observation], int]:
    """What a law can be fitted to, and `Law.tokens`.

    A number of tokens that only one budget was trained for tells nothing of what tokens do.
    """
    levels: list[list[Observation]] = []
    for each in sorted(found, key=lambda each: each.tokens):
        if not levels or each.tokens >= APART * levels[-1][0].tokens:
            levels.append([])
        levels[-1].append(each)
    levels = sorted((one for one in levels if _budgets(one) > 1), key=_budgets, reverse=True)
    seen = Counter(budget for level in levels for budget in {each.budget for each in level})
    form = min(3, max(seen.values(), default=1))
    while form > 1 and _budgets(found) + form - 1 < FORMS[form].shape[1]:
        form -= 1
    return [each for level in levels[: 1 if form == 1 else None] for each in level], form


def _bits(constants: Numbers, n: Any, d: Any) -> Numbers:
    e, a, power_a, b, power_b = constants
    bits: Numbers = e + a * n**-power_a + b * d**-power_b
    return bits


def _fitted(
    n: Numbers, d: Numbers, bits: Numbers, form: int, start: Numbers | None = None
) -> tuple[Numbers, Numbers]:
    """The constants, and what is fitted of them, from a start or else from the best of many.

    Fitted are the logarithms of the three terms at the middle of all runs, and the exponents:
    A and a by themselves depend on each other so much that a search among them hardly moves.
    """
    x, y = np.log(n), np.log(d)
    if form == 1:
        y = np.zeros_like(x)
    middle_x, middle_y = float(x.mean()), float(y.mean())
    x, y, wanted = x - middle_x, y - middle_y, np.log(bits)
    form_of, base = FORMS[form], np.array([0, 0, 0, NONE if form == 1 else 0, 0])

    def terms(free: Numbers) -> Numbers:
        e, a, power_a, b, power_b = form_of @ free + base
        return np.exp([e + 0 * x, a - power_a * x, b - power_b * y])

    def residuals(free: Numbers) -> Numbers:
        found: Numbers = np.log(terms(free).sum(0)) - wanted
        return found

    def slopes(free: Numbers) -> Numbers:
        share = terms(free)
        e, a, b = share / share.sum(0)
        found: Numbers = np.stack([e, a, -x * a, b, -y * b], axis=1) @ form_of
        return found

    low = np.array([-7.0, -7.0, 0.02, -7.0, 0.02])
    high = np.array([3.0, 3.0, 3.0, 3.0, 3.0])
    count = form_of.shape[1]
    starts = [start] if start is not None else _starts(float(bits.min()), form)
    best = min(
        (
            least_squares(
                residuals,
                np.clip(each, low[:count], high[:count]),
                slopes,
                bounds=(low[:count], high[:count]),
                loss="huber",
                f_scale=HUBER,
                x_scale=1.0,
            )
            for each in starts
        ),
        key=lambda found: float(found.cost),
    )
    e, a, power_a, b, power_b = form_of @ best.x + base
    constants = np.exp([e, a + power_a * middle_x, 0, b + power_b * middle_y, 0])
    constants[[2, 4]] = power_a, power_b
    if form == 1:
        constants[[3, 4]] = 0
    return constants, best.x


def _starts(least: float, form: int) -> list[Numbers]:
    """Floors of a third and nine tenths of the best run, and exponents from flat to steep."""
    return [
        np.array([np.log(floor * least), np.log(least / 2), a, np.log(least / 4), b])[
            : FORMS[form].shape[1]
        ]
        for floor in (0.3, 0.9)
        for a in (0.2, 0.5, 1.0)
        for b in ((0.2, 0.5, 1.0) if form == 3 else (0.3,))
    ]
