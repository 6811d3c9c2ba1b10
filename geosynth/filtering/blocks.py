"""The work of filtering, block by block of tiles: any process does any block, and its record is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.devices import one_thread
from geosynth.filtering.judges import Judge
from geosynth.filtering.rule import ClassSums, FilterPlan, doubtful
from geosynth.folders import STATE, write_together
from geosynth.legend import UNKNOWN, Legend
from geosynth.rasters import grid_of, mask_bytes, open_raster, read_tags
from geosynth.tileset import Tile, Tileset, class_fractions

TILES = 8
"""Tiles of a block: a generator that tells several masks for each should not be far from the next look for a stop."""
FOLDER = "filtered"
_PIXELS = 1 << 17
"""Pixels a judge sees at once."""


@dataclass(frozen=True)
class Block:
    """Some tiles of a tileset to be judged; ``first`` is the number of the first one."""

    tileset: str
    judge: Judge
    plan: FilterPlan
    tiles: tuple[Tile, ...]
    first: int
    limits: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return f"block-{self.first // TILES:06d}"


def blocks_of(tileset: Tileset, judge: Judge, plan: FilterPlan, tiles: Sequence[Tile]) -> list[Block]:
    """All tiles, in blocks of ``TILES``."""
    path = str(tileset.path.resolve())
    return [Block(path, judge, plan, tuple(tiles[k : k + TILES]), k) for k in range(0, len(tiles), TILES)]


def calibrate(block: Block) -> tuple[int, ClassSums]:
    """The losses of real pixels by class, of one block; with its first number, for the order."""
    classes = len(Tileset(block.tileset).spec.legend)
    parts = [ClassSums.of(losses, masks, classes) for _, losses, masks in _judged(block)]
    return block.first, ClassSums.total(parts)


def filter_block(block: Block) -> tuple[str, list[dict[str, Any]]]:
    """Judge the pairs of a block and write the masks with unknown pixels; returns its name and a record a pair."""
    tileset, limit = Tileset(block.tileset), np.array(block.limits)
    records: list[dict[str, Any]] = []
    files: list[tuple[Path, bytes]] = []
    for tiles, losses, masks in _judged(block):
        for tile, loss, mask in zip(tiles, losses, masks, strict=True):
            record, content = _verdict(tileset, tile, loss, mask, limit, block.plan)
            records.append(record)
            if content is not None:
                files.append((tileset.path / FOLDER / f"{tile.id}.tif", content))
    write_together(files, tileset.path / STATE / "tmp")
    return block.name, records


def _verdict(
    tileset: Tileset,
    tile: Tile,
    losses: NDArray[np.float32],
    mask: NDArray[np.uint8],
    limit: NDArray[np.float64],
    plan: FilterPlan,
) -> tuple[dict[str, Any], bytes | None]:
    """The record of one pair, and its new mask where it has one."""
    legend, known = tileset.spec.legend, mask != UNKNOWN
    doubt = doubtful(losses, mask, limit, plan.specks)
    before, made = int(known.sum()), int(doubt.sum())
    left = (before - made) / before if before else 0.0
    verdict = "rejected" if left < plan.min_known or left == 0 else "cleaned" if made else "kept"
    record: dict[str, Any] = {
        "id": tile.id,
        "verdict": verdict,
        "loss": float(losses[known].astype(np.float64).mean()) if before else None,
        "known": before,
        "doubtful": made,
        "known_by_class": _counts(mask[known], legend),
        "doubtful_by_class": _counts(mask[doubt], legend),
        "mask_sha256": tile.original_mask_sha256,
        "filtered_sha256": "",
    }
    if verdict != "cleaned":
        return record, None
    path = tileset.path / tile.original_mask
    with open_raster(path) as dataset:
        grid = grid_of(dataset)
    cleaned = np.where(doubt, np.uint8(UNKNOWN), legend.to_id(mask))
    content = mask_bytes(grid, cleaned, legend, read_tags(path))
    shares, unknown = class_fractions(cleaned, legend)
    record |= {
        "filtered_sha256": hashlib.sha256(content).hexdigest(),
        "class_fractions": list(shares),
        "unknown_fraction": unknown,
    }
    return record, content


def _counts(classes: NDArray[np.uint8], legend: Legend) -> list[int]:
    return [int(count) for count in np.bincount(classes, minlength=len(legend))[: len(legend)]]


def _judged(
    block: Block,
) -> Iterator[tuple[tuple[Tile, ...], NDArray[np.float32], NDArray[np.uint8]]]:
    """Tiles a few at a time, with losses float32 (N, H, W) and masks of class indices uint8 (N, H, W).

    One thread: the bytes must not depend on how many there are.
    """
    tileset = Tileset(block.tileset)
    few = max(1, _PIXELS // tileset.spec.tile_size**2)
    for start in range(0, len(block.tiles), few):
        tiles = block.tiles[start : start + few]
        images, valid, ids = (np.stack(part) for part in zip(*map(tileset.read, tiles), strict=True))
        masks = np.where(valid, tileset.spec.legend.to_index(ids), np.uint8(UNKNOWN))
        numbers = range(block.first + start, block.first + start + len(tiles))
        with one_thread():
            yield tiles, block.judge.losses(images, valid, masks, numbers, block.plan.draws, block.plan.steps), masks
