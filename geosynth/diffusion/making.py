"""Blocks of samples: the unit of work of generating, from noise to written tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.devices import autocast, one_thread
from geosynth.diffusion.codes import decode, encode
from geosynth.diffusion.completion import completed
from geosynth.diffusion.donors import Donor, Donors, Side, class_positions
from geosynth.diffusion.generator import Generator, cached_generator
from geosynth.diffusion.request import GenerateRequest
from geosynth.grid import Grid, fictitious_cell, fictitious_grid
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for, sample_noise
from geosynth.scenes.sieving import sieved
from geosynth.tileset import TileSpec
from geosynth.tilesetwriter import EncodedTile, encode_tile, synthetic_tags, write_tiles


@dataclass(frozen=True)
class Block:
    """One unit of work: samples ``number * size`` … of a request, for any process that sees the folders.

    ``request`` says sampler, steps and count; ``donors`` holds one donor a sample, or is None for new pairs of which
    nothing is there yet.
    """

    model: str
    model_hash: str
    out: str
    spec: TileSpec
    request: GenerateRequest
    number: int
    device: str
    donors: Donors | None
    precision: str = "32"

    @property
    def name(self) -> str:
        return f"block-{self.number:06d}"

    @property
    def donated(self) -> Side:
        """The side that is given, where one is."""
        return "image" if self.request.images_from else "mask"

    @property
    def samples(self) -> range:
        """Numbers of the samples. The last block is full, too: a batch of another size would round differently."""
        return range(self.number * self.request.block, (self.number + 1) * self.request.block)


def make_block(block: Block) -> tuple[str, list[dict[str, Any]]]:
    """Make and write one block of samples; returns its name and the rows of its tiles."""
    with one_thread():
        generator = cached_generator(block.model, block.model_hash)
        donors = [] if block.donors is None else block.donors.read()
        images, masks, confidence = _sample(block, generator, donors)
    rasters = generator.scale.to_raster(images, block.spec.bands[0].dtype, block.spec.bands[0].nodata)
    pairs = []
    for position, sample in enumerate(block.samples):
        if block.request.count is not None and sample >= block.request.count:
            break
        donor = donors[position] if donors else None
        pairs.append(
            encoded(block, sample, donor, rasters[position], masks[position], confidence[position], generator.hash)
        )
    return block.name, write_tiles(Path(block.out), pairs)


def _sample(
    block: Block, generator: Generator, donors: Sequence[Donor]
) -> tuple[Tensor, NDArray[np.uint8], NDArray[np.float32]]:
    """Images (B, bands, H, W) in network values, masks of class ids uint8 (B, H, W) and their confidence (B, H, W)."""
    request, spec = block.request, block.spec
    pipeline = generator.pipeline.to(block.device)
    shape = (generator.bands + pipeline.denoiser.mask_channels, spec.tile_size, spec.tile_size)
    noise = torch.stack([sample_noise(request.seed, sample, shape) for sample in block.samples])
    given = {} if not donors else {block.donated: _given(block, generator, donors, noise)}
    with autocast(block.device, block.precision):
        made, coded = pipeline(noise, **given, guidance=request.guidance, **_manner(block, "ancestral"))
    classes, confidence = decode(coded, generator.classes, generator.bit_size)
    return made, generator.spec.legend.to_id(classes.numpy()), confidence.numpy()


def _manner(block: Block, purpose: str) -> dict[str, Any]:
    """How a block is sampled: steps, sampler, and a generator of noise on the way for each sample."""
    request = block.request
    generators = [generator_for(purpose, request.seed, sample) for sample in block.samples]
    return {"steps": request.steps, "sampler": request.sampler, "generators": generators}


def _given(block: Block, generator: Generator, donors: Sequence[Donor], noise: Tensor) -> Tensor:
    """The given side as the network takes it, (B, bands or bits, H, W); where nothing is known, what may be there."""
    is_image = block.donated == "image"
    if is_image:
        side = torch.stack([generator.scale.to_network(donor.pixels, donor.known) for donor in donors])
    else:
        ids, known_classes = np.stack([donor.pixels for donor in donors]), generator.spec.legend
        positions = class_positions(ids, block.spec.legend, known_classes)
        side = encode(torch.from_numpy(positions), generator.classes, generator.bit_size)
    known = torch.from_numpy(np.stack([donor.known for donor in donors]))
    if known.all():
        return side
    with autocast(block.device, block.precision):
        side = completed(generator.pipeline, noise, side, known, is_image=is_image, **_manner(block, "completion"))
    if is_image:
        return side
    drawn = decode(side, generator.classes, generator.bit_size)[0].numpy()
    whole = [sieved(mask, block.request.sieve, fixed) for mask, fixed in zip(drawn, known.numpy(), strict=True)]
    return encode(torch.from_numpy(np.stack(whole)), generator.classes, generator.bit_size)


def encoded(
    block: Block,
    sample: int,
    donor: Donor | None,
    image: NDArray[Any],
    mask: NDArray[np.uint8],
    confidence: NDArray[np.float32],
    generator: str,
    settings: Mapping[str, str] | None = None,
) -> EncodedTile:
    """A pair as files and row; the side that was given as it was.

    Args:
        block: of the sample.
        sample: its number.
        donor: what is given; None for a new pair.
        image: values (C, H, W) of the tileset's type.
        mask: class ids uint8 (H, W).
        confidence: of the mask's pixels, float32 (H, W), 0..1.
        generator: hash of who made it.
        settings: more to say in the tags.
    """
    request, spec, side = block.request, block.spec, block.spec.tile_size
    question = request.question
    assert request.guidance is not None, "settled before blocks are made"
    valid = np.ones((side, side), bool)
    grid, columns = _made_up_place(block, sample, generator)
    if donor is not None and donor.grid is not None:
        grid, columns = donor.grid, {}
    columns |= {"image_origin": "generated", "mask_origin": "predicted" if question == "mask" else "generated"}
    if donor is not None:
        columns |= donor.columns
    if donor is not None and question == "mask":
        image, valid = donor.pixels, donor.known
        mask = np.where(valid, mask, UNKNOWN).astype(np.uint8)
    elif donor is not None:
        mask = donor.pixels
    if donor is None or question == "mask":
        mask = sieved(mask, request.sieve)
    drawn = donor is None or donor.grid is None or question == "mask" or not donor.known.all()
    image_tags = synthetic_tags(
        {"joint": "both", "image": "image", "mask": "mask"}[question],
        generator,
        request.seed,
        sample,
        columns["placement"],
        {
            "sampler": str(request.sampler),
            "steps": str(request.steps),
            "guidance": f"{request.guidance:g}",
            "question": question,
            **({"sieve": str(request.sieve)} if request.sieve and drawn else {}),
            **({"want": request.want} if request.want else {}),
            **(settings or {}),
        },
    )
    mask_tags = dict(image_tags)
    if donor is None or question == "mask":
        # How near the mask's bits came to those of a class, 0..1: a mask the network is sure of is 1. Specks that went
        # count with their own bits: they are where it was not sure.
        mask_tags["GEOSYNTH_CONFIDENCE"] = f"{confidence[valid].mean() if valid.any() else 0.0:.3f}"
    if donor is not None and question == "image":
        mask_tags = dict(donor.tags)
    elif donor is not None and question == "mask":
        image_tags = dict(donor.tags)
    elif donor is not None:  # a mask of the generator's own says how it was drawn
        mask_tags |= donor.tags
    return encode_tile(
        spec,
        f"s{request.seed}_{sample:07d}",
        grid,
        image,
        valid,
        mask,
        image_tags,
        mask_tags,
        split="train",
        generator=generator,
        seed=request.seed,
        sample_index=sample,
        **columns,
    )


def _made_up_place(block: Block, sample: int, generator: str) -> tuple[Grid, dict[str, Any]]:
    spec, side = block.spec, block.spec.tile_size
    row, col = fictitious_cell(spec.crs, spec.pixel_size, side, sample)
    columns = {
        "scene": f"generator-{generator[:8]}",
        "row": row * 2 * side,
        "col": col * 2 * side,
        "placement": "fictitious",
    }
    return fictitious_grid(spec.crs, spec.pixel_size, side, sample, spec.id), columns
