"""Rasters written in parts, in any order and in bounded memory, and published as cloud-optimised GeoTIFFs.

A part is an uncompressed file that holds a rectangle of a raster; different processes may write different parts.
Publishing turns all parts into one COG. Overviews of classes are made by mode: the average of two classes is a third
one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geosynth.errors import OutputError
from geosynth.folders import write_whole
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend, category_names, raster_style
from geosynth.rasters import Band

_BLOCK = 512
_STRIP = 64
"""Rows a block of a part: what is written are rows of windows, what is read are rows of COG blocks."""
_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What a raster holds: bands of one dtype and one nodata value; ``legend`` when they are class ids."""

    bands: tuple[Band, ...]
    legend: Legend | None = None

    @classmethod
    def classes(cls, legend: Legend) -> Contents:
        """Class ids, 255 unknown."""
        return cls((Band("class", "uint8", UNKNOWN),), legend)


@dataclass(frozen=True)
class Part:
    """A file that holds the rectangle of a raster whose upper left pixel is (row, col)."""

    path: Path
    row: int
    col: int
    height: int
    width: int


class PartWriter:
    """Writes a part block by block, in any order. What is never written holds nodata (or 0).

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, part: Part, contents: Contents) -> None:
        self.part = part
        band = contents.bands[0]
        try:
            part.path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._dataset = rasterio.open(
                    part.path,
                    "w",
                    driver="GTiff",
                    count=len(contents.bands),
                    dtype=band.dtype,
                    nodata=band.nodata,
                    height=part.height,
                    width=part.width,
                    interleave="band",
                    blockysize=min(_STRIP, part.height),
                    photometric="minisblack",
                    bigtiff="if_safer",
                    sparse_ok=True,  # what was never written reads as nodata
                )
        except (OSError, RasterioError, CPLE_BaseError) as error:
            raise _unwritable(part.path, error) from None

    def write(self, row: int, col: int, values: NDArray[Any]) -> None:
        """Values (C, h, w), their upper left pixel at (row, col) of the raster; what is outside the part is cut off."""
        row, col = row - self.part.row, col - self.part.col
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + values.shape[1], self.part.height), min(col + values.shape[2], self.part.width)
        if top < bottom and left < right:
            inside = values[:, top - row : bottom - row, left - col : right - col]
            try:
                self._dataset.write(inside, window=Window(left, top, right - left, bottom - top))
            except (RasterioError, CPLE_BaseError) as error:
                raise _unwritable(self.part.path, error) from None

    def close(self) -> None:
        """Finish the file; it is on the disk then."""
        try:
            self._dataset.close()
            with self.part.path.open("rb+") as stream:
                os.fsync(stream.fileno())
        except (OSError, RasterioError, CPLE_BaseError) as error:
            raise _unwritable(self.part.path, error) from None

    def discard(self) -> None:
        """Give up: the file disappears."""
        self._dataset.close()
        self.part.path.unlink(missing_ok=True)


def publish(
    parts: Sequence[Part],
    contents: Contents,
    target: str | PathLike[str],
    scratch: str | PathLike[str],
    grid: Grid,
    tags: Mapping[str, str],
    threads: int = 1,
) -> None:
    """Make one COG of the parts of a raster; class rasters with palette, class names and QGIS style beside them.

    The same parts give the same bytes, whatever the number of threads.

    Args:
        parts: finished parts; where there is none, nothing is known.
        contents: what all of them hold.
        target: the ``.tif``; it and the files beside it appear whole, it last.
        scratch: a folder on the same file system for what is not finished.
        grid: the raster's pixels.
        tags: GeoTIFF tags.
        threads: for compression.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    final, folder = Path(target), Path(scratch)
    unfinished = f"{final.name}.{uuid4().hex}"  # several hosts may share the folder
    mosaic, cog = folder / f"{unfinished}.vrt", folder / f"{unfinished}.cog"
    classes = contents.legend is not None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mosaic.write_text(_mosaic(parts, contents, grid, tags), encoding="utf-8")
        rasterio.shutil.copy(
            mosaic,
            cog,
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL=5,  # half the time of the default, for files a tenth larger
            PREDICTOR="NO" if classes else "YES",  # neighbouring ids have no useful difference
            BLOCKSIZE=_BLOCK,
            OVERVIEW_RESAMPLING="MODE" if classes else "AVERAGE",
            BIGTIFF="IF_SAFER",
            NUM_THREADS=threads,
        )
        with cog.open("rb+") as stream:
            os.fsync(stream.fileno())
        final.parent.mkdir(parents=True, exist_ok=True)
        if contents.legend is not None:
            write_whole(final.with_name(f"{final.name}.aux.xml"), category_names(contents.legend), folder)
            write_whole(final.with_suffix(".qml"), raster_style(contents.legend), folder)
        cog.replace(final)
    except (OSError, RasterioError, CPLE_BaseError) as error:
        if isinstance(error, OutputError):
            raise
        raise _unwritable(final, error) from None
    finally:
        for path in (mosaic, cog, cog.with_name(f"{cog.name}.aux.xml")):
            path.unlink(missing_ok=True)


def _unwritable(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"cannot be written ({' '.join(str(error.__cause__ or error).split())[:160]})",
        where=path,
        remedy="check the folder and the free space on the disk",
    )


def _mosaic(parts: Sequence[Part], contents: Contents, grid: Grid, tags: Mapping[str, str]) -> str:
    """A GDAL virtual raster (VRT) of the parts, with everything the COG is to say about itself."""
    metadata = "".join(f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in tags.items())
    bands = "\n".join(_mosaic_band(number, parts, contents) for number in range(1, len(contents.bands) + 1))
    return f"""<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">
<SRS>{escape(grid.crs.to_wkt())}</SRS>
<GeoTransform>{", ".join(map(repr, grid.transform.to_gdal()))}</GeoTransform>
<Metadata>{metadata}</Metadata>
{bands}
</VRTDataset>
"""


def _mosaic_band(number: int, parts: Sequence[Part], contents: Contents) -> str:
    band = contents.bands[number - 1]
    nodata = "" if band.nodata is None else f"<NoDataValue>{band.nodata!r}</NoDataValue>"
    colour = band.name.capitalize() if band.name in ("red", "green", "blue") else "Gray" if number == 1 else "Undefined"
    palette = ""
    if contents.legend is not None:
        entries = contents.legend.colormap().values()
        rows = "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{alpha}"/>' for r, g, b, alpha in entries)
        colour, palette = "Palette", f"<ColorTable>{rows}</ColorTable>"
    sources = "\n".join(
        f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(part.path.absolute()))}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{part.width}" ySize="{part.height}"/>'
        f'<DstRect xOff="{part.col}" yOff="{part.row}" xSize="{part.width}" ySize="{part.height}"/></SimpleSource>'
        for part in parts
    )
    return (
        f'<VRTRasterBand dataType="{_GDAL_TYPES[band.dtype]}" band="{number}">'
        f"<Description>{escape(band.name)}</Description>{nodata}<ColorInterp>{colour}</ColorInterp>{palette}\n"
        f"{sources}\n</VRTRasterBand>"
    )


class ClassRasterWriter:
    """A context manager: ids in, block by block; one class raster when it ends well, nothing when it ends by an error.

    Args:
        target, scratch, grid, tags: as for ``publish``.
        legend: its classes. What is never written is unknown.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(
        self,
        target: str | PathLike[str],
        scratch: str | PathLike[str],
        grid: Grid,
        legend: Legend,
        tags: Mapping[str, str],
    ) -> None:
        contents = Contents.classes(legend)
        part = Part(Path(scratch) / f"{Path(target).name}.blocks", 0, 0, grid.height, grid.width)
        self._about = (contents, target, scratch, grid, tags)
        self._writer = PartWriter(part, contents)

    def write(self, row: int, col: int, ids: NDArray[np.uint8]) -> None:
        """Class ids uint8 (h, w), 255 unknown, with the upper left pixel at (row, col)."""
        self._writer.write(row, col, ids[None])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._writer.close()
                publish([self._writer.part], *self._about)
        finally:
            self._writer.discard()
