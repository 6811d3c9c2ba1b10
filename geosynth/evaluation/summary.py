"""Runs put together: each arm's scores over its seeds, and how it differs from real tiles only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geosynth.evaluation.arms import Arm, reference_arm
from geosynth.evaluation.experiment import RunResult
from geosynth.evaluation.statistics import Difference, Estimate, estimate, paired_difference, verdict


@dataclass(frozen=True)
class ArmSummary:
    """One arm over its seeds; ``iou`` by class in legend order, None for a class that never came up in the test.

    ``difference`` and ``verdict`` compare it with the real-only arm; None and empty for that arm itself.
    """

    arm: Arm
    runs: tuple[RunResult, ...]
    mean_iou: Estimate
    mean_f1: Estimate
    iou: tuple[Estimate | None, ...]
    difference: Difference | None
    verdict: str


def summarise(arms: Sequence[Arm], results: Sequence[RunResult]) -> list[ArmSummary]:
    """One summary an arm that has runs, in the order of ``arms``."""
    runs = {arm.name: tuple(result for result in results if result.arm == arm.name) for arm in arms}
    reference = reference_arm(arms)
    base = {run.seed: run.mean_iou for run in runs[reference.name]} if reference else {}
    summaries = []
    for arm in arms:
        own = runs[arm.name]
        if not own:
            continue
        difference, words = None, ""
        if reference is not None and arm is not reference:
            difference = paired_difference({run.seed: run.mean_iou for run in own}, base)
            words = verdict(arm.name, reference.name, difference)
        summaries.append(
            ArmSummary(
                arm,
                own,
                estimate([run.mean_iou for run in own]),
                estimate([run.mean_f1 for run in own]),
                tuple(_class_estimate([run.iou[k] for run in own]) for k in range(len(own[0].iou))),
                difference,
                words,
            )
        )
    return summaries


def _class_estimate(values: Sequence[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def headline(summaries: Sequence[ArmSummary]) -> list[str]:
    """What the runs show, in sentences; mixtures with real tiles first, for they answer what most people ask."""
    ordered = sorted((entry for entry in summaries if entry.verdict), key=lambda entry: not entry.arm.real)
    if ordered:
        return [entry.verdict for entry in ordered]
    if summaries:
        return ["No arm learned from real tiles only: there is nothing to compare the others with."]
    return ["No segmenter was trained for this report: whether the tiles help was not measured."]
