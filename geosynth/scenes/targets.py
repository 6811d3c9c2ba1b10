"""The pixels a scene is read on: its own, or others of a given size on the ground."""

from __future__ import annotations

import math

import numpy as np
import rasterio
from rasterio import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from geosynth.errors import SceneError
from geosynth.grid import Grid, is_engineering, utm_crs

_FINER = 10
"""A target this many times finer than the scene is taken for a slip."""


def resized(grid: Grid, gsd: float | None, crs: CRS | None, where: str | None = None) -> Grid:
    """The grid that covers the same ground as ``grid`` with pixels of ``gsd`` ground metres.

    Args:
        grid: a scene's own pixels.
        gsd: ground metres a pixel; a web-mercator metre or a degree is not one. None keeps the pixel size.
        crs: where to; None keeps the CRS, but degrees with a ``gsd`` become the fitting UTM zone.
        where: the scene's file, for errors.

    Raises:
        SceneError: the ground size is unknown (no CRS), far finer than the scene's pixels, or the CRS cannot hold it.
    """
    if gsd is None and (crs is None or same_crs(crs, grid.crs)):
        return grid
    if is_engineering(grid.crs):
        raise SceneError(
            "has no coordinate system, so its pixels' size on the ground is unknown",
            where=where,
            remedy="leave --gsd away, or give the raster its place first",
        )
    own = grid.gsd_m
    if own is None:
        raise SceneError("the size of its pixels on the ground cannot be measured", where=where)
    refuse_finer(grid, gsd, where)
    if crs is None:
        crs = _fitting_utm(grid, where) if grid.crs.is_geographic else grid.crs
    # One unit of the target CRS, measured on the ground where the scene is.
    probe = covering(grid, crs, _units(grid, crs, where), where)
    measured = probe.gsd_m
    if measured is None:
        raise SceneError("the target CRS has no place on Earth", where=where)
    factor = (own if gsd is None else gsd) / measured
    size = probe.pixel_size
    return covering(grid, crs, (size[0] * factor, size[1] * factor), where)


def refuse_finer(grid: Grid, gsd: float | None, where: str | None) -> None:
    """Raise SceneError for pixels far coarser than the ``gsd`` asked for."""
    own = grid.gsd_m
    if gsd is not None and own is not None and not own / _FINER <= gsd:
        raise SceneError(
            f"its pixels are {own:.3g} m, far coarser than {gsd:.4g} m", where=where, remedy="ask for coarser pixels"
        )


def _fitting_utm(grid: Grid, where: str | None) -> CRS:
    left, bottom, right, top = grid.bounds
    if right - left > 12 or bottom < -85 or top > 85:
        raise SceneError(
            "reaches further than a UTM zone", where=where, remedy="cut or warp it to a metric CRS first: gdalwarp"
        )
    return utm_crs(grid)


def covering(grid: Grid, crs: CRS, pixel_size: tuple[float, float], where: str | None = None) -> Grid:
    """The grid in ``crs`` with ``pixel_size`` (x, y) that covers ``grid``, its origin at whole pixels.

    Raises:
        SceneError: the CRS cannot hold the place.
    """
    try:
        bounds = grid.bounds if same_crs(crs, grid.crs) else _bounds_in(grid, crs)
    except (RasterioError, CPLE_BaseError) as error:
        raise SceneError(f"cannot be brought into the CRS asked for ({_first_words(error)})", where=where) from None
    if not all(math.isfinite(value) for value in bounds):
        raise SceneError("reaches beyond what the CRS asked for can hold", where=where, remedy="cut it: gdalwarp -te …")
    x, y = pixel_size
    # A thousandth of a pixel is rounding, and no reason for one more row.
    left, bottom = math.floor(bounds[0] / x + 1e-3), math.floor(bounds[1] / y + 1e-3)
    right, top = math.ceil(bounds[2] / x - 1e-3), math.ceil(bounds[3] / y - 1e-3)
    width, height = max(1, right - left), max(1, top - bottom)
    if width * height > 2**40:
        raise SceneError(f"would become {width} x {height} pixels", where=where, remedy="check the pixel size")
    return Grid(crs, Affine(x, 0.0, left * x, 0.0, -y, top * y), height, width)


def same_crs(one: CRS, other: CRS) -> bool:
    """Whether two CRSs are one; all local planes are, because GeoTIFF does not keep their names apart."""
    return bool(one == other) or (is_engineering(one) and is_engineering(other))


def offset_between(grid: Grid, other: Grid) -> tuple[int, int] | None:
    """(row, col) of ``other``'s upper left pixel in ``grid`` when the two share their pixels, else None."""
    if not same_crs(grid.crs, other.crs) or grid.is_rotated or other.is_rotated:
        return None
    size, asked = grid.pixel_size, other.pixel_size
    reach = (max(grid.width, other.width), max(grid.height, other.height))
    if any(abs(a - b) * n > 0.01 * a for a, b, n in zip(size, asked, reach, strict=True)):
        return None
    col, row = ~grid.transform @ (other.transform.c, other.transform.f)
    if max(abs(row - round(row)), abs(col - round(col))) > 0.01:
        return None
    return round(row), round(col)


def lies_within(grid: Grid, other: Grid, offset: tuple[int, int]) -> bool:
    """Whether ``grid``, whose upper left pixel is at ``offset`` (row, col) in ``other``, has no pixel outside it."""
    row, col = offset
    return row >= 0 and col >= 0 and row + grid.height <= other.height and col + grid.width <= other.width


def pixels_across(grid: Grid, target: Grid) -> float:
    """How many of ``grid``'s pixels lie along the side of one pixel in the middle of ``target``."""
    if same_crs(grid.crs, target.crs):
        (x, y), (own_x, own_y) = target.pixel_size, grid.pixel_size
        return math.sqrt(x * y / (own_x * own_y))
    own, asked = grid.gsd_m, target.gsd_m
    return asked / own if own and asked else 1.0


def _units(grid: Grid, crs: CRS, where: str | None) -> tuple[float, float]:
    """A first guess of the pixel size in ``crs``: the scene's own, or its extent there over its pixels."""
    if same_crs(crs, grid.crs):
        return grid.pixel_size
    try:
        left, bottom, right, top = _bounds_in(grid, crs)
    except (RasterioError, CPLE_BaseError) as error:
        raise SceneError(f"cannot be brought into the CRS asked for ({_first_words(error)})", where=where) from None
    side = float(np.sqrt((right - left) * (top - bottom) / (grid.width * grid.height)))
    if not math.isfinite(side) or side <= 0:
        raise SceneError("reaches beyond what the CRS asked for can hold", where=where, remedy="cut it: gdalwarp -te …")
    return side, side


def _bounds_in(grid: Grid, crs: CRS) -> tuple[float, float, float, float]:
    with rasterio.Env():  # which keeps GDAL from writing to the console
        bounds: tuple[float, float, float, float] = transform_bounds(grid.crs, crs, *grid.bounds)
        return bounds


def _first_words(error: Exception) -> str:
    """The beginning of an error of GDAL, whose texts can fill pages."""
    return " ".join(str(error.__cause__ or error).split())[:100]
