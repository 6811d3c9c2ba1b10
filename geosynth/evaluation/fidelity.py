"""How synthetic tiles compare with real ones: shares of the classes, and whether training tiles were copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.events import Events
from geosynth.tileset import BandStatistics, Tile, Tileset

SIDE = 16
"""Side of the small images that are compared."""

PERCENTILE = 1.0
"""A synthetic tile is suspect when it is nearer to a training tile than this percentile of real held-out tiles is."""


@dataclass(frozen=True)
class CopyCheck:
    """The nearest training tile of each synthetic tile.

    Distances are root mean square differences of 16 × 16 px thumbnails in standard deviations of the band, smallest
    over the eight flips and turns (training uses them, so a copy may be turned).

    Attributes:
        synthetic: the checked tiles, those with generated images.
        nearest: for each, the training tile nearest to it.
        distances: for each, how far that is; float64 (N,).
        held_out: distances of real held-out tiles to their nearest training tile; float64 (M,), M may be 0.
        held_out_split: where those are from, val or test; empty when there are none.
        threshold: ``PERCENTILE`` of ``held_out``; None when there are none.
    """

    synthetic: tuple[Tile, ...]
    nearest: tuple[Tile, ...]
    distances: NDArray[np.float64]
    held_out: NDArray[np.float64]
    held_out_split: str
    threshold: float | None

    @property
    def share_nearer(self) -> float | None:
        """Share of synthetic tiles nearer than the threshold, 0..1; None when it cannot be told."""
        if self.threshold is None or not len(self.distances):
            return None
        return float((self.distances < self.threshold).mean())

    @property
    def order(self) -> list[int]:
        """Positions of the synthetic tiles, the most suspect first."""
        return [int(i) for i in np.argsort(self.distances, kind="stable")]


def class_shares(tiles: Sequence[Tile]) -> NDArray[np.float64] | None:
    """Shares of the classes among all known pixels of ``tiles``, float64 (K,) in legend order; None without any."""
    known = sum(1 - tile.unknown_fraction for tile in tiles)
    if known <= 0:
        return None
    shares: NDArray[np.float64] = np.sum([tile.class_fractions for tile in tiles], axis=0) / known
    return shares


def presence(tiles: Sequence[Tile], classes: int) -> NDArray[np.float64]:
    """For each class the share of ``tiles`` that show it at all, float64 (K,)."""
    if not tiles:
        return np.zeros(classes)
    return (np.array([tile.class_fractions for tile in tiles]) > 0).mean(axis=0)


def total_variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half the summed difference of two share vectors: the share of pixels that would have to change class, 0..1."""
    return float(np.abs(first - second).sum() / 2)


class CopySearch:
    """Finds the nearest training tiles of generated images; real tiles are read once, when the first are looked for.

    Args:
        real: its split=train is what may have been copied; val (else test) shows how near unseen real tiles come.
        limit: at most this many held-out tiles, and synthetic ones of a tileset.
    """

    def __init__(self, real: Tileset, limit: int = 2000) -> None:
        self.real, self.limit = real, limit
        self._train = real.select("train")
        self._held_out = (real.select("val") or real.select("test"))[:limit]
        self._known: NDArray[np.float32] | None = None
        self._others = np.zeros(0)

    def check(self, synthetic: Tileset, events: Events) -> CopyCheck | None:
        """The nearest training tile of each generated image, of a sample evenly spread over the index.

        Args:
            synthetic: a tileset with the same bands.
            events: told the progress, asked whether to stop.

        Returns:
            None when there is nothing to compare: no training tile or no generated image.

        Raises:
            TilesetError: a tile cannot be read.
            Cancelled: the user stopped it.
        """
        made = tuple(tile for tile in synthetic.select() if tile.image_origin == "generated")
        made = made[:: max(1, -(-len(made) // self.limit))]
        if not self._train or not made:
            return None
        known, bands = self._read(events), len(self.real.spec.bands)
        images = thumbnails(synthetic, made, self.real.statistics, events)
        distances, where = nearest(images, known, bands)
        split = self._held_out[0].split if self._held_out else ""
        threshold = float(np.percentile(self._others, PERCENTILE)) if len(self._others) else None
        return CopyCheck(made, tuple(self._train[i] for i in where), distances, self._others, split, threshold)

    def _read(self, events: Events) -> NDArray[np.float32]:
        """Thumbnails of the training tiles; how near held-out ones come is known then, too."""
        if self._known is None:
            statistics, bands = self.real.statistics, len(self.real.spec.bands)
            known = thumbnails(self.real, self._train, statistics, events)
            self._others, _ = nearest(thumbnails(self.real, self._held_out, statistics, events), known, bands)
            self._known = known
        return self._known


def thumbnails(
    tileset: Tileset, tiles: Sequence[Tile], statistics: Sequence[BandStatistics], events: Events
) -> NDArray[np.float32]:
    """Images as rows of numbers, float32 (N, C·16·16): standardised bands, averaged to 16 × 16, invalid pixels 0."""
    bands = len(tileset.spec.bands)
    mean = np.array([entry.mean for entry in statistics])[:, None, None]
    std = np.array([entry.std or 1.0 for entry in statistics])[:, None, None]
    rows = np.zeros((len(tiles), bands * SIDE * SIDE), np.float32)
    for position, tile in enumerate(tiles):
        image, valid, _ = tileset.read(tile)
        standard = np.where(valid, (image.astype(np.float64) - mean) / std, 0.0)
        rows[position] = shrink(standard, SIDE).reshape(-1)
        if position % 32 == 0:
            events.check()
            events.progress(position, len(tiles), "tiles compared")
    return rows


def shrink(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Averages of (C, H, W) over ``side`` × ``side`` equal areas; pixels on a border count by their part in it."""
    rows, cols = (_averaging(length, side) for length in image.shape[1:])
    result: NDArray[np.float64] = rows @ image @ cols.T
    return result


def _averaging(length: int, side: int) -> NDArray[np.float64]:
    """The matrix (side, length) that averages ``length`` values over ``side`` equal parts."""
    edges = np.arange(side + 1) * (length / side)
    low = np.maximum(edges[:-1, None], np.arange(length))
    high = np.minimum(edges[1:, None], np.arange(length) + 1)
    weights: NDArray[np.float64] = np.clip(high - low, 0, None) * (side / length)
    return weights


def nearest(
    queries: NDArray[np.float32], known: NDArray[np.float32], bands: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each row of ``queries``, in any of eight orientations, the nearest row of ``known``.

    Returns:
        root mean square difference float64 (N,) and position in ``known`` int64 (N,).
    """
    best = np.full(len(queries), np.inf)
    where = np.zeros(len(queries), np.int64)
    square = np.einsum("ij,ij->i", known, known)
    for start in range(0, len(queries), 256):
        part = slice(start, start + 256)
        images = queries[part].reshape(-1, bands, SIDE, SIDE)
        for flipped in (images, images[..., ::-1]):
            for turns in range(4):
                rows = np.rot90(flipped, turns, axes=(2, 3)).reshape(len(images), -1)
                distance = np.einsum("ij,ij->i", rows, rows)[:, None] + square - 2 * (rows @ known.T)
                position = distance.argmin(axis=1)
                value = distance[np.arange(len(rows)), position]
                nearer = value < best[part]
                best[part] = np.where(nearer, value, best[part])
                where[part] = np.where(nearer, position, where[part])
    return np.sqrt(np.clip(best, 0, None) / queries.shape[1]), where
