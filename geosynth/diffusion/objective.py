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


def error_sums(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    known: Tensor,
    image_level: Tensor,
    mask_level: Tensor,
    bands: int,
    process: Process,
) -> tuple[Tensor, Tensor]:
    """Squared errors of the image side and of the mask side, summed over the pixels that are asked for.

    Args:
        prediction, target: (B, bands + bits, H, W).
        valid: bool (B, H, W), pixel is not nodata.
        known: bool (B, H, W), pixel is labelled.
        image_level, mask_level: (B,) levels; a clean side (level 0) is given, not asked for, and has no loss.
        bands: channels of the image.
        process: weighs the levels.

    Returns:
        sums and numbers of pixels, (2, B) each: first of the image, then of the mask. A pixel's error is the mean over
        its channels.
    """
    error = (prediction - target).square()
    sums, counts = [], []
    for part, on, level in (
        (error[:, :bands], valid, image_level),
        (error[:, bands:], known, mask_level),
    ):
        asked = (on & (level > 0)[:, None, None]).to(error.dtype)
        sums.append((part.mean(dim=1) * asked).sum(dim=(1, 2)) * process.weight(level))
        counts.append(asked.sum(dim=(1, 2)))
    return torch.stack(sums), torch.stack(counts)


def mean_errors(sums: Tensor, counts: Tensor) -> Tensor:
    """Loss of the image and of the mask, (2,), from ``error_sums``; 0 where nothing is asked for."""
    return sums.sum(dim=1) / counts.sum(dim=1).clamp(min=1)
