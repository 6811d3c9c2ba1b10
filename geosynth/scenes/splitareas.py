"""Splits drawn by hand: polygons that say which ground is for training, validation and testing."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, cast

import numpy as np
import shapely
from rasterio.crs import CRS

from geosynth.errors import LabelError
from geosynth.scenes.blocks import Lattice
from geosynth.scenes.burning import load_polygons
from geosynth.scenes.labels import PolygonLabels, inspect_labels
from geosynth.tileset import SPLITS, Split

FIELD = "split"


def inspect_areas(path: str | PathLike[str]) -> PolygonLabels:
    """The layer of a vector file whose attribute ``split`` holds train, val or test.

    Raises:
        LabelError: no polygons, no such attribute, or another value in it.
    """
    entries = inspect_labels(path, FIELD)
    layer = entries[0]
    if not isinstance(layer, PolygonLabels) or len(entries) > 1:
        raise LabelError(
            f"is not one layer of polygons with the attribute '{FIELD}'", where=path, remedy="draw such a layer"
        )
    strange = sorted(set(layer.values) - set(SPLITS))
    if strange or not layer.values:
        raise LabelError(
            f"its attribute '{FIELD}' holds {strange[0] if strange else 'nothing'}",
            where=path,
            remedy=f"write {', '.join(SPLITS)} there",
        )
    return layer


@dataclass(frozen=True, eq=False)
class SplitAreas:
    """The ground of every split, in one CRS. Where none is drawn for training, all that is not drawn is."""

    ground: dict[Split, Any]

    @classmethod
    def of(cls, labels: PolygonLabels, crs: CRS) -> SplitAreas:
        """The areas of a layer from ``inspect_areas``. Raises LabelError as ``load_polygons`` does."""
        polygons = load_polygons(labels, crs)
        values = np.array(polygons.values)
        ground = {cast(Split, name): shapely.union_all(polygons.geometries[values == name]) for name in labels.values}
        for shape in ground.values():
            shapely.prepare(shape)
        return cls(ground)

    def row_splits(self, tiles: Lattice, row: int, buffer: int) -> tuple[Split | None, ...]:
        """The split of every tile of a row: the one whose ground holds the whole tile.

        None for a tile that lies on no ground or partly outside, and for one that comes nearer than ``buffer`` pixels
        to another split's.
        """
        # Warped, a scene ends somewhere within its outermost pixels: they may lie beyond what was drawn around it.
        inside, reach = tiles.row_footprints(row, -1), tiles.row_footprints(row, buffer)
        result: list[Split | None] = [None] * tiles.cols
        names: tuple[Split, ...] = ("train", *self.ground)
        for name in names:
            own = self.ground.get(name)
            fits = np.ones(tiles.cols, bool) if own is None else shapely.covers(own, inside)
            for other, ground in self.ground.items():
                if other != name:
                    fits &= ~shapely.intersects(ground, reach)
            for col in np.flatnonzero(fits):
                result[col] = name
        return tuple(result)
