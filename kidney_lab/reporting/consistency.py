"""Which printed scores contradict each other: closed-form laws of overlap, checked within the rounding of print.

Dice, Jaccard, sensitivity s, precision p and relative volume difference v of one case are ratios of the same three
counts, so that some follow from others: Jaccard = Dice / (2 - Dice) and Dice = 2 s p / (s + p) (A. A. Taha and
A. Hanbury, BMC Medical Imaging 15:29, 2015, doi:10.1186/s12880-015-0068-x), and Dice = 2 s / (2 + v), since the
prediction is 1 + v times as large as the reference. Counts pooled over cases obey the same equalities.

Means over cases do not, but keep bounds: where a score of one case is at most a concave function of others, such as
their harmonic mean, the means obey the same inequality (Jensen). No method can have scores that break a bound. Scores
that break an equality alone cannot come of pooled counts, and may be means.

The bounds suppose that the printed means are over the same cases, or slices, and that none of these had Dice 1 for two
empty masks: in KiTS every case has a kidney and a tumor, a cyst or a slice need not be there. They take v to be signed;
its absolute value breaks no bound that v keeps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

POOLED: Final = "pooled"
"""Level of scores whose counts were summed over cases before the ratio was taken."""

_FRACTIONS: Final = ("dice", "f1", "jaccard", "sensitivity", "precision", "specificity")
_LOWEST_RVD: Final = -1.0
_EPSILON: Final = 1e-9
"""Far below a printed digit, far above what floating-point numbers add to the end of an interval."""


@dataclass(frozen=True)
class Printed:
    """A number as print shows it, rounded.

    Args:
        value: as printed.
        digits: decimals in print; None where the number was not rounded.

    >>> Printed(0.5, 1).low
    0.45
    """

    value: float
    digits: int | None = None

    @property
    def low(self) -> float:
        """Least number that rounds to this one."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """Largest number that rounds to this one."""
        return self.value + self._half

    @property
    def _half(self) -> float:
        return 0.0 if self.digits is None else 0.5 * 10.0**-self.digits


@dataclass(frozen=True)
class Law:
    """What other scores of the same masks say of one.

    Args:
        metric: the score that is judged.
        sense: how it stands to the limit.
        given: scores that the limit is made of; none for a range.
        limit: monotone function of each of them.
        words: the limit, in words.
        pooled: holds for one case and for pooled counts, and not for means over cases.
        unless: a score beside which a stronger law is asked instead.
    """

    metric: str
    sense: Literal["at most", "at least", "exactly"]
    given: tuple[str, ...]
    limit: Callable[..., float]
    words: str
    pooled: bool = False
    unless: str | None = None


@dataclass(frozen=True)
class Finding:
    """Scores that break a law.

    Args:
        law: that is broken.
        value: of the score that is judged, as printed.
        limit: that the other scores give, from the printed numbers.
        only_if_pooled: whether the scores are possible as means over cases; else no method can have them.
    """

    law: Law
    value: float
    limit: float
    only_if_pooled: bool

    @property
    def excess(self) -> float:
        """How far the printed score lies above the limit, or below it if negative."""
        return self.value - self.limit


def contradictions(scores: Mapping[str, Printed], *, level: str | None = None) -> list[Finding]:
    """Checks the scores of one method in one region against every law that they allow to ask.

    Args:
        scores: by the metric's name, as in `METRIC_TABLE`; fractions, not percent, and v signed. Those of which there
            is no law are ignored.
        level: `pooled` where the counts were summed over cases; anything else, and None where it is unknown: the scores
            may be means over cases.

    Returns:
        The laws that no numbers within the rounding obey.

    >>> found = contradictions({"dice": Printed(0.964, 3), "sensitivity": Printed(0.896, 3)})
    >>> [(one.value, round(one.limit, 3), one.law.words) for one in found]
    [(0.964, 0.945, '2 s / (1 + s), s sensitivity')]
    """
    asked = [law for law in LAWS if {law.metric, *law.given} <= scores.keys() and law.unless not in scores]
    return [
        Finding(
            law=law,
            value=scores[law.metric].value,
            limit=law.limit(*(_within_range(name, scores[name].value) for name in law.given)),
            only_if_pooled=law.pooled and level != POOLED,
        )
        for law in asked
        if _is_broken(law, scores)
    ]


def _is_broken(law: Law, scores: Mapping[str, Printed]) -> bool:
    """Whether no numbers that round to the printed ones obey a law, whose limit is extreme at ends of the intervals."""
    ends = [[_within_range(name, end) for end in (scores[name].low, scores[name].high)] for name in law.given]
    limits = [law.limit(*corner) for corner in product(*ends)]
    judged = scores[law.metric]
    above, below = judged.low > max(limits) + _EPSILON, judged.high < min(limits) - _EPSILON
    return {"at most": above, "at least": below, "exactly": above or below}[law.sense]


def _within_range(metric: str, value: float) -> float:
    """The nearest value that a metric can have: rounding may lead out of its range."""
    return max(value, _LOWEST_RVD) if metric == "rvd" else min(max(value, 0.0), 1.0)


def _harmonic_mean(first: float, second: float = 1.0) -> float:
    return 2 * first * second / (first + second) if first + second else 0.0


def _jaccard_of_dice(dice: float) -> float:
    return dice / (2 - dice)


def _best_dice_of_volumes(difference: float) -> float:
    """Dice of the smaller volume inside the larger one; a mean v above 0 bounds nothing, as one case may bring it."""
    return _harmonic_mean(1 + min(difference, 0.0))


def _ranges() -> tuple[Law, ...]:
    fractions = tuple(Law(name, "at most", (), lambda: 1.0, "1, a fraction") for name in _FRACTIONS)
    return (*fractions, Law("rvd", "at least", (), lambda: _LOWEST_RVD, "-1, an empty prediction"))


def _laws_of(dice: str) -> tuple[Law, ...]:
    """Laws of Dice, which F1 is another name of."""
    s, p, v = "sensitivity", "precision", "rvd"
    return (
        Law(dice, "at most", (s, p), _harmonic_mean, "2 s p / (s + p), s sensitivity and p precision"),
        Law(dice, "at most", (s,), _harmonic_mean, "2 s / (1 + s), s sensitivity", unless=p),
        Law(dice, "at most", (p,), _harmonic_mean, "2 p / (1 + p), p precision", unless=s),
        Law(
            dice,
            "at most",
            (v,),
            _best_dice_of_volumes,
            "2 (1 + v) / (2 + v), v signed relative volume difference below 0",
            unless=s,
        ),
        Law(dice, "exactly", (s, p), _harmonic_mean, "2 s p / (s + p), s sensitivity and p precision", pooled=True),
        Law(
            dice,
            "exactly",
            (s, v),
            lambda found, more: 2 * found / (2 + more),
            "2 s / (2 + v), s sensitivity and v signed relative volume difference",
            pooled=True,
        ),
        Law("jaccard", "at least", (dice,), _jaccard_of_dice, f"d / (2 - d), d {dice.capitalize()}"),
        Law("jaccard", "at most", (dice,), lambda d: d, dice.capitalize()),
        Law("jaccard", "exactly", (dice,), _jaccard_of_dice, f"d / (2 - d), d {dice.capitalize()}", pooled=True),
    )


LAWS: Final[tuple[Law, ...]] = (
    *_ranges(),
    *_laws_of("dice"),
    *_laws_of("f1"),
    Law("jaccard", "at most", ("sensitivity",), lambda s: s, "sensitivity"),
    Law("jaccard", "at most", ("precision",), lambda p: p, "precision"),
    Law("sensitivity", "at most", ("rvd",), lambda v: 1 + v, "1 + v, v signed relative volume difference"),
)
"""Every law, bounds and equalities."""
