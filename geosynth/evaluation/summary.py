"""Runs put together: each arm's scores over its seeds, and how it differs from real tiles only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.evaluation.arms import Arm, reference_arm
from geosynth.evaluation.bootstrap import GroupInterval, group_interval
from geosynth.evaluation.experiment import RunResult
from geosynth.evaluation.places import by_scene, scene_of
from geosynth.evaluation.statistics import (
    FEWEST_SEEDS,
    NO_SPREAD,
    Difference,
    Estimate,
    estimate,
    is_beyond_noise,
    paired_difference,
    signed,
    still_beyond_noise,
    verdict,
)
from geosynth.segmentation.metrics import scores

FEWEST_SCENES = 8
"""With so many scenes under test, whole scenes are drawn for the interval over places; with fewer, blocks of tiles."""


@dataclass(frozen=True)
class ArmSummary:
    """One arm over its seeds; ``iou`` and ``f1`` by class in legend order, None for a class the test does not show.

    ``difference`` (mean IoU, over seeds), ``places`` (the same, over blocks or scenes of test tiles),
    ``difference_val`` (over seeds, on split=val), ``gains`` (IoU by class, over seeds) and ``verdict`` compare it with
    the real-only arm; None and empty for that arm itself.
    """

    arm: Arm
    runs: tuple[RunResult, ...]
    mean_iou: Estimate
    mean_f1: Estimate
    iou: tuple[Estimate | None, ...]
    f1: tuple[Estimate | None, ...]
    difference: Difference | None
    difference_f1: Difference | None
    difference_val: Difference | None
    places: GroupInterval | None
    gains: tuple[Difference | None, ...]
    verdict: str

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts of test pixels of all runs together, int64 (K, K), rows truth."""
        total: NDArray[np.int64] = np.sum([run.confusion for run in self.runs], axis=0)
        return total


def summarise(arms: Sequence[Arm], results: Sequence[RunResult]) -> list[ArmSummary]:
    """One summary an arm that has runs, in the order of ``arms``."""
    runs = {arm.name: {result.seed: result for result in results if result.arm == arm.name} for arm in arms}
    reference = reference_arm(arms)
    base = runs[reference.name] if reference else {}
    return [
        _summary(arm, runs[arm.name], reference.name if reference and arm is not reference else "", base)
        for arm in arms
        if runs[arm.name]
    ]


def _summary(arm: Arm, own: Mapping[int, RunResult], reference: str, base: Mapping[int, RunResult]) -> ArmSummary:
    runs = tuple(own.values())
    classes = range(len(runs[0].iou))
    f1 = [_class_f1(run) for run in runs]
    difference, difference_f1, difference_val, places, words = None, None, None, None, ""
    gains: tuple[Difference | None, ...] = ()
    if reference:
        difference = paired_difference(_by_seed(own, "mean_iou"), _by_seed(base, "mean_iou"))
        difference_f1 = paired_difference(_by_seed(own, "mean_f1"), _by_seed(base, "mean_f1"))
        difference_val = paired_difference(_on_val(own), _on_val(base))
        shared = sorted(own.keys() & base.keys())
        places = over_places([own[seed] for seed in shared], [base[seed] for seed in shared])
        gains = tuple(paired_difference(_of_class(own, k), _of_class(base, k)) for k in classes)
        words = verdict(arm.name, reference, difference, places=places, scope=_scope(arm, runs))
    return ArmSummary(
        arm,
        runs,
        estimate([run.mean_iou for run in runs]),
        estimate([run.mean_f1 for run in runs]),
        tuple(_class_estimate([run.iou[k] for run in runs]) for k in classes),
        tuple(_class_estimate([values[k] for values in f1]) for k in classes),
        difference,
        difference_f1,
        difference_val,
        places,
        gains,
        words,
    )


def _scope(arm: Arm, runs: Sequence[RunResult]) -> str:
    """What all runs of an arm had in common, so that a claim is about no other."""
    made = {run.generator for run in runs if run.generator >= 0}
    if not made:
        return "this network"
    generators = "this generator" if len(made) == 1 else f"these {len(made)} generators"
    return generators if arm.source == "answers" else f"this network and {generators}"


def over_places(own: Sequence[RunResult], base: Sequence[RunResult]) -> GroupInterval | None:
    """Interval of the difference of paired runs over scenes under test, or over blocks where there are few scenes."""
    if not own:
        return None
    groups = own[0].groups
    if len({scene_of(group) for group in groups}) < FEWEST_SCENES:
        return group_interval([run.counts for run in own], [run.counts for run in base])
    pooled = [[by_scene(run.groups, run.counts)[1] for run in runs] for runs in (own, base)]
    return group_interval(pooled[0], pooled[1], unit="scenes")


def _by_seed(runs: Mapping[int, RunResult], score: str) -> dict[int, float]:
    return {seed: getattr(run, score) for seed, run in runs.items()}


def _on_val(runs: Mapping[int, RunResult]) -> dict[int, float]:
    return {seed: run.val_iou for seed, run in runs.items() if run.val_iou is not None}


def _of_class(runs: Mapping[int, RunResult], k: int) -> dict[int, float]:
    return {seed: value for seed, run in runs.items() if (value := run.iou[k]) is not None}


def _class_f1(run: RunResult) -> list[float | None]:
    found = scores(run.confusion)
    return [value if pixels else None for value, pixels in zip(found.f1, found.pixels, strict=True)]


def _class_estimate(values: Sequence[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def headline(summaries: Sequence[ArmSummary]) -> list[str]:
    """What the runs show, in sentences; mixtures with real tiles first, for they answer what most people ask."""
    ordered = _compared(summaries)
    if ordered:
        return [entry.verdict for entry in ordered]
    if summaries:
        return ["No arm learned from real tiles only: there is nothing to compare the others with."]
    return ["No segmenter was trained for this report: whether the tiles help was not measured."]


def in_short(summaries: Sequence[ArmSummary], first: Arm | None) -> list[str]:
    """The same for many arms: the verdict of ``first`` in full, the others by what they showed; and ``together``."""
    ordered = _compared(summaries)
    if len(ordered) <= MANY:
        return [*headline(summaries), *together(summaries)]
    leading = next((entry for entry in ordered if entry.arm == first), ordered[0])
    groups: dict[str, list[str]] = {name: [] for name in _STANDINGS}
    for entry in ordered:
        if entry is not leading:
            gain = "" if entry.difference is None else f" ({signed(entry.difference.mean)})"
            groups[standing(entry)].append(f"“{entry.arm.name}”{gain}")
    words = [f"{name}: {', '.join(members)}." for name, members in groups.items() if members]
    return [leading.verdict, *words, *together(summaries)]


MANY = 3
"""Up to so many comparisons are told one by one."""

_BETTER, _WORSE = "Better than real tiles only, beyond noise", "Worse than real tiles only, beyond noise"
_ELSEWHERE = "Better or worse, but that may be due to where it was tested"
_NO_DIFFERENCE, _UNKNOWN = "No difference beyond noise", "Too few seeds to say"
_STANDINGS = (_BETTER, _NO_DIFFERENCE, _WORSE, _ELSEWHERE, _UNKNOWN)


def standing(entry: ArmSummary) -> str:
    """What an arm showed beside the reference, as a heading for several."""
    found = entry.difference
    if found is None or found.count < FEWEST_SEEDS or (found.standard_error or 0) < NO_SPREAD:
        return _UNKNOWN
    if not is_beyond_noise(found):
        return _NO_DIFFERENCE
    if entry.places is not None and not entry.places.leaves_out_zero:
        return _ELSEWHERE
    return _BETTER if found.mean > 0 else _WORSE


def _compared(summaries: Sequence[ArmSummary]) -> list[ArmSummary]:
    return sorted((entry for entry in summaries if entry.verdict), key=lambda entry: not entry.arm.real)


def together(summaries: Sequence[ArmSummary]) -> list[str]:
    """What is left of the claims when all comparisons are judged at once; nothing where none is claimed."""
    compared = [entry for entry in summaries if entry.difference is not None]
    kept_claims = still_beyond_noise([entry.difference for entry in compared])
    single = sum(is_beyond_noise(entry.difference) for entry in compared)
    if len(compared) < 2 or not single:
        return []
    names = [f"“{entry.arm.name}”" for entry, left in zip(compared, kept_claims, strict=True) if left]
    when = f"when the {len(compared)} comparisons are judged together (Holm, 5 %)"
    if single == 1:
        claimed = next(entry.arm.name for entry in compared if is_beyond_noise(entry.difference))
        stays = "stays" if names else "does not stay"
        chance = "" if names else ": with so many, one may look real by chance"
        return [f"The difference of “{claimed}” {stays} {when}{chance}."]
    if len(names) == single:
        return [f"All of these differences stay {when}."]
    stay = f"{', '.join(names)} {'stays' if len(names) == 1 else 'stay'}" if names else "none stays"
    return [
        f"Of the {single} differences beyond noise, {stay} {when}: with so many, one of the others may look real by"
        " chance."
    ]
