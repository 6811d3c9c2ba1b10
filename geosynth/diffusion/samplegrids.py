"""Pictures of what a generator makes while it is trained: pairs from the same noise every time."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from geosynth.colourbands import colour_bands
from geosynth.diffusion.codes import decode
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.pipeline import PairPipeline
from geosynth.diffusion.samplers import default_steps, samplers_for
from geosynth.diffusion.training import DiffusionTask
from geosynth.folders import OutputFolder
from geosynth.legend import Legend
from geosynth.noise import sample_noise

PAIRS = 8
_GUTTER = 2


class SampleGrids(Callback):
    """Draws pairs of the averaged weights every so many steps: ``samples/step-000500.png``, images above masks.

    Args:
        folder: the generator folder.
        legend: colours of the masks.
        bands: names of the bands, of which some are drawn (see ``colour_bands``).
        every: steps between two pictures; there is one at the end, too.
    """

    def __init__(self, folder: OutputFolder, legend: Legend, bands: Sequence[str], every: int) -> None:
        self.folder, self.legend, self.every = folder, legend, every
        self.drawn = list(colour_bands(bands))

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        assert isinstance(task, DiffusionTask)
        step = trainer.global_step
        if trainer.is_global_zero and (step % self.every == 0 or step == trainer.max_steps):
            image, mask = sample_pairs(task, PAIRS)
            picture = grid(_in_spreads(image, task.scale)[:, self.drawn], mask, self.legend)
            self.folder.write(f"samples/step-{step:06d}.png", picture)


def sample_pairs(task: DiffusionTask, count: int) -> tuple[Tensor, Tensor]:
    """New pairs of the averaged weights: images in network values (N, C, H, W), class indices uint8 (N, H, W)."""
    network, size = task.average, task.plan.size
    shape = (network.image_channels + network.mask_channels, size, size)
    noise = torch.stack([sample_noise(task.plan.seed, index, shape) for index in range(count)])
    process = task.recipe.process
    quickest = min(samplers_for(process), key=default_steps)
    image, bits = PairPipeline(network, process.scheduler())(noise, sampler=quickest)
    return image, decode(bits, task.classes)[0]


def _in_spreads(image: Tensor, scale: BandScale) -> Tensor:
    """Network values (N, C, H, W), whose bands may be mixed, as each band's own: in two standard deviations of it."""
    valid = np.ones((len(image), *image.shape[2:]), bool)
    return torch.from_numpy(scale.to_deviations(scale.to_raster(image, "float32", None), valid) / 2)


def grid(image: Tensor, mask: Tensor, legend: Legend) -> bytes:
    """A row of images above the row of their masks, as PNG bytes.

    Args:
        image: bands (N, 1 or 3, H, W); -1..1, two standard deviations around the mean, is black to white.
        mask: class indices (N, H, W).
        legend: colours.
    """
    grey = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).numpy()
    colours = np.array([entry.rgb for entry in legend.classes], np.uint8)[mask.numpy()]
    rows = [_row(np.broadcast_to(grey, (*grey.shape[:3], 3))), _row(colours)]
    gap = np.full((_GUTTER, rows[0].shape[1], 3), 255, np.uint8)
    buffer = BytesIO()
    Image.fromarray(np.concatenate([rows[0], gap, rows[1]])).save(buffer, "PNG")
    return buffer.getvalue()


def _row(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB pictures (N, H, W, 3) side by side, white lines between them."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, _GUTTER), (0, 0)), constant_values=255)
    row: NDArray[np.uint8] = np.concatenate(list(padded), axis=1)[:, :-_GUTTER]
    return row
