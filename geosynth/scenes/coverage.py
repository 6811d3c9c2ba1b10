"""Which tiles of a scene hold enough data to be kept: found before any tile is made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import batched

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine

from geosynth.events import Events
from geosynth.grid import Grid
from geosynth.scenes.blocks import Lattice
from geosynth.scenes.source import SceneInfo, open_scene
from geosynth.scenes.targets import same_crs

_PIXELS = 1 << 22
"""Pixels that are looked at together."""
_SAMPLES = 16
"""Pixels looked at along a tile's side."""


def kept_tiles(info: SceneInfo, lattice: Lattice, min_valid: float, events: Events) -> NDArray[np.bool_]:
    """Which tiles hold enough data, bool (rows, cols); told from every n-th pixel, so a close call may be wrong.

    Scenes whose pixels all hold data are not read.

    Raises:
        SceneError: the scene cannot be read.
        Cancelled: the user stopped it.
    """
    if info.validity == "none" and same_crs(info.grid.crs, lattice.grid.crs):
        shares = _shares_inside(info.grid, lattice)
        return (shares >= min_valid - 1e-9) & (shares > 0)
    pitch = max(1, lattice.size // _SAMPLES)
    rows = []
    for row in _kept_rows(info, lattice, min_valid, pitch):
        rows.append(row)
        events.check()
    return np.array(rows, bool).reshape(lattice.rows, lattice.cols)


def keeps_any(info: SceneInfo, lattice: Lattice, min_valid: float, events: Events) -> bool:
    """Whether any tile holds enough data, told from every pixel.

    Raises:
        SceneError: the scene cannot be read.
        Cancelled: the user stopped it.
    """
    for row in _kept_rows(info, lattice, min_valid, 1):
        if row.any():
            return True
        events.check()
    return False


def _kept_rows(info: SceneInfo, lattice: Lattice, min_valid: float, pitch: int) -> Iterator[NDArray[np.bool_]]:
    """Row by row of tiles, which of them hold enough data: bool (cols,), told from every ``pitch``-th pixel."""
    if not lattice.rows or not lattice.cols:
        return
    fine = lattice.grid
    shape = -(-fine.height // pitch), -(-fine.width // pitch)
    coarse = fine if pitch == 1 else Grid(fine.crs, fine.transform @ Affine.scale(pitch), *shape)
    side = max(1, round(lattice.size / pitch))
    lefts = [round(col * lattice.stride / pitch) for col in range(lattice.cols)]
    with open_scene(info, coarse, resampled="nearest") as reader:
        for row in range(lattice.rows):
            kept: list[bool] = []
            for some in batched(lefts, max(1, _PIXELS // (side * side))):  # a wide scene is not read at once
                width = some[-1] + side - some[0]
                _, valid = reader.read(round(row * lattice.stride / pitch), some[0], side, width)
                tiles = [valid[:, left - some[0] : left - some[0] + side] for left in some]
                kept += [bool(tile.any() and tile.mean() >= min_valid) for tile in tiles]
            yield np.array(kept, bool)


def _shares_inside(own: Grid, lattice: Lattice) -> NDArray[np.float64]:
    """The share of every tile, float64 (rows, cols), that lies on the scene."""
    left, bottom, right, top = own.bounds
    x, _, west, _, y, north = lattice.grid.transform[:6]
    cols, rows = np.arange(lattice.cols) * lattice.stride, np.arange(lattice.rows) * lattice.stride
    across = np.minimum(west + x * (cols + lattice.size), right) - np.maximum(west + x * cols, left)
    down = np.minimum(north + y * rows, top) - np.maximum(north + y * (rows + lattice.size), bottom)
    area = np.outer(np.clip(down, 0, None), np.clip(across, 0, None))
    shares: NDArray[np.float64] = area / (lattice.size**2 * abs(x * y))
    return shares
