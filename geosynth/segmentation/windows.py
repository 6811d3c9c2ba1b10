"""Overlapping windows over a line of pixels, and smooth weights that add up to one everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.errors import GeosynthError


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of ``size`` pixels over ``length``: where each starts, and its weights float32 (size,).

    Over every pixel of the line the weights of the windows that cover it add up to one. They rise and fall along half a
    Hann window over the overlap, so that nothing changes suddenly where a window ends.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    weights: tuple[NDArray[np.float32], ...]

    @classmethod
    def over(cls, length: int, size: int, overlap: int) -> Windows:
        """Windows that share ``overlap`` pixels, the last two perhaps more: the last ends where the line does.

        A line shorter than a window gets one that reaches beyond it.

        Raises:
            GeosynthError: no such windows.
        """
        if size < 32 or not 0 <= overlap < size:
            raise GeosynthError(
                f"windows of {size} px with an overlap of {overlap} px",
                remedy="give a window of at least 32 px and an overlap smaller than it",
            )
        last = max(0, length - size)
        starts = (*range(0, last, size - overlap), last)
        pixel = np.arange(size)
        edge = np.minimum(pixel, pixel[::-1]) + 0.5  # distance from the nearer end; never 0
        ramp = np.sin(np.pi / 2 * np.minimum(1, edge / overlap)) ** 2 if overlap else np.ones(size)
        total = np.zeros(max(length, size))
        for start in starts:
            total[start : start + size] += ramp
        weights = tuple((ramp / total[start : start + size]).astype(np.float32) for start in starts)
        return cls(length, size, starts, weights)

    def span(self, numbers: range) -> tuple[int, int]:
        """The pixels that belong to some windows in a row: from where the first starts to where the next one would.

        All windows together have all pixels, each once, though a window reaches into those of its neighbours.
        """
        return self.starts[numbers.start], self.starts[numbers.stop] if numbers.stop < len(self.starts) else self.length

    def touching(self, begin: int, end: int) -> range:
        """Numbers of the windows that cover any pixel of ``begin`` .. ``end`` (exclusive)."""
        hits = [n for n, start in enumerate(self.starts) if start < end and start + self.size > begin]
        return range(hits[0], hits[-1] + 1)
