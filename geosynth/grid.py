"""Where pixels are: CRS + transform + shape as one immutable value, and made-up places for made-up tiles."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import pyproj
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from shapely.geometry import Polygon, box

_ENGINEERING_WKT = (
    'ENGCRS["Unknown engineering CRS",EDATUM["Unknown engineering datum"],'
    'CS[Cartesian,2],AXIS["(E)",east,ORDER[1]],AXIS["(N)",north,ORDER[2]],LENGTHUNIT["metre",1]]'
)

CELLS = 1024
"""Columns and rows of the fictitious grid."""


def engineering_crs() -> CRS:
    """The CRS given to rasters that have none: a local plane that survives a round trip through GeoTIFF."""
    return CRS.from_wkt(_ENGINEERING_WKT)


def is_engineering(crs: CRS) -> bool:
    """Whether a CRS is a local plane without a place on Earth."""
    placed: bool = crs.is_projected or crs.is_geographic
    return not placed


@dataclass(frozen=True)
class Grid:
    """A raster's place: ``crs``, ``transform`` (pixel corner to CRS units), ``height`` and ``width`` in pixels."""

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Pixel size (x, y) in CRS units, both positive."""
        return abs(self.transform.a), abs(self.transform.e)

    @property
    def lies_somewhere(self) -> bool:
        """Whether its coordinates tell its place from others: a raster that only has pixels starts where all do."""
        return not is_engineering(self.crs) or self.transform != Affine(1, 0, 0, 0, -1, 0)

    @property
    def is_rotated(self) -> bool:
        rotated: bool = self.transform.b != 0 or self.transform.d != 0
        return rotated

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in CRS units, whichever way the rows run."""
        xs, ys = zip(*(self.transform @ corner for corner in self._corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def footprint(self) -> Polygon:
        """The outline in CRS units."""
        return Polygon([self.transform @ corner for corner in self._corners]) if self.is_rotated else box(*self.bounds)

    @property
    def _corners(self) -> tuple[tuple[int, int], ...]:
        return (0, 0), (self.width, 0), (self.width, self.height), (0, self.height)

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The part that starts at (row, col); may reach outside."""
        return Grid(self.crs, self.transform @ Affine.translation(col, row), height, width)

    @property
    def gsd_m(self) -> float | None:
        """Ground metres a pixel at the centre (geometric mean of x and y), or None for a local plane.

        Measured on the ellipsoid, because a web-mercator metre is not a ground metre and a degree is no length.
        """
        sizes = ground_pixel_size(self)
        return None if sizes is None else math.sqrt(sizes[0] * sizes[1])


def ground_pixel_size(grid: Grid) -> tuple[float, float] | None:
    """Ground metres of a pixel's sides (x, y) at the centre of the grid; None where the CRS has no place on Earth."""
    if is_engineering(grid.crs):
        return None
    crs = _pyproj(grid.crs.to_wkt())
    if crs.geodetic_crs is None:
        return None
    geod = crs.get_geod()
    to_lonlat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    # Half a pixel to each side; many pixels at once would feel the curvature of coarse grids.
    row, col = grid.height / 2, grid.width / 2
    points = [(col - 0.5, row), (col + 0.5, row), (col, row - 0.5), (col, row + 0.5)]
    lonlat = [to_lonlat.transform(*(grid.transform @ point)) for point in points]
    if geod is None or not all(math.isfinite(value) for pair in lonlat for value in pair):
        return None
    _, _, across = geod.inv(*lonlat[0], *lonlat[1])
    _, _, along = geod.inv(*lonlat[2], *lonlat[3])
    return across, along


def utm_crs(grid: Grid) -> CRS:
    """The UTM zone of the grid's centre (WGS 84). Raises ValueError for a grid without a place on Earth."""
    if is_engineering(grid.crs):
        raise ValueError("a raster without CRS has no UTM zone")
    left, bottom, right, top = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
    zone = min(60, max(1, int((left + right) / 2 + 180) // 6 + 1))
    return CRS.from_epsg((32600 if bottom + top >= 0 else 32700) + zone)


@lru_cache(maxsize=64)
def _pyproj(wkt: str) -> pyproj.CRS:
    # WKT written by GDAL has lost the area of use; the authority's code brings it back.
    code = CRS.from_wkt(wkt).to_epsg()
    return pyproj.CRS.from_epsg(code) if code else pyproj.CRS.from_wkt(wkt)


@lru_cache(maxsize=64)
def usable_area(wkt: str) -> tuple[float, float, float, float] | None:
    """(left, bottom, right, top) in CRS units where the CRS may be used; None when it does not say."""
    crs = _pyproj(wkt)
    area = crs.area_of_use
    if area is None or crs.geodetic_crs is None:
        return None
    to_crs = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    bounds = to_crs.transform_bounds(area.west, area.south, area.east, area.north)
    return bounds if all(math.isfinite(value) for value in bounds) else None


def fictitious_cell(crs: CRS, pixel_size: tuple[float, float], side: int, index: int) -> tuple[int, int]:
    """Row and column of the cell of synthetic tile ``index``; see ``fictitious_grid``."""
    area = None if is_engineering(crs) else usable_area(crs.to_wkt())
    columns = CELLS if area is None else min(CELLS, max(1, int((area[2] - area[0]) / (2 * side * pixel_size[0]))))
    return divmod(index, columns)


def fictitious_grid(
    crs: CRS, pixel_size: tuple[float, float], side: int, index: int, tileset_id: str, cells: int = CELLS
) -> Grid:
    """The made-up place of synthetic tile ``index``: training CRS and exact pixel size, a cell of its own.

    Cells are two tiles apart, so no two footprints touch (GDAL and torchgeo mosaic files that share one). The tile sits
    in cell (index mod columns, index div columns); there are 1024 columns unless the CRS's usable area is narrower.
    The grid starts at a whole number of cells from the area's upper left, chosen by the tileset's id, so that two
    tilesets rarely share cells. When the rows run out the count goes on below the area: a place is never used twice.

    Args:
        crs: CRS of the training tiles.
        pixel_size: (x, y) in CRS units.
        side: tile side in pixels.
        index: number of the sample, from 0.
        tileset_id: id of the synthetic tileset.
        cells: columns and rows that are kept free for it; the fewer, the more places there are to start from.
    """
    pitch = 2 * side
    pitch_x, pitch_y = pitch * pixel_size[0], pitch * pixel_size[1]
    area = None if is_engineering(crs) else usable_area(crs.to_wkt())
    cell_row, cell_col = fictitious_cell(crs, pixel_size, side, index)
    digest = hashlib.blake2b(tileset_id.encode(), digest_size=8).digest()
    draw_x, draw_y = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
    if area is None:
        left, top = 0.0, 0.0
        spare_x = spare_y = CELLS
    else:
        left, bottom, right, top = area
        fit_x, fit_y = max(1, int((right - left) / pitch_x)), max(1, int((top - bottom) / pitch_y))
        spare_x, spare_y = max(0, fit_x - cells), max(0, fit_y - cells)
    col = draw_x % (spare_x + 1) + cell_col
    row = draw_y % (spare_y + 1) + cell_row
    # Snapped to whole pixels, so that the origin is a short number and neighbours line up.
    left, top = math.ceil(left / pixel_size[0]), math.floor(top / pixel_size[1])
    origin = ((left + col * pitch) * pixel_size[0], (top - row * pitch) * pixel_size[1])
    return Grid(crs, Affine(pixel_size[0], 0, origin[0], 0, -pixel_size[1], origin[1]), side, side)
