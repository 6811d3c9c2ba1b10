import torch

from geosynth.noise import mix_seed, sample_noise


def test_noise_is_a_pure_function_of_seed_and_index() -> None:
    first = sample_noise(3, 7, (2, 8, 8))
    torch.manual_seed(0)
    torch.randn(5)
    assert torch.equal(first, sample_noise(3, 7, (2, 8, 8)))


def test_neighbouring_seeds_and_indices_share_nothing() -> None:
    one = sample_noise(0, 0, (4096,))
    for other in (sample_noise(0, 1, (4096,)), sample_noise(1, 0, (4096,))):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.08
    assert len({mix_seed("a", 1, 2), mix_seed("a", 12), mix_seed("a", 2, 1), mix_seed("b", 1, 2)}) == 4


def test_noise_is_standard_normal() -> None:
    noise = sample_noise(5, 1, (20000,))
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.03
