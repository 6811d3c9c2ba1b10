"""Sampling: from noise to pairs, one pipeline for the three questions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from geosynth.diffusion.denoiser import Denoiser

STEPS = 30
"""Network evaluations a pair, unless asked otherwise."""


def new_scheduler() -> type[FlowMatchEulerDiscreteScheduler]:
    """The scheduler class that steps the sampling."""
    return FlowMatchEulerDiscreteScheduler  # type: ignore[no-any-return]


class PairPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Answers p(image, mask), p(image | mask) and p(mask | image) with one ``Denoiser``."""

    def __init__(self, denoiser: Denoiser, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        noise: Tensor,
        *,
        image: Tensor | None = None,
        mask: Tensor | None = None,
        steps: int = STEPS,
        guidance: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Sample pairs.

        Args:
            noise: float32 (B, bands + bits, H, W), standard normal; H and W divisible by the denoiser's ``multiple``.
            image: given images in network values (B, bands, H, W): sample masks for them.
            mask: given masks as analog bits (B, bits, H, W): sample images for them. Not both.
            steps: network evaluations (twice as many calls with guidance).
            guidance: 1 samples the conditional answer; above 1 follows what is given more strictly, by moving away
                from the answer without it (Bao et al. 2023, section 3.3). Without a given side it has no effect.

        Returns:
            image (B, bands, H, W) in network values and mask as analog bits (B, bits, H, W), float32 on the CPU.
        """
        if image is not None and mask is not None:
            raise ValueError("nothing to sample: both the image and the mask are given")
        bands = self.denoiser.image_channels
        device = self.denoiser.device
        state = noise.to(device).clone()
        asked = slice(None)
        if image is not None:
            state[:, :bands], asked = image.to(device), slice(bands, None)
        if mask is not None:
            state[:, bands:], asked = mask.to(device), slice(0, bands)
        # A scheduler counts its steps; one of its own lets calls run side by side in threads.
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps), device=device)
        for position, timestep in enumerate(scheduler.timesteps):
            # The network is fed the scheduler's exact level; its integer timestep is a rounding of it.
            level = scheduler.sigmas[position].to(device).expand(len(state))
            image_level = torch.zeros_like(level) if image is not None else level
            mask_level = torch.zeros_like(level) if mask is not None else level
            direction = self.denoiser(state, image_level, mask_level)[:, asked]
            if guidance != 1 and (image is not None or mask is not None):
                free = self._without_given(state, noise.to(device), level, bands, image is not None)[:, asked]
                direction = free + guidance * (direction - free)
            # Only the side that is asked for moves; the given one stays what it was.
            state[:, asked] = scheduler.step(direction, timestep, state[:, asked], return_dict=False)[0]
        return state[:, :bands].float().cpu(), state[:, bands:].float().cpu()

    def _without_given(self, state: Tensor, noise: Tensor, level: Tensor, bands: int, image_given: bool) -> Tensor:
        """The network's answer when the given side is nothing but noise."""
        blind = state.clone()
        full = torch.ones_like(level)
        if image_given:
            blind[:, :bands] = noise[:, :bands]
            return self._predict(blind, full, level)
        blind[:, bands:] = noise[:, bands:]
        return self._predict(blind, level, full)

    def _predict(self, state: Tensor, image_level: Tensor, mask_level: Tensor) -> Tensor:
        out: Any = self.denoiser(state, image_level, mask_level)
        return out  # type: ignore[no-any-return]
