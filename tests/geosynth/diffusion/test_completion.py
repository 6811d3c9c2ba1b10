from pathlib import Path

import torch

from geosynth.diffusion.codes import encode
from geosynth.diffusion.completion import completed
from geosynth.diffusion.generator import load_generator
from geosynth.noise import sample_noise


def test_what_is_known_stays_and_decides_the_rest(shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    noise = torch.stack([sample_noise(0, index, (6, 32, 32)) for index in range(2)])
    known = torch.zeros(2, 32, 32, dtype=torch.bool)
    known[0, :, :16] = True
    known[1] = True
    filled = []
    for position in (2, 4):
        mask = torch.full((2, 32, 32), position, dtype=torch.uint8)
        mask[~known] = 255
        bits = encode(mask, generator.classes)
        result = completed(generator.pipeline, noise, bits, known, is_image=False, steps=2, sampler="euler")
        held = known[:, None].expand_as(bits)
        assert torch.equal(result[held], bits[held])
        assert result.shape == bits.shape and (result[~held] != 0).all()
        filled.append(result[0, :, :, 16:])
    assert not torch.allclose(filled[0], filled[1])


def test_images_are_completed_too(shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    noise = sample_noise(0, 0, (6, 32, 32))[None]
    image, known = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, 32, 32, dtype=torch.bool)
    known[:, 20:] = False
    result = completed(generator.pipeline, noise, image, known, is_image=True, steps=2, sampler="dpm")
    assert (result[:, :, :20] == 0.5).all() and (result[:, :, 20:] != 0.5).all()
