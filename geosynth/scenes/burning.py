"""Labels onto pixels: a scene's polygons and masks as class ids on any grid, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import transform_bounds

from geosynth.errors import LabelError
from geosynth.grid import Grid, is_engineering
from geosynth.legend import UNKNOWN
from geosynth.rasters import open_raster
from geosynth.scenes.areas import as_areas
from geosynth.scenes.checks import orientation
from geosynth.scenes.codes import Codes, Labels
from geosynth.scenes.identity import input_files
from geosynth.scenes.layers import PolygonLabels, attribute_texts
from geosynth.scenes.masks import MaskLabels
from geosynth.scenes.source import SceneInfo, SceneReader, open_scene
from geosynth.scenes.targets import same_crs
from geosynth.scenes.vectors import read_layer

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Polygons:
    """A layer's areas in memory, in one CRS, in file order: geometries, their attribute texts, an index of places.

    ``repaired`` counts features with invalid polygons, ``dropped`` those that are empty or have no area.
    """

    geometries: NDArray[Any]
    values: tuple[str, ...]
    tree: shapely.STRtree
    bounds: Bounds | None
    repaired: int
    dropped: int


def load_polygons(labels: PolygonLabels, crs: CRS) -> Polygons:
    """Read a layer and bring it into ``crs``; kept for the next call, because many windows need the same layer.

    Raises:
        LabelError: unreadable, no CRS where the scene has one, coordinates that its CRS cannot hold.
    """
    stamps = [file.stat() for file in input_files(labels.path)]
    state = tuple((stamp.st_size, stamp.st_mtime_ns) for stamp in stamps)
    return _load(labels, None if is_engineering(crs) else crs.to_wkt(), state)


@lru_cache(maxsize=16)
def _load(labels: PolygonLabels, wkt: str | None, _state: tuple[tuple[int, int], ...]) -> Polygons:
    """Read a layer; ``_state``, of its files, keeps an edited one from being taken for what it was."""
    frame = read_layer(labels.path, labels.layer, labels.field)
    if wkt is not None:
        if frame.crs is None:
            raise LabelError(
                "its polygons have no coordinate system", where=labels.path, remedy="assign one: ogr2ogr -a_srs"
            )
        original = tuple(frame.total_bounds)
        try:
            frame = frame.to_crs(wkt)
        except ProjError:
            raise LabelError(
                "its coordinate system cannot be brought into the scene's: another body, or no map",
                where=labels.path,
                remedy="give labels of the scene's ground",
            ) from None
        if len(frame) and not np.isfinite(frame.total_bounds).all():
            raise LabelError(
                f"its coordinates ({_span(original)}) do not fit its coordinate system",
                where=labels.path,
                remedy="assign the right one: ogr2ogr -a_srs",
            )
    texts = attribute_texts(frame[labels.field].tolist(), labels.path) if labels.field else [""] * len(frame)
    areas = as_areas(frame.geometry.to_numpy(), labels.line_width, wkt)
    shapes = areas.geometries
    return Polygons(
        shapes,
        tuple(texts[feature] for feature in areas.index.tolist()),
        shapely.STRtree(shapes),
        tuple(shapely.total_bounds(shapes).tolist()) if len(shapes) else None,
        areas.repaired,
        areas.dropped,
    )


def label_bounds(labels: Labels, crs: CRS) -> Bounds | None:
    """Where labels lie in ``crs``: (left, bottom, right, top); None when they hold nothing or cannot be brought there.

    Raises:
        LabelError: as ``load_polygons``.
    """
    if isinstance(labels, PolygonLabels):
        return load_polygons(labels, crs).bounds
    grid = labels.scene.grid
    if same_crs(grid.crs, crs):
        return grid.bounds
    if is_engineering(grid.crs) or is_engineering(crs):
        return None
    try:
        bounds: Bounds = transform_bounds(grid.crs, crs, *grid.bounds)
    except RasterioError:
        return None
    return bounds


def overlaps(labels: Labels, grid: Grid) -> bool:
    """Whether labels and a scene share ground."""
    bounds = label_bounds(labels, grid.crs)
    if bounds is None:
        return False
    left, bottom, right, top = grid.bounds
    return bounds[0] < right and bounds[2] > left and bounds[1] < top and bounds[3] > bottom


def placed(labels: Labels, info: SceneInfo) -> Labels:
    """Labels that are known to belong to a scene, put onto it.

    A mask without georeference gets the scene's pixels when it has their number.

    Raises:
        LabelError: of another size, or somewhere else; names both.
    """
    if isinstance(labels, MaskLabels) and not labels.placed:
        own, grid = labels.scene.grid, info.grid
        if (own.height, own.width) != (grid.height, grid.width):
            raise LabelError(
                f"is {own.width} x {own.height} pixels without georeference, its scene {info.name} is"
                f" {grid.width} x {grid.height}",
                where=labels.path,
                remedy="give the mask the scene's size, or a georeference",
            )
        with open_raster(info.path) as dataset:
            if any(orientation(dataset)):
                raise LabelError(
                    f"has no georeference, and the rows of its scene {info.name} do not run down from north",
                    where=labels.path,
                    remedy="give the mask the scene's georeference",
                )
        return replace(labels, scene=replace(labels.scene, grid=grid), placed=True)
    try:
        there = overlaps(labels, info.grid)
    except LabelError as error:
        raise LabelError(
            f"{error.what}; its scene {info.name} lies at {_span(info.grid.bounds)}",
            where=error.where,
            remedy=error.remedy,
        ) from None
    if not there:
        raise LabelError(
            f"lies elsewhere ({_place(labels, info.grid.crs)}) than its scene {info.name} ({_span(info.grid.bounds)})",
            where=labels.path,
            remedy="check the coordinate systems of both",
        )
    return labels


def _place(labels: Labels, crs: CRS) -> str:
    bounds = label_bounds(labels, crs)
    return "no place there" if bounds is None else _span(bounds)


def _span(bounds: Sequence[float]) -> str:
    return f"x {bounds[0]:.7g} to {bounds[2]:.7g}, y {bounds[1]:.7g} to {bounds[3]:.7g}"


Burn = Callable[[NDArray[np.uint8], int, int], None]
"""Writes class ids over (H, W) of them; the window's upper left pixel is (row, col)."""


class LabelReader:
    """Windows of a scene's labels; see ``open_labels``."""

    def __init__(self, grid: Grid, start: int, burns: Sequence[Burn]) -> None:
        self.grid = grid
        self._start = start
        self._burns = burns

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Class ids uint8 (height, width), 255 unknown; the window may reach outside the grid.

        Later labels lie over earlier ones, and in a layer later polygons. A polygon covers the pixels whose centre it
        holds, a mask those it knows.
        """
        ids = np.full((height, width), self._start, np.uint8)
        for burn in self._burns:
            burn(ids, row, col)
        return ids


def _burn_polygons(grid: Grid, layer: Polygons, classes: NDArray[np.uint8]) -> Burn:
    def burn(ids: NDArray[np.uint8], row: int, col: int) -> None:
        window = grid.window(row, col, *ids.shape)
        hits = np.sort(layer.tree.query(window.footprint))
        if len(hits):
            shapes = zip(layer.geometries[hits], classes[hits].tolist(), strict=True)
            rasterize(shapes, out=ids, transform=window.transform)

    return burn


def _burn_mask(reader: SceneReader, mask: MaskLabels, codes: Codes) -> Burn:
    def burn(ids: NDArray[np.uint8], row: int, col: int) -> None:
        values, valid = reader.read(row, col, *ids.shape)
        found = codes.of_mask(mask, values)
        np.copyto(ids, found, where=valid & (found != UNKNOWN))

    return burn


@contextmanager
def open_labels(labels: Sequence[Labels], codes: Codes, grid: Grid) -> Iterator[LabelReader]:
    """Open a scene's labels (each ``placed``) for reading windows of ``grid``; later ones lie over earlier ones.

    Raises:
        LabelError: a vector layer cannot be read.
        SceneError: a mask cannot be read.
    """
    with ExitStack() as stack:
        burns: list[Burn] = []
        for entry in labels:
            if isinstance(entry, PolygonLabels):
                layer = load_polygons(entry, grid.crs)
                burns.append(_burn_polygons(grid, layer, codes.of_layer(entry, layer.values)))
            elif codes.by_color(entry):
                # The most frequent value of each band alone would be a colour that is not there.
                reader = stack.enter_context(open_scene(entry.scene, grid, resampled="nearest"))
                burns.append(_burn_mask(reader, entry, codes))
            else:
                first = replace(entry.scene, bands=entry.scene.bands[:1], indexes=(1,))
                reader = stack.enter_context(open_scene(first, grid, resampled="majority"))
                burns.append(_burn_mask(reader, entry, codes))
        drawn = any(isinstance(entry, PolygonLabels) for entry in labels)
        yield LabelReader(grid, codes.outside if drawn else UNKNOWN, burns)
