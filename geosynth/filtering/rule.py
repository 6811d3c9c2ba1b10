"""What is doubtful: pixels whose loss is high for their class, measured by what the same judge says of real pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.errors import GeosynthError
from geosynth.legend import UNKNOWN
from geosynth.scenes.sieving import sieved


@dataclass(frozen=True)
class FilterPlan:
    """The rule, that of FreeMask (Yang et al. 2023): pixels above 1.25 times the mean loss of their class are noise.

    Attributes:
        factor: a pixel is doubtful when its loss exceeds this many times its class's mean loss on real val pixels.
        min_known: a pair is rejected when less than this share of its known pixels is left.
        specks: doubtful regions of fewer pixels are left known, and regions left known of fewer become unknown.
        draws: masks that a generator is asked for an image; a segmenter gives one answer.
        steps: network evaluations of a generator for each of them.

    Raises:
        GeosynthError: a number out of its range.
    """

    factor: float = 1.25
    min_known: float = 0.5
    specks: int = 6
    draws: int = 4
    steps: int = 20

    def __post_init__(self) -> None:
        checks = (
            ("factor", 0 < self.factor < np.inf, "a number above 0"),
            ("min known", 0 <= self.min_known <= 1, "a share from 0 to 1"),
            ("specks", self.specks >= 0, "0 or more pixels"),
            ("draws", self.draws >= 1, "at least 1"),
            ("steps", self.steps >= 1, "at least 1"),
        )
        for name, good, wanted in checks:
            if not good:
                raise GeosynthError(f"{name} out of range", remedy=f"give {wanted}")


@dataclass(frozen=True)
class ClassSums:
    """Summed losses and numbers of pixels by class, in legend order; they add up."""

    losses: tuple[float, ...]
    pixels: tuple[int, ...]

    @classmethod
    def of(cls, losses: NDArray[np.float32], masks: NDArray[np.uint8], classes: int) -> ClassSums:
        """Of losses float32 (N, H, W) and class indices uint8 (N, H, W); unknown pixels do not count."""
        known = masks != UNKNOWN
        sums = np.bincount(masks[known], losses[known].astype(np.float64), classes)
        counts = np.bincount(masks[known], minlength=classes)
        return cls(tuple(float(value) for value in sums), tuple(int(value) for value in counts))

    @classmethod
    def total(cls, parts: Sequence[ClassSums]) -> ClassSums:
        """Of one part or more, summed in their order."""
        return cls(
            tuple(float(sum(values)) for values in zip(*(part.losses for part in parts), strict=True)),
            tuple(int(sum(values)) for values in zip(*(part.pixels for part in parts), strict=True)),
        )

    def means(self) -> tuple[float | None, ...]:
        """Mean loss by class; None for a class without pixels."""
        return tuple(loss / count if count else None for loss, count in zip(self.losses, self.pixels, strict=True))


def limits(means: Sequence[float | None], factor: float) -> NDArray[np.float64]:
    """The loss above which a pixel of a class is doubtful; infinite where no real pixel says what is normal."""
    return np.array([np.inf if mean is None else factor * mean for mean in means])


def doubtful(
    losses: NDArray[np.float32], mask: NDArray[np.uint8], limit: NDArray[np.float64], specks: int
) -> NDArray[np.bool_]:
    """Which known pixels of a mask are doubtful, without specks: bool (H, W).

    Args:
        losses: float32 (H, W).
        mask: class indices uint8 (H, W), 255 unknown.
        limit: by class, see ``limits``.
        specks: pixels below which a region of either kind goes with what is around it.
    """
    known = mask != UNKNOWN
    above = losses > np.append(limit, np.inf)[np.where(known, mask, len(limit))]
    verdicts = np.where(known, above, UNKNOWN).astype(np.uint8)
    cleaned: NDArray[np.bool_] = sieved(verdicts, specks) == 1
    return cleaned
