"""Scores by class: synthetic tiles alone, real tiles alone, both (Gen. / Ori. / Gen. + Ori.), and what both gain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.evaluation.arms import Arm
from geosynth.evaluation.curves import ClassGain, Series
from geosynth.evaluation.statistics import Difference, Estimate, estimate
from geosynth.evaluation.summary import ArmSummary


@dataclass(frozen=True)
class Trio:
    """The arms of one name: ``made`` tiles alone, ``real`` ones alone, ``both``; None where one was not run."""

    label: str
    made: ArmSummary | None
    real: ArmSummary | None
    both: ArmSummary | None

    @property
    def columns(self) -> tuple[ArmSummary | None, ...]:
        """In the order of Label Freedom's table: Gen., Ori., Gen. + Ori."""
        return (self.made, self.real, self.both)


def is_mixture(arm: Arm) -> bool:
    """Whether an arm learns from real and synthetic tiles together, as they are."""
    return arm.real and arm.source == "synthetic" and not arm.training


def trios(summaries: Sequence[ArmSummary]) -> list[Trio]:
    """One for each name of synthetic tiles that was trained on; of several ratios that nearest to 1."""
    labels = dict.fromkeys(entry.arm.label for entry in summaries if entry.arm.source == "synthetic")
    real = next((entry for entry in summaries if not entry.verdict and entry.arm.source == "none"), None)
    found = []
    for label in labels:
        own = [entry for entry in summaries if entry.arm.label == label and entry.arm.source == "synthetic"]
        made = next((entry for entry in own if not entry.arm.real), None)
        mixed = [entry for entry in own if is_mixture(entry.arm)]
        both = min(mixed, key=lambda entry: abs((entry.arm.ratio or 1.0) - 1.0), default=None)
        if made is not None or both is not None:
            found.append(Trio(label, made, real, both))
    return found


def best_of(cells: Sequence[Estimate | None]) -> set[int]:
    """Positions of the highest mean as it is written (three decimals); several on a tie, none below two numbers."""
    known = {position: round(cell.mean, 3) for position, cell in enumerate(cells) if cell is not None}
    return {position for position, mean in known.items() if mean == max(known.values())} if len(known) > 1 else set()


def class_gains(trio: Trio, names: Sequence[str], shares: NDArray[np.float64] | None) -> list[ClassGain]:
    """What each class that is in the training tiles gains when synthetic ones are added, in legend order."""
    if trio.both is None or shares is None:
        return []
    return [
        ClassGain(name, float(share), gain)
        for name, share, gain in zip(names, shares, trio.both.gains, strict=False)
        if gain is not None and share > 0
    ]


def gain_of(trio: Trio, k: int) -> Difference | None:
    """What class ``k`` gains; None where that cannot be said."""
    return trio.both.gains[k] if trio.both is not None and trio.both.gains else None


@dataclass(frozen=True)
class Curves:
    """Mean IoU by ratio, of mixtures and of ``real`` tiles only, all over the same ``rows`` of seeds."""

    series: tuple[Series, ...]
    real: Estimate | None
    rows: int


def curves(summaries: Sequence[ArmSummary]) -> Curves:
    """A curve for each kind of mixture that was run at two ratios or more.

    Arms may have run other rows than each other, and rows differ (in their labels most of all), so that means over all
    that each arm has would mix the ratio with the rows: only those count that every arm of the curves has.
    """
    found: dict[str, list[ArmSummary]] = {}
    for entry in summaries:
        arm = entry.arm
        if arm.real and arm.source in ("synthetic", "filtered") and not arm.training:
            name = f"+ filtered {arm.label}" if arm.source == "filtered" else f"+ {arm.label}"
            found.setdefault(name, []).append(entry)
    drawn = {name: entries for name, entries in found.items() if len({_ratio(entry) for entry in entries}) > 1}
    real = next((entry for entry in summaries if not entry.verdict and entry.arm.source == "none"), None)
    every = [*(entry for entries in drawn.values() for entry in entries), *([real] if real else [])]
    rows = set[int].intersection(*({run.seed for run in entry.runs} for entry in every)) if drawn else set()
    if not rows:
        return Curves((), None, 0)

    def over_rows(entry: ArmSummary) -> Estimate:
        return estimate([run.mean_iou for run in entry.runs if run.seed in rows])

    series = (
        Series(name, tuple((_ratio(entry), over_rows(entry)) for entry in sorted(entries, key=_ratio)))
        for name, entries in drawn.items()
    )
    return Curves(tuple(series), over_rows(real) if real else None, len(rows))


def _ratio(entry: ArmSummary) -> float:
    """Synthetic pairs for each real one: as asked for, or as they were where all were taken."""
    run = entry.runs[0]
    return entry.arm.ratio or run.synthetic_pairs / max(1, run.real_pairs)


def normalised(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows of a confusion matrix as shares of the truth, float64 (K, K); NaN for a class that is not in the truth."""
    truth = confusion.sum(1, keepdims=True).astype(np.float64)
    shares = np.full(confusion.shape, np.nan)
    np.divide(confusion, truth, out=shares, where=truth > 0)
    return shares


def confusion_cells(shares: NDArray[np.float64]) -> Iterator[list[tuple[str, float]]]:
    """Rows of what is written (percent without decimals) and how dark the cell is, 0..0.5 (ink stays legible)."""
    for row in shares:
        yield [
            ("–", 0.0)
            if np.isnan(share)
            else ("·" if share == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}", round(float(share) / 2, 3))
            for share in row
        ]
