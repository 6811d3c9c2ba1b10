import torch

from geosynth.diffusion.objective import QUESTIONS, draw_levels, mix, pair_loss, velocity


def test_levels_ask_the_three_questions_in_their_shares() -> None:
    image, mask = draw_levels(8000, torch.Generator().manual_seed(0))
    for level in (image, mask):
        assert bool(((level >= 0) & (level <= 1)).all())
    share = {
        "joint": float((image == mask).float().mean()),
        "image": float((mask == 0).float().mean()),
        "mask": float((image == 0).float().mean()),
    }
    for question, expected in share.items():
        assert abs(expected - QUESTIONS[question]) < 0.02
    assert not bool(((image == 0) & (mask == 0)).any())  # a pair that is all given teaches nothing


def test_following_the_velocity_from_noise_ends_at_the_data() -> None:
    data, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert torch.equal(mix(data, noise, torch.zeros(2)), data)
    assert torch.equal(mix(data, noise, torch.ones(2)), noise)
    assert torch.allclose(noise - velocity(data, noise), data, atol=1e-6)


def test_loss_is_off_where_nothing_is_known_and_on_a_given_side() -> None:
    target = torch.zeros(2, 5, 4, 4)
    prediction = target.clone()
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    known = valid.clone()
    valid[:, 0], known[:, 1] = False, False
    prediction[:, :3, 0] = 100.0  # nodata rows of the image
    prediction[:, 3:, 1] = 100.0  # unlabelled rows of the mask
    prediction[0, 3:] = 100.0  # the given mask of the first pair
    prediction[1, :3] = 100.0  # the given image of the second pair
    image_level, mask_level = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    image, mask = pair_loss(prediction, target, valid, known, image_level, mask_level, bands=3)
    assert image == 0
    assert mask == 0
    prediction[0, 0, 2, 2] = 3.0
    image, mask = pair_loss(prediction, target, valid, known, image_level, mask_level, bands=3)
    assert torch.isclose(image, torch.tensor(9.0 / (3 * 12)))
    assert mask == 0
