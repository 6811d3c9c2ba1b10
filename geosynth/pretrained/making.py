"""Blocks of samples of this route: the unit of work of generating, from noise to written tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geosynth.devices import autocast, one_thread
from geosynth.diffusion.bandorder import band_order
from geosynth.diffusion.donors import Donor, TileDonors, class_positions
from geosynth.diffusion.making import Block, encoded
from geosynth.folders import write_whole
from geosynth.noise import generator_for, sample_noise
from geosynth.pretrained.model import LabelPainter, Networks, cached_networks
from geosynth.pretrained.resizing import resized_image, resized_mask
from geosynth.pretrained.sampling import draw_labels, sampled
from geosynth.pretrained.task import condition
from geosynth.pretrained.views import shares
from geosynth.scenes.sieving import sieved
from geosynth.tileset import Tileset
from geosynth.tilesetwriter import write_tiles


@dataclass(frozen=True)
class Canvas:
    """What pictures are drawn on: (height, width) in pixels, and the learnt scale that is told; see ``canvas_for``."""

    size: tuple[int, int]
    learnt: float


def canvas_for(size: tuple[int, int], scale: float, scales: Sequence[float], multiple: int) -> Canvas:
    """The canvas for a picture of ``size`` pixels at ``scale``.

    A scale that was learnt is asked for in words. Of another one the largest learnt below it (or the smallest) is asked
    for, and the rest is made by pixels: drawn on a larger canvas and brought to coarser pixels, or the other way round.

    Args:
        size: (height, width) wanted.
        scale: wanted.
        scales: those learnt, rising.
        multiple: pixels that a canvas is measured in.
    """
    learnt = max((value for value in scales if value <= scale * (1 + 1e-6)), default=min(scales))
    factor = scale / learnt
    height, width = (max(multiple, round(side * factor / multiple) * multiple) for side in size)
    return Canvas((height, width), learnt)


@dataclass(frozen=True, kw_only=True)
class PaintBlock(Block):
    """A block of samples.

    ``painter`` is the generator, ``base`` the folder of its base model (``half``: its weights in 16 bits), ``canvas``
    what is drawn on; ``template`` and ``style`` say how prompts are written, and ``settings`` more for the tags. With a
    ``strength`` the donors' own images are begun from.
    """

    painter: LabelPainter
    base: str
    half: bool
    canvas: Canvas
    template: str
    style: str
    strength: float | None = None
    settings: tuple[tuple[str, str], ...] = ()
    extent: tuple[int, int] | None = None

    @property
    def networks(self) -> Networks:
        return cached_networks(self.model, self.model_hash, self.base, self.half, self.device)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what is written: those of a tile, unless an ``extent`` is given."""
        return self.extent or (self.spec.tile_size, self.spec.tile_size)


@dataclass(frozen=True)
class Drawn:
    """Samples on the pixels that are written.

    ``images`` float32 (B, 3, H, W), ``masks`` class indices uint8 (B, H, W), ``confidence`` float32 (B, H, W), and the
    prompts of the images.
    """

    images: Tensor
    masks: Tensor
    confidence: Tensor
    prompts: list[str]


def make_block(block: PaintBlock) -> tuple[str, list[dict[str, Any]]]:
    """Make and write one block of samples; returns its name and the rows of its tiles."""
    painter = block.painter
    with one_thread():
        donors = [] if block.donors is None else block.donors.read()
        drawn = draw(block, donors)
    band = block.spec.bands[0]
    rasters = painter.tones.to_raster(drawn.images, band.dtype, band.nodata)
    ids = painter.spec.legend.to_id(drawn.masks.numpy())
    pairs = []
    for position, sample in enumerate(block.samples):
        if block.request.count is not None and sample >= block.request.count:
            break
        donor = donors[position] if donors else None
        settings = {**dict(block.settings), "prompt": drawn.prompts[position]}
        pairs.append(
            encoded(
                block,
                sample,
                donor,
                rasters[position],
                ids[position],
                drawn.confidence[position].numpy(),
                painter.hash,
                settings,
            )
        )
    return block.name, write_tiles(Path(block.out), pairs)


def draw(block: PaintBlock, donors: Sequence[Donor]) -> Drawn:
    """The pairs of a block: labels where none are given, then images for them."""
    painter, networks, request = block.painter, block.networks, block.request
    classes, canvas = len(painter.spec.legend), block.canvas
    noise = _noise(block, block.samples)
    channels = networks.base.latent_channels
    if donors:
        given = np.stack([donor.pixels for donor in donors])
        masks = torch.from_numpy(class_positions(given, block.spec.legend, painter.spec.legend))
        confidence = torch.ones(masks.shape)
        wide = resized_mask(masks, canvas.size, classes)
    else:
        wide, sure = _labels(block, networks, noise[:, channels:], block.samples)
        masks = resized_mask(wide, block.size, classes)
        confidence = resized_image(sure[:, None], block.size)[:, 0].clamp(0, 1)
    prompting = painter.prompting(block.template, block.style)
    prompts = [prompting.prompt("image", shares(mask, classes), canvas.learnt) for mask in wide]
    start = None if block.strength is None else resized_image(_own_images(block), canvas.size)
    with autocast(block.device, block.precision):
        images = sampled(
            networks.base,
            networks.controlnet,
            noise[:, :channels],
            prompts,
            condition(painter.code, wide),
            sampler=str(request.sampler),
            steps=request.steps or 1,
            guidance=_guidance(block),
            start=start,
            strength=block.strength or 1.0,
        )
    return Drawn(resized_image(images, block.size), masks, confidence, prompts)


def _labels(block: PaintBlock, networks: Networks, noise: Tensor, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
    """New label maps on the canvas: class indices uint8 (B, H, W) without specks, and how sure they are."""
    painter, request = block.painter, block.request
    prompting = painter.prompting(block.template, block.style)
    prompts = [
        prompting.prompt("label", composition(painter.compositions, request.seed, sample), block.canvas.learnt)
        for sample in samples
    ]
    with autocast(block.device, block.precision):
        pictures = draw_labels(
            networks,
            noise,
            prompts,
            sampler=str(request.sampler),
            steps=request.steps or 1,
            guidance=_guidance(block),
        )
    masks, sure = painter.code.decode(pictures)
    return torch.from_numpy(np.stack([sieved(mask, request.sieve) for mask in masks.numpy()])), sure


def composition(compositions: Sequence[Sequence[float]], seed: int, sample: int) -> Sequence[float]:
    """The class shares that new pair ``sample`` is asked to hold: those of a training tile, drawn by (seed, sample)."""
    generator = generator_for("composition", seed, sample)
    return compositions[int(torch.randint(len(compositions), (1,), generator=generator))]


def _noise(block: PaintBlock, samples: Sequence[int]) -> Tensor:
    """Noise of samples: first of their images, then of their labels, float32 (B, 2c, h, w)."""
    base = block.networks.base
    shape = (2 * base.latent_channels, *(side // base.factor for side in block.canvas.size))
    return torch.stack([sample_noise(block.request.seed, sample, shape) for sample in samples])


def _guidance(block: PaintBlock) -> float:
    assert block.request.guidance is not None, "settled before blocks are made"
    return block.request.guidance


def _own_images(block: PaintBlock) -> Tensor:
    """The images that belong to the given masks, float32 (B, 3, H, W) in -1..1."""
    painter, donors = block.painter, block.donors
    assert isinstance(donors, TileDonors), "checked when the request was settled"
    tileset = Tileset(donors.path)
    order = list(band_order(tileset.spec.bands, painter.spec.bands) or range(3))
    pictures = []
    for tile in donors.items:
        image, valid, _ = tileset.read(tile)
        pictures.append(painter.tones.to_picture(image[order], valid))
    return torch.stack(pictures)


@dataclass(frozen=True)
class LabelBlock:
    """One unit of work: new label maps number ``number * size`` … to choose from, kept in a file of ``folder``."""

    block: PaintBlock
    folder: str

    @property
    def name(self) -> str:
        return f"masks-{self.block.number:06d}"


def keep_labels(labels: LabelBlock) -> tuple[str, dict[str, Any]]:
    """Draw and keep one block of label maps; returns its name, their class ``shares`` and mean ``confidence``."""
    block = labels.block
    painter, classes = block.painter, len(block.painter.spec.legend)
    # Numbers below zero: they are not those of the pairs that are made of them.
    samples = [-1 - number for number in block.samples]
    with one_thread():
        networks = block.networks
        noise = _noise(block, samples)[:, networks.base.latent_channels :]
        wide, sure = _labels(block, networks, noise, samples)
        masks = resized_mask(wide, block.size, classes)
    content = BytesIO()
    np.save(content, painter.spec.legend.to_id(masks.numpy()), allow_pickle=False)
    folder = Path(labels.folder)
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{labels.name}.npy", content.getvalue(), temporary)
    return labels.name, {
        "shares": [shares(mask, classes) for mask in masks],
        "confidence": [round(float(value), 3) for value in sure.mean(dim=(1, 2))],
    }
