"""The training objective as pure functions: rectified flow with one noise level for each side.

Data x0 and noise e are joined by a straight line x(s) = (1 - s) x0 + s e, and the network learns its direction e - x0
(Liu et al. 2023, rectified flow; Lipman et al. 2023, flow matching). The noise level s of the image and of the mask are
drawn apart (UniDiffuser, Bao et al. 2023, section 3.1), so that one network answers three questions: new pairs (both
noisy), image for a mask (mask clean) and mask for an image (image clean).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

QUESTIONS = {"joint": 0.5, "image": 0.25, "mask": 0.125, "free": 0.125}
"""Share of a batch for each question: both sides at one level; image for a clean mask; mask for a clean image; any."""


def draw_levels(batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Noise levels of a batch: (image, mask), float32 (B,) each in 0..1.

    Levels follow a logit-normal (Esser et al. 2024, section 3.1), which spends the effort in the middle, mixed with a
    tenth of uniform levels so that both ends are seen too.
    """
    normal = torch.randn(2, batch, generator=generator).sigmoid()
    uniform = torch.rand(2, batch, generator=generator)
    flat = torch.rand(2, batch, generator=generator) < 0.1
    image, mask = torch.where(flat, uniform, normal)
    question = torch.rand(batch, generator=generator)
    joint = QUESTIONS["joint"]
    for_mask = joint + QUESTIONS["image"]
    for_image = for_mask + QUESTIONS["mask"]
    mask = torch.where(question < joint, image, mask)
    mask = torch.where((question >= joint) & (question < for_mask), torch.zeros_like(mask), mask)
    image = torch.where((question >= for_mask) & (question < for_image), torch.zeros_like(image), image)
    return image, mask


def mix(data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """The point at ``level`` on the line from data to noise. data, noise (B, C, H, W); level (B,) or broadcastable."""
    if level.ndim == 1:
        level = level[:, None, None, None]
    return (1 - level) * data + level * noise


def velocity(data: Tensor, noise: Tensor) -> Tensor:
    """What the network learns: noise minus data, same shape as both."""
    return noise - data


def masked_error(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error where ``weight`` is on. All (B, C, H, W) (weight broadcastable); 0 where nothing is on."""
    weight = weight.expand_as(target)
    return ((prediction - target).square() * weight).sum() / weight.sum().clamp(min=1)


def pair_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    known: Tensor,
    image_level: Tensor,
    mask_level: Tensor,
    bands: int,
) -> tuple[Tensor, Tensor]:
    """Loss of the image side and of the mask side.

    Args:
        prediction, target: (B, bands + bits, H, W).
        valid: bool (B, H, W), pixel is not nodata.
        known: bool (B, H, W), pixel is labelled.
        image_level, mask_level: (B,) levels; a clean side (level 0) is given, not asked for, and has no loss.
        bands: channels of the image.

    Returns:
        Two scalars: mean squared error of the image channels and of the mask channels.
    """
    image_on = (valid & (image_level > 0)[:, None, None])[:, None].to(target.dtype)
    mask_on = (known & (mask_level > 0)[:, None, None])[:, None].to(target.dtype)
    return (
        masked_error(prediction[:, :bands], target[:, :bands], image_on),
        masked_error(prediction[:, bands:], target[:, bands:], mask_on),
    )
