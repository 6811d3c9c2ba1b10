"""Rasters written block by block, in any order and in bounded memory, and published as cloud-optimised GeoTIFFs.

Blocks go to an uncompressed scratch file, whose blocks can be rewritten in place; closing turns it into the COG.
Overviews of classes are made by mode: the average of two classes is a third one.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geosynth.errors import OutputError
from geosynth.folders import write_whole
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend, category_names, raster_style
from geosynth.rasters import Band

_BLOCK = 512


class _CogWriter:
    """A context manager: blocks in, one COG out when it ends well, nothing when it ends by an error."""

    overviews = "average"
    predictor = "YES"

    def __init__(self, target: str | PathLike[str], scratch: str | PathLike[str], grid: Grid, **profile: Any) -> None:
        self.target = Path(target)
        self.grid = grid
        folder = Path(scratch)
        self._blocks = folder / f"{self.target.name}.blocks"
        self._cog = folder / f"{self.target.name}.cog"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._dataset = rasterio.open(
                    self._blocks,
                    "w",
                    driver="GTiff",
                    crs=grid.crs,
                    transform=grid.transform,
                    height=grid.height,
                    width=grid.width,
                    tiled=True,
                    blockxsize=_BLOCK,
                    blockysize=_BLOCK,
                    bigtiff="if_safer",
                    sparse_ok=True,  # what was never written reads as nodata
                    **profile,
                )
        except (OSError, RasterioError) as error:
            raise OutputError(f"cannot be written ({error})", where=self.target, remedy="check the folder") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._dataset.close()
            if kind is None:
                self._publish()
        except (RasterioError, OSError) as failure:
            raise OutputError(
                f"cannot be written ({failure})",
                where=self.target,
                remedy="check the folder and the free space on the disk",
            ) from None
        finally:
            self._blocks.unlink(missing_ok=True)
            self._cog.unlink(missing_ok=True)

    def _put(self, row: int, col: int, values: NDArray[Any]) -> None:
        """Write (C, h, w) with its upper left pixel at (row, col); what lies outside the grid is cut off."""
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + values.shape[1], self.grid.height), min(col + values.shape[2], self.grid.width)
        if top < bottom and left < right:
            inside = values[:, top - row : bottom - row, left - col : right - col]
            self._dataset.write(inside, window=Window(left, top, right - left, bottom - top))

    def _publish(self) -> None:
        rasterio.shutil.copy(
            self._blocks,
            self._cog,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR=self.predictor,
            BLOCKSIZE=_BLOCK,
            OVERVIEW_RESAMPLING=self.overviews.upper(),
            BIGTIFF="IF_SAFER",
        )
        self._cog.with_name(f"{self._cog.name}.aux.xml").unlink(missing_ok=True)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._accompany()
        self._cog.replace(self.target)

    @abstractmethod
    def _accompany(self) -> None:
        """Write the files that belong beside the raster; the raster itself comes last."""


class ClassRasterWriter(_CogWriter):
    """Writes a class raster: palette, class names (``.aux.xml``), QGIS style (``.qml``), nodata 255.

    Args:
        target: the ``.tif``; it and the files beside it appear whole when the block ends without an error.
        scratch: a folder on the same file system for what is not finished.
        grid: its pixels. What is never written is unknown.
        legend: its classes.
        tags: GeoTIFF tags.

    Raises:
        OutputError: the file cannot be written.
    """

    overviews = "mode"
    predictor = "NO"  # neighbouring ids have no useful difference

    def __init__(
        self,
        target: str | PathLike[str],
        scratch: str | PathLike[str],
        grid: Grid,
        legend: Legend,
        tags: Mapping[str, str],
    ) -> None:
        super().__init__(target, scratch, grid, count=1, dtype="uint8", nodata=UNKNOWN, photometric="palette")
        self._legend = legend
        self._dataset.colorinterp = (ColorInterp.palette,)
        self._dataset.write_colormap(1, legend.colormap())
        self._dataset.descriptions = ("class",)
        self._dataset.update_tags(**tags)

    def write(self, row: int, col: int, ids: NDArray[np.uint8]) -> None:
        """Class ids uint8 (h, w), 255 unknown, with the upper left pixel at (row, col)."""
        self._put(row, col, ids[None])

    def _accompany(self) -> None:
        folder = self._blocks.parent
        write_whole(self.target.with_name(f"{self.target.name}.aux.xml"), category_names(self._legend), folder)
        write_whole(self.target.with_suffix(".qml"), raster_style(self._legend), folder)


class RasterWriter(_CogWriter):
    """Writes a raster of measurements (confidence, a generated image); overviews are averages.

    Args:
        target, scratch, grid, tags: as for ``ClassRasterWriter``.
        bands: names, one dtype for all, nodata; what is never written holds nodata (or 0).
    """

    def __init__(
        self,
        target: str | PathLike[str],
        scratch: str | PathLike[str],
        grid: Grid,
        bands: tuple[Band, ...],
        tags: Mapping[str, str],
    ) -> None:
        colour: dict[str, Any] = {}
        if len(bands) == 3 and bands[0].dtype in ("uint8", "uint16"):
            colour["photometric"] = "rgb"
        super().__init__(
            target, scratch, grid, count=len(bands), dtype=bands[0].dtype, nodata=bands[0].nodata, **colour
        )
        self._dataset.descriptions = tuple(band.name for band in bands)
        self._dataset.update_tags(**tags)

    def write(self, row: int, col: int, values: NDArray[Any]) -> None:
        """Values (C, h, w), or (h, w) for one band, with the upper left pixel at (row, col)."""
        self._put(row, col, values if values.ndim == 3 else values[None])

    def _accompany(self) -> None:
        return
