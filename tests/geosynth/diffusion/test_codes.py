import pytest
import torch

from geosynth.diffusion.codes import bit_count, code_book, decode, encode
from geosynth.legend import UNKNOWN


@pytest.mark.parametrize("classes", range(2, 256))
def test_every_class_count_round_trips(classes: int) -> None:
    mask = torch.arange(classes, dtype=torch.uint8).reshape(1, 1, -1)
    decoded, confidence = decode(encode(mask, classes), classes)
    assert torch.equal(decoded, mask)
    assert torch.equal(confidence, torch.ones_like(confidence))


@pytest.mark.parametrize("classes", range(1, 256))
def test_noise_never_decodes_to_a_class_that_does_not_exist(classes: int) -> None:
    noise = torch.randn(4, bit_count(classes), 16, 16, generator=torch.Generator().manual_seed(classes)) * 3
    decoded, confidence = decode(noise, classes)
    assert int(decoded.max()) < classes
    assert decoded.shape == confidence.shape == (4, 16, 16)
    assert bool(((confidence >= 0) & (confidence <= 1)).all())


def test_decoding_picks_the_nearest_code() -> None:
    classes = 6
    values = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(0))
    distances = (values.movedim(0, -1)[..., None, :] - code_book(classes)).norm(dim=-1)
    assert torch.equal(decode(values, classes)[0].long(), distances.argmin(-1))


def test_confidence_falls_with_the_distance_to_the_second_code() -> None:
    certain, doubtful = decode(torch.tensor([[[1.0, 0.1]]]), 2)[1][0]
    assert certain == 1
    assert doubtful == pytest.approx(0.1)


def test_unknown_pixels_have_no_code() -> None:
    mask = torch.tensor([[0, UNKNOWN]], dtype=torch.uint8)
    codes = encode(mask, 4)
    assert codes[:, 0, 0].tolist() == [-1, -1]
    assert codes[:, 0, 1].tolist() == [0, 0]


@pytest.mark.parametrize("size", [0.3, 0.5, 2.0])
def test_bits_of_another_size_say_the_same(size: float) -> None:
    mask = torch.tensor([[0, 3, 5, UNKNOWN]], dtype=torch.uint8)
    bits = encode(mask, 6, size)
    assert torch.equal(bits, encode(mask, 6) * size)
    assert torch.equal(decode(bits, 6, size)[0][:, :3], mask[:, :3])
    noisy = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    for one, other in zip(decode(noisy, 6), decode(noisy * size, 6, size), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-6)


def test_class_counts_outside_the_range() -> None:
    for classes in (0, 256):
        with pytest.raises(ValueError, match="1 to 255"):
            bit_count(classes)
