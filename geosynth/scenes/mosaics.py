"""Class rasters on one lattice of pixels read as if they were one raster, however far apart they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geosynth.grid import Grid, is_engineering
from geosynth.legend import UNKNOWN
from geosynth.scenes.codes import Codes
from geosynth.scenes.masks import MaskLabels
from geosynth.scenes.source import SceneInfo, SceneReader, open_scene
from geosynth.scenes.targets import offset_between


@dataclass(frozen=True)
class Part:
    """One raster of a mosaic: ``number`` among all rasters given, its upper left pixel, and how sure its classes are.

    ``confidence`` is a raster of percent on the same pixels, or None.
    """

    number: int
    labels: MaskLabels
    row: int
    col: int
    confidence: SceneInfo | None = None

    def meets(self, row: int, col: int, height: int, width: int) -> bool:
        """Whether it has pixels in a window."""
        own = self.labels.scene.grid
        return (
            self.row < row + height
            and row < self.row + own.height
            and self.col < col + width
            and col < self.col + own.width
        )


@dataclass(frozen=True)
class Mosaic:
    """Rasters on one lattice; ``grid`` holds them all. Where several have a class, the first counts."""

    grid: Grid
    parts: tuple[Part, ...]

    def near(self, row: int, col: int, height: int, width: int) -> tuple[Part, ...]:
        """Those rasters that have pixels in a window."""
        return tuple(part for part in self.parts if part.meets(row, col, height, width))

    def blocks(self, side: int) -> list[tuple[int, int]]:
        """Numbers (row, column) of the blocks of ``side`` pixels in which some raster has pixels, sorted."""
        found: set[tuple[int, int]] = set()
        for part in self.parts:
            own = part.labels.scene.grid
            rows = range(part.row // side, (part.row + own.height - 1) // side + 1)
            cols = range(part.col // side, (part.col + own.width - 1) // side + 1)
            found.update((row, col) for row in rows for col in cols)
        return sorted(found)


def mosaics(masks: Sequence[MaskLabels], confidences: Sequence[SceneInfo | None]) -> list[Mosaic]:
    """Rasters put together where they share a lattice on Earth.

    In local planes every raster starts at the same corner, whatever it shows: each is by itself.
    """
    groups: list[list[Part]] = []
    for number, (mask, confidence) in enumerate(zip(masks, confidences, strict=True)):
        for group in groups:
            first = group[0].labels
            on_earth = first.placed and mask.placed and not is_engineering(mask.scene.grid.crs)
            place = offset_between(first.scene.grid, mask.scene.grid) if on_earth else None
            if place is not None:
                group.append(Part(number, mask, *place, confidence))
                break
        else:
            groups.append([Part(number, mask, 0, 0, confidence)])
    return [_mosaic(group) for group in groups]


def _mosaic(parts: list[Part]) -> Mosaic:
    top, left = min(part.row for part in parts), min(part.col for part in parts)
    grids = [part.labels.scene.grid for part in parts]
    height = max(part.row + grid.height for part, grid in zip(parts, grids, strict=True)) - top
    width = max(part.col + grid.width for part, grid in zip(parts, grids, strict=True)) - left
    moved = tuple(replace(part, row=part.row - top, col=part.col - left) for part in parts)
    return Mosaic(grids[0].window(top, left, height, width), moved)


@dataclass(frozen=True)
class _Opened:
    part: Part
    classes: SceneReader
    confidence: SceneReader | None


class MosaicReader:
    """Windows of an open mosaic; see ``open_parts``."""

    def __init__(self, opened: list[_Opened], codes: Codes) -> None:
        self._opened = opened
        self._codes = codes

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        """Class ids uint8 (height, width), 255 unknown, and which raster of the mosaic each is from, -1 none.

        Raises:
            SceneError: a file is damaged here.
        """
        ids = np.full((height, width), UNKNOWN, np.uint8)
        owner = np.full((height, width), -1, np.int16)
        for place, opened in enumerate(self._opened):
            part = opened.part
            if not part.meets(row, col, height, width):
                continue
            values, valid = opened.classes.read(row - part.row, col - part.col, height, width)
            found = self._codes.of_mask(part.labels, values)
            found[~valid] = UNKNOWN
            new = (ids == UNKNOWN) & (found != UNKNOWN)
            np.copyto(ids, found, where=new)
            np.copyto(owner, np.int16(place), where=new)
        return ids, owner

    def confidence(self, row: int, col: int, owner: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Percent uint8 (h, w) of pixels with these owners, and where it is known; 0 elsewhere."""
        percent = np.zeros(owner.shape, np.uint8)
        known = np.zeros(owner.shape, bool)
        for place, opened in enumerate(self._opened):
            own = owner == place
            if opened.confidence is not None and own.any():
                values, valid = opened.confidence.read(row - opened.part.row, col - opened.part.col, *owner.shape)
                valid &= own
                np.copyto(percent, values[0], where=valid)
                known |= valid
        return percent, known


@contextmanager
def open_parts(parts: Sequence[Part], codes: Codes) -> Iterator[MosaicReader]:
    """Open rasters of a mosaic. Raises SceneError: one cannot be read."""
    with ExitStack() as stack:
        yield MosaicReader([_opened(stack, part) for part in parts], codes)


def _opened(stack: ExitStack, part: Part) -> _Opened:
    confidence = None if part.confidence is None else stack.enter_context(open_scene(part.confidence))
    return _Opened(part, stack.enter_context(open_scene(part.labels.scene)), confidence)
