"""One piece of a scene into tiles: the unit of work of tiling."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.legend import UNKNOWN
from geosynth.rasters import gdal_session, read_tags
from geosynth.scenes.blocks import Lattice
from geosynth.scenes.burning import open_labels
from geosynth.scenes.labels import Codes, Labels
from geosynth.scenes.origins import image_origin, labels_origin, synthetic_side
from geosynth.scenes.source import SceneInfo, open_scene
from geosynth.scenes.splits import SceneSplits
from geosynth.tileset import Split, TileSpec
from geosynth.tilesetwriter import EncodedTile, encode_tile, write_tiles

_HEIGHT = 512
"""Pixels a piece is high, about: the height of the blocks most rasters are stored in, so that few are decoded twice."""
_BYTES = 64 << 20
"""Pixels of a piece take up to this much memory."""
_TILES = 256
"""Tiles of a piece, at most: what an interruption costs."""


@dataclass(frozen=True)
class PlacedScene:
    """A scene with everything a tile of it needs; ``edge`` tiles were left out for not being whole."""

    info: SceneInfo
    lattice: Lattice
    edge: int
    labels: tuple[Labels, ...]


@dataclass(frozen=True)
class Thinning:
    """Which tiles without objects to keep: a ``share`` of the training tiles that are wholly ``background``."""

    background: int
    share: float
    seed: int

    def drops(self, tile_id: str, mask: NDArray[np.uint8], split: Split) -> bool:
        if split != "train" or self.share >= 1:
            return False
        known = mask[mask != UNKNOWN]
        if not known.size or (known != self.background).any():
            return False
        digest = hashlib.blake2b(f"{self.seed}\x1f{tile_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >= self.share * 2**64


@dataclass(frozen=True)
class Piece:
    """Some rows and columns of a scene's tiles; ``splits`` has one entry a tile, None for those to leave out."""

    folder: str
    spec: TileSpec
    scene: PlacedScene
    codes: Codes
    row: int
    col: int
    splits: tuple[tuple[Split | None, ...], ...]
    min_valid: float
    thinning: Thinning

    @property
    def name(self) -> str:
        return f"{self.scene.info.name}_r{self.row:05d}_c{self.col:05d}"


def pieces(
    folder: Path,
    spec: TileSpec,
    scene: PlacedScene,
    codes: Codes,
    splits: SceneSplits,
    min_valid: float,
    thinning: Thinning,
) -> Iterator[Piece]:
    """A scene's tiles in pieces of bounded memory, whatever the scene's size."""
    lattice = scene.lattice
    rows = max(1, min(_HEIGHT // lattice.stride, lattice.rows))
    height = (rows - 1) * lattice.stride + lattice.size
    pixel = len(spec.bands) * np.dtype(spec.bands[0].dtype).itemsize + 2
    width = max(1, _BYTES // (height * pixel) // lattice.stride)
    cols = min(width, max(1, _TILES // rows))
    for row in range(0, lattice.rows, rows):
        for col in range(0, lattice.cols, cols):
            part = tuple(tuple(line[col : col + cols]) for line in splits[row : row + rows])
            yield Piece(str(folder.absolute()), spec, scene, codes, row, col, part, min_valid, thinning)


def cut_tiles(piece: Piece) -> tuple[str, dict[str, Any]]:
    """Write the tiles of a piece; returns its name and its journal record."""
    dropped = Counter({"split": sum(line.count(None) for line in piece.splits)})
    with gdal_session(256):  # neighbouring pieces share blocks of the scene
        records = write_tiles(Path(piece.folder), _tiles(piece, dropped))
    return piece.name, {"tiles": records, "dropped": dict(sorted(dropped.items()))}


def _tiles(piece: Piece, dropped: Counter[str]) -> Iterator[EncodedTile]:
    """The tiles of a piece; counts those that are left out."""
    spec, scene, lattice = piece.spec, piece.scene, piece.scene.lattice
    name, size, stride = scene.info.name, spec.tile_size, lattice.stride
    top, left = piece.row * stride, piece.col * stride
    rows, cols = len(piece.splits), len(piece.splits[0])
    window = (top, left, (rows - 1) * stride + size, (cols - 1) * stride + size)
    with open_scene(scene.info, lattice.grid, spec.bands[0].nodata) as image_reader:
        images, valids = image_reader.read(*window)
    with open_labels(scene.labels, piece.codes, lattice.grid) as label_reader:
        masks = label_reader.read(*window)
    masks[~valids] = UNKNOWN
    image_from, mask_from = image_origin(scene.info.path), labels_origin(scene.labels)
    placement: Any = read_tags(scene.info.path).get("GEOSYNTH_PLACEMENT", "real")
    for number, split in enumerate(split for line in piece.splits for split in line):
        if split is None:
            continue
        down, across = divmod(number, cols)
        tile_id = f"{name}_r{piece.row + down:05d}_c{piece.col + across:05d}"
        inside = np.s_[down * stride : down * stride + size, across * stride : across * stride + size]
        image, valid, mask = images[:, *inside], valids[inside], masks[inside]
        if valid.mean() < piece.min_valid or not valid.any():
            dropped["nodata"] += 1
            continue
        if piece.thinning.drops(tile_id, mask, split):
            dropped["empty"] += 1
            continue
        place = (top + down * stride, left + across * stride, size, size)
        origin = mask_from if (mask != UNKNOWN).any() else "none"
        tags = {
            "GEOSYNTH_SYNTHETIC": synthetic_side(image_from, origin),
            "GEOSYNTH_SCENE": name,
            "GEOSYNTH_WINDOW": " ".join(map(str, place)),
        }
        yield encode_tile(
            spec, tile_id, lattice.grid.window(*place), image, valid, mask, tags,
            split=split, scene=name, row=place[0], col=place[1],
            image_origin=image_from, mask_origin=origin, placement=placement,
        )  # fmt: skip


def whole_and_all(side: int, size: int, overlap: int) -> tuple[int, int]:
    """How many tiles lie wholly on ``side`` pixels, and how many it takes to cover them."""
    stride = size - overlap
    return max(0, (side - size) // stride + 1), max(1, math.ceil((side - overlap) / stride))
