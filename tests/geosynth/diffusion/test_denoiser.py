from __future__ import annotations

import pytest
import torch

from geosynth.diffusion.denoiser import Denoiser, best_line

SMALL = {"image_channels": 2, "mask_channels": 3, "sample_size": 16, "widths": (16, 32), "attention": (False, True)}


@pytest.mark.parametrize("power", [0.25, 1.0])
def test_the_best_line_is_the_least_squares_one(power: float) -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(100_000, generator=generator, dtype=torch.float64) * power**0.5
    noise = torch.randn(100_000, generator=generator, dtype=torch.float64)
    for level in (0.05, 0.4, 1.0):
        mixed, direction = (1 - level) * data + level * noise, noise - data
        factor = (mixed * direction).mean() / mixed.square().mean()
        left = (direction - factor * mixed).square().mean().sqrt()
        expected = best_line(torch.tensor(level), power)
        assert float(expected[0]) == pytest.approx(float(factor), abs=0.02)
        assert float(expected[1]) == pytest.approx(float(left), abs=0.02)


def test_with_a_shortcut_an_untrained_network_gives_the_best_line() -> None:
    network = Denoiser(**SMALL, shortcut=True, bit_size=0.5)
    state, image, mask = torch.randn(4, 5, 16, 16), torch.rand(4), torch.rand(4)
    with torch.no_grad():
        answer = network(state, image, mask)
    assert torch.allclose(answer[:, :2], best_line(image, 0.25)[0][:, None, None, None] * state[:, :2])
    assert torch.allclose(answer[:, 2:], best_line(mask, 0.25)[0][:, None, None, None] * state[:, 2:])


def test_the_mask_has_a_level_of_its_own_unless_told_otherwise() -> None:
    state, level = torch.randn(1, 5, 16, 16), torch.full((1,), 0.5)
    for two_levels in (True, False):
        torch.manual_seed(0)
        network = Denoiser(**SMALL, two_levels=two_levels).eval()
        with torch.no_grad():
            same = torch.equal(network(state, level, level), network(state, level, level * 0))
        assert same != two_levels


def test_all_of_the_configuration_is_saved(tmp_path) -> None:
    network = Denoiser(**SMALL, patch=4, layers=1, dropout=0.1, two_levels=True, bit_size=0.3, shortcut=True)
    network.save_pretrained(tmp_path)
    again = Denoiser.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    for name, value in network.config.items():
        if not name.startswith("_"):
            assert again.config[name] == (list(value) if isinstance(value, tuple) else value), name
    with pytest.raises(TypeError):
        Denoiser(2, 3)
