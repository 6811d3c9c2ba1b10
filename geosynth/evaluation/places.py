"""Test tiles by place: neighbouring tiles are alike, so errors are taken over blocks of them, not over tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geosynth.events import Events
from geosynth.normalisation import Normalisation
from geosynth.samples import MEMORY_LIMIT, Pair, TilesetDataset, pairs_of
from geosynth.segmentation.metrics import dataset_confusion
from geosynth.subset import area_of
from geosynth.tileset import Tileset

BLOCK = 4
"""Tiles along a side of a block, as ``tile`` deals them out to the splits."""

Confusion = Callable[[TilesetDataset], NDArray[np.int64]]
"""Confusion matrix (K, K), rows truth, of some pairs."""


def scene_of(group: str) -> str:
    """The scene of a block, which ``subset.area_of`` named: scene, row and column of the block."""
    return group.rsplit("/", 2)[0]


def blocks_under_test(tileset: Tileset) -> dict[str, list[Pair]]:
    """The labelled test pairs by block, sorted by name."""
    blocks: dict[str, list[Pair]] = {}
    for pair in pairs_of(tileset, "test"):
        blocks.setdefault(area_of(pair.tile, tileset.spec.tile_size, BLOCK), []).append(pair)
    return dict(sorted(blocks.items()))


def by_scene(groups: Sequence[str], confusions: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Blocks (G,) and their confusion matrices (G, K, K) put together by scene, sorted by name."""
    scenes = sorted({scene_of(group) for group in groups})
    number = {scene: position for position, scene in enumerate(scenes)}
    total = np.zeros((len(scenes), *confusions.shape[1:]), np.int64)
    np.add.at(total, [number[scene_of(group)] for group in groups], confusions)
    return tuple(scenes), total


def block_confusions(
    tileset: Tileset, normalisation: Normalisation, confusion: Confusion
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the test blocks (G,), and their confusion matrices int64 (G, K, K), rows truth.

    Args:
        tileset: the real one.
        normalisation: what ``confusion`` wants its images normalised with.
        confusion: tests some pairs.
    """
    identity = tuple(sorted(tileset.identity().items()))
    blocks = _datasets(str(tileset.path.absolute()), identity, normalisation)
    return tuple(blocks), np.stack([confusion(dataset) for dataset in blocks.values()])


@lru_cache(maxsize=1)
def _datasets(
    path: str, identity: tuple[tuple[str, str], ...], normalisation: Normalisation
) -> dict[str, TilesetDataset]:
    """The blocks under test, kept from run to run of a process: all runs of an experiment are tested on the same tiles.

    A split that takes more than ``samples.MEMORY_LIMIT`` is read as it goes.
    """
    blocks = blocks_under_test(Tileset(path))
    spec = Tileset(path).spec
    pixel = len(spec.bands) * np.dtype(spec.bands[0].dtype).itemsize + 2
    fits = sum(map(len, blocks.values())) * spec.tile_size**2 * pixel <= MEMORY_LIMIT
    return {name: TilesetDataset(pairs, normalisation, in_memory=fits) for name, pairs in blocks.items()}


def logits_confusion(logits: Callable[[Tensor], Tensor], classes: int, events: Events) -> Confusion:
    """Tests with ``logits``: normalised images (B, C, H, W) to (B, K, H, W)."""
    return lambda dataset: dataset_confusion(logits, dataset, classes, events)
