"""What the scenes of one tileset share: pixels of one size in one CRS, and one band layout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rasterio.crs import CRS

from geosynth.errors import SceneError
from geosynth.events import Events
from geosynth.grid import Grid, is_engineering, utm_crs
from geosynth.rasters import Band
from geosynth.scenes.source import SceneInfo, target_grid
from geosynth.scenes.targets import covering, offset_between, same_crs

_SAME_SIZE = 0.01
"""Pixel sizes that differ by less are one: the scene is warped onto the tileset's."""


def shared_grids(infos: Sequence[SceneInfo], gsd: float | None, events: Events) -> list[Grid]:
    """The pixels every scene is read on: the first scene's CRS and pixel size, or ``gsd`` ground metres."""
    first = infos[0]
    for info in infos[1:]:
        if is_engineering(info.grid.crs) != is_engineering(first.grid.crs):
            without, with_crs = (info, first) if is_engineering(info.grid.crs) else (first, info)
            raise SceneError(
                f"has no coordinate system, but {with_crs.name} has one", where=without.path, remedy="tile them apart"
            )
    mixed = any(not same_crs(info.grid.crs, first.grid.crs) for info in infos)
    crs: CRS | None = None
    if gsd is not None and mixed and not first.grid.crs.is_geographic:
        crs = utm_crs(first.grid)
    lead = target_grid(first, gsd=gsd, crs=crs)
    grids = [lead]
    for info in infos[1:]:
        if gsd is None:
            grids.append(_fitted(info, first))
        else:
            grids.append(covering(info.grid, lead.crs, lead.pixel_size, info.path))
    for info, grid in zip(infos, grids, strict=True):
        if gsd is not None and grid.gsd_m is not None and abs(grid.gsd_m / gsd - 1) > 0.05:
            events.warn(f"{info.name}: pixels measure {grid.gsd_m:.4g} m on the ground there, not {gsd:g} m")
    return grids


def _fitted(info: SceneInfo, first: SceneInfo) -> Grid:
    """A scene's own pixels, or where they are all but the first scene's, those; refuses another size."""
    own, lead = info.grid, first.grid
    if same_crs(own.crs, lead.crs):
        ratio = max(abs(a / b - 1) for a, b in zip(own.pixel_size, lead.pixel_size, strict=True))
        sizes = f"{own.pixel_size[0]:g} x {own.pixel_size[1]:g} units"
        wanted = f"{lead.pixel_size[0]:g} x {lead.pixel_size[1]:g}"
        if ratio * max(own.width, own.height) < 0.01:
            return own
    else:
        if own.gsd_m is None or lead.gsd_m is None:
            raise SceneError(f"has another CRS than {first.name}", where=info.path, remedy="warp it first: gdalwarp")
        ratio = abs(own.gsd_m / lead.gsd_m - 1)
        sizes, wanted = f"{own.gsd_m:.4g} m", f"{lead.gsd_m:.4g} m"
    if ratio > _SAME_SIZE:
        raise SceneError(
            f"its pixels are {sizes}, those of {first.name} are {wanted}",
            where=info.path,
            remedy="give --gsd to bring all to one size" if lead.gsd_m else "tile them apart",
        )
    return covering(own, lead.crs, lead.pixel_size, info.path)


def shared_bands(infos: Sequence[SceneInfo], grids: Sequence[Grid]) -> tuple[Band, ...]:
    """The tileset's bands, with one nodata for all: what the first scene that declares one has, else a safe value."""
    first = infos[0]
    layout = [(band.name, band.dtype) for band in first.bands]
    for info in infos[1:]:
        other = [(band.name, band.dtype) for band in info.bands]
        if other != layout:
            raise SceneError(
                f"its bands ({_listed(other)}) are not those of {first.name} ({_listed(layout)})",
                where=info.path,
                remedy="tile scenes of one kind together; gdal_translate -b selects bands",
            )
    dtype = np.dtype(first.bands[0].dtype)
    whole = all(
        info.validity == "none" and offset_between(info.grid, grid) is not None
        for info, grid in zip(infos, grids, strict=True)
    )
    declared = [band.nodata for info in infos for band in info.bands if band.nodata is not None]
    nodata: float | None
    if whole:
        nodata = None
    elif declared:
        nodata = declared[0]
    elif dtype.kind == "f":
        nodata = math.nan
    else:
        nodata = float(np.iinfo(dtype).min)
    return tuple(Band(band.name, band.dtype, nodata) for band in first.bands)


def _listed(layout: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(name for name, _ in layout[:6]) + (", …" if len(layout) > 6 else "")
    return f"{len(layout)} of {layout[0][1]}: {names}"
