"""How good a segmentation is: confusion matrices, and scores made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.samples import TilesetDataset, pairs_of
from geosynth.segmentation.networks import padded_logits
from geosynth.segmentation.segmenter import Segmenter
from geosynth.tileset import Split, Tileset

_PIXELS = 1 << 18
"""Pixels predicted at once."""


@dataclass(frozen=True)
class Scores:
    """Scores 0..1 of a confusion matrix; per-class tuples are in legend order.

    ``iou`` and ``f1`` are NaN for a class that is neither in the truth nor predicted, ``recall`` where it is not in the
    truth, ``precision`` where it is not predicted. The means are over the classes in the truth, so that they are of the
    same classes whatever is predicted; NaN when no pixel is known. ``pixels`` counts the truth.
    """

    mean_iou: float
    mean_f1: float
    accuracy: float
    iou: tuple[float, ...]
    f1: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    pixels: tuple[int, ...]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """JSON values by class name; NaN becomes null."""

        def by_name(values: Sequence[float]) -> dict[str, float | None]:
            return {name: _finite(value) for name, value in zip(names, values, strict=True)}

        return {
            "mean_iou": _finite(self.mean_iou),
            "mean_f1": _finite(self.mean_f1),
            "accuracy": _finite(self.accuracy),
            "iou": by_name(self.iou),
            "f1": by_name(self.f1),
            "precision": by_name(self.precision),
            "recall": by_name(self.recall),
            "pixels": dict(zip(names, self.pixels, strict=True)),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def scores(confusion: NDArray[np.int64]) -> Scores:
    """Scores of a confusion matrix (K, K), rows truth, columns prediction."""
    hit = np.diag(confusion).astype(np.float64)
    truth, predicted = confusion.sum(1).astype(np.float64), confusion.sum(0).astype(np.float64)

    def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.full(len(part), np.nan)
        np.divide(part, whole, out=result, where=whole > 0)
        return result

    def mean(values: NDArray[np.float64]) -> float:
        return float(values[truth > 0].mean()) if truth.any() else math.nan

    iou, f1 = share(hit, truth + predicted - hit), share(2 * hit, truth + predicted)
    total = truth.sum()
    return Scores(
        mean_iou=mean(iou),
        mean_f1=mean(f1),
        accuracy=float(hit.sum() / total) if total else math.nan,
        iou=tuple(iou.tolist()),
        f1=tuple(f1.tolist()),
        precision=tuple(share(hit, predicted).tolist()),
        recall=tuple(share(hit, truth).tolist()),
        pixels=tuple(int(value) for value in truth),
    )


def confusion(segmenter: Segmenter, tileset: Tileset, split: Split, events: Events) -> NDArray[np.int64]:
    """Confusion matrix int64 (K, K), rows truth, of the known pixels of a split's labelled tiles.

    Raises:
        ModelError: bands or legend of the tileset are not the segmenter's.
        TilesetError: a tile cannot be read.
        Cancelled: the user stopped it.
    """
    spec = segmenter.spec
    bands, legend = tileset.spec.bands, tileset.spec.legend
    for name, mine, other in (
        ("bands", [(band.name, band.dtype) for band in spec.bands], [(band.name, band.dtype) for band in bands]),
        ("legend", list(zip(spec.legend.ids, spec.legend.names)), list(zip(legend.ids, legend.names))),  # noqa: B905
    ):
        if mine != other:
            raise ModelError(
                f"its {name} {other} does not fit the segmenter's {mine}",
                where=tileset.path,
                remedy="use a tileset with the bands and legend the segmenter was trained with",
            )
    # Read as it goes: a split may be larger than memory, and is read once.
    dataset = TilesetDataset(pairs_of(tileset, split), spec.normalisation, in_memory=False)
    return dataset_confusion(
        lambda image: padded_logits(segmenter.network, image.to(segmenter.device)), dataset, len(spec.legend), events
    )


@torch.no_grad()
def dataset_confusion(
    logits: Callable[[Tensor], Tensor], dataset: TilesetDataset, classes: int, events: Events
) -> NDArray[np.int64]:
    """Confusion matrix int64 (K, K), rows truth, of what ``logits`` (images to (B, K, H, W)) says about a dataset."""
    matrix = MulticlassConfusionMatrix(classes, ignore_index=UNKNOWN, validate_args=False)
    side = dataset.pairs[0].tileset.spec.tile_size if len(dataset) else 1
    batch = max(1, _PIXELS // (side * side))
    for start in range(0, len(dataset), batch):
        events.check()
        indices = range(start, min(start + batch, len(dataset)))
        sample = dataset.gather(indices, [0] * len(indices))
        matrix.update(logits(sample["image"]).max(1).indices.cpu(), sample["mask"])
    result: NDArray[np.int64] = matrix.confmat.numpy().astype(np.int64)
    return result
