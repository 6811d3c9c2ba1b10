"""Whether a raster can be used as a scene: what is refused, and the words for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geosynth.errors import SceneError
from geosynth.grid import Grid, ground_pixel_size, is_engineering
from geosynth.rasters import grid_of

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def orientation(dataset: DatasetReader) -> tuple[bool, bool]:
    """Whether the file's rows run up (from the south), and whether its columns run from the east."""
    transform = grid_of(dataset).transform
    return transform.e > 0, transform.a < 0


def image_indexes(dataset: Any) -> list[int]:
    alpha = alpha_index(dataset)
    return [index for index in dataset.indexes if index != alpha]


def alpha_index(dataset: Any) -> int | None:
    kinds = list(dataset.colorinterp)
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else None


def refuse_unusable(dataset: DatasetReader, path: str) -> None:
    indexes = image_indexes(dataset)
    if not indexes:
        inner = dataset.subdatasets
        remedy = f"give one of its rasters, for example {inner[0]}" if inner else "give a raster with image bands"
        raise SceneError("holds no image band itself", where=path, remedy=remedy)
    dtypes = sorted({dataset.dtypes[index - 1] for index in indexes})
    if any(dtype.startswith("complex") for dtype in dtypes):
        raise SceneError(
            "holds complex numbers",
            where=path,
            remedy="write their strength: gdal_calc.py -A IN --outfile OUT --calc='abs(A)' --type=Float32",
        )
    if len(dtypes) > 1:
        raise SceneError(
            f"its bands have different types ({', '.join(dtypes)})", where=path, remedy="gdal_translate -ot makes one"
        )
    if dtypes[0] not in _DTYPES:
        raise SceneError(f"its values are {dtypes[0]}", where=path, remedy="convert it: gdal_translate -ot Float32")
    if ColorInterp.palette in dataset.colorinterp:
        raise SceneError(
            "its numbers stand for the colours of a palette, they are no measurements",
            where=path,
            remedy="make colours of them with gdal_translate -expand rgb; or give it as --labels if it is a mask",
        )
    if dataset.crs is None and dataset.transform.is_identity and (dataset.gcps[0] or dataset.rpcs is not None):
        how = "ground control points" if dataset.gcps[0] else "a sensor model (RPC)"
        option = "-tps" if dataset.gcps[0] else "-rpc"
        raise SceneError(
            f"its place is only given by {how}", where=path, remedy=f"warp it first: gdalwarp {option} IN OUT"
        )
    if dataset.crs is not None and dataset.transform.is_identity:
        raise SceneError(
            "has a coordinate system but no position", where=path, remedy="give it one: gdal_translate -a_ullr …"
        )


def north_up(dataset: DatasetReader, path: str) -> Grid:
    """The dataset's grid with rows running down and columns running right.

    Raises:
        SceneError: rotated, sheared or broken; a CRS without a plane (geocentric, vertical).
    """
    grid = grid_of(dataset)
    crs = dataset.crs
    if crs is not None and is_engineering(crs) and not crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS")):
        raise SceneError(
            "its coordinate system is no map: heights, or positions from the centre of the Earth",
            where=path,
            remedy="give it the right one: gdal_translate -a_srs …",
        )
    a, b, c, d, e, f = grid.transform[:6]
    values = (a, b, c, d, e, f)
    if not all(np.isfinite(values)) or (a == 0 and b == 0) or (d == 0 and e == 0):
        raise SceneError("its geotransform is broken", where=path, remedy="set it with gdal_translate -a_ullr …")
    # A shear of less than a hundredth of a pixel over the whole raster is the rounding of whoever wrote it.
    if abs(b) * grid.height > 0.01 * abs(a) or abs(d) * grid.width > 0.01 * abs(e):
        raise SceneError("is rotated or sheared", where=path, remedy="warp it to north up first: gdalwarp IN OUT")
    left, top = min(c, c + a * grid.width), max(f, f + e * grid.height)
    return Grid(grid.crs, Affine(abs(a), 0.0, left, 0.0, -abs(e), top), grid.height, grid.width)


def refuse_nonsense(grid: Grid, path: str) -> None:
    """Refuse a place that its CRS cannot hold."""
    if is_engineering(grid.crs):
        return
    left, bottom, right, top = grid.bounds
    x, y = grid.pixel_size
    # Points on the poles and the antimeridian are pixel centres in some products: half a pixel may stick out.
    outside = grid.crs.is_geographic and (bottom < -90 - y or top > 90 + y or left < -360 - x or right > 360 + x)
    ground = None if outside or (grid.crs.is_geographic and max(x, y) > 90) else ground_pixel_size(grid)
    if ground is None or not all(1e-4 <= size <= 5e6 for size in ground):
        name = f"EPSG:{grid.crs.to_epsg()}" if grid.crs.to_epsg() else "its CRS"
        raise SceneError(
            f"its place makes no sense: pixels of {x:g} x {y:g} from ({left:g}, {top:g}) do not fit {name}",
            where=path,
            remedy="give it the right position and CRS: gdal_translate -a_ullr … -a_srs …",
        )


def probe(dataset: DatasetReader) -> None:
    """Read the first and last pixel: a file that was cut off opens well and fails later."""
    for col, row in ((0, 0), (dataset.width - 1, dataset.height - 1)):
        dataset.read(window=Window(col, row, 1, 1))
