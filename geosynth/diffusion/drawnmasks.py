"""Masks that the generator draws itself, many more than are wanted, so that some can be chosen and painted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geosynth.devices import autocast, one_thread
from geosynth.diffusion.codes import decode
from geosynth.diffusion.donors import Donor, Donors
from geosynth.diffusion.generator import cached_generator
from geosynth.diffusion.request import GenerateRequest
from geosynth.errors import OutputError
from geosynth.folders import write_whole
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage
from geosynth.noise import generator_for, sample_noise
from geosynth.scenes.sieving import sieved

POOL = 4
"""Masks drawn for each that is wanted."""


@dataclass(frozen=True)
class MaskBlock:
    """One unit of work: the masks of new pairs number ``number * size`` …, as class ids in a file of their own."""

    model: str
    model_hash: str
    folder: str
    request: GenerateRequest
    number: int
    device: str
    precision: str = "32"

    @property
    def name(self) -> str:
        return f"masks-{self.number:06d}"


def draw_masks(block: MaskBlock) -> tuple[str, dict[str, Any]]:
    """Draw and keep one block of masks; returns its name, and of each mask the ``shares`` of the classes, in legend
    order, and the mean ``confidence``."""
    request = block.request
    with one_thread():
        generator = cached_generator(block.model, block.model_hash)
        pipeline = generator.pipeline.to(block.device)
        side = generator.spec.tile_size
        shape = (generator.bands + pipeline.denoiser.mask_channels, side, side)
        numbers = range(block.number * request.block, (block.number + 1) * request.block)
        # Pairs are drawn as ever, with noise of their own; only their masks are kept.
        with autocast(block.device, block.precision):
            _, bits = pipeline(
                torch.stack([sample_noise(request.seed, -1 - number, shape) for number in numbers]),
                steps=request.steps,
                guidance=request.guidance,
                sampler=request.sampler,
                generators=[generator_for("ancestral", request.seed, -1 - number) for number in numbers],
            )
    classes, confidence = decode(bits, generator.classes, generator.bit_size)
    legend = generator.spec.legend
    masks = np.stack([sieved(mask, request.sieve) for mask in legend.to_id(classes.numpy())])
    content = BytesIO()
    np.save(content, masks, allow_pickle=False)
    folder = Path(block.folder)
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{block.name}.npy", content.getvalue(), temporary)
    counts = [np.bincount(mask.ravel(), minlength=generator.classes) for mask in legend.to_index(masks)]
    return block.name, {
        "shares": [(count / masks[0].size).tolist() for count in counts],
        "confidence": [round(float(mask.mean()), 3) for mask in confidence.numpy()],
    }


@dataclass(frozen=True)
class DrawnMasks(Donors):
    """Masks kept by ``draw_masks``, as donors without a place of their own.

    ``items`` are their numbers among all that were drawn, and their confidence; ``request`` says how they were drawn.
    """

    items: tuple[tuple[int, float], ...]
    folder: str
    request: GenerateRequest

    def read(self) -> list[Donor]:
        return [self._donor(number, confidence) for number, confidence in self.items]

    def _donor(self, number: int, confidence: float) -> Donor:
        block, position = divmod(number, self.request.block)
        path = Path(self.folder) / f"masks-{block:06d}.npy"
        try:
            mask = np.load(path, allow_pickle=False)[position]
        except (OSError, ValueError, EOFError, IndexError):
            raise OutputError(
                "is damaged or gone, and the masks to paint were in it", where=path, remedy="start with --overwrite"
            ) from None
        tags = {
            "GEOSYNTH_CONFIDENCE": f"{confidence:.3f}",
            "GEOSYNTH_MASK_INDEX": str(number),  # a mask that is painted several times is the same in all
            "GEOSYNTH_MASK_GUIDANCE": f"{self.request.guidance:g}",
        }
        return Donor(None, mask, mask != UNKNOWN, tags, {})

    def verify(self) -> None:
        """They were made a moment ago."""

    def identity(self) -> dict[str, Any]:
        return {}

    def lineage(self, numbers: Collection[int]) -> Lineage:
        """Nobody's: the generator's own is counted anyway."""
        return Lineage()
