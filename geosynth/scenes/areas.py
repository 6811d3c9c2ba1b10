"""Geometries as areas: invalid polygons repaired, collections taken apart, lines given their width on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

_LINES = (GeometryType.LINESTRING, GeometryType.LINEARRING, GeometryType.MULTILINESTRING)
_POINTS = (GeometryType.POINT, GeometryType.MULTIPOINT)
_AREAS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)


@dataclass(frozen=True, eq=False)
class Areas:
    """``geometries`` with an area, (N,), in the order they were given; ``index`` (N,) tells of which feature each is.

    ``repaired`` counts features with invalid polygons, ``dropped`` features that have no area.
    """

    geometries: NDArray[Any]
    index: NDArray[np.intp]
    repaired: int
    dropped: int


def as_areas(geometries: NDArray[Any], line_width: float | None = None, crs: str | None = None) -> Areas:
    """What geometries cover.

    Args:
        geometries: of any kind, (N,); None where a feature has none.
        line_width: width of lines in ground metres, in units of the plane where ``crs`` is None; None drops lines.
        crs: WKT of the coordinates; None for a local plane.
    """
    shapes, index = _taken_apart(shapely.force_2d(geometries))
    kinds = shapely.get_type_id(shapes)
    areal = np.isin(kinds, _AREAS)
    broken = areal & ~shapely.is_valid(shapes)
    if broken.any():
        shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    if line_width is not None:
        lines = np.isin(kinds, _LINES) & (shapely.length(shapes) > 0)
        shapes[lines] = widened(shapes[lines], line_width, crs)
        areal |= lines
    keep = areal & (shapely.area(shapes) > 0)
    kept = index[keep]
    return Areas(shapes[keep], kept, len(np.unique(index[broken])), len(geometries) - len(np.unique(kept)))


def kinds_of(geometries: NDArray[Any]) -> frozenset[str]:
    """Which of "areas", "lines", "points" are among geometries and inside their collections."""
    found = set(shapely.get_type_id(_taken_apart(geometries)[0]).tolist())
    kinds = {"areas": _AREAS, "lines": _LINES, "points": _POINTS}
    return frozenset(name for name, types in kinds.items() if found & set(types))


def widened(lines: NDArray[Any], width: float, crs: str | None) -> NDArray[Any]:
    """Lines as areas ``width`` wide on the ground where each line lies.

    Ends are round: the pieces of a street meet there, and flat ends would leave gaps in every bend between them.
    """
    left, bottom, right, top = shapely.bounds(lines).T
    scale = ground_scale(np.column_stack(((left + right) / 2, (bottom + top) / 2)), crs)
    metres = _scaled(lines, scale)
    return _scaled(shapely.buffer(metres, width / 2), 1 / scale)


def ground_scale(points: NDArray[np.float64], crs: str | None) -> NDArray[np.float64]:
    """Ground metres of one unit to the east and to the north at ``points`` (N, 2), float64 (N, 2); ones in a plane.

    Measured on the ellipsoid: a web-mercator metre is not a ground metre, and a degree is no length.
    """
    plane = pyproj.CRS.from_wkt(crs) if crs is not None else None
    if plane is None or plane.geodetic_crs is None or not len(points):
        return np.ones_like(points)
    geod = plane.get_geod()
    to_degrees = pyproj.Transformer.from_crs(plane, plane.geodetic_crs, always_xy=True)
    step = 1e-5 if plane.is_geographic else 1.0
    sides = []
    for offset in ((step, 0.0), (0.0, step)):
        start = to_degrees.transform(*(points - np.array(offset) / 2).T)
        end = to_degrees.transform(*(points + np.array(offset) / 2).T)
        sides.append(geod.inv(*start, *end)[2] / step)
    return np.column_stack(sides)


def _scaled(shapes: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[Any]:
    coordinates, which = shapely.get_coordinates(shapes, return_index=True)
    return np.asarray(shapely.set_coordinates(shapes.copy(), coordinates * scale[which]))


def _taken_apart(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The members of collections instead of these, in order, and of which shape each one is."""
    index = np.arange(len(shapes))
    shapes = np.array(shapes, object)
    while (nested := shapely.get_type_id(shapes) == GeometryType.GEOMETRYCOLLECTION).any():
        parts, of = shapely.get_parts(shapes[nested], return_index=True)
        index = np.concatenate((index[~nested], index[nested][of]))
        shapes = np.concatenate((shapes[~nested], parts))
        order = np.argsort(index, kind="stable")
        shapes, index = shapes[order], index[order]
    return shapes, index
