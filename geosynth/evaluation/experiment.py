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

from geosynth.errors import GeosynthError, TilesetError
from geosynth.evaluation.fairness import check_fit, check_leak
from geosynth.events import Events
from geosynth.folders import OutputFolder
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
class RunResult:
    """One trained and tested segmenter: ``confusion`` counts test pixels, rows truth, columns prediction."""

    arm: str
    seed: int
    confusion: tuple[tuple[int, ...], ...]
    mean_iou: float
    mean_f1: float
    iou: tuple[float | None, ...]


Run = Callable[[Path, Arm, int, ExperimentPlan, Path, Events], NDArray[np.int64]]
"""Trains arm and seed on the tiles, into a folder, and returns the confusion matrix on their test split."""


def standard_arms(synthetic: Mapping[str, Path], ratio: float | None = None) -> tuple[Arm, ...]:
    """Real only; and for each named synthetic tileset: it alone, and real and it together at ``ratio``."""
    arms = [Arm(REAL)]
    for name, path in synthetic.items():
        arms += [Arm(f"{name} only", (Path(path),), None, real=False), Arm(f"{REAL} + {name}", (Path(path),), ratio)]
    return tuple(arms)


def check_experiment(tiles: Tileset, plan: ExperimentPlan, events: Events) -> None:
    """Refuse what cannot be run or would be unfair, before anything is written or trained.

    Raises:
        GeosynthError: no arms or seeds, names or seeds used twice, or an arm with nothing to learn from.
        TilesetError: no labelled test or training tiles, or a synthetic tileset that does not fit the real one.
        LeakError: something behind an arm's synthetic tiles saw test tiles.
    """
    slugs = [slug(arm.name) for arm in plan.arms]
    if not plan.arms or not plan.seeds:
        raise GeosynthError("an experiment needs at least one arm and one seed")
    if len(set(slugs)) < len(slugs) or len(set(plan.seeds)) < len(plan.seeds) or "" in slugs:
        raise GeosynthError("each arm needs a name of its own and each seed may be given once", remedy="rename an arm")
    if not tiles.select("test", labelled=True):
        raise TilesetError(
            "has no labelled tiles in split=test", where=tiles.path, remedy="tile again with a test part (--split)"
        )
    for arm in plan.arms:
        if arm.real and not tiles.select("train", labelled=True):
            raise TilesetError("has no labelled tiles in split=train", where=tiles.path, remedy="label some tiles")
        if not arm.real and not arm.synthetic:
            raise GeosynthError(f"arm '{arm.name}' has no tiles to learn from", remedy="give it synthetic tiles")
        for path in arm.synthetic:
            synthetic = Tileset(path)
            check_fit(tiles, synthetic)
            check_leak(tiles, synthetic, arm.name, events)


def run_experiment(
    tiles: Path,
    plan: ExperimentPlan,
    out: OutputFolder,
    events: Events,
    *,
    run: Run,
    keep: bool = False,
) -> list[RunResult]:
    """Train and test every arm with every seed; runs already in the journal are not run again.

    Args:
        tiles: the real tileset.
        plan: what is compared.
        out: claimed by the caller; segmenters are made under ``runs/`` and removed when tested unless ``keep``.
        events: told the progress in runs, asked between runs whether to stop.
        run: trains and tests one arm and seed, for example from ``trainer``.
        keep: leave the segmenters there.

    Returns:
        Results in the order of arms, then seeds.

    Raises:
        GeosynthError, TilesetError, LeakError: see ``check_experiment``.
    """
    check_experiment(Tileset(tiles), plan, events)
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
                confusion = run(tiles, arm, seed, plan, folder, events)
            done[task] = asdict(result_of(arm.name, seed, confusion))
            out.record(task, done[task])
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        results.append(result_from(done[task]))
        events.metric(f"mean_iou {arm.name}", results[-1].mean_iou, seed)
    if not keep:
        shutil.rmtree(out.path / "runs", ignore_errors=True)
    events.progress(len(todo), len(todo), "runs")
    return results


def slug(name: str) -> str:
    """An arm's name as part of a file name: letters, digits and hyphens, lower case."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-")
