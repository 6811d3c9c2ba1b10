"""Scenes: what a raster is, checked before work begins, and its windows with a mask of valid pixels.

A scene's rows run down from north. One stored the other way is turned round while it is read, so that whatever comes
after sees one convention. Every way of saying "no data here" (a value, NaN, an alpha band, a mask) becomes one thing:
``valid``, bool (H, W).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
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
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geosynth.errors import SceneError
from geosynth.grid import Grid
from geosynth.rasters import Band, avoid_nodata, open_raster, valid_pixels
from geosynth.scenes.checks import (
    alpha_index,
    image_indexes,
    north_up,
    orientation,
    probe,
    refuse_nonsense,
    refuse_unusable,
)
from geosynth.scenes.targets import lies_within, offset_between, pixels_across, resized

Validity = Literal["none", "nodata", "alpha", "mask", "nan"]

Resampled = Literal["smooth", "majority", "nearest"]
"""How pixels become others: averaged or interpolated (measurements), the most frequent (classes), or picked."""

_Fetch = Callable[[int, int, int, int], tuple[NDArray[Any], NDArray[np.bool_]]]
"""Reads a window (row, col, height, width) that lies inside: image (C, H, W), valid (H, W)."""
_COLOURS = {
    ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue", ColorInterp.nir: "nir",
    ColorInterp.rededge: "rededge", ColorInterp.coastal: "coastal", ColorInterp.pan: "pan",
}  # fmt: skip
_SHRINK = 1.5
"""From this many source pixels along a target pixel on, all of them count, not the nearest ones only."""
_METHODS: dict[Resampled, tuple[Resampling, Resampling]] = {
    "smooth": (Resampling.bilinear, Resampling.average),
    "majority": (Resampling.nearest, Resampling.mode),
    "nearest": (Resampling.nearest, Resampling.nearest),
}
"""GDAL's resampling for targets about as fine as the scene, and for coarser ones."""


@dataclass(frozen=True)
class SceneInfo:
    """What a scene is.

    Attributes:
        path: the file, as GDAL opens it.
        name: its stem, safe in file names.
        grid: its place, rows running down from north (see ``open_scene``).
        bands: name, dtype (one for all) and nodata; an alpha band is not among them.
        validity: how the file says where it holds data.
        indexes: the file's numbers (from 1) of ``bands``; None when they are all it has but alpha.
    """

    path: str
    name: str
    grid: Grid
    bands: tuple[Band, ...]
    validity: Validity
    indexes: tuple[int, ...] | None = None


def inspect_scene(path: str | PathLike[str]) -> SceneInfo:
    """What the raster at ``path`` is, and that it can be used.

    Raises:
        SceneError: unreadable or cut off, complex or mixed values, rotated, without a usable place, palette colours.
    """
    text = fspath(path)
    with open_raster(text) as dataset:
        refuse_unusable(dataset, text)
        grid = north_up(dataset, text)
        refuse_nonsense(grid, text)
        probe(dataset)
        return SceneInfo(text, scene_name(text), grid, _bands(dataset), _validity(dataset))


def select_bands(info: SceneInfo, wanted: Sequence[str]) -> SceneInfo:
    """A scene with some of its bands, in the order of ``wanted``: names, or numbers from 1 (alpha does not count).

    Raises:
        SceneError: no such band, or one is asked for twice.
    """
    names = [band.name.casefold() for band in info.bands]
    chosen: list[int] = []
    for entry in wanted:
        text = entry.strip()
        position = (
            names.index(text.casefold()) if text.casefold() in names else int(text) - 1 if text.isdecimal() else -1
        )
        if not 0 <= position < len(names):
            raise SceneError(
                f"has no band '{text}'",
                where=info.path,
                remedy="it has: " + ", ".join(f"{n} {band.name}" for n, band in enumerate(info.bands, start=1)),
            )
        if position in chosen:
            raise SceneError(f"band '{text}' is asked for twice", where=info.path, remedy="name every band once")
        chosen.append(position)
    numbers = info.indexes or _all_indexes(info)
    return replace(info, bands=tuple(info.bands[n] for n in chosen), indexes=tuple(numbers[n] for n in chosen))


def _all_indexes(info: SceneInfo) -> tuple[int, ...]:
    with open_raster(info.path) as dataset:
        return tuple(image_indexes(dataset))


def target_grid(info: SceneInfo, *, gsd: float | None = None, crs: CRS | None = None) -> Grid:
    """The pixels to read a scene on: its own, or of ``gsd`` ground metres, in ``crs`` or a fitting one.

    A projected CRS is kept and its pixels scaled until they measure ``gsd`` on the ground; degrees with a ``gsd``
    become the UTM zone of the scene's centre.

    Raises:
        SceneError: no CRS, so that ground metres are unknown; far finer than the scene; the CRS cannot hold it.
    """
    return resized(info.grid, gsd, crs, info.path)


def scene_name(path: str | PathLike[str]) -> str:
    """A name for tiles and outputs, safe on every file system: ``NETCDF:"a b.nc":rain`` becomes ``a_b_rain``."""
    text = fspath(path).replace("\\", "/")
    inner = re.fullmatch(r'\w{2,}:"?(.+?)"?:([^/]+)', text)
    stem = f"{PurePath(inner[1]).stem}_{inner[2]}" if inner else PurePath(text).stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._")[:100] or "scene"


class SceneReader:
    """Windows of an open scene; see ``open_scene``."""

    def __init__(
        self,
        grid: Grid,
        bands: tuple[Band, ...],
        nodata: float | None,
        fetch: _Fetch,
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
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.grid.height), min(col + width, self.grid.width)
        inside = np.s_[top - row : bottom - row, left - col : right - col]
        whole = (bottom - top, right - left) == (height, width)
        if whole or (top < bottom and left < right):
            part, holds = self._fetch(top, left, bottom - top, right - left)
            if dtype.kind == "f":
                holds &= np.isfinite(part).all(axis=0)
            part = avoid_nodata(part, self._nodata)
            if whole and holds.all():
                return part, holds
        fill = dtype.type(0 if self._nodata is None else self._nodata)
        image = np.full((len(self.bands), height, width), fill, dtype)
        valid = np.zeros((height, width), bool)
        if top < bottom and left < right:
            image[:, *inside] = np.where(holds, part, fill)
            valid[inside] = holds
        return image, valid


@contextmanager
def open_scene(
    info: SceneInfo, target: Grid | None = None, nodata: float | None = None, *, resampled: Resampled = "smooth"
) -> Iterator[SceneReader]:
    """Open a scene for reading windows.

    Args:
        info: from ``inspect_scene``.
        target: the pixels to read on; the scene is warped onto them once, lazily, window by window. None, or a grid
            on the scene's own pixels: the pixels as they are.
        nodata: what pixels without data hold in what is read; None means 0.
        resampled: how values are brought onto the target: "smooth" averages when a pixel covers 1.5 or more of the
            scene's and interpolates else, "majority" takes the most frequent value when it does and the nearest else,
            "nearest" the nearest. What is valid is told by the nearest pixel.

    Raises:
        SceneError: unreadable, or cannot be brought onto the target.
    """
    grid = target or info.grid
    offset = offset_between(info.grid, grid)
    with ExitStack() as stack:
        with _blamed_on(info):
            dataset = stack.enter_context(_open(info.path))
            read = _direct(dataset, info, grid, offset) if offset is not None else _warped(stack, info, grid, resampled)

        def fetch(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            with _blamed_on(info):
                return read(row, col, height, width)

        yield SceneReader(grid, info.bands, nodata, fetch)


@contextmanager
def _blamed_on(info: SceneInfo) -> Iterator[None]:
    """Failures of GDAL inside become a SceneError; not those of whoever uses the open scene."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise SceneError(
            f"cannot be read ({' '.join(str(error.__cause__ or error).split())[:160]})",
            where=info.path,
            remedy="check that the file is complete: gdalinfo -checksum",
        ) from None


def _open(path: str, **options: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **options)


def _direct(dataset: DatasetReader, info: SceneInfo, target: Grid, offset: tuple[int, int]) -> _Fetch:
    rows_up, cols_west = orientation(dataset)
    flip = (slice(None, None, -1 if rows_up else 1), slice(None, None, -1 if cols_west else 1))

    def fetch(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        row = dataset.height - row - height if rows_up else row
        col = dataset.width - col - width if cols_west else col
        image, valid = _read(dataset, info, Window(col, row, width, height))
        return image[:, *flip], valid[flip]

    own = SceneReader(info.grid, info.bands, None, fetch)
    # The target may reach beyond the scene.
    read = fetch if lies_within(target, info.grid, offset) else own.read
    return lambda row, col, height, width: read(row + offset[0], col + offset[1], height, width)


def _read(dataset: Any, info: SceneInfo, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A window inside the dataset, with what is valid by every sign the file gives."""
    image = dataset.read(_indexes(dataset, info), window=window)
    valid = _holds_data(image, info.bands)
    alpha = alpha_index(dataset)
    if alpha is not None:
        valid &= dataset.read(alpha, window=window) > 0
    elif info.validity == "mask":
        valid &= dataset.read_masks(1, window=window) > 0
    return image, valid


def _indexes(dataset: Any, info: SceneInfo) -> list[int]:
    return image_indexes(dataset) if info.indexes is None else list(info.indexes)


def _warped(stack: ExitStack, info: SceneInfo, grid: Grid, resampled: Resampled) -> _Fetch:
    """Two views of the scene on ``grid``: its values, resampled, and its signs of validity, unmixed."""
    floating = np.dtype(info.bands[0].dtype).kind == "f"
    nodata = math.nan if floating and info.bands[0].nodata is None else info.bands[0].nodata
    # Overviews are often made by picking pixels: averages are taken from the pixels themselves.
    source = stack.enter_context(_open(info.path, OVERVIEW_LEVEL="NONE"))
    options: dict[str, Any] = {
        "src_crs": info.grid.crs,
        "src_transform": _as_stored(info.grid, *orientation(source)),
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "src_nodata": nodata,
        "add_alpha": alpha_index(source) is None,
        "tolerance": 0.01,  # pixels; the default of an eighth shows, and costs as much
        "init_dest_nodata": False,  # alpha says where nothing is
        "INIT_DEST": "0",
        # As in valid_pixels: a 0 hides a pixel when all bands have it, any other value hides in its own band.
        "UNIFIED_SRC_NODATA": "YES" if nodata == 0 else "NO",
    }
    across = pixels_across(info.grid, grid)
    # Said outright: GDAL would work it out anew for every window, from how much of it lies beyond the scene.
    options |= {"XSCALE": 1 / across, "YSCALE": 1 / across}
    method = _METHODS[resampled][across >= _SHRINK]
    # The values as they are, no data among them, are the signs: GDAL hides a pixel only when all its bands are hidden.
    unhidden = options | {"src_nodata": None}
    signs = stack.enter_context(WarpedVRT(source, resampling=Resampling.nearest, **unhidden))
    picked = method is Resampling.nearest
    values = signs if picked else stack.enter_context(WarpedVRT(source, resampling=method, **options))
    has_values = floating or any(band.nodata is not None for band in info.bands)

    def fetch(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        window = Window(col, row, width, height)
        indexes = _indexes(values, info)
        image = values.read(indexes, window=window)
        valid = signs.read(alpha_index(signs), window=window) > 0
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


def _holds_data(image: NDArray[Any], bands: tuple[Band, ...]) -> NDArray[np.bool_]:
    values = [band.nodata for band in bands]
    if len({str(value) for value in values}) == 1:
        return valid_pixels(image, values[0])
    each = [valid_pixels(image[band : band + 1], value) for band, value in enumerate(values)]
    together: NDArray[np.bool_] = np.logical_and.reduce(each)
    return together


def _bands(dataset: DatasetReader) -> tuple[Band, ...]:
    bands: list[Band] = []
    for index in image_indexes(dataset):
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
        return float(kind.type(value))
    whole = np.iinfo(kind)
    return float(value) if np.isfinite(value) and value == int(value) and whole.min <= value <= whole.max else None


def _validity(dataset: DatasetReader) -> Validity:
    bands = _bands(dataset)
    if alpha_index(dataset) is not None:
        return "alpha"
    if any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums):
        return "mask"
    declared = [band.nodata for band in bands if band.nodata is not None]
    if any(not np.isnan(value) for value in declared):
        return "nodata"
    return "nan" if np.dtype(bands[0].dtype).kind == "f" else "none"
