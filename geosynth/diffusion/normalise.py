"""Pixel values to network values and back, for any band count and integer or float dtype.

A band is centred on its training mean and divided by twice its standard deviation, so that images (spread 0.5) and mask
bits (spread 1) are of one size to the network. Then bands are decorrelated: nearly all that the bands of a photograph
say they say together, as brightness, and beside it the differences between them (green or grey, dry or wet) are so
small that noise hides them at every level a network is trained and sampled at.

Beyond ``KNEE`` standard deviations from the mean the map goes on as a logarithm, before decorrelation and after: the
brightest roof or cloud of a scene may lie at fifty, and is neither lost nor larger to the network than all the rest
together. Both ways values are clipped to the smallest and largest seen in training. On the way out they are rounded for
integer dtypes, and a value that would equal nodata is moved to its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.rasters import avoid_nodata

KNEE = 6.0
"""The map is linear up to this many standard deviations from the mean."""

MOST = 32.0
"""No direction of the bands' space is enlarged more than this against the widest: beyond lies the sensor's noise."""

_SPREAD = 2.0
_FARTHEST = 100.0


@dataclass(frozen=True)
class BandScale:
    """The fitted map of every band: four tuples of length C, in the units of the raster.

    ``mixing`` is a matrix (C, C) that deviations are multiplied with; empty where bands stay as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mixing: tuple[tuple[float, ...], ...] = ()

    def decorrelated(self, covariance: NDArray[np.float64], strength: float) -> BandScale:
        """The same map with a symmetric ``mixing``: each band is still mostly itself.

        Args:
            covariance: of the bands' deviations from their means, in standard deviations, float (C, C).
            strength: 1 gives all directions of the bands' space the same spread (ZCA whitening, Bell and Sejnowski
                1997), 0 leaves them as they are. The mean square of all values stays the same.
        """
        variance, axes = np.linalg.eigh(covariance)
        largest = float(variance[-1])
        if len(variance) == 1 or largest <= 0 or strength == 0:
            return replace(self, mixing=())
        gain = (np.sqrt(variance.clip(min=0) / largest).clip(min=1 / MOST)) ** -strength
        gain *= np.sqrt(variance.sum() / (gain**2 * variance).sum())
        return replace(self, mixing=tuple(map(tuple, ((axes * gain) @ axes.T).tolist())))

    def to_network(self, image: NDArray[Any] | Tensor, valid: NDArray[np.bool_] | Tensor) -> Tensor:
        """Raster values (..., C, H, W), valid bool (..., H, W), to float32 about -1..1; nodata becomes 0.

        Tensors are worked on where they are, so that integers can travel to the device and become floats there.
        """
        values, on = torch.as_tensor(image), torch.as_tensor(valid).unsqueeze(-3)
        mean, std, low, high = _constants(self, values.device)
        deviations = _bent((torch.minimum(torch.maximum(values.float(), low), high) - mean) / std)
        if self.mixing:
            deviations = _bent(_mixed(torch.where(on, deviations, 0.0), _mixing(self, values.device)))
        return torch.where(on, deviations / _SPREAD, 0.0)

    def to_deviations(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Standard deviations from the mean, band by band, before bands are decorrelated: float64 (..., C, H, W)."""
        values: NDArray[np.float64] = (
            replace(self, mixing=()).to_network(np.array(image), np.array(valid)).double().numpy() * _SPREAD
        )
        return values

    def to_raster(self, image: Tensor, dtype: str, nodata: float | None) -> NDArray[Any]:
        """Network values float (..., C, H, W) to raster values of ``dtype``; never equal to ``nodata``."""
        shape = (-1, 1, 1)
        mean = np.asarray(self.mean, np.float64).reshape(shape)
        std = np.asarray(self.std, np.float64).reshape(shape)
        deviations = image.double().cpu().numpy() * _SPREAD
        if self.mixing:
            deviations = np.einsum("ij,...jhw->...ihw", np.linalg.inv(np.array(self.mixing)), _straight(deviations))
        values = _straight(deviations) * std + mean
        values = np.clip(values, np.asarray(self.low).reshape(shape), np.asarray(self.high).reshape(shape))
        kind = np.dtype(dtype)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            raster = np.clip(np.rint(values), limits.min, limits.max).astype(kind)
        else:
            raster = values.astype(kind)
        return avoid_nodata(raster, nodata)


def _mixed(deviations: Tensor, mixing: Tensor) -> Tensor:
    """``mixing`` (C, C) times bands (..., C, H, W).

    Not as a matrix product: training with autocast would make that in 16 bits, which have no room for small differences
    of large values.
    """
    mixed = torch.zeros_like(deviations)
    for band in range(len(mixing)):
        mixed += mixing[:, band, None, None] * deviations[..., band : band + 1, :, :]
    return mixed


def _bent(deviations: Tensor) -> Tensor:
    """Beyond the knee as a logarithm."""
    beyond = (deviations.abs() - KNEE).clamp(min=0)
    return deviations - deviations.sign() * (beyond - beyond.log1p())


def _straight(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reverse of ``_bent``."""
    # A network at its first steps may answer anything; no power of e may overflow.
    beyond = np.clip(np.abs(deviations) - KNEE, 0, _FARTHEST)
    result: NDArray[np.float64] = deviations + np.sign(deviations) * (np.expm1(beyond) - beyond)
    return result


@lru_cache
def _mixing(scale: BandScale, device: torch.device) -> Tensor:
    return torch.tensor(scale.mixing, dtype=torch.float32, device=device)


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
