"""What a model has seen: which tiles as images, and which of them with their labels.

Kept beside every generator and segmenter, so that a comparison in which something saw the test place can be refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from geosynth.errors import ModelError
from geosynth.grid import is_engineering

if TYPE_CHECKING:
    from geosynth.tileset import Tile

FILE = "lineage.json"
TOUCH = 0.01
"""Share of a tile that may lie on seen ground: neighbours that share a border are no leak, whatever the rounding."""

_KEY = 16
_EDGE = 8
"""Points along the side of an outline that is brought into degrees, where straight lines bend."""

_WORLD = shapely.box(-180, -90, 180, 90)

Shapes = NDArray[np.object_]


@dataclass(frozen=True, order=True)
class Seen:
    """One tile that was seen: first digits of its image's sha256, scene, CRS name, bounds, and whether with labels."""

    key: str
    scene: str
    crs: str
    bounds: tuple[float, float, float, float]
    labelled: bool


@dataclass(frozen=True)
class Lineage:
    """A sorted, duplicate-free record of what was seen."""

    seen: tuple[Seen, ...] = ()

    def __or__(self, other: Lineage) -> Lineage:
        return Lineage(tuple(sorted(set(self.seen) | set(other.seen))))

    @property
    def image_keys(self) -> frozenset[str]:
        return frozenset(entry.key for entry in self.seen)

    @property
    def label_keys(self) -> frozenset[str]:
        return frozenset(entry.key for entry in self.seen if entry.labelled)

    def overlap(self, tiles: Iterable[Tile], crs: str) -> list[str]:
        """Ids of ``tiles`` (in CRS ``crs``) that were seen: the same image, or more than 1 % of the ground.

        Ground is ground, whatever the scene is called and in whichever CRS. Only between local planes, where different
        scenes lie at the same coordinates, must the scene be the same, too.
        """
        asked, keys = list(tiles), self.image_keys
        outlines: Shapes = np.array([tile.geometry for tile in asked], object)
        covered = np.zeros(len(asked))
        for name in sorted({entry.crs for entry in self.seen}):
            there = [entry for entry in self.seen if entry.crs == name]
            covered += _shares(outlines, [tile.scene for tile in asked], crs, there, name)
        return [
            tile.id
            for tile, share in zip(asked, covered, strict=True)
            if share > TOUCH or tile.image_sha256[:_KEY] in keys
        ]

    def labels_beyond(self, tiles: Iterable[Tile], crs: str) -> list[Seen]:
        """What was seen with labels outside ``tiles`` (in CRS ``crs``): no image of theirs, and not on their ground.

        The ground of a place is that of ``tiles`` when all but 1 % of it is; tiles that overlap add up.
        """
        allowed = [Seen(tile.image_sha256[:_KEY], tile.scene, crs, tile.geometry.bounds, True) for tile in tiles]
        keys = {entry.key for entry in allowed}
        beyond = []
        for name in sorted({entry.crs for entry in self.seen}):
            asked = [e for e in self.seen if e.crs == name and e.labelled and e.key not in keys]
            if asked and allowed:
                outlines: Shapes = shapely.box(*np.array([entry.bounds for entry in asked]).T)
                shares = _shares(outlines, [entry.scene for entry in asked], name, allowed, crs)
                asked = [entry for entry, share in zip(asked, shares, strict=True) if share < 1 - TOUCH]
            beyond += asked
        return beyond

    def to_json(self) -> list[list[Any]]:
        return [[entry.key, entry.scene, entry.crs, list(entry.bounds), entry.labelled] for entry in self.seen]

    @classmethod
    def from_json(cls, content: Any) -> Lineage:
        return cls(
            tuple(
                Seen(str(key), str(scene), str(crs), tuple(bounds), bool(on)) for key, scene, crs, bounds, on in content
            )
        )

    @classmethod
    def of(cls, tiles: Iterable[Tile], crs: str) -> Lineage:
        """The lineage of something that saw ``tiles``, with the labels of those that people labelled.

        Generated images show no place, and predicted masks are no labels; what the models behind them saw is in their
        own tileset's lineage.
        """
        return cls(
            tuple(
                sorted(
                    {
                        Seen(tile.image_sha256[:_KEY], tile.scene, crs, tile.geometry.bounds, _has_labels(tile))
                        for tile in tiles
                        if tile.image_origin == "real"
                    }
                )
            )
        )


def _has_labels(tile: Tile) -> bool:
    return tile.mask_origin == "human" and tile.unknown_fraction < 1


def read_lineage(folder: Path) -> Lineage:
    """The lineage beside a model or tileset; empty where there is none. Raises ModelError when it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return Lineage()
    try:
        lineage = Lineage.from_json(json.loads(path.read_text(encoding="utf-8")))
        for name in {entry.crs for entry in lineage.seen}:
            CRS.from_user_input(name)
        return lineage
    except (ValueError, TypeError):
        raise ModelError("is not a lineage record", where=path, remedy="make the folder again") from None


def _shares(outlines: Shapes, scenes: Sequence[str], crs: str, seen: Sequence[Seen], seen_crs: str) -> NDArray[Any]:
    """The share of each outline (in ``crs``) that lies on seen places (in ``seen_crs``); places that overlap add up."""
    places: Shapes = shapely.box(*np.array([entry.bounds for entry in seen]).T)
    local = is_engineering(CRS.from_user_input(crs))
    if local != is_engineering(CRS.from_user_input(seen_crs)):
        return np.zeros(len(outlines))
    if not local and crs != seen_crs:
        outlines, places = _on_earth(outlines, crs), _on_earth(places, seen_crs)
    asked, found = shapely.STRtree(places).query(outlines, predicate="intersects")
    if local:
        same = np.array([scenes[i] == seen[k].scene for i, k in zip(asked, found, strict=True)], bool)
        asked, found = asked[same], found[same]
    common = shapely.area(shapely.intersection(outlines[asked], places[found]))
    whole = np.maximum(shapely.area(outlines), np.finfo(float).tiny)
    shares: NDArray[Any] = np.bincount(asked, common, len(outlines)) / whole
    return shares


def _on_earth(shapes: Shapes, crs: str) -> Shapes:
    """Outlines in degrees (WGS 84), cut at the antimeridian; empty where the CRS does not reach."""
    left, bottom, right, top = shapely.bounds(shapes).T
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    dense = shapely.segmentize(shapes, np.maximum(np.minimum(right - left, top - bottom) / _EDGE, 1e-9))
    placed: Shapes = shapely.transform(dense, lambda points: np.column_stack(to_degrees.transform(*points.T)))
    west, _, east, _ = shapely.bounds(placed).T
    placed[~np.isfinite(shapely.bounds(placed)).all(axis=1)] = shapely.Polygon()
    for i in np.flatnonzero(east - west > 180):
        unrolled = shapely.transform(placed[i], lambda points: points + np.where(points < 0, 360, 0) * (1, 0))
        beyond = shapely.transform(unrolled, lambda points: points - (360, 0))
        placed[i] = shapely.union(*(shapely.intersection(part, _WORLD) for part in (unrolled, beyond)))
    valid: Shapes = shapely.make_valid(placed)
    return valid
