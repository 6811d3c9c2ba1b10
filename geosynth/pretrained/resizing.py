"""Images and masks on coarser or finer pixels: an image by area, a mask by the class of most area."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geosynth.legend import UNKNOWN

Size = tuple[int, int]


def resized_image(image: Tensor, size: Size) -> Tensor:
    """Float (B, C, H, W) on ``size`` pixels: the mean of what a coarser pixel covers, bicubic to finer ones."""
    if image.shape[-2:] == size:
        return image
    if size[0] <= image.shape[-2]:
        return F.adaptive_avg_pool2d(image, size)
    return F.interpolate(image, size, mode="bicubic", align_corners=False)


def resized_mask(mask: Tensor, size: Size, classes: int) -> Tensor:
    """Class indices uint8 (B, H, W), 255 unknown, on ``size`` pixels.

    A coarser pixel takes the class (or unknown) of most of its area, of equal areas the lower one; to finer pixels
    borders are drawn smoothly.
    """
    if mask.shape[-2:] == size:
        return mask
    index = torch.where(mask == UNKNOWN, classes, mask.long())
    areas = F.one_hot(index, classes + 1).movedim(-1, 1).float()
    if size[0] <= mask.shape[-2]:
        areas = F.adaptive_avg_pool2d(areas, size)
    else:
        areas = F.interpolate(areas, size, mode="bilinear", align_corners=False)
    chosen = areas.argmax(dim=1)
    return torch.where(chosen == classes, UNKNOWN, chosen).to(torch.uint8)
