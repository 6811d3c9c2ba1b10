"""Mask rasters as labels: one band of class numbers, or classes coded by colour; what values they hold.

A mask is read block by block, so one of any size can be looked at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Compression, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geosynth.errors import LabelError, SceneError
from geosynth.rasters import Band
from geosynth.scenes.checks import alpha_index, image_indexes, north_up
from geosynth.scenes.source import SceneInfo, Validity, scene_name

_MOST = 256
"""No legend has more classes than this."""
_READ = 1 << 21
"""About so many pixels are looked at together."""


@dataclass(frozen=True)
class MaskLabels:
    """A mask raster.

    Attributes:
        scene: how to read it: one band of class numbers, or three of colours.
        placed: False without georeference: it belongs onto the pixels of an image of its size.
        values: the numbers found, sorted; colours as 0xrrggbb. What alpha or an inner mask hides is not among them.
        nodata: the number (or colour) that it declares to be nodata.
        named: (number, name) where the raster has names.
        colors: (number, "#rrggbb") of its palette.
        pixels: how many pixels have each of ``values``.
        transparent: numbers whose colour in the palette is transparent.
        lossy: compressed so that values may have been blurred.
    """

    scene: SceneInfo
    placed: bool
    values: tuple[int, ...]
    nodata: int | None
    named: tuple[tuple[int, str], ...]
    colors: tuple[tuple[int, str], ...]
    pixels: tuple[int, ...] = ()
    transparent: tuple[int, ...] = ()
    lossy: bool = False

    @property
    def path(self) -> str:
        return self.scene.path

    @property
    def name(self) -> str:
        return self.scene.name

    @property
    def colored(self) -> bool:
        """Whether its values are colours."""
        return len(self.scene.bands) == 3

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers in its only band, or in its first."""
        return tuple(sorted({value >> 16 for value in self.values})) if self.colored else self.values

    @property
    def hidden(self) -> frozenset[int]:
        """Numbers that mean unknown by themselves."""
        nodata = self.nodata if self.nodata is None or not self.colored else self.nodata >> 16
        return frozenset(() if nodata is None else (nodata,)) | frozenset(self.transparent)


def packed(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours uint8 (3, …) as one number each, 0xrrggbb."""
    red, green, blue = image.astype(np.uint32)
    colors: NDArray[np.uint32] = red << np.uint32(16) | green << np.uint32(8) | blue
    return colors


def hex_color(value: int) -> str:
    """0xrrggbb as "#rrggbb"."""
    return f"#{value:06x}"


def inspect_mask(dataset: DatasetReader, path: str) -> MaskLabels:
    """What an open mask raster holds; ``path`` is its name in errors.

    Raises:
        LabelError: not a mask: other bands, too many values or colours, values that are no whole numbers; no place.
    """
    bands = image_indexes(dataset)
    _refuse_others(dataset, bands, path)
    counts = _counts(dataset, bands, path)
    if any(value != int(value) for value in counts):
        raise LabelError(
            "holds values that are no whole numbers: not a mask of classes",
            where=path,
            remedy="give a raster of class numbers",
        )
    try:
        grid = north_up(dataset, path)
    except SceneError as error:
        raise LabelError(error.what, where=path, remedy=error.remedy) from None
    dtype = dataset.dtypes[bands[0] - 1]
    band = Band("class", dtype, math.nan if dtype.startswith("float") else None)
    values = sorted(counts)
    named = tuple((value, name) for value, name in enumerate(_category_names(dataset)) if name)
    palette = dataset.colormap(1) if dataset.colorinterp[0] == ColorInterp.palette else {}
    shown = counts.keys() | {value for value, _ in named}
    return MaskLabels(
        SceneInfo(path, scene_name(path), grid, (band,) * len(bands), _validity(dataset)),
        placed=dataset.crs is not None or not dataset.transform.is_identity,
        values=tuple(int(value) for value in values),
        nodata=_nodata(dataset, bands),
        named=named,
        colors=tuple(
            (value, "#{:02x}{:02x}{:02x}".format(*rgba[:3])) for value, rgba in palette.items() if value in shown
        ),
        pixels=tuple(counts[value] for value in values),
        transparent=tuple(value for value, rgba in palette.items() if rgba[3] == 0 and value in shown),
        lossy=_lossy(dataset),
    )


def _refuse_others(dataset: DatasetReader, bands: list[int], path: str) -> None:
    if (dataset.descriptions[0] or "").strip().casefold() == "confidence":
        raise LabelError("holds how sure classes are, not classes", where=path, remedy="give the class raster itself")
    dtypes = {dataset.dtypes[index - 1] for index in bands}
    if len(bands) == 1 and not any(dtype.startswith("complex") for dtype in dtypes):
        return
    if len(bands) == 3 and dtypes == {"uint8"}:
        return
    what = f"{len(bands)} bands of {' and '.join(sorted(dtypes))}" if bands else "no band"
    remedy = "give one band of class numbers, or three of 8-bit colours (and alpha)"
    if len(bands) == 4:
        remedy = "if the fourth is alpha, say so: gdal_translate -colorinterp_4 alpha IN OUT"
    raise LabelError(f"has {what}: no mask", where=path, remedy=remedy)


def _counts(dataset: DatasetReader, bands: list[int], path: str) -> Counter[float]:
    """How many pixels have each value (colour); those that alpha or an inner mask hides do not count."""
    counts: Counter[float] = Counter()
    alpha, inner = alpha_index(dataset), _validity(dataset) == "mask"
    for window in _windows(dataset):
        image = dataset.read(bands, window=window)
        pixels: NDArray[Any] = packed(image) if len(bands) == 3 else image[0]
        if alpha is not None:
            pixels = pixels[dataset.read(alpha, window=window) > 0]
        elif inner:
            pixels = pixels[dataset.read_masks(1, window=window) > 0]
        if pixels.dtype.kind == "f":
            pixels = pixels[np.isfinite(pixels)]
        counts.update(_tally(pixels.ravel()))
        if len(counts) > _MOST:
            raise _too_many(dataset, counts, path)
    return counts


def _tally(pixels: NDArray[Any]) -> dict[float, int]:
    """How many times each value is there; (N,). Masks are flat, so runs are counted instead of pixels."""
    if not pixels.size:
        return {}
    if pixels.dtype == np.uint8:
        numbers = np.bincount(pixels, minlength=256)
        return {int(value): int(numbers[value]) for value in np.flatnonzero(numbers)}
    starts = np.flatnonzero(np.concatenate(([True], pixels[1:] != pixels[:-1])))
    lengths = np.diff(np.append(starts, pixels.size))
    values, which = np.unique(pixels[starts], return_inverse=True)
    numbers = np.bincount(which, weights=lengths).astype(np.int64)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def _windows(dataset: DatasetReader) -> Iterator[Window]:
    """Windows that cover the raster, whole blocks where those are not too large; rows of pixels together."""
    block_rows, block_cols = dataset.block_shapes[0]
    cols = min(block_cols * max(1, _READ // (block_rows * block_cols)), dataset.width)
    rows = max(1, _READ // cols)
    rows = rows // block_rows * block_rows or rows
    for row in range(0, dataset.height, rows):
        for col in range(0, dataset.width, cols):
            yield Window(col, row, min(cols, dataset.width - col), min(rows, dataset.height - row))


def _too_many(dataset: DatasetReader, counts: Counter[float], path: str) -> LabelError:
    if len(image_indexes(dataset)) == 1:
        return LabelError(
            f"holds more than {_MOST} different values: an image, not a mask",
            where=path,
            remedy="give a raster of class numbers",
        )
    flat = sum(number for _, number in counts.most_common(_MOST // 8))
    if _lossy(dataset) or flat > counts.total() / 2:
        cause = "JPEG compression" if _lossy(dataset) else "smoothing or lossy compression"
        return LabelError(
            f"holds more than {_MOST} different colours, most of them near to a few: {cause} has blurred its classes",
            where=path,
            remedy="give the mask as it was before, saved losslessly (PNG, or GeoTIFF with deflate)",
        )
    return LabelError(
        f"holds more than {_MOST} different colours: an image; a mask is one band of numbers, or a colour a class",
        where=path,
        remedy="give the mask itself",
    )


def _lossy(dataset: DatasetReader) -> bool:
    return bool(dataset.driver == "JPEG" or dataset.compression == Compression.jpeg)


def _validity(dataset: DatasetReader) -> Validity:
    if alpha_index(dataset) is not None:
        return "alpha"
    return "mask" if any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums) else "none"


def _nodata(dataset: DatasetReader, bands: list[int]) -> int | None:
    declared = [dataset.nodatavals[index - 1] for index in bands]
    whole = [int(value) for value in declared if value is not None and math.isfinite(value) and value == int(value)]
    if len(whole) < len(bands):
        return None
    return whole[0] if len(bands) == 1 else int(packed(np.array(whole, np.int64).astype(np.uint8)))


def _category_names(dataset: DatasetReader) -> list[str]:
    """Class names by value from the PAM sidecar, which is where GDAL keeps them for most formats."""
    from xml.etree import ElementTree

    sidecar = Path(f"{dataset.name}.aux.xml")
    if not sidecar.is_file():
        return []
    try:
        root = ElementTree.parse(sidecar).getroot()
    except (ElementTree.ParseError, OSError, RasterioError):
        return []
    names = root.find("./PAMRasterBand[@band='1']/CategoryNames")
    return [] if names is None else [(entry.text or "").strip() for entry in names.findall("Category")]
