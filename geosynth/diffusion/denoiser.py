"""The network: a diffusers U-Net over image and mask channels with one noise level for each side.

The image and the mask have their own noise level, as UniDiffuser (Bao et al. 2023) has for image and text: the image's
goes in as the timestep, the mask's as a second timestep through ``class_embed_type="timestep"``. Pixels are folded into
channels before the U-Net and unfolded after it (patching as in "simple diffusion", Hoogeboom et al. 2023, section 3.2),
which makes a step on a small machine about four times cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from geosynth.diffusion.bestline import BestLine, moments_of

LEVEL_SCALE = 1000.0
"""The U-Net's sinusoidal embedding expects levels on the scale of diffusion timesteps."""

IMAGE_POWER = 0.25
"""Mean square of an image's network values: bands spread by 0.5."""

_ATTENTION_HEAD = 32


class Denoiser(ModelMixin, ConfigMixin):
    """Tells direction, v or noise of an image-and-mask stack, as its process asks.

    Args:
        image_channels: bands of the image.
        mask_channels: analog bits of the mask.
        sample_size: side of a tile in pixels; the network also runs on other sides divisible by ``multiple``.
        patch: pixels folded into channels along each axis.
        widths: channels of the U-Net's levels.
        attention: which levels have self-attention.
        layers: residual blocks a level.
        dropout: dropout rate inside the residual blocks.
        two_levels: whether the mask has a noise level of its own.
        bit_size: absolute value of the mask's analog bits.
        shortcut: whether the U-Net only corrects the best linear guess (see ``BestLine``), for networks that tell the
            direction of rectified flow. Noise then need not be carried through it.
    """

    @register_to_config
    def __init__(
        self,
        *,  # the configuration that is saved knows arguments by name only
        image_channels: int = 3,
        mask_channels: int = 3,
        sample_size: int = 64,
        patch: int = 2,
        widths: tuple[int, ...] = (64, 96, 128),
        attention: tuple[bool, ...] = (False, False, True),
        layers: int = 2,
        dropout: float = 0.0,
        two_levels: bool = True,
        bit_size: float = 1.0,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        folded = (image_channels + mask_channels) * patch * patch
        self.image_channels = image_channels
        self.mask_channels = mask_channels
        self.patch = patch
        self.two_levels = two_levels
        self.bit_size = bit_size
        self.shortcut = shortcut
        self.multiple = patch * 2 ** (len(widths) - 1)
        self.unet = UNet2DModel(
            sample_size=sample_size // patch,
            in_channels=folded,
            out_channels=folded,
            layers_per_block=layers,
            block_out_channels=tuple(widths),
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
            attention_head_dim=_ATTENTION_HEAD,
            norm_num_groups=_norm_groups(widths),
            class_embed_type="timestep" if two_levels else None,
            dropout=dropout,
        )
        if shortcut:
            self.image_line = BestLine(image_channels * patch * patch, IMAGE_POWER)
            self.mask_line = BestLine(mask_channels * patch * patch, bit_size**2)
            torch.nn.init.zeros_(self.unet.conv_out.weight)
            torch.nn.init.zeros_(self.unet.conv_out.bias)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments it was made with: ``Denoiser(**settings)`` is one of its kind.

        Not ``from_config``, which takes a value that was a default once for the default again.
        """
        return {name: value for name, value in self.config.items() if not name.startswith("_")}

    def fit_shortcut(self, pairs: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> None:
        """Learn how values of patches go together, from clean data; patches that are not wholly known do not count.

        Args:
            pairs: image as network values (bands, H, W), valid (H, W), bits (bits, H, W) and known (H, W) of each.
        """
        lines = (self.image_line, self.mask_line)
        sums = [torch.zeros_like(line.basis, dtype=torch.float64, device="cpu") for line in lines]
        counts = [0, 0]
        for image, valid, bits, known in pairs:
            for side, (values, there) in enumerate(((image, valid), (bits, known))):
                height, width = (size // self.patch * self.patch for size in there.shape)
                folded = F.pixel_unshuffle(values[:, :height, :width], self.patch).flatten(1).T
                whole = F.pixel_unshuffle(there[None, :height, :width], self.patch).flatten(1).all(dim=0)
                sums[side] += moments_of(folded[whole])
                counts[side] += int(whole.sum())
        for line, total, count in zip(lines, sums, counts, strict=True):
            if count:
                line.fit(total / count)

    def forward(self, sample: Tensor, image_level: Tensor, mask_level: Tensor) -> Tensor:
        """What the process asks for, of the whole stack.

        Args:
            sample: float (B, image_channels + mask_channels, H, W), H and W divisible by ``multiple``.
            image_level: float (B,) noise level of the image, 0 (clean) .. 1 (pure noise).
            mask_level: float (B,) noise level of the mask, 0..1; of no account without two levels.

        Returns:
            float32 (B, image_channels + mask_channels, H, W).
        """
        folded = F.pixel_unshuffle(sample, self.patch)
        second = mask_level * LEVEL_SCALE if self.two_levels else None
        out: Any = self.unet(folded, image_level * LEVEL_SCALE, class_labels=second).sample
        if self.shortcut:
            sides = [line.basis.shape[0] for line in (self.image_line, self.mask_line)]
            (image, mask), (image_out, mask_out) = torch.split(folded, sides, 1), torch.split(out, sides, 1)
            out = torch.cat(
                [self.image_line(image, image_out, image_level), self.mask_line(mask, mask_out, mask_level)], dim=1
            )
        return F.pixel_shuffle(out, self.patch).float()


def _norm_groups(widths: tuple[int, ...]) -> int:
    """The largest group count up to 16 that divides every width."""
    return next(groups for groups in (16, 8, 4, 2, 1) if all(width % groups == 0 for width in widths))
