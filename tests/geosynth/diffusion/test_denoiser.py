from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from geosynth.diffusion.bestline import BestLine, best_line
from geosynth.diffusion.denoiser import Denoiser

SMALL = {"image_channels": 2, "mask_channels": 3, "sample_size": 16, "widths": (16, 32), "attention": (False, True)}


def test_with_a_shortcut_an_untrained_network_gives_the_best_line() -> None:
    network = Denoiser(**SMALL, shortcut=True, bit_size=0.5)
    state, image, mask = torch.randn(4, 5, 16, 16), torch.rand(4), torch.rand(4)
    with torch.no_grad():
        answer = network(state, image, mask)
    power = torch.tensor(0.25)
    assert torch.allclose(answer[:, :2], best_line(image, power)[0][:, None, None, None] * state[:, :2], atol=1e-6)
    assert torch.allclose(answer[:, 2:], best_line(mask, power)[0][:, None, None, None] * state[:, 2:], atol=1e-6)


def test_a_fitted_shortcut_is_the_least_squares_answer() -> None:
    """Bands and neighbours that go together: no linear map of a patch comes nearer than the untrained network."""
    torch.manual_seed(0)
    network = Denoiser(**SMALL, shortcut=True, bit_size=0.5)
    smooth = F.avg_pool2d(torch.randn(600, 1, 16, 16), 3, 1, 1)
    images = torch.cat([smooth, 0.5 * smooth + 0.05 * torch.randn_like(smooth)], dim=1)
    bits = torch.cat([smooth.sign(), smooth.sign(), torch.ones_like(smooth)], dim=1) / 2
    whole = torch.ones(16, 16, dtype=torch.bool)
    holes = whole.clone()
    holes[:2, :2] = False
    fitted = [(image, holes, bit, whole) for image, bit in zip(images, bits, strict=True)]
    spoiled = [(image.where(holes, 99.0), valid, bit, known) for image, valid, bit, known in fitted]
    network.fit_shortcut(spoiled)  # what is not known does not count
    level = torch.full((600,), 0.4)
    noise = torch.randn(600, 5, 16, 16)
    data = torch.cat([images, bits], dim=1)
    noisy, direction = 0.6 * data + 0.4 * noise, noise - data
    with torch.no_grad():
        answer = network(noisy, level, level)
    for side in (slice(0, 2), slice(2, 5)):
        patches, wanted = (
            F.pixel_unshuffle(part[:, side], 2).movedim(1, -1).flatten(0, 2) for part in (noisy, direction)
        )
        best = patches @ torch.linalg.lstsq(patches, wanted).solution
        found = F.pixel_unshuffle(answer[:, side], 2).movedim(1, -1).flatten(0, 2)
        least = (best - wanted).square().mean()
        assert least <= (found - wanted).square().mean() < 1.01 * least
        plain = best_line(level[:1], torch.tensor(0.25))[0] * patches
        assert (plain - wanted).square().mean() > 1.1 * least


def test_the_scale_of_what_is_left_open_is_right() -> None:
    line = BestLine(2, 0.25)
    line.fit(torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    data = (
        torch.randn(200_000, 2, generator=generator) @ torch.linalg.cholesky(torch.tensor([[1.0, 0.9], [0.9, 1.0]])).T
    )
    noise = torch.randn(200_000, 2, generator=generator)
    for level in (0.05, 0.4, 1.0):
        noisy = ((1 - level) * data + level * noise).T[None, :, :, None]
        levels = torch.full((1,), level)
        error = (noise - data).T[None, :, :, None] - line(noisy, torch.zeros_like(noisy), levels)
        along = torch.einsum("de,bdhw->behw", line.basis, error)
        left = best_line(levels[:, None], line.power)[1][0]
        assert torch.allclose(along.square().mean(dim=(0, 2, 3)).sqrt(), left, atol=0.01)


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
