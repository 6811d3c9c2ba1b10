"""The training objective as pure functions: one noise level for each side, and a loss for what is asked and known.

The noise level of the image and of the mask are drawn apart (UniDiffuser, Bao et al. 2023, section 3.1), so that one
network answers three questions: new pairs (both noisy), image for a mask (mask clean) and mask for an image (image
clean). What noise does to data, and what the network predicts, is the process's part (process.py).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from geosynth.diffusion.process import Process

QUESTIONS = {"joint": 0.5, "image": 0.2, "mask": 0.1, "image alone": 0.05, "mask alone": 0.05, "free": 0.1}
"""Share of a batch for each question: both sides at one level; image for a clean mask; mask for a clean image; a side
beside nothing but noise; any two levels."""


def draw_levels(batch: int, process: Process, generator: Generator, two_levels: bool = True) -> tuple[Tensor, Tensor]:
    """Noise levels of a batch: (image, mask), float32 (B,) each in 0..1; the same for both without ``two_levels``."""
    image, mask = process.draw_levels(2 * batch, generator).chunk(2)
    question = torch.rand(batch, generator=generator)
    if not two_levels:
        return image, image.clone()
    edge = 0.0
    for name, share in QUESTIONS.items():
        asked = (question >= edge) & (question < edge + share)
        if name == "joint":
            mask = torch.where(asked, image, mask)
        elif name in ("image", "image alone"):
            mask = torch.where(asked, float(name == "image alone"), mask)
        elif name in ("mask", "mask alone"):
            image = torch.where(asked, float(name == "mask alone"), image)
        edge += share
    return image, mask


def masked_error(prediction: Tensor, target: Tensor, on: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error where ``on``; 0 where nothing is on.

    Args:
        prediction, target: (B, C, H, W).
        on: bool (B, H, W).
        weight: (B,) weight of each sample's error.
    """
    error = (prediction - target).square().mean(dim=1)
    counted = on.to(error.dtype)
    return (error * counted * weight[:, None, None]).sum() / counted.sum().clamp(min=1)


def pair_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    known: Tensor,
    image_level: Tensor,
    mask_level: Tensor,
    bands: int,
    process: Process,
) -> tuple[Tensor, Tensor]:
    """Loss of the image side and of the mask side.

    Args:
        prediction, target: (B, bands + bits, H, W).
        valid: bool (B, H, W), pixel is not nodata.
        known: bool (B, H, W), pixel is labelled.
        image_level, mask_level: (B,) levels; a clean side (level 0) is given, not asked for, and has no loss.
        bands: channels of the image.
        process: weighs the levels.

    Returns:
        Two scalars: mean squared error of the image channels and of the mask channels.
    """
    image_on = valid & (image_level > 0)[:, None, None]
    mask_on = known & (mask_level > 0)[:, None, None]
    return (
        masked_error(prediction[:, :bands], target[:, :bands], image_on, process.weight(image_level)),
        masked_error(prediction[:, bands:], target[:, bands:], mask_on, process.weight(mask_level)),
    )
