from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from geosynth.diffusion.bestline import PatchLine, SpectrumLine, best_line
from geosynth.diffusion.denoiser import LEVEL_SCALE, Denoiser

SMALL = {"image_channels": 2, "mask_channels": 3, "sample_size": 16, "widths": (16, 32), "attention": (False, True)}


@pytest.mark.parametrize("guess", ["patch", "spectrum"])
def test_an_untrained_network_gives_the_best_line(guess: str) -> None:
    network = Denoiser(**SMALL, image_guess=guess, mask_guess=guess, bit_size=0.5)
    state, image, mask = torch.randn(4, 5, 16, 16), torch.rand(4), torch.rand(4)
    with torch.no_grad():
        answer = network(state, image, mask)
    power = torch.tensor(0.25)
    assert torch.allclose(answer[:, :2], best_line(image, power)[0][:, None, None, None] * state[:, :2], atol=1e-5)
    assert torch.allclose(answer[:, 2:], best_line(mask, power)[0][:, None, None, None] * state[:, 2:], atol=1e-5)


def test_a_side_without_a_guess_is_the_networks_own() -> None:
    torch.manual_seed(0)
    network = Denoiser(**SMALL, image_guess="spectrum")
    state, level = torch.randn(2, 5, 16, 16), torch.full((2,), 0.5)
    with torch.no_grad():
        answer = network(state, level, level)
        plain = network.unet(
            F.pixel_unshuffle(state, 2), level * LEVEL_SCALE, class_labels=level * LEVEL_SCALE
        ).sample  # its last layer says nothing of the image yet
    assert torch.equal(answer[:, 2:], F.pixel_shuffle(plain, 2)[:, 2:])
    assert answer[:, 2:].abs().max() > 0.01


def _smooth(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 2, 16, 16) and bits (count, 3, 16, 16) whose channels and neighbours go together."""
    smooth = F.avg_pool2d(torch.randn(count, 1, 16, 16), 5, 1, 2)
    images = torch.cat([smooth, 0.5 * smooth + 0.05 * torch.randn_like(smooth)], dim=1)
    return images, torch.cat([smooth.sign(), smooth.sign(), torch.ones_like(smooth)], dim=1) / 2


def test_fitted_patches_are_the_least_squares_answer() -> None:
    """No linear map of a patch comes nearer than the untrained network."""
    torch.manual_seed(0)
    network = Denoiser(**SMALL, image_guess="patch", mask_guess="patch", bit_size=0.5)
    images, bits = _smooth(600)
    whole = torch.ones(16, 16, dtype=torch.bool)
    holes = whole.clone()
    holes[:2, :2] = False
    # What is not known does not count.
    network.fit_guesses(
        [(image.where(holes, 99.0), holes, bit, whole) for image, bit in zip(images, bits, strict=True)]
    )
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


def test_a_fitted_spectrum_is_nearly_the_least_squares_answer_of_the_whole_picture() -> None:
    """Pictures that look alike everywhere and in all directions: no linear map of all their pixels is much nearer."""
    torch.manual_seed(0)
    images = torch.randn(20_000, 1, 12, 12)
    for _ in range(2):
        images = F.conv2d(
            F.pad(images, (2, 2, 2, 2), mode="circular"),
            torch.outer(*[torch.tensor([1, 4, 6, 4, 1.0])] * 2)[None, None],
        )
    images = images[:, :, 2:10, 2:10] / images.std()
    line = SpectrumLine(1, 0.25, 8)
    known = torch.ones(8, 8, dtype=torch.bool)
    sums, counts = zip(*(line.moments(image, known) for image in images[:400]), strict=True)
    line.fit(sum(sums), sum(counts))
    noise = torch.randn_like(images)
    noisy, wanted = 0.5 * images + 0.5 * noise, noise - images
    found = line(noisy, torch.zeros_like(noisy), torch.full((len(noisy),), 0.5))
    flat, target = noisy.flatten(1), wanted.flatten(1)
    least = (flat @ torch.linalg.lstsq(flat, target).solution - target).square().mean()
    patch = PatchLine(1, 0.25, 2)
    sums, counts = zip(*(patch.moments(image, known) for image in images[:400]), strict=True)
    patch.fit(sum(sums), sum(counts))
    by_patch = (patch(noisy, torch.zeros_like(noisy), torch.full((len(noisy),), 0.5)) - wanted).square().mean()
    error = (found - wanted).square().mean()
    assert least < error < 1.1 * least < by_patch


def test_pixels_that_are_not_known_do_not_count_in_the_spectrum() -> None:
    torch.manual_seed(0)
    line = SpectrumLine(1, 0.25, 16)
    white = torch.randn(300, 1, 16, 16) * 3
    known = torch.rand(300, 16, 16) < 0.3
    sums, counts = zip(
        *(line.moments(image.where(there, 99.0), there) for image, there in zip(white, known, strict=True)), strict=True
    )
    line.fit(sum(sums), sum(counts))
    assert line.power.sqrt().mean() == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("line", [PatchLine(2, 0.25, 2), SpectrumLine(2, 0.25, 16)], ids=["patch", "spectrum"])
def test_the_scale_of_what_is_left_open_is_right(line: PatchLine | SpectrumLine) -> None:
    """In units of it, what the guess leaves open is one on average at every level, as long as it is below one."""
    torch.manual_seed(0)
    images, _ = _smooth(2000)
    images = images / 12
    known = torch.ones(16, 16, dtype=torch.bool)
    sums, counts = zip(*(line.moments(image, known) for image in images[:1000]), strict=True)
    line.fit(sum(sums), sum(counts))
    noise = torch.randn_like(images)
    for at in (0.05, 0.4, 0.95):
        level = torch.full((2000,), at)
        noisy = (1 - at) * images + at * noise
        left = noise - images - line(noisy, torch.zeros_like(noisy), level)
        # A correction of random signs is scaled as what is left open is.
        scaled = line(torch.zeros_like(noisy), torch.randn_like(noisy), level)
        assert best_line(level[:1], line.power)[1].max() < 1
        assert (left.square().mean() / scaled.square().mean()).sqrt() == pytest.approx(1, abs=0.02)


def test_no_correction_is_scaled_up() -> None:
    """The mean of a picture has the power of all its pixels."""
    factor, scale = best_line(torch.tensor([0.5, 0.98]), torch.tensor(900.0))
    assert scale.tolist() == [1, 1]
    assert factor[0] == pytest.approx(-2, abs=0.01)  # next to nothing of such a wave is noise


def test_pictures_of_another_size_have_the_same_spectrum() -> None:
    torch.manual_seed(0)
    line = SpectrumLine(1, 0.25, 32)
    pictures = F.avg_pool2d(torch.randn(200, 1, 36, 36), 5, 1)
    known = torch.ones(32, 32, dtype=torch.bool)
    sums, counts = zip(*(line.moments(picture, known) for picture in pictures), strict=True)
    line.fit(sum(sums), sum(counts))
    noise = torch.randn_like(pictures)
    noisy, level = 0.5 * pictures + 0.5 * noise, torch.full((200,), 0.5)
    errors = []
    for side in (32, 16, 24):
        part = (slice(None), slice(None), slice(0, side), slice(0, side))
        found = line(noisy[part], torch.zeros_like(noisy[part]), level)
        errors.append((found - (noise - pictures)[part]).square().mean().item())
    assert max(errors) < 1.1 * min(errors)


def test_the_mask_has_a_level_of_its_own_unless_told_otherwise() -> None:
    state, level = torch.randn(1, 5, 16, 16), torch.full((1,), 0.5)
    for two_levels in (True, False):
        torch.manual_seed(0)
        network = Denoiser(**SMALL, two_levels=two_levels).eval()
        with torch.no_grad():
            same = torch.equal(network(state, level, level), network(state, level, level * 0))
        assert same != two_levels


def test_all_of_the_configuration_is_saved(tmp_path) -> None:
    network = Denoiser(
        **SMALL,
        patch=4,
        layers=1,
        dropout=0.1,
        two_levels=True,
        bit_size=0.3,
        image_guess="spectrum",
        mask_guess="patch",
    )
    network.save_pretrained(tmp_path)
    again = Denoiser.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    for name, value in network.config.items():
        if not name.startswith("_"):
            assert again.config[name] == (list(value) if isinstance(value, tuple) else value), name
    with pytest.raises(TypeError):
        Denoiser(2, 3)
