"""Areas on the ellipsoid of outlines given in pixels, exact to a millionth, for very many vertices at once.

Sides are straight in the CRS, so that the areas of regions add up to the area of their raster. How much ground a pixel
covers changes smoothly from place to place: it is measured at a few dozen points of a block and fitted by a polynomial,
whose integral over a region is a sum over the region's sides.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from geosynth.grid import Grid, is_engineering
from geosynth.scenes.outlines import following

_DEGREES = (2, 4, 8, 12)
_GOOD = 1e-9
"""A polynomial is good when it is nowhere further off than this part of a pixel's area."""
_STEP_M = 2000.0
"""Half the length over which the change of place is measured: long against rounding, short against the Earth."""


def ring_areas(x: NDArray[Any], y: NDArray[Any], starts: NDArray[np.int64], grid: Grid) -> NDArray[np.float64]:
    """Signed areas of rings, float64 (R,): clockwise (seen with y down) is positive.

    Args:
        x, y: vertices in pixels of ``grid`` (V,), without the closing one.
        starts: where rings begin, and V: (R + 1,).
        grid: a block of at most a few thousand pixels a side.

    Returns:
        square metres on the ellipsoid; square CRS units for a local plane; NaN where the CRS has no place on Earth.
    """
    after = following(starts)
    rising = np.flatnonzero(y != y[after])
    onward = after[rising]
    sides = np.zeros(len(x))
    sides[rising] = _under(x[rising], y[rising], x[onward], y[onward], grid)
    # Sides of no ring follow the last: reduceat cannot sum nothing.
    areas: NDArray[np.float64] = np.add.reduceat(np.append(sides, 0.0), starts)[:-1] * (np.diff(starts) > 0)
    return areas


def _under(x0: NDArray[Any], y0: NDArray[Any], x1: NDArray[Any], y1: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """The signed area between each side and the grid's left edge."""
    rise = np.asarray(y1 - y0, np.float64)
    across, along = grid.pixel_size
    if is_engineering(grid.crs):
        return np.asarray(rise * (x0 + x1) * (across * along / 2), np.float64)
    # In coordinates from -1 to 1, so that the polynomial is well conditioned.
    half_x, half_y = grid.width / 2, grid.height / 2
    ground = _ground(grid)
    primitive = chebyshev.chebint(ground, lbnd=-1, axis=0) * half_x
    nodes, weights = np.polynomial.legendre.leggauss(ground.shape[0])
    total = np.zeros(len(rise))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        u, v = (x0 + node * (x1 - x0)) / half_x - 1, (y0 + node * rise) / half_y - 1
        total += weight * chebyshev.chebval2d(u, v, primitive)
    return total * rise


def _ground(grid: Grid) -> NDArray[np.float64]:
    """Chebyshev coefficients [x, y] of a pixel's ground area in square metres over the grid."""
    for degree in _DEGREES:
        points = chebyshev.chebpts1(2 * degree + 3)
        u, v = (axis.ravel() for axis in np.meshgrid(points, points))
        measured = _pixel_areas((u + 1) * grid.width / 2, (v + 1) * grid.height / 2, grid)
        there = np.isfinite(measured)
        basis = chebyshev.chebvander2d(u[there], v[there], (degree, degree))
        if len(basis) < basis.shape[1]:
            return np.full((1, 1), np.nan)
        fitted = np.linalg.lstsq(basis, measured[there])[0]
        if np.abs(basis @ fitted - measured[there]).max() <= _GOOD * np.abs(measured[there]).max():
            break
    return fitted.reshape(degree + 1, degree + 1)


def _pixel_areas(x: NDArray[np.float64], y: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Ground square metres of a pixel at places (x, y) of the grid: how far a step leads in space, in two directions.

    In space and not in degrees, which jump at the poles and the date line.
    """
    step = _STEP_M / max(grid.gsd_m or 1.0, 1e-9)
    ways = []
    for right, down in ((step, 0.0), (0.0, step)):
        ahead = [_in_space(x + k * right, y + k * down, grid) for k in (-2, -1, 1, 2)]
        ways.append((ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * step))
    areas: NDArray[np.float64] = np.linalg.norm(np.cross(ways[0], ways[1]), axis=1)
    return areas


def _in_space(x: NDArray[np.float64], y: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Metres from the Earth's centre (N, 3) of places of the grid on the ellipsoid."""
    to_lonlat, unit, radius, flatness = _earth(grid.crs.to_wkt())
    a, _, c, _, e, f = grid.transform[:6]
    angles = to_lonlat.transform(x * a + c, y * e + f)
    lon, lat = (np.where(np.isfinite(angle), angle, np.nan) * unit for angle in angles)
    normal = radius / np.sqrt(1 - flatness * np.sin(lat) ** 2)
    return np.stack(
        [
            normal * np.cos(lat) * np.cos(lon),
            normal * np.cos(lat) * np.sin(lon),
            normal * (1 - flatness) * np.sin(lat),
        ],
        axis=1,
    )


@lru_cache(maxsize=16)
def _earth(wkt: str) -> tuple[pyproj.Transformer, float, float, float]:
    """From a CRS to longitude and latitude on its own ellipsoid: how, in which part of a radian; and that ellipsoid's
    long radius and squared eccentricity."""
    crs = pyproj.CRS.from_wkt(wkt)
    geod, geodetic = crs.get_geod(), crs.geodetic_crs
    assert geod is not None and geodetic is not None
    unit = geodetic.axis_info[0].unit_conversion_factor
    return pyproj.Transformer.from_crs(crs, geodetic, always_xy=True), unit, geod.a, geod.es
