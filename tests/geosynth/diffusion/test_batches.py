import numpy as np
import pytest
import torch

from geosynth.diffusion.batches import Batch, assemble, training_batch
from geosynth.diffusion.codes import decode
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.process import RECIPES
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for
from geosynth.samples import turn

FLOW = RECIPES["flow"]
SCALE = BandScale((128.0,), (64.0,), (0.0,), (255.0,))


class Random:
    """Five pairs of 16 px whose mask follows from the image, pixel by pixel."""

    def __len__(self) -> int:
        return 5

    def raw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = np.random.default_rng(index).integers(0, 256, (1, 16, 16)).astype(np.uint8)
        return image, np.ones((16, 16), bool), (image[0] // 64).astype(np.uint8)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def batch_of(step: int, rank: int = 0, size: int = 8) -> Batch:
    return training_batch(Random(), SCALE, 4, FLOW, size=size, batch=6, seed=1, step=step, rank=rank)


def test_a_batch_is_a_pure_function_of_seed_step_and_rank() -> None:
    first = batch_of(3)
    batch_of(4)
    torch.randn(9)
    assert same(first, batch_of(3))
    assert not same(first, batch_of(4))
    assert not same(first, batch_of(3, rank=1))


def test_image_and_mask_are_cropped_and_turned_together() -> None:
    for step in range(4):
        batch = batch_of(step)
        image = np.rint(batch.data[:, 0].numpy() * 128 + 128)
        mask, _ = decode(batch.data[:, 1:], 4)
        assert np.array_equal(mask.numpy(), image // 64)


def test_the_eight_turns_differ_and_keep_the_pixels() -> None:
    array = np.arange(9).reshape(3, 3)
    turned = {turn(array, which).tobytes() for which in range(8)}
    assert len(turned) == 8
    assert all(sorted(turn(array, which).ravel()) == list(range(9)) for which in range(8))


@pytest.mark.parametrize("draw", range(20))
def test_an_unlabelled_tile_gets_a_mask_of_pure_noise_and_teaches_its_image(draw: int) -> None:
    masks = np.full((8, 8, 8), UNKNOWN, np.uint8)
    images = np.zeros((8, 1, 8, 8), np.uint8)
    batch = assemble(images, np.ones((8, 8, 8), bool), masks, SCALE, 4, FLOW, generator_for("test", draw))
    assert not batch.known.any()
    assert bool((batch.mask_level == 1).all())
    assert bool((batch.image_level > 0).all())


def test_nodata_is_neither_valid_nor_known() -> None:
    valid = np.ones((1, 4, 4), bool)
    valid[0, 0] = False
    zeros = np.zeros((1, 4, 4), np.uint8)
    batch = assemble(zeros[:, None], valid, zeros, SCALE, 4, FLOW, generator_for("test", 0))
    assert not batch.valid[0, 0].any()
    assert not batch.known[0, 0].any()
    assert batch.known[0, 1:].all()
