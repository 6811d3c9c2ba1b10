"""Scenes: what a raster is, checked before work begins, and its windows with a mask of valid pixels.

A scene's rows run down from north. One stored the other way is turned round while it is read, so that whatever comes
after sees one convention. Every way of saying "no data here" (a value, NaN, an alpha band, a mask) becomes one thing:
``valid``, bool (H, W).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geosynth.errors import SceneError
from geosynth.grid import Grid, ground_pixel_size, is_engineering
from geosynth.rasters import Band, avoid_nodata, grid_of, open_raster, valid_pixels
from geosynth.scenes.targets import offset_between, pixels_across, resized

Validity = Literal["none", "nodata", "alpha", "mask", "nan"]

_COLOURS = {
    ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue", ColorInterp.nir: "nir",
    ColorInterp.rededge: "rededge", ColorInterp.coastal: "coastal", ColorInterp.pan: "pan",
}  # fmt: skip
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_SHRINK = 1.5
"""From this many source pixels a target pixel on, pixels are averaged instead of interpolated."""


@dataclass(frozen=True)
class SceneInfo:
    """What a scene is.

    Attributes:
        path: the file, as GDAL opens it.
        name: its stem, safe in file names.
        grid: its place, rows running down from north (see ``open_scene``).
        bands: name, dtype (one for all) and nodata; an alpha band is not among them.
        validity: how the file says where it holds data.
    """

    path: str
    name: str
    grid: Grid
    bands: tuple[Band, ...]
    validity: Validity


def inspect_scene(path: str | PathLike[str]) -> SceneInfo:
    """What the raster at ``path`` is, and that it can be used.

    Raises:
        SceneError: unreadable or cut off, complex or mixed values, rotated, without a usable place, palette colours.
    """
    text = fspath(path)
    with open_raster(text) as dataset:
        _refuse_unusable(dataset, text)
        grid = north_up(dataset, text)
        _refuse_nonsense(grid, text)
        _probe(dataset)
        return SceneInfo(text, scene_name(text), grid, _bands(dataset), _validity(dataset))


def target_grid(info: SceneInfo, *, gsd: float | None = None, crs: CRS | None = None) -> Grid:
    """The pixels to read a scene on: its own, or of ``gsd`` ground metres, in ``crs`` or a fitting one.

    A projected CRS is kept and its pixels scaled until they measure ``gsd`` on the ground; degrees with a ``gsd``
    become the UTM zone of the scene's centre.

    Raises:
        SceneError: no CRS, so that ground metres are unknown; far finer than the scene; the CRS cannot hold it.
    """
    return resized(info.grid, gsd, crs, info.path)


def scene_name(path: str | PathLike[str]) -> str:
    """A name for tiles and outputs, safe on every file system: ``NETCDF:"a b.nc":rain`` becomes ``a_b.nc_rain``."""
    text = fspath(path)
    stem = re.sub(r'^[A-Za-z0-9_]{2,}:(?=["/])', "", text) if ":" in text else text
    stem = PurePath(stem.replace("\\", "/")).stem or "scene"
    return re.sub(r"[^\w.-]+", "_", stem).strip("._")[:100] or "scene"


def orientation(dataset: DatasetReader) -> tuple[bool, bool]:
    """Whether the file's rows run up (from the south), and whether its columns run from the east."""
    transform = grid_of(dataset).transform
    return transform.e > 0, transform.a < 0


class SceneReader:
    """Windows of an open scene; see ``open_scene``."""

    def __init__(
        self,
        grid: Grid,
        bands: tuple[Band, ...],
        nodata: float | None,
        fetch: Callable[[int, int, int, int], tuple[NDArray[Any], NDArray[np.bool_]]],
    ) -> None:
        self.grid = grid
        self.bands = bands
        self._nodata = nodata
        self._fetch = fetch

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The window whose upper left pixel is (row, col); it may reach outside the grid.

        Returns:
            image (C, height, width) in the scene's dtype and valid, bool (height, width). Pixels that are not valid
            hold the ``nodata`` given to ``open_scene`` (or 0), valid ones never do.

        Raises:
            SceneError: the file is damaged here.
        """
        dtype = np.dtype(self.bands[0].dtype)
        fill = dtype.type(0 if self._nodata is None else self._nodata)
        image = np.full((len(self.bands), height, width), fill, dtype)
        valid = np.zeros((height, width), bool)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.grid.height), min(col + width, self.grid.width)
        if top < bottom and left < right:
            part, holds = self._fetch(top, left, bottom - top, right - left)
            if dtype.kind == "f":
                holds &= np.isfinite(part).all(axis=0)
            inside = np.s_[top - row : bottom - row, left - col : right - col]
            image[:, *inside] = np.where(holds, avoid_nodata(part, self._nodata), fill)
            valid[inside] = holds
        return image, valid


@contextmanager
def open_scene(
    info: SceneInfo, target: Grid | None = None, nodata: float | None = None, *, nearest: bool = False
) -> Iterator[SceneReader]:
    """Open a scene for reading windows.

    Args:
        info: from ``inspect_scene``.
        target: the pixels to read on; the scene is warped onto them once, lazily, window by window (average when a
            pixel covers 1.5 or more of the scene's, else bilinear; what is valid by the nearest pixel). None, or a
            grid on the scene's own pixels: the pixels as they are.
        nodata: what pixels without data hold in what is read; None means 0.
        nearest: take the nearest pixel instead of mixing: for classes.

    Raises:
        SceneError: unreadable, or cannot be brought onto the target.
    """
    grid = target or info.grid
    offset = offset_between(info.grid, grid)
    try:
        with ExitStack() as stack:
            dataset = stack.enter_context(open_raster(info.path))
            fetch = (
                _direct(dataset, info, offset) if offset is not None else _warped(stack, dataset, info, grid, nearest)
            )
            yield SceneReader(grid, info.bands, nodata, fetch)
    except CPLE_BaseError as error:
        raise SceneError(f"cannot be read on the grid asked for ({error})", where=info.path) from None


def _direct(dataset: DatasetReader, info: SceneInfo, offset: tuple[int, int]) -> Callable[..., Any]:
    rows_up, cols_west = orientation(dataset)
    flip = (slice(None, None, -1 if rows_up else 1), slice(None, None, -1 if cols_west else 1))

    def fetch(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        row = dataset.height - row - height if rows_up else row
        col = dataset.width - col - width if cols_west else col
        image, valid = _read(dataset, info, Window(col, row, width, height))
        return image[:, *flip], valid[flip]

    own = SceneReader(info.grid, info.bands, None, fetch)
    if offset == (0, 0):
        return fetch
    return lambda row, col, height, width: own.read(row + offset[0], col + offset[1], height, width)


def _read(dataset: Any, info: SceneInfo, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A window inside the dataset, with what is valid by every sign the file gives."""
    image = dataset.read(_image_indexes(dataset), window=window)
    valid = _holds_data(image, info.bands)
    alpha = _alpha_index(dataset)
    if alpha is not None:
        valid &= dataset.read(alpha, window=window) > 0
    elif info.validity == "mask":
        valid &= dataset.read_masks(1, window=window) > 0
    return image, valid


def _warped(stack: ExitStack, dataset: DatasetReader, info: SceneInfo, grid: Grid, nearest: bool) -> Callable[..., Any]:
    """Two views of the scene on ``grid``: its values averaged or interpolated, and its signs of validity unmixed."""
    nodata = info.bands[0].nodata
    options: dict[str, Any] = {
        "src_crs": info.grid.crs,
        "src_transform": _as_stored(info.grid, *orientation(dataset)),
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "src_nodata": nodata,
        "add_alpha": _alpha_index(dataset) is None,
        # As in valid_pixels: a 0 hides a pixel when all bands have it, any other value hides in its own band.
        "warp_extras": {"UNIFIED_SRC_NODATA": "YES" if nodata == 0 else "NO"},
    }
    shrink = pixels_across(info.grid, grid)
    smooth = Resampling.average if shrink >= _SHRINK else Resampling.bilinear
    try:
        # Overviews are often made by picking pixels: averages are taken from the pixels themselves.
        source = stack.enter_context(rasterio.open(info.path, OVERVIEW_LEVEL="NONE"))
        signs = stack.enter_context(WarpedVRT(source, resampling=Resampling.nearest, **options))
        values = signs if nearest else stack.enter_context(WarpedVRT(source, resampling=smooth, **options))
    except (RasterioError, CPLE_BaseError, ValueError) as error:
        raise SceneError(f"cannot be warped ({error})", where=info.path, remedy="warp it with gdalwarp") from None
    has_values = any(band.nodata is not None for band in info.bands)

    def fetch(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        window = Window(col, row, width, height)
        indexes = _image_indexes(values)
        image = values.read(indexes, window=window)
        valid = signs.read(_alpha_index(signs), window=window) > 0
        if has_values:
            valid &= _holds_data(signs.read(indexes, window=window), info.bands)
        return image, valid

    return fetch


def _as_stored(grid: Grid, rows_up: bool, cols_west: bool) -> Affine:
    """The transform of the file behind a scene's grid."""
    a, _, c, _, e, f = grid.transform[:6]
    c, a = (c + a * grid.width, -a) if cols_west else (c, a)
    f, e = (f + e * grid.height, -e) if rows_up else (f, e)
    return Affine(a, 0.0, c, 0.0, e, f)


def _image_indexes(dataset: Any) -> list[int]:
    alpha = _alpha_index(dataset)
    return [index for index in dataset.indexes if index != alpha]


def _alpha_index(dataset: Any) -> int | None:
    kinds = list(dataset.colorinterp)
    return kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else None


def _holds_data(image: NDArray[Any], bands: tuple[Band, ...]) -> NDArray[np.bool_]:
    values = [band.nodata for band in bands]
    if len({str(value) for value in values}) == 1:
        return valid_pixels(image, values[0])
    each = [valid_pixels(image[band : band + 1], value) for band, value in enumerate(values)]
    together: NDArray[np.bool_] = np.logical_and.reduce(each)
    return together


def _refuse_unusable(dataset: DatasetReader, path: str) -> None:
    indexes = _image_indexes(dataset)
    if not indexes:
        inner = dataset.subdatasets
        remedy = f"give one of its rasters, for example {inner[0]}" if inner else "give a raster with image bands"
        raise SceneError("holds no image band itself", where=path, remedy=remedy)
    dtypes = sorted({dataset.dtypes[index - 1] for index in indexes})
    if any(dtype.startswith("complex") for dtype in dtypes):
        raise SceneError(
            "holds complex numbers", where=path, remedy="write their intensity: gdal_calc.py --calc='abs(A)'"
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
        SceneError: rotated, sheared or broken.
    """
    grid = grid_of(dataset)
    a, b, c, d, e, f = grid.transform[:6]
    values = (a, b, c, d, e, f)
    if not all(np.isfinite(values)) or (a == 0 and b == 0) or (d == 0 and e == 0):
        raise SceneError("its geotransform is broken", where=path, remedy="set it with gdal_translate -a_ullr …")
    # A shear of less than a hundredth of a pixel over the whole raster is the rounding of whoever wrote it.
    if abs(b) * grid.height > 0.01 * abs(a) or abs(d) * grid.width > 0.01 * abs(e):
        raise SceneError("is rotated or sheared", where=path, remedy="warp it to north up first: gdalwarp IN OUT")
    left, top = min(c, c + a * grid.width), max(f, f + e * grid.height)
    return Grid(grid.crs, Affine(abs(a), 0.0, left, 0.0, -abs(e), top), grid.height, grid.width)


def _refuse_nonsense(grid: Grid, path: str) -> None:
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


def _probe(dataset: DatasetReader) -> None:
    """Read the first and last pixel: a file that was cut off opens well and fails later."""
    for col, row in ((0, 0), (dataset.width - 1, dataset.height - 1)):
        dataset.read(window=Window(col, row, 1, 1))


def _bands(dataset: DatasetReader) -> tuple[Band, ...]:
    bands: list[Band] = []
    for index in _image_indexes(dataset):
        described = (dataset.descriptions[index - 1] or "").strip()
        name = described or _COLOURS.get(dataset.colorinterp[index - 1], f"band_{index}")
        if any(band.name == name for band in bands):
            name = f"{name}_{index}"
        dtype = dataset.dtypes[index - 1]
        bands.append(Band(name, dtype, _nodata(dataset.nodatavals[index - 1], dtype)))
    return tuple(bands)


def _nodata(value: float | None, dtype: str) -> float | None:
    """A declared nodata value as the dtype holds it; None when no pixel can have it."""
    if value is None:
        return None
    kind = np.dtype(dtype)
    if kind.kind == "f":
        limits = np.finfo(kind)
        held = value if np.isnan(value) else float(kind.type(np.clip(value, float(limits.min), float(limits.max))))
        return float(held)
    whole = np.iinfo(kind)
    return float(value) if np.isfinite(value) and value == int(value) and whole.min <= value <= whole.max else None


def _validity(dataset: DatasetReader) -> Validity:
    bands = _bands(dataset)
    if _alpha_index(dataset) is not None:
        return "alpha"
    if any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums):
        return "mask"
    declared = [band.nodata for band in bands if band.nodata is not None]
    if any(not np.isnan(value) for value in declared):
        return "nodata"
    return "nan" if np.dtype(bands[0].dtype).kind == "f" else "none"
