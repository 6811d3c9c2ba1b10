"""Where the spread of repeated runs comes from: the label subset, the generator, or the start of training.

A nested random model: generators are made for a subset, runs repeat a generator with new starts. Components come from
sums of squares (Searle, Casella & McCulloch 1992, section 5.7), which also hold where the numbers are not equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Component:
    """One source of spread: its standard deviation, and the degrees of freedom it was told by.

    ``source`` is "subset", "generator" or "start"; several joined by "+" where the runs cannot tell them apart.
    """

    source: str
    deviation: float
    freedom: int


@dataclass(frozen=True)
class Score:
    """A number that came out of the run with this ``subset`` and ``generator``; every run starts anew."""

    subset: int
    generator: int
    value: float


def components(scores: Sequence[Score]) -> list[Component]:
    """The components that these runs can tell, the outermost first; a negative estimate is 0. Empty for one run.

    Without repeated starts of one generator, "generator" and "start" are one; with one generator for each subset,
    "subset" and "generator" are; a source that was not varied is not named.
    """
    subsets = sorted({score.subset for score in scores})
    cells = sorted({(score.subset, score.generator) for score in scores})
    inner = [[s.value for s in scores if (s.subset, s.generator) == cell] for cell in cells]
    outer = [[s.value for s in scores if s.subset == subset] for subset in subsets]
    count = len(scores)
    if count < 2:
        return []
    correction = sum(s.value for s in scores) ** 2 / count
    between_cells = sum(sum(cell) ** 2 / len(cell) for cell in inner)
    between_subsets = sum(sum(part) ** 2 / len(part) for part in outer)
    squares = math.fsum(s.value**2 for s in scores)
    free_start, free_cell, free_subset = count - len(cells), len(cells) - len(subsets), len(subsets) - 1

    # How often a component of the cells is in the sums of squares of cells and of subsets.
    sizes = {cell: len(part) for cell, part in zip(cells, inner, strict=True)}
    within = sum(
        sum(sizes[cell] ** 2 for cell in cells if cell[0] == subset) / len(part)
        for subset, part in zip(subsets, outer, strict=True)
    )
    overall = sum(size**2 for size in sizes.values()) / count

    found: list[Component] = []
    start = cell = 0.0
    if free_start:
        start = (squares - between_cells) / free_start
        found.append(Component("start", _root(start), free_start))
    if free_cell:
        cell = (between_cells - between_subsets - free_cell * start) / (count - within)
        found.append(Component("generator" if free_start else "generator+start", _root(cell), free_cell))
    if free_subset:
        spread = between_subsets - correction - free_subset * start - (within - overall) * cell
        source = "subset" if free_cell else "subset+generator" if free_start else "subset+generator+start"
        weight = count - sum(len(part) ** 2 for part in outer) / count
        found.append(Component(source, _root(spread / weight), free_subset))
    return found[::-1]


def _root(variance: float) -> float:
    return math.sqrt(max(0.0, variance))
