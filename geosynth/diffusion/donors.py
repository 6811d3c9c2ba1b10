"""Donors: masks or images that are given, so that the other side is made for them. Here: those of a tileset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from geosynth.diffusion.bandorder import band_order, listed
from geosynth.errors import ModelError
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend
from geosynth.lineage import Lineage, read_lineage
from geosynth.rasters import read_tags
from geosynth.tileset import Tile, Tileset, TileSpec

Side = Literal["image", "mask"]
"""Which side of a pair is given."""

SAME_SIZE = 0.05
"""Ground sizes of pixels that differ by less are one."""


@dataclass(frozen=True)
class Donor:
    """One side of a pair, given.

    Attributes:
        grid: its place; None for a mask that was made up, and has none.
        pixels: class ids uint8 (H, W) of a mask, or the values (C, H, W) of an image.
        known: bool (H, W): pixels with a class, or with data.
        tags: GeoTIFF tags of the given side: it keeps what its file says. A mask that the generator drew itself has
            those that say how.
        columns: what it says of its row: scene, row, col, parent_id, placement, and the origin of the given side.
    """

    grid: Grid | None
    pixels: NDArray[Any]
    known: NDArray[np.bool_]
    tags: Mapping[str, str]
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Donors(ABC):
    """Numbered donors, wherever they come from.

    Attributes:
        items: what each is read from: places and numbers, never pixels or open files.
        spec: the tiles made with them.
    """

    items: tuple[Any, ...]
    spec: TileSpec

    def __len__(self) -> int:
        return len(self.items)

    def part(self, numbers: Sequence[int]) -> Self:
        """Those with these numbers, in this order, and nothing else: what is sent to a worker."""
        return replace(self, items=tuple(self.items[number] for number in numbers))

    @abstractmethod
    def read(self) -> list[Donor]:
        """All of them, with their pixels. Raises GeosynthError when a file is not what it was."""

    @abstractmethod
    def verify(self) -> None:
        """Raise GeosynthError unless all of them can be read; costly."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What a request says of where they come from, as JSON: hashes, no paths."""

    @abstractmethod
    def lineage(self, numbers: Collection[int]) -> Lineage:
        """The places whose masks or images those with these numbers are, and what the makers of synthetic ones saw."""


@dataclass(frozen=True)
class TileDonors(Donors):
    """The masks or images of a tileset's training tiles; ``order`` is where the generator's bands are among theirs."""

    items: tuple[Tile, ...]
    path: str
    side: Side
    order: tuple[int, ...]

    @classmethod
    def of(cls, path: str, side: Side, generator: TileSpec) -> TileDonors:
        """Those of the tileset ``path`` that can be given to a generator of ``generator``'s tiles.

        Raises:
            TilesetError: not a tileset.
            ModelError: its tiles do not fit the generator, or none can be given.
        """
        tileset = Tileset(path)
        tiles = tileset.select("train", labelled=True if side == "mask" else None)
        theirs = tileset.spec
        order = band_order(theirs.bands, generator.bands)
        if theirs.tile_size != generator.tile_size:
            what = f"tiles of {theirs.tile_size} px, the generator makes {generator.tile_size} px"
        elif not _same_ground(theirs, generator):
            what = f"pixels of {_ground(theirs)}, the generator makes {_ground(generator)}"
        elif side == "mask" and _strangers(theirs.legend, generator.legend):
            what = f"classes {', '.join(theirs.legend.names)}, the generator knows {', '.join(generator.legend.names)}"
        elif side == "image" and order is None:
            what = f"bands ({listed(theirs.bands)}), the generator knows others ({listed(generator.bands)})"
        elif not tiles:
            what = "no labelled training tiles to take masks from" if side == "mask" else "no training tiles"
        else:
            bands = tuple(theirs.bands[position] for position in order or ())
            given: dict[str, Any] = {"legend": theirs.legend} if side == "mask" else {"bands": bands}
            place = {"crs": theirs.crs, "pixel_size": theirs.pixel_size, "gsd_m": theirs.gsd_m}
            return cls(tiles, replace(generator, **place, **given), path, side, order or ())
        raise ModelError(f"has {what}", where=path, remedy="tile it to fit, or train a generator on it")

    def read(self) -> list[Donor]:
        tileset = Tileset(self.path)
        return [self._donor(tileset, tile) for tile in self.items]

    def _donor(self, tileset: Tileset, tile: Tile) -> Donor:
        image, valid, mask = tileset.read(tile)
        columns = {name: getattr(tile, name) for name in ("scene", "row", "col", "placement")}
        columns["parent_id"] = tile.id
        grid = tileset.grid(tile)
        if self.side == "image":
            columns["image_origin"] = tile.image_origin
            return Donor(grid, image[list(self.order)], valid, read_tags(tileset.path / tile.image), columns)
        columns["mask_origin"] = tile.mask_origin
        if tile.placement != "fictitious":
            columns["placement"] = "donor"
        return Donor(grid, mask, mask != UNKNOWN, read_tags(tileset.path / tile.mask), columns)

    def verify(self) -> None:
        Tileset(self.path).verify(self.items)

    def identity(self) -> dict[str, Any]:
        return Tileset(self.path).identity()

    def lineage(self, numbers: Collection[int]) -> Lineage:
        """All training tiles, whichever are used."""
        tileset = Tileset(self.path)
        return read_lineage(tileset.path) | Lineage.of(tileset.select("train"), tileset.spec.crs_name)


def class_positions(mask: NDArray[np.uint8], legend: Legend, known: Legend) -> NDArray[np.uint8]:
    """Class ids of ``legend`` as positions in ``known``, by name; what is no class of both becomes 255."""
    position = {name.casefold(): number for number, name in enumerate(known.names)}
    table = np.full(256, UNKNOWN, np.uint8)
    for entry in legend.classes:
        table[entry.id] = position.get(entry.name.casefold(), UNKNOWN)
    return table[mask]


def _strangers(legend: Legend, known: Legend) -> bool:
    """Whether a legend has classes that another has not."""
    return not {name.casefold() for name in legend.names} <= {name.casefold() for name in known.names}


def _same_ground(one: TileSpec, other: TileSpec) -> bool:
    """Whether pixels are of one ground size; where one has none, its CRS units are all there is to say."""
    if one.gsd_m is None or other.gsd_m is None:
        return one.gsd_m is other.gsd_m
    return abs(one.gsd_m / other.gsd_m - 1) <= SAME_SIZE


def _ground(spec: TileSpec) -> str:
    return "unknown ground size" if spec.gsd_m is None else f"{spec.gsd_m:g} m"
