"""The experiment: the same segmenter trained on different mixtures of real and synthetic tiles, tested on real ones.

Every arm gets the same network, the same number of optimiser steps and the same seeds; only the training tiles (or
how they are shown) differ. What would be unfair is refused before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.diffusion.generator import resolve
from geosynth.evaluation.arms import NEEDS_TEACHER, Arm, headline_arm, reference_arm, slug
from geosynth.evaluation.seeds import Seeds, layout
from geosynth.segmentation.metrics import scores
from geosynth.segmentation.training import SegmenterPlan
from geosynth.tileset import Tileset


@dataclass(frozen=True)
class ExperimentPlan:
    """What is compared, and how each arm is trained; the same for all arms, so that only the tiles differ.

    ``seeds`` number the rows of the seed table (see ``seeds.layout``) that the reference and the headline arm run;
    other arms run the first ``other_seeds`` of them (None: all).
    """

    arms: tuple[Arm, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1000
    architecture: str = "unet"
    encoder: str = "resnet18"
    batch: int = 16
    learning_rate: float = 1e-3
    other_seeds: int | None = None

    def rows(self, arm: Arm, subsets: int) -> tuple[Seeds, ...]:
        """The rows of the seed table that an arm runs."""
        table = layout(self.seeds, subsets)
        first = (reference_arm(self.arms), headline_arm(self.arms))
        return table if arm in first else table[: self.other_seeds]


@dataclass(frozen=True)
class Trial:
    """What one run gives: counts of test pixels by block of test tiles, and how many pairs it learned from.

    ``confusions`` is int64 (G, K, K), rows truth; ``groups`` names the blocks, see ``subset.area_of``. ``val_iou`` is
    the mean IoU on split=val of the weights that were kept, which were chosen by it; None without such tiles.
    """

    groups: tuple[str, ...]
    confusions: NDArray[np.int64]
    real_pairs: int
    synthetic_pairs: int
    val_iou: float | None = None


Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class RunResult:
    """One trained and tested segmenter.

    ``seed`` is the number of its row, by which runs of different arms are paired; ``subset``, ``generator`` (position
    in the arm's ``synthetic``, -1 for none) and ``initialisation`` are what that row means. ``confusions`` counts test
    pixels of each of ``groups`` (blocks of test tiles, the same in all runs), rows truth. ``iou`` (0..1, legend order)
    is None for classes the test tiles do not show. The means are over the classes they do show, so that they are means
    of the same classes in every run. ``val_iou`` is that of the ``Trial``.
    """

    arm: str
    seed: int
    subset: int
    generator: int
    initialisation: int
    real_pairs: int
    synthetic_pairs: int
    groups: tuple[str, ...]
    confusions: tuple[Matrix, ...]
    mean_iou: float
    mean_f1: float
    iou: tuple[float | None, ...]
    val_iou: float | None = None

    @classmethod
    def of(cls, arm: str, seeds: Seeds, trial: Trial) -> RunResult:
        """The scores of a trial."""
        found = scores(trial.confusions.sum(0))
        there = [k for k, pixels in enumerate(found.pixels) if pixels]
        return cls(
            arm,
            seeds.number,
            seeds.subset,
            seeds.generator,
            seeds.initialisation,
            trial.real_pairs,
            trial.synthetic_pairs,
            trial.groups,
            _nested(trial.confusions.tolist()),
            float(np.mean([found.iou[k] for k in there])),
            float(np.mean([found.f1[k] for k in there])),
            tuple(found.iou[k] if k in there else None for k in range(len(found.iou))),
            trial.val_iou,
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunResult:
        """From what ``dataclasses.asdict`` made of one, through JSON."""
        lists = {name: _nested(content[name]) for name in ("groups", "confusions", "iou")}
        return cls(**{**content, **lists})

    @property
    def counts(self) -> NDArray[np.int64]:
        """Counts of test pixels int64 (G, K, K) by block, rows truth."""
        return np.array(self.confusions, np.int64)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts of all test pixels int64 (K, K), rows truth."""
        total: NDArray[np.int64] = self.counts.sum(0)
        return total


def _nested(values: Any) -> Any:
    return tuple(_nested(value) for value in values) if isinstance(values, (list, tuple)) else values


@dataclass(frozen=True)
class Job:
    """One run, ready to be done by any process: everything it needs, by path.

    ``real`` is the label subset of its row, ``synthetic`` the tileset (or generator) of its row, if any. ``folder`` is
    its own to write into; ``teacher`` is the folder of the segmenter that the reference arm trained with the same row.
    """

    arm: Arm
    seeds: Seeds
    real: Path
    synthetic: Path | None
    folder: Path
    teacher: Path | None

    @property
    def name(self) -> str:
        """Of its record and its folder."""
        return run_name(self.arm, self.seeds.number)


def run_name(arm: Arm, number: int) -> str:
    """The name of the run of an arm with row ``number``: of its record, and of its folder."""
    return f"{slug(arm.name)}-s{number}"


Fitting = Mapping[Path, tuple[int, ...]]
"""Positions of the label subsets that each synthetic tileset (or generator) may be compared on."""


def jobs(subsets: Sequence[Tileset], plan: ExperimentPlan, fitting: Fitting, runs: Path) -> dict[tuple[str, int], Job]:
    """Every run of a plan by arm and row number, in the order of arms, then rows; ``runs`` is where they may write."""
    reference = reference_arm(plan.arms)
    found = {}
    for arm in plan.arms:
        for row in plan.rows(arm, len(subsets)):
            own = [n for n, path in enumerate(arm.synthetic) if row.subset in fitting[path]]
            generator = own[row.generator % len(own)] if own else -1
            teacher = None
            if arm.source in NEEDS_TEACHER and reference is not None:
                teacher = runs / run_name(reference, row.number)
            found[arm.name, row.number] = Job(
                arm,
                replace(row, generator=generator),
                subsets[row.subset].path.absolute(),
                resolve(arm.synthetic[generator]).absolute() if own else None,
                runs / run_name(arm, row.number),
                teacher,
            )
    return found


def segmenter_plan(plan: ExperimentPlan, arm: Arm, seeds: Seeds) -> SegmenterPlan:
    """How one arm is trained with one row of seeds; arms differ in their tiles, or as their ``training`` says."""
    settings = SegmenterPlan(
        architecture=plan.architecture,
        encoder=plan.encoder,
        steps=plan.steps,
        batch=plan.batch,
        learning_rate=plan.learning_rate,
        seed=seeds.initialisation,
        ratio=None if arm.source == "none" else arm.ratio,
    )
    changes: dict[str, Any] = dict(arm.training)
    return replace(settings, **changes)
