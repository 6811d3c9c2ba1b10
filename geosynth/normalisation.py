"""Raster values as networks see them: in standard deviations from the mean, band by band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from geosynth.tileset import BandStatistics

_CLIP = 10.0


@dataclass(frozen=True)
class Normalisation:
    """Per-band mean and standard deviation, in raster units; tuples of length C."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, statistics: Sequence[BandStatistics]) -> Normalisation:
        return cls(tuple(entry.mean for entry in statistics), tuple(entry.std for entry in statistics))

    def __call__(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor:
        """Raster values (..., C, H, W) and valid bool (..., H, W) to float32 in standard deviations; nodata becomes 0.

        Values further than 10 standard deviations from the mean are clipped; a constant band becomes 0.
        """
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(-1, 1, 1)
        with np.errstate(over="ignore", invalid="ignore"):  # whatever lies under nodata is thrown away
            values = image.astype(np.float32)
            values -= mean
            values /= np.where(std > 0, std, np.float32(1))
            np.clip(values, -_CLIP, _CLIP, out=values)
        if not valid.all():
            np.copyto(values, np.float32(0), where=~valid[..., None, :, :])
        return torch.from_numpy(values)
