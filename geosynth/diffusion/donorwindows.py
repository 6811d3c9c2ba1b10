"""Donors cut out of whole scenes, masks and maps: windows of a tile's size, read when they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import batched, groupby
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geosynth.diffusion.donors import Donor, Donors
from geosynth.events import Events
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage, Seen
from geosynth.rasters import Band, avoid_nodata, gdal_session, valid_pixels
from geosynth.scenes.burning import open_labels
from geosynth.scenes.labels import Codes, Labels
from geosynth.scenes.origins import PLACEMENT
from geosynth.scenes.source import SceneInfo, open_scene

Read = Callable[[int, int, int, int], tuple[NDArray[Any], NDArray[np.bool_]]]
"""Reads a window (row, col, height, width), which may reach outside: pixels and where they are known."""

_PIXELS = 1 << 22
"""Pixels that are looked at together."""


class Canvas(Protocol):
    """Something large whose windows are given: ``name``, ``grid``, the origin and placement of what it holds.

    ``whole``: every window has something known, so none needs to be looked at. ``tags``: what its file says of how it
    was made.
    """

    @property
    def name(self) -> str: ...
    @property
    def grid(self) -> Grid: ...
    @property
    def whole(self) -> bool: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def columns(self) -> Mapping[str, str]: ...

    def open(self) -> AbstractContextManager[Read]: ...


@dataclass(frozen=True)
class MaskCanvas:
    """Labels on pixels. ``origin`` is that of the masks; ``tags`` as in ``kept_tags``."""

    name: str
    grid: Grid
    labels: tuple[Labels, ...]
    codes: Codes
    drawn: bool
    origin: str
    tags: Mapping[str, str]

    @property
    def whole(self) -> bool:
        return self.drawn and self.codes.outside != UNKNOWN

    @property
    def columns(self) -> Mapping[str, str]:
        fictitious = self.tags.get(PLACEMENT) == "fictitious"
        return {"mask_origin": self.origin, "placement": "fictitious" if fictitious else "donor"}

    @contextmanager
    def open(self) -> Iterator[Read]:
        with open_labels(self.labels, self.codes, self.grid) as reader:

            def read(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
                mask = reader.read(row, col, height, width)
                return mask, mask != UNKNOWN

            yield read


@dataclass(frozen=True)
class SceneCanvas:
    """A scene on pixels; ``bands`` are those of the tiles cut from it, ``origin`` is that of its image, ``tags`` as in
    ``kept_tags``."""

    info: SceneInfo
    grid: Grid
    whole: bool
    bands: tuple[Band, ...]
    origin: str
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def columns(self) -> Mapping[str, str]:
        return {"image_origin": self.origin, "placement": self.tags.get(PLACEMENT, "real")}

    @contextmanager
    def open(self) -> Iterator[Read]:
        nodata = self.bands[0].nodata
        with open_scene(self.info, self.grid) as reader:

            def read(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
                image, valid = reader.read(row, col, height, width)
                return without_nodata(image, valid, nodata), valid

            yield read


def without_nodata(image: NDArray[Any], valid: NDArray[np.bool_], nodata: float | None) -> NDArray[Any]:
    """An image (C, H, W) whose pixels that are not ``valid`` hold ``nodata``.

    The others stay what they were, but for those that would read as no data: they move to the next value.
    """
    if nodata is None:
        return image
    image = image.copy()
    image[:, ~valid] = image.dtype.type(nodata)
    hidden = valid & ~valid_pixels(image, nodata)
    image[:, hidden] = avoid_nodata(image[:, hidden], nodata)
    return image


@dataclass(frozen=True)
class Window:
    """A tile's place on a canvas: its upper left pixel."""

    canvas: Canvas
    row: int
    col: int


@dataclass(frozen=True)
class WindowDonors(Donors):
    """Windows of canvases.

    ``inputs`` is what a request says of the files behind all of them, ``behind`` what the makers of synthetic ones saw;
    neither is sent to workers.
    """

    items: tuple[Window, ...]
    inputs: Mapping[str, Any]
    behind: Lineage

    def part(self, numbers: Sequence[int]) -> Self:
        return replace(super().part(numbers), inputs={}, behind=Lineage())

    def read(self) -> list[Donor]:
        side = self.spec.tile_size
        donors: list[Donor] = []
        with gdal_session():
            for canvas, windows in groupby(self.items, key=lambda window: window.canvas):
                with canvas.open() as read:
                    donors += [
                        _donor(canvas, window, side, *read(window.row, window.col, side, side)) for window in windows
                    ]
        return donors

    def verify(self) -> None:
        """Nothing more: canvases were read when their windows were looked for."""

    def identity(self) -> dict[str, Any]:
        return dict(self.inputs)

    def lineage(self, numbers: Collection[int]) -> Lineage:
        """The windows as places, but for made-up ones; the images at places that were only drawn have no hash."""
        side, crs = self.spec.tile_size, self.spec.crs_name
        places = {
            Seen(
                "",
                window.canvas.name,
                crs,
                window.canvas.grid.window(window.row, window.col, side, side).bounds,
                "mask_origin" in window.canvas.columns,
            )
            for window in map(self.items.__getitem__, numbers)
            if window.canvas.columns["placement"] != "fictitious"
        }
        return Lineage(tuple(sorted(places))) | self.behind


def _donor(canvas: Canvas, window: Window, side: int, pixels: NDArray[Any], known: NDArray[np.bool_]) -> Donor:
    place = (window.row, window.col, side, side)
    tags = {
        **canvas.tags,
        "GEOSYNTH_SCENE": canvas.name,
        "GEOSYNTH_WINDOW": " ".join(map(str, place)),
    }
    columns = {"scene": canvas.name, "row": window.row, "col": window.col, **canvas.columns}
    return Donor(canvas.grid.window(*place), pixels, known, tags, columns)


def known_windows(canvas: Canvas, side: int, events: Events) -> Iterator[Window]:
    """The windows of ``side`` pixels that hold anything known, row by row; those at the right and lower edge reach out.

    Raises:
        SceneError, LabelError: the canvas cannot be read.
        Cancelled: the user stopped it.
    """
    rows, cols = padded(canvas.grid.height, side), padded(canvas.grid.width, side)
    if canvas.whole:
        yield from (Window(canvas, row, col) for row in range(0, rows, side) for col in range(0, cols, side))
        return
    with gdal_session(256), canvas.open() as read:  # rows of windows share blocks of the file
        for row in range(0, rows, side):
            for some in batched(range(0, cols, side), max(1, _PIXELS // side**2)):
                _, known = read(row, some[0], side, side * len(some))
                holds = known.reshape(side, len(some), side).any(axis=(0, 2))
                yield from (Window(canvas, row, col) for col, on in zip(some, holds.tolist(), strict=True) if on)
            events.progress(row // side + 1, rows // side, f"rows of {canvas.name} looked at")
            events.check()


def padded(pixels: int, side: int) -> int:
    """The whole number of sides that covers ``pixels``, in pixels."""
    return math.ceil(pixels / side) * side
