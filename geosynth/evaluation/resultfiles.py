"""What an experiment leaves for others to read: one line a run, one a block of test tiles, and how it was laid out."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO, StringIO
from typing import Any

import numpy as np

from geosynth.evaluation.arms import Arm, headline_arm, reference_arm
from geosynth.evaluation.experiment import ExperimentPlan, RunResult
from geosynth.evaluation.planning import Run, Schedule
from geosynth.evaluation.seeds import layout
from geosynth.folders import OutputFolder, canonical_json
from geosynth.tileset import Tileset

RUNS, COUNTS, LAYOUT = "runs.csv", "results.parquet", "experiment.json"


def write_results(
    out: OutputFolder,
    subsets: Sequence[Tileset],
    plan: ExperimentPlan,
    results: Sequence[RunResult],
    schedule: Schedule,
    missing: Mapping[str, str],
) -> None:
    """Write ``runs.csv``, ``results.parquet`` and ``experiment.json`` into a claimed folder.

    Args:
        out: the report folder.
        subsets: the real tileset, or its label subsets.
        plan: with all arms that were asked for.
        results: the runs.
        schedule: what was run, and what the budget left out.
        missing: why arms were left out, by name.
    """
    names = subsets[0].spec.legend.names
    out.write(RUNS, runs_csv(results, names))
    out.write(COUNTS, counts_parquet(results, names))
    out.write(LAYOUT, canonical_json(experiment_layout(subsets, plan, results, schedule, missing)))


def runs_csv(results: Sequence[RunResult], names: Sequence[str]) -> str:
    """One line a run: arm, its seeds, pairs, mean IoU, mean F1, IoU by class, mean IoU on val; empty where unknown."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ("arm", "seed", "subset", "generator", "initialisation", "real_pairs", "synthetic_pairs")
    writer.writerow([*head, "mean_iou", "mean_f1", *(f"iou_{name}" for name in names), "val_mean_iou"])
    for run in results:
        values = ["" if value is None else f"{value:.6f}" for value in (*run.iou, run.val_iou)]
        known = [getattr(run, name) for name in head]
        writer.writerow([*known, f"{run.mean_iou:.6f}", f"{run.mean_f1:.6f}", *values])
    return stream.getvalue()


def counts_parquet(results: Sequence[RunResult], names: Sequence[str]) -> bytes:
    """Parquet with a row for every run, block, true and predicted class that has pixels; ``pixels`` counts them."""
    import pandas

    rows: list[dict[str, Any]] = []
    for run in results:
        counts = run.counts
        for group, truth, predicted in np.argwhere(counts).tolist():
            rows.append(
                {
                    "arm": run.arm,
                    "seed": run.seed,
                    "subset": run.subset,
                    "generator": run.generator,
                    "initialisation": run.initialisation,
                    "group": run.groups[group],
                    "truth": names[truth],
                    "predicted": names[predicted],
                    "pixels": int(counts[group, truth, predicted]),
                }
            )
    buffer = BytesIO()
    pandas.DataFrame.from_records(rows).to_parquet(buffer, compression="zstd", index=False)
    return buffer.getvalue()


def experiment_layout(
    subsets: Sequence[Tileset],
    plan: ExperimentPlan,
    results: Sequence[RunResult],
    schedule: Schedule,
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """How the experiment was laid out, as JSON values: arms, seed table, blocks of test tiles, what was left out."""
    reference, headline = reference_arm(plan.arms), headline_arm(plan.arms)
    return {
        "format": 1,
        "classes": list(subsets[0].spec.legend.names),
        "subsets": [subset.identity() for subset in subsets],
        "arms": [arm_json(arm) for arm in plan.arms],
        "reference": None if reference is None else reference.name,
        "headline": None if headline is None else headline.name,
        "seeds": [asdict(row) for row in layout(plan.seeds, len(subsets))],
        "groups": list(results[0].groups) if results else [],
        "left_out": [
            *({"arm": name, "seed": None, "why": why} for name, why in missing.items()),
            *({"arm": name, "seed": number, "why": "budget"} for name, number in schedule.left_out),
        ],
        "training": {
            name: getattr(plan, name) for name in ("architecture", "encoder", "steps", "batch", "learning_rate")
        },
    }


def arm_json(arm: Arm) -> dict[str, Any]:
    """An arm as JSON values: tilesets by what is in them, not by where they lie."""
    return {**asdict(arm), "synthetic": [_identity(arm, n) for n in range(len(arm.synthetic))]}


def _identity(arm: Arm, number: int) -> Any:
    from geosynth.diffusion.generator import describe, resolve

    path = arm.synthetic[number]
    return {"generator": describe(resolve(path))["hash"]} if arm.source == "answers" else Tileset(path).identity()


def left_out_words(left_out: Sequence[Run], missing: Mapping[str, str]) -> list[str]:
    """Sentences that say what was left out, and why."""
    words = [f"Left out: “{name}” ({why})." for name, why in missing.items()]
    for name in dict.fromkeys(arm for arm, _ in left_out):
        count = sum(arm == name for arm, _ in left_out)
        words.append(f"Left out for want of time: {count} run{'s' if count > 1 else ''} of “{name}”.")
    return words
