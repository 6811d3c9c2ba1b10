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
from geosynth.scenes.targets import covering, lies_within, offset_between, refuse_finer, same_crs

_SAME_SIZE = 0.01
"""Pixel sizes that differ by less are one: the scene is warped onto the tileset's."""


def shared_grids(infos: Sequence[SceneInfo], gsd: float | None, crs: CRS | None, events: Events) -> list[Grid]:
    """The pixels every scene is read on: the first scene's CRS and pixel size, or ``gsd`` ground metres and ``crs``.

    Raises:
        SceneError: the scenes do not go together, or cannot be brought there.
    """
    first = infos[0]
    mixed = any(not same_crs(info.grid.crs, first.grid.crs) for info in infos)
    if crs is None and gsd is not None and mixed and not first.grid.crs.is_geographic and not _nowhere(first.grid):
        crs = utm_crs(first.grid)
    lead = target_grid(first, gsd=gsd, crs=crs)
    return [lead, *grids_like(infos[1:], first.name, lead, gsd is not None or crs is not None, events)]


def grids_like(infos: Sequence[SceneInfo], name: str, lead: Grid, warp: bool, events: Events) -> list[Grid]:
    """The pixels scenes are read on to go with ``lead``: its CRS and pixel size.

    Args:
        infos: the scenes.
        name: what ``lead`` is called in errors.
        lead: where to.
        warp: whether pixels of another size may be brought to this one.
        events: told of pixels that are of another size on the ground.

    Raises:
        SceneError: one with and one without a CRS; pixels of another size.
    """
    grids = []
    for info in infos:
        if _nowhere(info.grid) != _nowhere(lead):
            raise SceneError(
                f"has {'no' if _nowhere(info.grid) else 'a'} coordinate system, {name} has"
                f" {'one' if _nowhere(info.grid) else 'none'}",
                where=info.path,
                remedy="tile them apart",
            )
        if warp:
            refuse_finer(info.grid, lead.gsd_m, info.path)
        grid = covering(info.grid, lead.crs, lead.pixel_size, info.path) if warp else _fitted(info, name, lead)
        if warp and grid.gsd_m is not None and lead.gsd_m is not None and abs(grid.gsd_m / lead.gsd_m - 1) > 0.05:
            events.warn(f"{info.name}: pixels measure {grid.gsd_m:.4g} m on the ground there, not {lead.gsd_m:.4g} m")
        grids.append(grid)
    return grids


def _nowhere(grid: Grid) -> bool:
    return is_engineering(grid.crs)


def _fitted(info: SceneInfo, name: str, lead: Grid) -> Grid:
    """A scene's own pixels, or where they are all but ``lead``'s, those; refuses another size."""
    own = info.grid
    if same_crs(own.crs, lead.crs):
        ratio = max(abs(a / b - 1) for a, b in zip(own.pixel_size, lead.pixel_size, strict=True))
        sizes = f"{own.pixel_size[0]:g} x {own.pixel_size[1]:g} units"
        wanted = f"{lead.pixel_size[0]:g} x {lead.pixel_size[1]:g}"
        if ratio * max(own.width, own.height) < 0.01:
            return own
    else:
        if own.gsd_m is None or lead.gsd_m is None:
            raise SceneError(f"has another CRS than {name}", where=info.path, remedy="warp it first: gdalwarp")
        ratio = abs(own.gsd_m / lead.gsd_m - 1)
        sizes, wanted = f"{own.gsd_m:.4g} m", f"{lead.gsd_m:.4g} m"
    if ratio > _SAME_SIZE:
        raise SceneError(
            f"its pixels are {sizes}, those of {name} are {wanted}",
            where=info.path,
            remedy="give --gsd to bring all to one size" if lead.gsd_m else "tile them apart",
        )
    return covering(own, lead.crs, lead.pixel_size, info.path)


def shared_bands(infos: Sequence[SceneInfo], grids: Sequence[Grid]) -> tuple[Band, ...]:
    """The tileset's bands, with one nodata for all: what the first scene that declares one has, else a safe value.

    Raises:
        SceneError: the scenes have different bands.
    """
    first = infos[0]
    refuse_other_bands(infos[1:], first.name, first.bands)
    dtype = np.dtype(first.bands[0].dtype)
    declared = [band.nodata for info in infos for band in info.bands if band.nodata is not None]
    nodata: float | None
    if all(is_whole(info, grid) for info, grid in zip(infos, grids, strict=True)):
        nodata = None
    elif declared:
        nodata = declared[0]
    elif dtype.kind == "f":
        nodata = math.nan
    else:
        nodata = float(np.iinfo(dtype).min)
    return tuple(Band(band.name, band.dtype, nodata) for band in first.bands)


def refuse_mixed_nodata(info: SceneInfo, grid: Grid) -> None:
    """Raise SceneError for a scene to be warped whose bands mark no data by different values: GDAL knows one."""
    values = {str(band.nodata) for band in info.bands}
    if len(values) > 1 and offset_between(info.grid, grid) is None:
        raise SceneError(
            f"its bands have different nodata values ({', '.join(sorted(values))}), and it is to be warped",
            where=info.path,
            remedy="give them one first: gdalwarp -dstnodata …",
        )


def refuse_other_bands(infos: Sequence[SceneInfo], name: str, bands: Sequence[Band]) -> None:
    """Raise SceneError for a scene whose bands are not called, or not of the type, as ``bands`` of ``name``."""
    layout = [(band.name, band.dtype) for band in bands]
    for info in infos:
        other = [(band.name, band.dtype) for band in info.bands]
        if other != layout:
            raise SceneError(
                f"its bands ({_listed(other)}) are not those of {name} ({_listed(layout)})",
                where=info.path,
                remedy="tile scenes of one kind together; --bands picks bands",
            )


def is_whole(info: SceneInfo, grid: Grid) -> bool:
    """Whether every pixel of ``grid`` that lies on the scene holds data."""
    offset = offset_between(info.grid, grid)
    return info.validity == "none" and offset is not None and lies_within(grid, info.grid, offset)


def _listed(layout: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(name for name, _ in layout[:6]) + (", …" if len(layout) > 6 else "")
    return f"{len(layout)} of {layout[0][1]}: {names}"
