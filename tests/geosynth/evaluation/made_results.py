"""Runs of an experiment that nobody trained: numbers by which tables and words can be checked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geosynth.evaluation.arms import RECIPES, Arm, arm_of
from geosynth.evaluation.experiment import RunResult, Trial
from geosynth.evaluation.seeds import Seeds

BLOCKS = tuple(f"world/{number // 4}/{number % 4}" for number in range(8))
PLACE = Path("made")


def arm(word: str, ratio: float | None = None, label: str = "made") -> Arm:
    """The arm of a recipe, at its own ratio unless another is given."""
    recipe = next(recipe for recipe in RECIPES if recipe.word == word)
    return arm_of(recipe, label, [PLACE], recipe.ratio if ratio is None else ratio)


def result(
    of: Arm,
    row: int,
    hits: tuple[int, ...],
    *,
    groups: tuple[str, ...] = BLOCKS,
    subset: int = 0,
    generator: int = 0,
    val: float | None = None,
) -> RunResult:
    """A run in whose every block ``hits`` of 100 pixels of each class are found; the others go to the next class."""
    found = np.array(hits)
    matrix = np.diag(found) + np.roll(np.diag(100 - found), 1, axis=1)
    counts = np.tile(matrix, (len(groups), 1, 1)).astype(np.int64)
    return RunResult.of(
        of.name, Seeds(row, subset, generator, row), Trial(groups, counts, 8 * of.real, 10 * bool(of.synthetic), val)
    )
