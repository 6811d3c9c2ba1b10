"""From real and synthetic tilesets to a report folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

import torch

from geosynth.devices import choose_device, kept_machine
from geosynth.errors import GeosynthError
from geosynth.evaluation.arms import NEEDS_SYNTHETIC, Arm
from geosynth.evaluation.checking import check, check_training
from geosynth.evaluation.experiment import ExperimentPlan, RunResult, jobs
from geosynth.evaluation.features import FeatureNetwork
from geosynth.evaluation.planning import Schedule
from geosynth.evaluation.report import write_report
from geosynth.evaluation.resultfiles import arm_json, left_out_words, write_results
from geosynth.evaluation.running import Machines, RunJob, kept_schedule, run_experiment
from geosynth.evaluation.summary import headline, summarise
from geosynth.evaluation.trials import SegmenterRuns
from geosynth.events import Events
from geosynth.folders import STATE, Rerun, claim, is_done, keep_apart
from geosynth.normalisation import Normalisation
from geosynth.tileset import Tileset


def evaluate(
    tiles: str | PathLike[str] | Sequence[str | PathLike[str]],
    plan: ExperimentPlan,
    out: str | PathLike[str],
    events: Events,
    *,
    rerun: Rerun = "refuse",
    threads: int | None = None,
    device: str = "auto",
    workers: int = 1,
    scheduler: str | None = None,
    budget: float | None = None,
    keep: bool = False,
    features: str | PathLike[str] | None = None,
    run: RunJob | None = None,
) -> str:
    """Compare segmenters trained with and without synthetic tiles, and write a report.

    Args:
        tiles: the real tileset, whose split=test is what counts; or several label subsets of it.
        plan: the experiment, its arms for example from ``choose_arms``. Without seeds nothing is trained, and the
            report is about the tiles alone.
        out: report folder to write: ``report.html``, ``report.md`` and, with seeds, ``runs.csv``, ``results.parquet``
            and ``experiment.json``.
        events: progress, warnings, scores, cancellation.
        rerun: rules for an existing output; resuming goes on with the runs that were interrupted.
        threads: CPU threads of training and testing; kept with the run, as is the device.
        device: auto, cpu, cuda or mps.
        workers: processes that do runs side by side, on as many GPUs as there are; each computes with one thread.
        scheduler: address of a dask scheduler that does the runs instead.
        budget: seconds for all runs; what does not fit is left out, see ``planning``. None: all are done.
        keep: leave the segmenters under ``runs/``.
        features: file of weights of the plan's encoder, or ``ENCODER=FILE``, that describes images for KID and the like
            instead of the segmenter of the arm of real tiles.
        run: trains and tests one run; by default ``SegmenterRuns``.

    Returns:
        What came out, a line for each arm that was compared and for each that was left out.

    Raises:
        GeosynthError: the plan names something twice, or compares nothing.
        TilesetError, ModelError: an input cannot be used, or the run was begun on another device.
        LeakError: something behind an arm's synthetic tiles saw test tiles, or more labels than the arm has.
        OutputError: the rerun rules refuse.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    subsets = [Tileset(path) for path in ([tiles] if isinstance(tiles, (str, PathLike)) else tiles)]
    real, asked = subsets[0], plan
    fitting = check(subsets, plan, events)
    if not plan.seeds and not any(arm.synthetic for arm in plan.arms):
        raise GeosynthError("nothing to compare", remedy="give synthetic tiles with --arm NAME=TILES")
    described_by = None if features is None else _features(features, plan.encoder, real)
    runs = Path(out).absolute() / "runs"
    missing: dict[str, str] = {}
    if plan.seeds and run is None:
        missing = check_training(jobs(subsets, plan, fitting, runs).values(), plan, device)
        plan = replace(plan, arms=tuple(arm for arm in plan.arms if arm.name not in missing))
    synthetic = synthetic_tilesets(plan.arms)
    request = {
        "command": "evaluate",
        "tiles": [subset.identity() for subset in subsets],
        "plan": {**asdict(asked), "arms": [arm_json(arm) for arm in asked.arms]},
        "budget": budget,
        "keep": keep,
        **({} if described_by is None else {"features": described_by.hash}),
    }
    keep_apart(out, *(subset.path for subset in subsets), *(path for arm in plan.arms for path in arm.synthetic))
    if not is_done(out, request, rerun):  # a damaged tile must not cost an earlier report
        for name, why in missing.items():
            events.log(f"left out: '{name}' ({why})")
        for tileset in {tileset.path: tileset for tileset in (*subsets, *synthetic.values())}.values():
            tileset.verify(tileset.select())
    with claim(out, request, rerun) as folder:
        if folder.complete:
            records = [RunResult.from_json(record) for record in folder.records().values()]
            results = _in_order(records, plan.arms)
            schedule = kept_schedule(folder) or Schedule(())
            events.log("nothing to do: the report is there already")
        else:
            results, schedule = [], Schedule(())
            if plan.seeds:
                if run is None:
                    many = workers > 1 or scheduler is not None
                    machine = {
                        "device": choose_device(device),
                        "threads": 1 if many else threads or torch.get_num_threads(),
                    }
                    run = SegmenterRuns(plan, **kept_machine(folder, machine, events))
                results, schedule = run_experiment(
                    jobs(subsets, plan, fitting, runs),
                    plan,
                    run,
                    folder,
                    events,
                    budget=budget,
                    machines=Machines(workers, scheduler, _gpus(device)),
                    keep=keep,
                )
                write_results(folder, subsets, asked, results, schedule, missing)
            with events.task("report"):
                write_report(
                    folder,
                    subsets,
                    synthetic,
                    plan,
                    results,
                    events,
                    fitting=fitting,
                    budget=budget,
                    features=described_by,
                )
            if not keep:
                shutil.rmtree(runs, ignore_errors=True)
            folder.finish()
    words = headline(summarise(plan.arms, results))
    return "\n".join([*words, *left_out_words(schedule.left_out, missing)])


def _features(given: str | PathLike[str], encoder: str, real: Tileset) -> FeatureNetwork:
    """The network in a file of weights; ``ENCODER=FILE`` says which, unless it is the one that is trained."""
    name, equals, path = str(given).partition("=")
    if not equals or Path(given).exists():
        name, path = encoder, str(given)
    bands = [band.name for band in real.spec.bands]
    return FeatureNetwork.from_file(path, name, bands, Normalisation.of(real.statistics))


def read_results(report: str | PathLike[str]) -> list[RunResult]:
    """The runs in a report folder, finished or not, sorted by arm, then row."""
    journal = Path(report) / STATE / "journal"
    records = [json.loads(path.read_text(encoding="utf-8")) for path in journal.glob("*.json")]
    return sorted(map(RunResult.from_json, records), key=lambda run: (run.arm, run.seed))


def _gpus(device: str) -> int:
    """GPUs that runs can be dealt out to."""
    return torch.cuda.device_count() if choose_device(device) == "cuda" else 0


def _in_order(results: Iterable[RunResult], arms: Sequence[Arm]) -> list[RunResult]:
    """Results in the order of arms, then rows."""
    order = {arm.name: number for number, arm in enumerate(arms)}
    return sorted(results, key=lambda result: (order[result.arm], result.seed))


def synthetic_tilesets(arms: Sequence[Arm]) -> dict[str, Tileset]:
    """The synthetic tilesets of all arms, each once, by name; those of one name are numbered from the second on."""
    found: dict[str, Tileset] = {}
    known = set[Path]()
    for arm in arms:
        for number, path in enumerate(arm.synthetic if arm.source in NEEDS_SYNTHETIC else ()):
            if path not in known:
                known.add(path)
                tileset = Tileset(path)
                label = arm.label or tileset.spec.id
                found[label if not number else f"{label} ({number + 1})"] = tileset
    return found
