"""GeoTIFF in and out: tiles as bytes, rasters opened with errors a user understands."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from geosynth.errors import SceneError
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import UNKNOWN, Legend


@dataclass(frozen=True)
class Band:
    """One band of an image: ``name``, numpy ``dtype`` name, ``nodata`` (NaN is written as the text "nan" in JSON)."""

    name: str
    dtype: str
    nodata: float | None = None

    def to_json(self) -> dict[str, Any]:
        nodata: Any = "nan" if self.nodata is not None and np.isnan(self.nodata) else self.nodata
        return {"name": self.name, "dtype": self.dtype, "nodata": nodata}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Band:
        nodata = content["nodata"]
        return cls(str(content["name"]), str(content["dtype"]), None if nodata is None else float(nodata))


def gdal_session(cache_mib: int = 64) -> Any:
    """A context in which GDAL keeps at most ``cache_mib`` MiB of decoded blocks.

    GDAL's own default grows with the machine's memory. Little is enough for what reads every block once.
    """
    return rasterio.Env(GDAL_CACHEMAX=cache_mib << 20)


@contextmanager
def open_raster(path: str | PathLike[str]) -> Iterator[DatasetReader]:
    """Open a raster for reading. Any failure inside becomes a ``SceneError`` that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
        with dataset:
            yield dataset
    except RasterioError as error:
        if isinstance(error.__cause__, SceneError):
            raise error.__cause__ from None
        cause = error.__cause__ or error
        reason = str(cause).replace(fspath(path), "").strip(": '\"") or type(cause).__name__
        raise SceneError(
            f"cannot be read as a raster ({_first_sentence(reason)})",
            where=path,
            remedy="check that the file is there and complete, for example with gdalinfo -checksum",
        ) from None


def _first_sentence(text: str) -> str:
    return " ".join(text.split())[:160]


def read_tags(path: str | PathLike[str]) -> dict[str, str]:
    """The tags of a raster that say where it comes from: its own, without those GDAL adds. Raises SceneError."""
    with open_raster(path) as dataset:
        return {key: value for key, value in dataset.tags().items() if key != "AREA_OR_POINT"}


def grid_of(dataset: DatasetReader) -> Grid:
    """The grid of an open raster. Without CRS: the engineering CRS; without transform either: one unit a pixel, rows
    running down, which is where QGIS draws such a raster."""
    transform = dataset.transform
    if dataset.crs is None and transform.is_identity:
        transform = rasterio.Affine(1, 0, 0, 0, -1, 0)
    return Grid(dataset.crs or engineering_crs(), transform, dataset.height, dataset.width)


def image_bytes(grid: Grid, image: NDArray[Any], bands: tuple[Band, ...], tags: Mapping[str, str]) -> bytes:
    """An image tile (C, H, W) as a deflated GeoTIFF in memory; the same input gives the same bytes."""
    profile = _profile(grid) | {
        "count": len(bands),
        "dtype": bands[0].dtype,
        "nodata": bands[0].nodata,
        "predictor": 3 if np.dtype(bands[0].dtype).kind == "f" else 2,
        "interleave": "pixel",
    }
    # Said outright: GDAL would take the fourth of four bands for transparency.
    is_rgb = len(bands) == 3 and bands[0].dtype in ("uint8", "uint16")
    profile["photometric"] = "rgb" if is_rgb else "minisblack"
    with MemoryFile() as memory:
        with _create(memory, profile) as dataset:
            dataset.write(image)
            dataset.descriptions = tuple(band.name for band in bands)
            dataset.update_tags(**tags)
        return bytes(memory.read())


def mask_bytes(grid: Grid, mask: NDArray[np.uint8], legend: Legend, tags: Mapping[str, str]) -> bytes:
    """A mask tile, class ids uint8 (H, W), as a deflated GeoTIFF with palette and nodata 255."""
    profile = _profile(grid) | {"count": 1, "dtype": "uint8", "nodata": UNKNOWN, "photometric": "palette"}
    with MemoryFile() as memory:
        with _create(memory, profile) as dataset:
            dataset.write_colormap(1, legend.colormap())  # before the pixels: GDAL objects to it afterwards
            dataset.write(mask, 1)
            dataset.descriptions = ("class",)
            dataset.update_tags(**tags)
        return bytes(memory.read())


def _create(memory: MemoryFile, profile: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return memory.open(**profile)


def _profile(grid: Grid) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.transform,
        "compress": "deflate",
        "blockysize": grid.height,  # one strip: smaller and faster than several
        "zlevel": 1,  # a third of the time of the default, for files a tenth larger
    }


def valid_pixels(image: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which pixels hold data: bool (H, W) from values (C, H, W).

    NaN is never data. A nodata of 0 hides a pixel only when every band is 0 (a single dark band is a reading); any
    other nodata value hides it as soon as one band has it.
    """
    valid = np.ones(image.shape[1:], bool)
    if image.dtype.kind == "f":
        valid &= ~np.isnan(image).any(axis=0)
    if nodata is None or np.isnan(nodata):
        return valid
    hit = image == image.dtype.type(nodata)
    hidden: NDArray[np.bool_] = hit.all(axis=0) if nodata == 0 else hit.any(axis=0)
    return valid & ~hidden


def avoid_nodata(raster: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Valid values that happen to equal nodata, moved to the next value (one up, or one down at the top).

    GDAL takes floats for nodata that differ from it in the last digits; they count as equal, and move further.
    """
    if nodata is None or not np.isfinite(nodata):
        return raster
    kind = raster.dtype
    if kind.kind in "iu":
        hit = raster == kind.type(nodata)
        neighbour = nodata - 1 if nodata >= np.iinfo(kind).max else nodata + 1
    else:
        step = max(1e-6 * abs(nodata), float(np.finfo(kind).tiny))
        with np.errstate(over="ignore"):
            hit = (raster > kind.type(nodata - step)) & (raster < kind.type(nodata + step))
        neighbour = nodata - step if nodata > 0 else nodata + step
    return np.where(hit, kind.type(neighbour), raster) if hit.any() else raster
