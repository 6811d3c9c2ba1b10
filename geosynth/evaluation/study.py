"""From real and synthetic tilesets to a report folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from geosynth.devices import choose_device, kept_machine
from geosynth.errors import GeosynthError
from geosynth.evaluation.experiment import (
    Arm,
    ExperimentPlan,
    Run,
    RunResult,
    check,
    check_training,
    run_experiment,
    segmenter_run,
)
from geosynth.evaluation.report import write_report
from geosynth.evaluation.summary import headline, summarise
from geosynth.events import Events
from geosynth.folders import Rerun, claim, is_done
from geosynth.tileset import Tileset


def evaluate(
    tiles: str | PathLike[str],
    plan: ExperimentPlan,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    threads: int | None = None,
    device: str = "auto",
    keep: bool = False,
    run: Run | None = None,
) -> str:
    """Compare segmenters trained with and without synthetic tiles, and write a report.

    Args:
        tiles: the real tileset; its split=test is what counts.
        plan: the experiment, its arms for example from ``standard_arms``. Without seeds nothing is trained, and the
            report is about the tiles alone.
        out: report folder to write: ``report.html``, ``report.md`` and, with seeds, ``runs.csv``.
        events: progress, warnings, scores, cancellation.
        rerun: rules for an existing output; resuming goes on with the run that was interrupted.
        threads: CPU threads of training and testing; kept with the run, as is the device.
        device: auto, cpu, cuda or mps.
        keep: leave the segmenters under ``runs/``.
        run: trains and tests one arm with one seed; by default ``segmenter_run``.

    Returns:
        What came out, in a sentence or a few.

    Raises:
        GeosynthError: the plan names something twice, or compares nothing.
        TilesetError, ModelError: an input cannot be used, or the run was begun on another device.
        LeakError: something behind an arm's synthetic tiles saw test tiles.
        OutputError: the rerun rules refuse.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    real = Tileset(tiles)
    check(real, plan, events)
    synthetic = synthetic_tilesets(plan.arms)
    if not plan.seeds and not synthetic:
        raise GeosynthError("nothing to compare", remedy="give synthetic tiles with --arm NAME=TILES")
    trains = run is None and bool(plan.seeds)
    if trains:
        check_training(real, plan, device)
    request = {
        "command": "evaluate",
        "tiles": real.identity(),
        "plan": {**asdict(plan), "arms": [_arm(arm) for arm in plan.arms]},
        "keep": keep,
    }
    if not is_done(out, request, rerun):  # a damaged tile must not cost an earlier report
        for tileset in (real, *synthetic.values()):
            tileset.verify(tileset.select())
    with claim(out, request, rerun) as folder:
        if folder.complete:
            results = [RunResult.from_json(record) for record in folder.records().values()]
            events.log("nothing to do: the report is there already")
        else:
            if trains:
                asked = {"device": choose_device(device), "threads": threads or torch.get_num_threads()}
                run = segmenter_run(real, plan, **kept_machine(folder, asked, events))
            results = [] if run is None else run_experiment(plan, run, folder, events, keep=keep)
            with events.task("report"):
                write_report(folder, real, synthetic, plan, results, events)
            folder.finish()
    return " ".join(headline(summarise(plan.arms, results)))


def synthetic_tilesets(arms: Sequence[Arm]) -> dict[str, Tileset]:
    """The synthetic tilesets of all arms, each once, by name: that of the arm that is it alone, else its id."""
    paths = dict.fromkeys(path for arm in arms for path in arm.synthetic)
    alone = {arm.synthetic[0]: arm.name for arm in reversed(arms) if not arm.real and len(arm.synthetic) == 1}
    found = {}
    for path in paths:
        tileset = Tileset(path)
        found[alone.get(path, tileset.spec.id)] = tileset
    return found


def _arm(arm: Arm) -> dict[str, Any]:
    """An arm as JSON values: tilesets by what is in them, not by where they lie."""
    return {**asdict(arm), "synthetic": [Tileset(Path(path)).identity() for path in arm.synthetic]}
