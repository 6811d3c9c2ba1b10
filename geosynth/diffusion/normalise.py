"""Pixel values to network values and back, for any band count and integer or float dtype.

A band is centred on its training mean and divided by twice its standard deviation, so that images (spread 0.5) and mask
bits (spread 1) are of one size to the network. Values more than ``LIMIT`` standard deviations from the mean are clipped
on the way in; on the way out values are clipped to the smallest and largest value seen in training and rounded for
integer dtypes, and a value that would equal nodata is moved to its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.rasters import avoid_nodata

LIMIT = 6.0
"""Values are clipped this many standard deviations from the mean before training."""

_SPREAD = 2.0


@dataclass(frozen=True)
class BandScale:
    """The fitted map of every band: four tuples of length C, in the units of the raster."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def to_network(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor:
        """Raster values (..., C, H, W), valid bool (..., H, W), to float32 about -1..1; nodata becomes 0."""
        shape = (-1, 1, 1)
        mean = np.asarray(self.mean, np.float32).reshape(shape)
        std = np.asarray(self.std, np.float32).reshape(shape)
        # A constant band has no spread; it becomes 0 everywhere instead of a division by zero.
        spread = np.where(std > 0, std, 1) * _SPREAD
        on = valid[..., None, :, :]
        values = np.where(on, image, 0).astype(np.float32)
        scaled = np.clip((values - mean) / spread, -LIMIT / _SPREAD, LIMIT / _SPREAD)
        return torch.from_numpy(np.where(on, scaled, 0).astype(np.float32))

    def to_raster(self, image: Tensor, dtype: str, nodata: float | None) -> NDArray[Any]:
        """Network values float (..., C, H, W) to raster values of ``dtype``; never equal to ``nodata``."""
        shape = (-1, 1, 1)
        mean = np.asarray(self.mean, np.float64).reshape(shape)
        std = np.asarray(self.std, np.float64).reshape(shape)
        values = image.double().cpu().numpy() * (_SPREAD * std) + mean
        values = np.clip(values, np.asarray(self.low).reshape(shape), np.asarray(self.high).reshape(shape))
        kind = np.dtype(dtype)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            raster = np.clip(np.rint(values), limits.min, limits.max).astype(kind)
        else:
            raster = values.astype(kind)
        return avoid_nodata(raster, nodata)
