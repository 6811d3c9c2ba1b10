"""Which seeds each run has: what is repeated in an experiment, so that its error covers more than retraining.

Three things are drawn by chance: which tiles have labels (the label subset), what the generator became, and how the
segmenter's training started. A row of the table says which of each a run takes. All arms run the same rows, so that
their differences are taken row by row (paired).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Seeds:
    """One row: its ``number`` (rows of one number are paired), and what a run of it takes.

    ``subset`` is the position of the real tileset. ``generator`` counts through the synthetic tilesets of one name that
    fit that subset, round and round; in a result it is the position among all of that name, -1 where there is none.
    ``initialisation`` seeds the segmenter: first weights, which pairs are drawn, their order.
    """

    number: int
    subset: int = 0
    generator: int = 0
    initialisation: int = 0


def layout(numbers: Sequence[int], subsets: int) -> tuple[Seeds, ...]:
    """A row for each of ``numbers``: subsets in turn, generators along a diagonal (a Latin square), a start each.

    So few rows meet as many combinations as they can: two subsets with two generators each have all four after four.
    """
    return tuple(
        Seeds(number, position % subsets, position // subsets + position % subsets, number)
        for position, number in enumerate(numbers)
    )
