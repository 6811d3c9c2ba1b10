"""The base that ships has learnt something: its images follow their masks, and its masks their images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geosynth.diffusion.codes import decode, encode
from geosynth.diffusion.generator import Generator, load_generator
from geosynth.noise import sample_noise
from geosynth.world import Landscape

SIDE, COUNT = 64, 4


@pytest.fixture(scope="module")
def base() -> Generator:
    torch.set_num_threads(1)
    return load_generator("base")


def noise(base: Generator) -> torch.Tensor:
    shape = (base.bands + base.pipeline.denoiser.mask_channels, SIDE, SIDE)
    return torch.stack([sample_noise(3, number, shape) for number in range(COUNT)])


def painted(base: Generator, masks: np.ndarray) -> np.ndarray:
    """Images (N, 3, H, W) that are made for class indices (N, H, W)."""
    bits = encode(torch.from_numpy(masks), base.classes, base.bit_size)
    image, _ = base.pipeline(noise(base), mask=bits, steps=5)
    return base.scale.to_raster(image, "uint8", None).astype(float)


def test_images_show_what_their_masks_say(base: Generator) -> None:
    names = base.spec.legend.names
    masks = np.full((COUNT, SIDE, SIDE), names.index("field"), np.uint8)
    masks[:, :, : SIDE // 2] = names.index("water")
    masks[:, :8] = names.index("road")
    image = painted(base, masks)
    turned = painted(base, masks[:, :, ::-1].copy())
    water, field = (image[..., 8:, part].mean(axis=(2, 3)) for part in (slice(32), slice(32, 64)))
    assert (water[:, 0] + 30 < field[:, 0]).all()  # water has little red
    assert (water[:, 2] - water[:, 0] > field[:, 2] - field[:, 0] + 30).all()
    road = image[..., :8, :].mean(axis=(2, 3))
    assert (np.ptp(road, axis=1) < np.ptp(water, axis=1)).all()  # and asphalt is grey
    # The same noise, the other mask: water lies on the other side.
    assert (turned[:, 0, 8:, 32:].mean(axis=(1, 2)) + 30 < turned[:, 0, 8:, :32].mean(axis=(1, 2))).all()


def test_masks_say_what_their_images_show(base: Generator) -> None:
    scenes = [Landscape(4321 + number).render(200 * number, 0, SIDE, SIDE) for number in range(COUNT)]
    valid = np.ones((SIDE, SIDE), bool)
    given = torch.stack([base.scale.to_network(image, valid) for image, _ in scenes])
    _, bits = base.pipeline(noise(base), image=given, steps=5)
    told, confidence = decode(bits, base.classes, base.bit_size)
    truth = np.stack([base.spec.legend.to_index(mask) for _, mask in scenes])
    right = told.numpy() == truth
    assert right.mean() > 0.6
    assert confidence.numpy()[right].mean() > confidence.numpy()[~right].mean()
    of_others = told.numpy() == np.roll(truth, 1, axis=0)
    assert of_others.mean() < right.mean() - 0.2


def test_new_pairs_fit_each_other(base: Generator) -> None:
    """The mask that the base tells for an image it has drawn is the one it has drawn with it."""
    image, bits = base.pipeline(noise(base), steps=10, guidance=1.5)
    drawn = decode(bits, base.classes, base.bit_size)[0].numpy()
    _, bits = base.pipeline(noise(base).flip(0), image=image, steps=5)
    told = decode(bits, base.classes, base.bit_size)[0].numpy()
    assert (told == drawn).mean() > 0.55
    assert (told == np.roll(drawn, 1, axis=0)).mean() < (told == drawn).mean() - 0.2
