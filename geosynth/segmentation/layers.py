"""What is written of a prediction: classes, confidence, probabilities; each a raster of bytes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.legend import UNKNOWN, Legend
from geosynth.rasters import Band
from geosynth.scenes.cog import Contents

Layer = Literal["classes", "confidence", "probabilities"]

CONFIDENCE = Band("confidence", "uint8", 255.0)
"""Confidence rasters: probability of the chosen class in percent, 255 where there is no class."""

_LINES = 16
"""Lines at a time: what is computed of them stays in a processor's cache."""


def contents(layer: Layer, legend: Legend) -> Contents:
    """What the raster of a layer holds. Probabilities: a band a class, in percent, 255 where there is no class."""
    if layer == "classes":
        return Contents.classes(legend)
    if layer == "confidence":
        return Contents((CONFIDENCE,))
    return Contents(tuple(Band(name, "uint8", 255.0) for name in legend.names))


def file_name(layer: Layer, scene: str) -> str:
    """A layer's file in the output folder; only classes lie at its top, so that ``*.tif`` means them."""
    return f"{scene}.tif" if layer == "classes" else f"{layer}/{scene}.tif"


def layer_values(layer: Layer, logits: Tensor, valid: NDArray[np.bool_], legend: Legend) -> NDArray[np.uint8]:
    """The values of a layer, uint8 (C, h, w), of logits (K, h, w) and valid bool (h, w)."""
    if layer == "classes":
        found = legend.to_id(_winners(logits))[None]
    else:
        lines = [_percent(part, layer) for part in torch.split(logits, _LINES, dim=1)]
        found = np.concatenate(lines, axis=1)
    if not valid.all():
        found[:, ~valid] = UNKNOWN
    return found


def _winners(logits: Tensor) -> NDArray[np.uint8]:
    """The position of the largest of K logits (K, h, w); the first of equals."""
    if logits.device.type != "cpu":
        return logits.max(0).indices.byte().cpu().numpy()  # type: ignore[no-any-return]
    # torch's maximum over the first axis takes ten times as long on a CPU as going through the classes.
    values = logits.numpy()
    winner = np.zeros(values.shape[1:], np.uint8)
    for top in range(0, len(winner), _LINES):
        part, won = values[:, top : top + _LINES], winner[top : top + _LINES]
        best = part[0].copy()
        for number in range(1, len(part)):
            better = (part[number] > best).view(np.uint8)
            np.maximum(best, part[number], out=best)
            np.maximum(won, better * np.uint8(number), out=won)
    return winner


def _percent(logits: Tensor, layer: Layer) -> NDArray[np.uint8]:
    shares = logits.softmax(0)
    if layer == "confidence":
        shares = shares.amax(0, keepdim=True)
    return (shares * 100).round().byte().cpu().numpy()  # type: ignore[no-any-return]
