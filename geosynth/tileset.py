"""The tileset contract, version 1: a folder of georeferenced image and mask tiles, and an index of where each is from.

Real and synthetic tiles share one contract: whatever reads the one reads the other. See docs/tileset.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from shapely.geometry import Polygon

from geosynth.descriptions import DESCRIPTIONS, misfit
from geosynth.errors import TilesetError
from geosynth.folders import file_hash
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend
from geosynth.rasters import Band, grid_of, open_raster, valid_pixels

FORMAT = 1
INDEX = "index.parquet"
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class BandStatistics:
    """One band over the valid pixels of split=train, in raster units."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True)
class TileSpec:
    """What all tiles of a tileset have in common.

    ``pixel_size`` (x, y) is in CRS units and authoritative;
    ``gsd_m`` is ground metres or None; ``tile_size`` is pixels.
    """

    id: str
    bands: tuple[Band, ...]
    legend: Legend
    crs: CRS
    pixel_size: tuple[float, float]
    gsd_m: float | None
    tile_size: int

    @property
    def crs_name(self) -> str:
        """The CRS as ``EPSG:n`` where it has a code, else as WKT."""
        return crs_name(self.crs)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "bands": [band.to_json() for band in self.bands],
            "legend": self.legend.to_json(),
            "crs": self.crs_name,
            "pixel_size": list(self.pixel_size),
            "gsd_m": self.gsd_m,
            "tile_size": self.tile_size,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TileSpec:
        x, y = content["pixel_size"]
        return cls(
            id=str(content["id"]),
            bands=tuple(Band.from_json(band) for band in content["bands"]),
            legend=Legend.from_json(content["legend"]),
            crs=CRS.from_user_input(content["crs"]),
            pixel_size=(float(x), float(y)),
            gsd_m=None if content["gsd_m"] is None else float(content["gsd_m"]),
            tile_size=int(content["tile_size"]),
        )


def crs_name(crs: CRS) -> str:
    """``EPSG:n`` where that is exactly the CRS, else WKT: a datum shift of its own has no code."""
    code, wkt = crs.to_epsg(), str(crs.to_wkt())
    # GDAL's comparison does not look at TOWGS84.
    exact = code is not None and CRS.from_epsg(code) == crs and "TOWGS84" not in wkt
    return f"EPSG:{code}" if exact else wkt


@dataclass(frozen=True)
class Tile:
    """One row of the index. Columns are described in docs/tileset.md; ``image`` and ``mask`` are relative paths."""

    id: str
    geometry: Polygon
    split: Split
    scene: str
    row: int
    col: int
    image: str
    mask: str
    image_origin: Literal["real", "generated"]
    mask_origin: Literal["human", "generated", "predicted", "none"]
    placement: Literal["real", "fictitious", "donor"]
    valid_fraction: float
    unknown_fraction: float
    class_fractions: tuple[float, ...]
    generator: str
    seed: int
    sample_index: int
    parent_id: str
    review: Literal["unseen", "accepted", "rejected"]
    filter: str
    image_sha256: str
    mask_sha256: str
    unfiltered_sha256: str = ""

    @property
    def labelled(self) -> bool:
        """Whether any pixel has a known class."""
        return self.unknown_fraction < 1

    @property
    def rejected(self) -> bool:
        """Whether a person or a filter rejected the pair: whoever trains or measures leaves it out."""
        return "rejected" in (self.review, self.filter)

    @property
    def original_mask(self) -> str:
        """Relative path of the mask as it was made, which a filter leaves alone."""
        return f"masks/{self.id}.tif" if self.unfiltered_sha256 else self.mask

    @property
    def original_mask_sha256(self) -> str:
        """Hash of ``original_mask``."""
        return self.unfiltered_sha256 or self.mask_sha256


COLUMNS = tuple(field.name for field in fields(Tile) if field.default is MISSING)
"""What every index has."""

OPTIONAL = tuple(field.name for field in fields(Tile) if field.default is not MISSING)
"""Columns that are there only where a row has something to say in them."""


class Tileset:
    """A tileset opened for reading.

    Raises:
        TilesetError: the folder is not a tileset, is unfinished or damaged.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        meta = self.path / DESCRIPTIONS["tileset"]
        if not meta.is_file():
            what, remedy = misfit(self.path, "tileset")
            raise TilesetError(what, where=self.path, remedy=remedy)
        try:
            content = json.loads(meta.read_text(encoding="utf-8"))
            version = content["format"]
            if version != FORMAT:
                raise TilesetError(
                    f"is tileset format {version}, this geosynth reads {FORMAT}", where=meta, remedy="upgrade geosynth"
                )
            self.spec = TileSpec.from_json(content)
            self.statistics = tuple(BandStatistics(**entry) for entry in content["statistics"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, TilesetError):
                raise
            raise TilesetError(f"is damaged ({error})", where=meta, remedy="make the tileset again") from None

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All rows, sorted by id."""
        import geopandas

        path = self.path / INDEX
        try:
            table = geopandas.read_parquet(path)
            missing = set(COLUMNS) - set(table.columns)
            if missing:
                raise ValueError(f"no column {', '.join(sorted(missing))}")
        except (OSError, ValueError) as error:
            raise TilesetError(
                f"cannot be read as an index ({str(error)[:120]})", where=path, remedy="make the tileset again"
            ) from None
        present = [name for name in (*COLUMNS, *OPTIONAL) if name in table.columns]
        return tuple(_tile(record) for record in table[present].to_dict("records"))

    def select(self, split: Split | None = None, labelled: bool | None = None) -> tuple[Tile, ...]:
        """Rows of a split, and with or without labels; never those a reviewer or a filter rejected."""
        return tuple(
            tile
            for tile in self.tiles
            if (split is None or tile.split == split)
            and (labelled is None or tile.labelled == labelled)
            and not tile.rejected
        )

    def identity(self) -> dict[str, str]:
        """What a request says about this tileset: its id and the hashes of its description and its index.

        The index holds the hashes of all tiles, so another identity means other content.
        """
        return {
            "id": self.spec.id,
            "tileset": file_hash(self.path / "tileset.json"),
            "index": file_hash(self.path / INDEX),
        }

    def read(self, tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        """A pair from its own two files: image (C, H, W), valid (H, W), mask of class ids uint8 (H, W).

        Raises:
            TilesetError: a file is missing, damaged, or not what the tileset says it is.
        """
        image = self._pixels(tile.image, tile.image_sha256)
        mask = self._pixels(tile.mask, tile.mask_sha256)[0]
        side = self.spec.tile_size
        if image.shape != (len(self.spec.bands), side, side) or mask.shape != (side, side):
            raise TilesetError(
                f"tile of shape {image.shape} where the tileset says {len(self.spec.bands)} bands of {side} px",
                where=self.path / tile.image,
                remedy="make the tileset again",
            )
        return image, valid_pixels(image, self.spec.bands[0].nodata), mask

    def verify(self, tiles: Iterable[Tile]) -> None:
        """Raise TilesetError unless the files of ``tiles`` are as they were written."""
        for tile in tiles:
            self._bytes(tile.image, tile.image_sha256)
            self._bytes(tile.mask, tile.mask_sha256)

    def _pixels(self, name: str, sha256: str) -> NDArray[Any]:
        """All bands of a tile's file."""
        with MemoryFile(self._bytes(name, sha256)) as memory, memory.open() as dataset:
            pixels: NDArray[Any] = dataset.read()
            return pixels

    def _bytes(self, name: str, sha256: str) -> bytes:
        """A tile's file, compared with the index: some damage decodes silently."""
        path = self.path / name
        try:
            content = path.read_bytes()
        except OSError:
            raise TilesetError("is missing", where=path, remedy="make the tileset again") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise TilesetError(
                "is damaged, or was changed after it was written", where=path, remedy="make the tileset again"
            )
        return content

    def grid(self, tile: Tile) -> Grid:
        """Where a tile is."""
        with open_raster(self.path / tile.image) as dataset:
            return grid_of(dataset)


def _tile(record: dict[str, Any]) -> Tile:
    record["class_fractions"] = tuple(float(value) for value in record["class_fractions"])
    for name in ("row", "col", "seed", "sample_index"):
        record[name] = int(record[name])
    return Tile(**record)


def class_fractions(mask: NDArray[np.uint8], legend: Legend) -> tuple[tuple[float, ...], float]:
    """Shares of the classes among all pixels, in legend order, and the share of unknown pixels."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return tuple(float(counts[id_] / mask.size) for id_ in legend.ids), float(counts[UNKNOWN] / mask.size)


def to_frame(tiles: Sequence[Tile], crs: CRS) -> Any:
    """The rows as a GeoDataFrame with fixed column order and types; optional columns where a row fills them."""
    import geopandas
    import pandas

    columns = [*COLUMNS, *(name for name in OPTIONAL if any(getattr(tile, name) for tile in tiles))]

    records = [
        asdict(tile) | {"geometry": tile.geometry, "class_fractions": list(tile.class_fractions)} for tile in tiles
    ]
    frame = pandas.DataFrame.from_records(records, columns=columns)
    return geopandas.GeoDataFrame(frame, geometry="geometry", crs=crs.to_wkt())
