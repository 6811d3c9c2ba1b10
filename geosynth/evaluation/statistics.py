"""What follows from a few repeated runs, and what does not. Pure functions over numbers.

Runs differ by their row of seeds: label subset, generator, start of training. Intervals over seeds speak of doing these
again and testing on the same tiles; intervals over blocks (``bootstrap``) of testing the same networks elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from geosynth.evaluation.bootstrap import GroupInterval

FEWEST_SEEDS = 3
"""Below this many paired runs nothing is claimed: an interval from two runs is 13 standard errors wide."""


NO_SPREAD = 1e-9
"""A standard error below this is rounding: the runs were all the same."""


@dataclass(frozen=True)
class Estimate:
    """Mean over runs and its standard error; the error is None for a single run."""

    mean: float
    standard_error: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, its standard error and t-interval (``low``, ``high``); None where unknowable.

    ``confidence`` is the interval's level, 0..1.
    """

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    count: int
    confidence: float = 0.95


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error (sample standard deviation over √n). Raises ValueError for no values."""
    if not values:
        raise ValueError("no values to take the mean of")
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Estimate(mean, math.sqrt(variance / count), count)


def paired_difference(
    arm: Mapping[int, float], reference: Mapping[int, float], confidence: float = 0.95
) -> Difference | None:
    """Arm minus reference over the seeds both were run with; None when they share none.

    Paired, because two runs of one seed share more than two runs of two seeds: pairing removes that part of the noise.

    Args:
        arm: score by seed.
        reference: score by seed.
        confidence: level of Student's t-interval (n − 1 degrees of freedom), between 0 and 1.
    """
    shared = sorted(arm.keys() & reference.keys())
    if not shared:
        return None
    mean = estimate([arm[seed] - reference[seed] for seed in shared])
    if mean.standard_error is None:
        return Difference(mean.mean, None, None, None, 1, confidence)
    reach = float(stats.t.ppf((1 + confidence) / 2, mean.count - 1)) * mean.standard_error
    return Difference(mean.mean, mean.standard_error, mean.mean - reach, mean.mean + reach, mean.count, confidence)


def is_beyond_noise(difference: Difference | None) -> bool:
    """Whether enough runs agree that the interval leaves out zero. Never from fewer than ``FEWEST_SEEDS`` runs."""
    if difference is None or difference.count < FEWEST_SEEDS or (difference.standard_error or 0) < NO_SPREAD:
        return False
    assert difference.low is not None and difference.high is not None
    return difference.low > 0 or difference.high < 0


def p_value(difference: Difference) -> float | None:
    """Two-sided p of Student's paired t-test; None where the spread is not known."""
    if difference.standard_error is None or difference.standard_error < NO_SPREAD:
        return None
    return float(2 * stats.t.sf(abs(difference.mean) / difference.standard_error, difference.count - 1))


def still_beyond_noise(differences: Sequence[Difference | None], level: float = 0.05) -> list[bool]:
    """Which of several differences stay beyond noise when all are judged together (Holm 1979).

    The chance that any of them is called so although there is none is at most ``level``.
    """
    known = sorted(
        (p, position)
        for position, entry in enumerate(differences)
        if entry is not None and is_beyond_noise(entry) and (p := p_value(entry)) is not None
    )
    kept = [False] * len(differences)
    judged = sum(entry is not None for entry in differences)
    for rank, (p, position) in enumerate(known):
        if p > level / (judged - rank):
            break
        kept[position] = True
    return kept


def verdict(
    name: str,
    reference: str,
    difference: Difference | None,
    score: str = "mean IoU",
    places: GroupInterval | None = None,
    scope: str = "this network",
) -> str:
    """One or two sentences: what the difference of ``name`` to ``reference`` shows, and what it leaves open.

    ``places`` is the interval over blocks of test tiles, where there are enough: a difference that seeds confirm but
    blocks do not is no gain elsewhere. ``scope`` is what was the same in all runs, beside the place.
    """
    if difference is None:
        return f"Nothing can be said of “{name}”: it shares no seed with “{reference}”."
    mean, count = difference.mean, difference.count
    seeds = f"{count} seed" + ("s" if count > 1 else "")
    if count < FEWEST_SEEDS:
        way = "the same as" if mean == 0 else f"{abs(mean):.3f} {'higher' if mean > 0 else 'lower'} than"
        return (
            f"Too few seeds to say whether “{name}” differs from “{reference}”: with {seeds} its {score} was {way} that"
            f" of “{reference}”, which may well be chance. Run at least {FEWEST_SEEDS} seeds."
        )
    if difference.standard_error is None or difference.standard_error < NO_SPREAD:
        return (
            f"Nothing can be said of “{name}”: its {score} differs from “{reference}” by exactly {signed(mean)} in all"
            f" {seeds}, so the seeds do not show how much chance there is."
        )
    if is_beyond_noise(difference):
        return _beyond(name, reference, difference, score, places, scope)
    return (
        f"No difference beyond noise between “{name}” and “{reference}”: {signed(mean)} ±"
        f" {difference.standard_error:.3f} {score} ({_numbers(difference)}). It does not follow that there is none:"
        " every difference inside the interval fits these runs."
    )


def _beyond(
    name: str, reference: str, difference: Difference, score: str, places: GroupInterval | None, scope: str
) -> str:
    """What follows from a difference that the seeds confirm."""
    way = "better" if difference.mean > 0 else "worse"
    found = (
        f"“{name}” scored {way} than “{reference}” by {abs(difference.mean):.3f}"
        f"{'' if difference.standard_error is None else f' ± {difference.standard_error:.3f}'} {score}"
        f" ({_numbers(difference)})"
    )
    if places is None:
        return f"{found}. That holds for these test tiles and {scope}; it does not follow for others."
    drawn = f"the {places.groups} {places.unit} of test tiles give {signed(places.low)} to {signed(places.high)}"
    if places.leaves_out_zero:
        return (
            f"{found}, and not just at a few places: {drawn}. That holds for places like these and {scope}; it does not"
            " follow for others."
        )
    return (
        f"{found}, but that may be due to where it was tested: {drawn}. It does not follow that it would be {way}"
        " elsewhere."
    )


def _numbers(difference: Difference) -> str:
    assert difference.low is not None and difference.high is not None
    level = f"{100 * difference.confidence:g}\u00a0%"
    return f"{level} interval {signed(difference.low)} to {signed(difference.high)}, {difference.count} seeds"


def signed(value: float) -> str:
    """With a sign, three decimals and a true minus; zero has no sign."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"
