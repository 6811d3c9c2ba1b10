"""Few labels, honestly: the same tileset as if only a part of its ground had been labelled.

People label areas, not tiles strewn over a map. So labels are kept area by area: squares of neighbouring tiles, in an
order that only the seed and the place decide, the last one in part. Whatever the share, labels are kept from the start
of that order: a smaller subset lies within a larger one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from geosynth.errors import GeosynthError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.folders import (
    OutputFolder,
    Rerun,
    canonical_json,
    claim,
    is_done,
    keep_apart,
    write_together,
    write_whole,
)
from geosynth.legend import UNKNOWN
from geosynth.lineage import FILE as LINEAGE
from geosynth.rasters import grid_of, mask_bytes, open_raster, read_tags
from geosynth.tileset import Split, Tile, Tileset
from geosynth.tilesetwriter import write_index

_TOGETHER = 64
"""Files that are written at a time."""
_HIDDEN: tuple[Split, Split] = ("train", "val")
"""Splits whose labels are hidden. The test split is the yardstick, not the analyst's work."""


@dataclass(frozen=True)
class SubsetPlan:
    """How many labels to keep, and which.

    Attributes:
        labels: of the labelled training tiles that nobody rejected: a share (float, above 0 to 1), or a number (int).
        seed: which areas.
        block: tiles a side of an area, at most.
        val_labels: share of the labelled val tiles that keep their labels; None is the share of training tiles, for
            whoever has few labels has few to validate with, too.

    Raises:
        GeosynthError: a number out of its range.
    """

    labels: float | int
    seed: int = 0
    block: int = 4
    val_labels: float | None = None

    def __post_init__(self) -> None:
        is_share = isinstance(self.labels, float)
        if not (0 < self.labels <= 1 if is_share else self.labels >= 2):
            raise GeosynthError(
                "1 can be a share or a number" if self.labels == 1 else "labels out of range",
                remedy="give a share above 0 to 1.0 (0.05, 5%), or a number of tiles from 2",
            )
        if self.val_labels is not None and not 0 <= self.val_labels <= 1:
            raise GeosynthError("val labels out of range", remedy="give a share from 0 to 1")
        if self.block < 1:
            raise GeosynthError("block out of range", remedy="give at least 1 tile")


@dataclass(frozen=True)
class SubsetSummary:
    """Tiles that keep their labels, of how many, in training and val; in how many areas; and the classes left.

    ``class_shares`` are among the known pixels of the training tiles, by name; ``lost`` are classes that the training
    tiles showed before and do not show any more.
    """

    train: tuple[int, int]
    val: tuple[int, int]
    areas: int
    class_shares: dict[str, float]
    lost: tuple[str, ...]
    nothing_to_do: bool = False


def amount(text: str) -> float | int:
    """A share (``0.05``, ``5%``, ``1.0``) as float, or a number of tiles (``40``) as int, as a user writes them.

    Raises:
        GeosynthError: it is neither.
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise GeosynthError(
            f"'{text}' is no amount of labels", remedy="give a share (0.05, 5%) or a number of tiles (40)"
        ) from None


def label_order(tiles: Sequence[Tile], side: int, *, block: int, seed: int) -> list[Tile]:
    """Tiles in the order in which their labels are kept: area after area, and row by row, to and fro, within one.

    Args:
        tiles: of one split.
        side: of a tile, pixels.
        block: tiles a side of an area; areas are those ``tile`` splits by, where tiles do not overlap.
        seed: with the places decides the order of the areas.
    """

    def place(tile: Tile) -> tuple[bytes, int, int, str]:
        line = tile.row // side
        return _rank(area_of(tile, side, block), seed), line, -tile.col if line % 2 else tile.col, tile.id

    return sorted(tiles, key=place)


def area_of(tile: Tile, side: int, block: int) -> str:
    """The name of the square of ``block`` × ``block`` tiles a tile is in."""
    return f"{tile.scene}/{tile.row // (side * block)}/{tile.col // (side * block)}"


def _rank(area: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{area}".encode(), digest_size=16).digest()


def kept_labels(tiles: Sequence[Tile], count: int) -> list[Tile]:
    """The first of ``tiles`` up to ``count`` that nobody rejected; rejected ones between them and at the end, too."""
    reached = np.cumsum([not tile.rejected for tile in tiles])
    return [tile for tile, number in zip(tiles, reached, strict=True) if number <= count]


def subset_tileset(
    tiles: str | PathLike[str], plan: SubsetPlan, out: str | PathLike[str], events: Events, *, rerun: Rerun = "refuse"
) -> SubsetSummary:
    """Write a tileset in which the masks of all but some training and val tiles are unknown.

    All images and the kept masks are hard links to those of ``tiles`` (copies where the disk has no links): the same
    bytes, which take no space. A filtered mask becomes the mask. The band statistics stay: they are of images.

    Args:
        tiles: the tileset.
        plan: how many labels, and which.
        out: tileset to write.
        events: progress in tiles, warnings of lost classes, cancellation.
        rerun: rules for an existing output.

    Raises:
        TilesetError: no tileset, no labels, fewer labels than asked for, or a file is missing.
        OutputError: the rerun rules refuse, or the disk does.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    tileset = Tileset(tiles)
    train, val = (_kept(tileset, plan, split) for split in _HIDDEN)
    keep = {tile.id for tile in (*train, *val)}
    request = {
        "command": "subset",
        "tiles": tileset.identity(),
        "labels": plan.labels,
        "val_labels": plan.val_labels,
        "seed": plan.seed,
        "block": plan.block,
    }
    keep_apart(out, tiles)
    done = is_done(out, request, rerun)
    for name in () if done else sorted({name for tile in tileset.tiles for name in (tile.image, tile.mask)}):
        if not (tileset.path / name).is_file():
            raise TilesetError("is missing", where=tileset.path / name, remedy="make the tileset again")
    rows = [
        replace(tile, mask=f"masks/{tile.id}.tif", unfiltered_sha256="")
        for tile in tileset.tiles
        if tile.id in keep or tile.split not in _HIDDEN or not tile.labelled
    ]
    hidden = [tile for tile in tileset.tiles if tile.split in _HIDDEN and tile.labelled and tile.id not in keep]
    with claim(out, request, rerun) as folder:
        if not folder.complete:
            _write(tileset, rows, hidden, canonical_json(request), folder, events)
            events.artifact(folder.path, "tileset")
    summary = _summary(tileset, Tileset(out), plan, nothing_to_do=done)
    if summary.lost and not done:
        events.warn(f"no label that is left shows {', '.join(summary.lost)}")
    return summary


def _kept(tileset: Tileset, plan: SubsetPlan, split: Split) -> list[Tile]:
    """The tiles of a split that keep their labels."""
    labelled = [tile for tile in tileset.tiles if tile.split == split and tile.labelled]
    total = sum(not tile.rejected for tile in labelled)
    asked = len(tileset.select("train", labelled=True))
    if not asked:
        raise TilesetError("no training tile has labels", where=tileset.path, remedy="give a labelled tileset")
    if plan.labels > asked:
        raise TilesetError(
            f"{asked} labelled training tiles, fewer than {plan.labels}", where=tileset.path, remedy="ask for fewer"
        )
    share = plan.labels if isinstance(plan.labels, float) else plan.labels / asked
    if split == "val" and plan.val_labels is not None:
        share = plan.val_labels
    count = max(1, round(share * total)) if share > 0 else 0
    return kept_labels(label_order(labelled, tileset.spec.tile_size, block=plan.block, seed=plan.seed), count)


def _write(
    tileset: Tileset, kept: Sequence[Tile], hidden: Sequence[Tile], request: str, folder: OutputFolder, events: Events
) -> None:
    source, target, total = tileset.path, folder.path, len(tileset.tiles)
    before = {tile.id: tile for tile in tileset.tiles}
    for name in ("images", "masks"):
        (target / name).mkdir(exist_ok=True)
    done = 0

    def tell() -> None:
        events.check()
        events.progress(done, total, "tiles")

    for tile in kept:
        if done % _TOGETHER == 0:
            tell()
        _link(source / tile.image, target / tile.image, folder.temporary)
        _link(source / before[tile.id].mask, target / tile.mask, folder.temporary)
        done += 1
    rows = list(kept)
    for start in range(0, len(hidden), _TOGETHER):
        tell()
        part = [(tile, _unknown_mask(tileset, tile)) for tile in hidden[start : start + _TOGETHER]]
        for tile, _ in part:
            _link(source / tile.image, target / tile.image, folder.temporary)
        write_together(((target / f"masks/{tile.id}.tif", mask) for tile, mask in part), folder.temporary)
        rows += [_without_labels(tile, mask) for tile, mask in part]
        done += len(part)
    tell()
    if (source / LINEAGE).is_file():
        folder.write(LINEAGE, (source / LINEAGE).read_bytes())
    spec = replace(tileset.spec, id=hashlib.sha256(request.encode()).hexdigest()[:16])
    write_index(target, folder.temporary, spec, sorted(rows, key=lambda tile: tile.id), tileset.statistics)
    folder.finish()


def _unknown_mask(tileset: Tileset, tile: Tile) -> bytes:
    """A mask of unknown pixels with the place and the tags of a tile's."""
    path = tileset.path / tile.mask
    with open_raster(path) as dataset:
        grid = grid_of(dataset)
    unknown = np.full((grid.height, grid.width), UNKNOWN, np.uint8)
    return mask_bytes(grid, unknown, tileset.spec.legend, read_tags(path))


def _without_labels(tile: Tile, mask: bytes) -> Tile:
    return replace(
        tile,
        mask=f"masks/{tile.id}.tif",
        mask_origin="none",
        mask_sha256=hashlib.sha256(mask).hexdigest(),
        unfiltered_sha256="",
        filter="",
        unknown_fraction=1.0,
        class_fractions=(0.0,) * len(tile.class_fractions),
    )


def _link(source: Path, target: Path, temporary: Path) -> None:
    """The same file in another place: a hard link, or where there can be none a copy. One that is there stays."""
    if target.exists():
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        try:
            write_whole(target, source.read_bytes(), temporary)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise TilesetError(f"cannot be read ({error.strerror})", where=source, remedy="check it") from None


def _summary(before: Tileset, after: Tileset, plan: SubsetPlan, *, nothing_to_do: bool) -> SubsetSummary:
    train, val = ((len(after.select(s, labelled=True)), len(before.select(s, labelled=True))) for s in _HIDDEN)
    kept = after.select("train", labelled=True)
    areas = {area_of(tile, after.spec.tile_size, plan.block) for tile in kept}
    names = after.spec.legend.names

    def sums(rows: Sequence[Tile]) -> list[float]:
        return [float(value) for value in np.sum([tile.class_fractions for tile in rows], axis=0)]

    had, has = sums(before.select("train", labelled=True)), sums(kept)
    return SubsetSummary(
        train=train,
        val=val,
        areas=len(areas),
        class_shares={name: value / sum(has) for name, value in zip(names, has, strict=True)},
        lost=tuple(name for name, then, now in zip(names, had, has, strict=True) if then > 0 and now == 0),
        nothing_to_do=nothing_to_do,
    )
