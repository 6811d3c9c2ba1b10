"""What two segmenters say about a few real test tiles, beside the truth, and where they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosynth.devices import one_thread
from geosynth.evaluation.contact import Stretch, choose, overlaid, picture
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.tileset import Tileset

SHOWN = 6
CELL = 128
WRONG, RIGHT, NOBODY_KNOWS = 31, 240, 205
"""Grey of a pixel in the picture of errors."""


@dataclass(frozen=True)
class Answer:
    """One segmenter's mask laid over the image, where it is wrong, and the share of known pixels it has right (None:
    none are known)."""

    mask: Image.Image
    errors: Image.Image
    right: float | None


@dataclass(frozen=True)
class Example:
    """A test tile: its image, the true mask laid over it, and what each segmenter says, by its name."""

    tile: str
    image: Image.Image
    truth: Image.Image
    answers: dict[str, Answer]


def examples(
    real: Tileset, segmenters: Mapping[str, Path], stretch: Stretch, events: Events, count: int = SHOWN
) -> list[Example]:
    """Up to ``count`` labelled test tiles, drawn without favour, as each segmenter sees them.

    Raises:
        ModelError: a segmenter is damaged.
        TilesetError: a tile cannot be read.
    """
    tiles = choose(real.select("test", labelled=True), count, 0)
    loaded = {name: load_segmenter(path, "cpu") for name, path in segmenters.items()}
    ids = np.array(real.spec.legend.ids, np.uint8)
    found = []
    for tile in tiles:
        events.check()
        image, valid, mask = real.read(tile)
        rgb = picture(image, valid, stretch)
        answers = {}
        for name, segmenter in loaded.items():
            with one_thread():
                said = segmenter.logits(image[None], valid[None]).max(1).indices[0].numpy()
            answers[name] = answer(ids[said], mask, rgb, real)
        found.append(Example(tile.id, _cell(rgb), _laid(mask, rgb, real), answers))
    return found


def answer(said: NDArray[np.uint8], truth: NDArray[np.uint8], rgb: NDArray[np.uint8], real: Tileset) -> Answer:
    """A predicted mask beside the true one, both class ids uint8 (H, W), over the image as RGB uint8 (H, W, 3)."""
    known = truth != UNKNOWN
    wrong = known & (said != truth)
    grey = np.where(known, np.where(wrong, WRONG, RIGHT), NOBODY_KNOWS).astype(np.uint8)
    right = 1 - float(wrong.sum() / known.sum()) if known.any() else None
    return Answer(_laid(said, rgb, real), _cell(np.repeat(grey[..., None], 3, axis=2)), right)


def _laid(mask: NDArray[np.uint8], rgb: NDArray[np.uint8], real: Tileset) -> Image.Image:
    return _cell(overlaid(rgb, mask, real.spec.legend))


def _cell(rgb: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return image.resize((CELL, CELL), Image.Resampling.NEAREST) if max(image.size) != CELL else image


def kept(folders: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """The first folder of each name that holds a finished segmenter."""
    from geosynth.segmentation.segmenter import META

    there = {name: next((path for path in paths if (path / META).is_file()), None) for name, paths in folders.items()}
    return {name: path for name, path in there.items() if path is not None}
