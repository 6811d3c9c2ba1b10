"""Pixel values to network values and back, for any band count and integer or float dtype.

A band is centred on its training mean and divided by twice its standard deviation, so that images (spread 0.5) and mask
bits (spread 1) are of one size to the network. Beyond ``KNEE`` standard deviations from the mean the map goes on as a
logarithm: the brightest roof or cloud of a scene may lie at fifty, and is neither lost nor larger to the network than
all the rest together. Both ways values are clipped to the smallest and largest seen in training. On the way out they
are rounded for integer dtypes, and a value that would equal nodata is moved to its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.rasters import avoid_nodata

KNEE = 6.0
"""The map is linear up to this many standard deviations from the mean."""

_SPREAD = 2.0
_FARTHEST = 100.0


@dataclass(frozen=True)
class BandScale:
    """The fitted map of every band: four tuples of length C, in the units of the raster."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def to_network(self, image: NDArray[Any] | Tensor, valid: NDArray[np.bool_] | Tensor) -> Tensor:
        """Raster values (..., C, H, W), valid bool (..., H, W), to float32 about -1..1; nodata becomes 0.

        Tensors are worked on where they are, so that integers can travel to the device and become floats there.
        """
        values, on = torch.as_tensor(image), torch.as_tensor(valid).unsqueeze(-3)
        mean, std, low, high = _constants(self, values.device)
        deviations = (torch.minimum(torch.maximum(values.float(), low), high) - mean) / std
        beyond = (deviations.abs() - KNEE).clamp(min=0)
        return torch.where(on, (deviations - deviations.sign() * (beyond - beyond.log1p())) / _SPREAD, 0.0)

    def to_raster(self, image: Tensor, dtype: str, nodata: float | None) -> NDArray[Any]:
        """Network values float (..., C, H, W) to raster values of ``dtype``; never equal to ``nodata``."""
        shape = (-1, 1, 1)
        mean = np.asarray(self.mean, np.float64).reshape(shape)
        std = np.asarray(self.std, np.float64).reshape(shape)
        deviations = image.double().cpu().numpy() * _SPREAD
        # A network at its first steps may answer anything; no power of e may overflow.
        beyond = np.clip(np.abs(deviations) - KNEE, 0, _FARTHEST)
        values = (deviations + np.sign(deviations) * (np.expm1(beyond) - beyond)) * std + mean
        values = np.clip(values, np.asarray(self.low).reshape(shape), np.asarray(self.high).reshape(shape))
        kind = np.dtype(dtype)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            raster = np.clip(np.rint(values), limits.min, limits.max).astype(kind)
        else:
            raster = values.astype(kind)
        return avoid_nodata(raster, nodata)


@lru_cache
def _constants(scale: BandScale, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, spread, lowest and highest value, float32 (C, 1, 1). Kept: a copy to a device waits for it."""
    mean, std, low, high = (
        torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
        for values in (scale.mean, scale.std, scale.low, scale.high)
    )
    # A constant band has no spread; it becomes 0 everywhere instead of a division by zero.
    std = torch.where(std > 0, std, 1.0)
    return mean.to(device), std.to(device), low.to(device), high.to(device)
