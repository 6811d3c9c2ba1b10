"""Losses over known pixels, and weights of classes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from segment_world import square
from torch import nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from geosynth.errors import ModelError
from geosynth.segmentation.losses import LOSSES, SegmentationLoss, class_weights, loss_terms, takes_weights

WEIGHTS = (1.0, 3.0, 0.5)
EVERY = [(name, None) for name in (*LOSSES, "ce+dice", "focal+lovasz")] + [("ce", WEIGHTS), ("focal", WEIGHTS)]


def example(seed=0):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 8, 8, generator=draws, requires_grad=True)
    return logits, torch.randint(0, 3, (2, 8, 8), generator=draws)


@pytest.mark.parametrize(("name", "weights"), EVERY)
def test_unknown_pixels_have_no_say(name, weights):
    logits, mask = example()
    mask[:, :3] = 255
    loss = SegmentationLoss(name, weights)(logits, mask)
    loss.backward()
    assert (logits.grad[:, :, :3] == 0).all() and (logits.grad[:, :, 3:] != 0).any(1).all()
    changed = logits.detach().clone()
    changed[:, :, :3] = 50 * torch.randn(2, 3, 3, 8)
    assert SegmentationLoss(name, weights)(changed, mask).item() == pytest.approx(loss.item(), abs=1e-6)


@pytest.mark.parametrize(("name", "weights"), EVERY)
def test_without_a_known_pixel_there_is_nothing_to_learn(name, weights):
    logits, mask = example()
    loss = SegmentationLoss(name, weights)(logits, torch.full_like(mask, 255))
    loss.backward()
    assert loss.shape == () and loss.item() == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize(("name", "weights"), EVERY)
def test_following_it_downhill_finds_the_mask(name, weights):
    _, mask = example()
    mask[0, 0, :4] = 255
    logits = nn.Parameter(torch.zeros(2, 3, 8, 8))
    optimiser, loss = torch.optim.Adam([logits], lr=0.3), SegmentationLoss(name, weights)
    before = loss(logits, mask).item()
    for _ in range(60):
        optimiser.zero_grad()
        loss(logits, mask).backward()
        optimiser.step()
    known = mask != 255
    assert (logits.argmax(1) == mask)[known].all() and loss(logits, mask).item() < 0.2 * before


@pytest.mark.parametrize("name", [*LOSSES, "ce+dice"])
def test_a_network_learns_by_it(name):
    pairs = [square(number) for number in range(4)]
    images = torch.tensor(np.stack([image for image, _ in pairs]) / 40.0 - 2.5, dtype=torch.float32)
    mask = torch.tensor(np.stack([mask for _, mask in pairs]), dtype=torch.int64)
    mask[:, :4] = 255
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    optimiser, loss = torch.optim.Adam(network.parameters(), lr=0.02), SegmentationLoss(name)
    assert (network(images).argmax(1) == mask)[mask != 255].float().mean() < 0.9
    for _ in range(80):
        optimiser.zero_grad()
        loss(network(images), mask).backward()
        optimiser.step()
    assert (network(images).argmax(1) == mask)[mask != 255].float().mean() > 0.99


def test_the_values_by_hand():
    logits, mask = example()
    mask[1, 5:] = 255
    row, classes = logits.movedim(1, -1)[mask != 255], mask[mask != 255]
    share = row.softmax(1)
    right = share.gather(1, classes[:, None])[:, 0]
    weight = torch.tensor(WEIGHTS)[classes]
    focal = -((1 - right) ** 2) * right.log()
    truth = F.one_hot(classes, 3)
    dice = 1 - 2 * (share * truth).sum(0) / (share.sum(0) + truth.sum(0))
    for name, weights, expected in (
        ("ce", None, -right.log().mean()),
        ("ce", WEIGHTS, -(weight * right.log()).sum() / weight.sum()),
        ("focal", None, focal.mean()),
        ("focal", WEIGHTS, (weight * focal).sum() / weight.sum()),
        ("dice", None, dice.mean()),
        ("ce+dice", None, dice.mean() - right.log().mean()),
    ):
        found = SegmentationLoss(name, weights)(logits, mask).item()
        assert found == pytest.approx(expected.item(), abs=1e-5), name


def test_lovasz_is_the_intersection_over_union_of_sure_answers():
    """Where every pixel is sure, the Lovász extension is 1 - IoU, averaged over the classes in the mask."""
    mask = torch.tensor([[[0, 0, 0, 1, 1, 255]]])
    answer = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    logits = F.one_hot(answer, 3).movedim(-1, 1) * 50.0
    assert SegmentationLoss("lovasz")(logits, mask).item() == pytest.approx(1 - (2 / 3 + 2 / 3) / 2, abs=1e-5)


def test_dice_is_the_mean_over_the_classes_that_are_shown():
    """A legend of many classes must not thin it out: absent ones are no part of the mean."""
    logits, mask = example()
    mask[0, 2:5] = 255
    wide = torch.cat([logits.detach(), torch.full((2, 5, 8, 8), -1e4)], 1)
    assert SegmentationLoss("dice")(wide, mask).item() == pytest.approx(SegmentationLoss("dice")(logits, mask).item())


def test_lovasz_of_unsure_answers_is_the_integral_over_thresholds():
    """A Lovász extension is the mean of its set function over the sets of pixels whose error exceeds t, t in 0..1."""
    logits, mask = example(3)
    mask[1, :4] = 255
    share = logits.detach().movedim(1, -1)[mask != 255].softmax(1).double().numpy()
    classes, losses = mask[mask != 255].numpy(), []
    for k in range(3):
        truth = classes == k
        error = np.where(truth, 1 - share[:, k], share[:, k])
        steps = np.concatenate([[0], np.sort(error)])
        losses.append(
            sum((high - low) * (error >= high).sum() / (truth | (error >= high)).sum() for low, high in pairwise(steps))
        )
    assert SegmentationLoss("lovasz")(logits, mask).item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_focal_of_two_classes_is_that_of_torchvision():
    logits, mask = example(1)
    two, mask = logits[:, :2], mask.clamp(max=1)
    expected = sigmoid_focal_loss(two[:, 1] - two[:, 0], mask.float(), alpha=-1, gamma=2, reduction="mean")
    assert SegmentationLoss("focal")(two, mask).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(("name", "weights"), EVERY)
def test_losses_are_computed_in_full_precision(name, weights):
    logits, mask = example()
    coarse = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = SegmentationLoss(name, weights)(coarse, mask)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(SegmentationLoss(name, weights)(coarse.float(), mask).item(), abs=1e-6)


def test_rare_classes_count_more_within_bounds():
    shares = np.array([0.8, 0.19, 0.01, 0.0])
    inverse, root = class_weights(shares, "inverse"), class_weights(shares, "sqrt")
    assert inverse[1] / inverse[0] == pytest.approx(0.8 / 0.19) and inverse[2] / inverse[0] == pytest.approx(80)
    assert root[2] / root[0] == pytest.approx(80**0.5)
    for weights in (inverse, root):
        assert sum(share * weight for share, weight in zip(shares, weights, strict=True)) == pytest.approx(1)
        assert weights[3] == 1, "no pixel has it, so it changes nothing"
    assert class_weights(np.array([0.9999, 0.0001]), "inverse")[1] == pytest.approx(
        100 * class_weights(np.array([0.9999, 0.0001]), "inverse")[0]
    )
    assert class_weights(np.zeros(2), "inverse") == (1, 1)


def test_names_of_losses():
    assert loss_terms("ce+dice") == ("ce", "dice")
    assert takes_weights("dice+focal") and not takes_weights("dice+lovasz")
    for wrong in ("bce", "", "ce+", "ce+ce"):
        with pytest.raises(ModelError, match=r"no loss .*ce, focal, dice, lovasz.*ce\+dice"):
            loss_terms(wrong)
