"""What a model has seen: which tiles as images, and which of them with their labels.

Kept beside every generator and segmenter, so that a comparison in which something saw the test place can be refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapely import STRtree, box

from geosynth.errors import ModelError

if TYPE_CHECKING:
    from geosynth.tileset import Tile

FILE = "lineage.json"
_KEY = 16


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
        """Ids of ``tiles`` (in CRS ``crs``) that were seen: the same image, or a touching place of the same scene."""
        places = [entry for entry in self.seen if entry.crs == crs]
        tree = STRtree([box(*entry.bounds) for entry in places])
        keys = self.image_keys
        hits = []
        for tile in tiles:
            near = (places[i] for i in tree.query(tile.geometry, predicate="intersects"))
            inside = any(
                entry.scene == tile.scene and box(*entry.bounds).intersection(tile.geometry).area > 0 for entry in near
            )
            if inside or tile.image_sha256[:_KEY] in keys:
                hits.append(tile.id)
        return hits

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
        """The lineage of something that saw ``tiles``, with the labels of those that have any.

        Generated images show no place; what their generator saw is in their own tileset's lineage.
        """
        return cls(
            tuple(
                sorted(
                    {
                        Seen(tile.image_sha256[:_KEY], tile.scene, crs, tile.geometry.bounds, tile.unknown_fraction < 1)
                        for tile in tiles
                        if tile.image_origin == "real"
                    }
                )
            )
        )


def read_lineage(folder: Path) -> Lineage:
    """The lineage beside a model or tileset; empty where there is none. Raises ModelError when it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return Lineage()
    try:
        return Lineage.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise ModelError("is not a lineage record", where=path, remedy="make the folder again") from None
