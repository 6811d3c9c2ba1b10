"""The experiment: the same segmenter trained on different mixtures of real and synthetic tiles, tested on real ones.

Every arm gets the same network, the same number of optimiser steps and the same seeds; only the training tiles differ.
An arm whose synthetic tiles come from something that saw the test place is refused before anything is trained.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.devices import choose_device, cpu_threads
from geosynth.errors import GeosynthError, TilesetError
from geosynth.evaluation.fairness import check_leak
from geosynth.events import Events
from geosynth.folders import OutputFolder
from geosynth.samples import TilesetDataModule, check_compatible
from geosynth.segmentation.metrics import confusion, scores
from geosynth.segmentation.networks import build_network
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tileset import Tileset

REAL = "real"
"""Name of the arm the others are compared with."""


@dataclass(frozen=True)
class Arm:
    """One mixture of training tiles: ``real`` ones or not, and ``synthetic`` tilesets.

    ``ratio`` is synthetic pairs per labelled real training pair; None takes all there are.
    """

    name: str
    synthetic: tuple[Path, ...] = ()
    ratio: float | None = None
    real: bool = True


@dataclass(frozen=True)
class ExperimentPlan:
    """What is compared, and how each arm is trained; the same for all arms, so that only the tiles differ."""

    arms: tuple[Arm, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1000
    architecture: str = "unet"
    encoder: str = "resnet18"
    batch: int = 16
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Trial:
    """What one run gives: counts of test pixels int64 (K, K), rows truth; and how many pairs it learned from."""

    confusion: NDArray[np.int64]
    real_pairs: int
    synthetic_pairs: int


@dataclass(frozen=True)
class RunResult:
    """One trained and tested segmenter.

    ``confusion`` counts test pixels, rows truth. ``iou`` (0..1, legend order) is None for classes the test tiles do not
    show. The means are over the classes they do show, so that they are means of the same classes in every run.
    """

    arm: str
    seed: int
    real_pairs: int
    synthetic_pairs: int
    confusion: tuple[tuple[int, ...], ...]
    mean_iou: float
    mean_f1: float
    iou: tuple[float | None, ...]

    @classmethod
    def of(cls, arm: str, seed: int, trial: Trial) -> RunResult:
        """The scores of a trial."""
        found = scores(trial.confusion)
        there = [k for k, pixels in enumerate(found.pixels) if pixels]
        return cls(
            arm,
            seed,
            trial.real_pairs,
            trial.synthetic_pairs,
            tuple(tuple(row) for row in trial.confusion.tolist()),
            float(np.mean([found.iou[k] for k in there])),
            float(np.mean([found.f1[k] for k in there])),
            tuple(found.iou[k] if k in there else None for k in range(len(found.iou))),
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunResult:
        """From what ``dataclasses.asdict`` made of one, through JSON."""
        rows = tuple(tuple(row) for row in content["confusion"])
        return cls(**{**content, "confusion": rows, "iou": tuple(content["iou"])})


Run = Callable[[Arm, int, Path, Events], Trial]
"""Trains one arm with one seed into a folder, and tests it on the real test tiles."""


def standard_arms(synthetic: Mapping[str, Path], ratio: float | None = None) -> tuple[Arm, ...]:
    """Real only; and for each named synthetic tileset: it alone, and real and it together at ``ratio``."""
    arms = [Arm(REAL)]
    for name, path in synthetic.items():
        arms += [Arm(name, (Path(path),), None, real=False), Arm(f"{REAL} + {name}", (Path(path),), ratio)]
    return tuple(arms)


def check(tiles: Tileset, plan: ExperimentPlan, events: Events) -> None:
    """Refuse what cannot be run or would be unfair, before anything is written or trained.

    Raises:
        GeosynthError: no arms, names or seeds used twice, or an arm with nothing to learn from.
        TilesetError: no labelled test or training tiles where something is to be trained, or a synthetic tileset that
            does not fit the real one.
        LeakError: something behind an arm's synthetic tiles saw test tiles. (A plan without seeds compares no scores;
            its report says so.)
    """
    slugs = [slug(arm.name) for arm in plan.arms]
    if not plan.arms:
        raise GeosynthError("an experiment needs at least one arm")
    if len(set(slugs)) < len(slugs) or len(set(plan.seeds)) < len(plan.seeds) or "" in slugs:
        raise GeosynthError("each arm needs a name of its own and each seed may be given once", remedy="rename an arm")
    if plan.seeds and not tiles.select("test", labelled=True):
        raise TilesetError(
            "has no labelled tiles in split=test", where=tiles.path, remedy="tile again with a test part (--split)"
        )
    checked = set[Path]()
    for arm in plan.arms:
        if plan.seeds and arm.real and not tiles.select("train", labelled=True):
            raise TilesetError("has no labelled tiles in split=train", where=tiles.path, remedy="label some tiles")
        if not arm.real and not arm.synthetic:
            raise GeosynthError(f"arm '{arm.name}' has no tiles to learn from", remedy="give it synthetic tiles")
        for path in arm.synthetic:
            if path not in checked:
                synthetic = Tileset(path)
                check_compatible(tiles, synthetic)
                if plan.seeds:
                    check_leak(tiles, synthetic, arm.name, events)
                checked.add(path)


def check_training(real: Tileset, plan: ExperimentPlan, device: str = "auto") -> None:
    """Refuse arms that ``segmenter_run`` could not train, so that the last one does not fail after hours.

    Raises:
        ModelError: a number of the plan is out of range; no such network or device.
        TilesetError: an arm has too few tiles for its ratio.
    """
    choose_device(device)
    build_network(plan.architecture, plan.encoder, len(real.spec.bands), len(real.spec.legend))
    for arm in plan.arms:
        settings = segmenter_plan(plan, arm, plan.seeds[0])
        TilesetDataModule(real, [Tileset(path) for path in arm.synthetic], ratio=settings.ratio, real=arm.real)


def segmenter_run(real: Tileset, plan: ExperimentPlan, *, threads: int, device: str) -> Run:
    """The run of a real experiment: trains a segmenter and tests it on the real test split, with ``threads``."""

    def run(arm: Arm, seed: int, folder: Path, events: Events) -> Trial:
        learned = train_segmenter(
            real.path,
            arm.synthetic,
            segmenter_plan(plan, arm, seed),
            folder,
            events,
            rerun="resume",
            threads=threads,
            device=device,
            real=arm.real,
        )
        with cpu_threads(threads):
            matrix = confusion(load_segmenter(folder, device), real, "test", events)
        return Trial(matrix, learned.real_pairs, learned.synthetic_pairs)

    return run


def segmenter_plan(plan: ExperimentPlan, arm: Arm, seed: int) -> SegmenterPlan:
    """How one arm is trained with one seed; arms differ in their tiles only."""
    return SegmenterPlan(plan.architecture, plan.encoder, plan.steps, plan.batch, plan.learning_rate, seed, arm.ratio)


def run_experiment(
    plan: ExperimentPlan, run: Run, out: OutputFolder, events: Events, *, keep: bool = False
) -> list[RunResult]:
    """Train and test every arm with every seed; runs that are in the journal are not run again.

    Args:
        plan: what is compared; see ``check``.
        run: trains and tests one arm with one seed, see ``segmenter_run``.
        out: claimed by the caller; segmenters are made under ``runs/`` and removed when tested, unless ``keep``.
        events: told the progress in runs and each score, asked between runs whether to stop.
        keep: leave the segmenters there.

    Returns:
        Results in the order of arms, then seeds.

    Raises:
        Cancelled: stopped by the user; finished runs are kept.
    """
    done = out.records()
    todo = [(arm, seed) for arm in plan.arms for seed in plan.seeds]
    results = []
    for number, (arm, seed) in enumerate(todo):
        events.progress(number, len(todo), "runs")
        events.check()
        task = f"{slug(arm.name)}-s{seed}"
        folder = out.path / "runs" / task
        if task not in done:
            folder.parent.mkdir(exist_ok=True)
            with events.task(task):
                result = RunResult.of(arm.name, seed, run(arm, seed, folder, events))
            out.record(task, asdict(result))
        else:
            result = RunResult.from_json(done[task])
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        events.metric(f"mean_iou {arm.name}", result.mean_iou, seed)
        results.append(result)
    if not keep:
        shutil.rmtree(out.path / "runs", ignore_errors=True)
    events.progress(len(todo), len(todo), "runs")
    return results


def slug(name: str) -> str:
    """An arm's name as part of a file name: letters, digits and hyphens, lower case."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-")
