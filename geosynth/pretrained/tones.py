"""Pixel values as a model of pictures takes them: red, green and blue in -1..1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.colourbands import colour_bands
from geosynth.errors import ModelError
from geosynth.rasters import Band, avoid_nodata
from geosynth.tileset import BandStatistics

_SPREAD = 3.0
"""Standard deviations from the mean to black and to white, for values that are no bytes."""


def check_bands(bands: Sequence[Band], where: str) -> None:
    """Raise ModelError for anything but three bands."""
    if len(bands) != 3:
        raise ModelError(
            f"has {len(bands)} band{'s' if len(bands) != 1 else ''}, and Stable Diffusion knows pictures of three",
            where=where,
            remedy="train without --recipe stable-diffusion (that takes any bands), or tile with three: --bands",
        )


@dataclass(frozen=True)
class Tones:
    """The map of three bands: four tuples in band order, in raster units, and where red, green and blue are.

    Attributes:
        black, white: values that become -1 and 1. Bytes are taken as they are, as the base model learnt them.
        low, high: smallest and largest value of the training tiles; nothing beyond them is written.
        order: positions of red, green and blue among the bands.
    """

    black: tuple[float, ...]
    white: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, bands: Sequence[Band], statistics: Sequence[BandStatistics]) -> Self:
        black: tuple[float, ...]
        white: tuple[float, ...]
        low, high = tuple(band.min for band in statistics), tuple(band.max for band in statistics)
        if bands[0].dtype == "uint8":
            black, white = (0.0,) * 3, (255.0,) * 3
        else:
            black = tuple(max(band.min, band.mean - _SPREAD * band.std) for band in statistics)
            white = tuple(min(band.max, band.mean + _SPREAD * band.std) for band in statistics)
        return cls(black, white, low, high, colour_bands([band.name for band in bands]))

    def to_picture(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> Tensor:
        """Raster values (..., 3, H, W), valid bool (..., H, W), to red, green, blue float32; nodata is 0 (grey)."""
        values = image.astype(np.float64)
        black, white = _column(self.black), _column(self.white)
        scaled = np.clip((values - black) / np.where(white > black, white - black, 1.0) * 2 - 1, -1, 1)
        scaled = np.where(valid[..., None, :, :], scaled, 0.0)
        return torch.from_numpy(scaled[..., list(self.order), :, :].astype(np.float32))

    def to_raster(self, picture: Tensor, dtype: str, nodata: float | None) -> NDArray[Any]:
        """Red, green, blue float (..., 3, H, W) to raster values of ``dtype`` in band order; never ``nodata``."""
        back = [self.order.index(band) for band in range(3)]
        share = (picture.double().cpu().numpy()[..., back, :, :] + 1) / 2
        black, white = _column(self.black), _column(self.white)
        values = np.clip(black + share * (white - black), _column(self.low), _column(self.high))
        kind = np.dtype(dtype)
        return avoid_nodata((np.rint(values) if kind.kind in "iu" else values).astype(kind), nodata)

    def to_json(self) -> dict[str, list[float]]:
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, content: dict[str, list[Any]]) -> Self:
        return cls(**{name: tuple(values) for name, values in content.items()})


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64).reshape(3, 1, 1)
