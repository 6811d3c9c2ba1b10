"""Sampling: from noise to pairs, one pipeline for the three questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Generator, Tensor

from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.process import Process
from geosynth.diffusion.samplers import Stepper, default_steps, samplers_for

GUIDANCE = 1.5
"""For new pairs, unless asked otherwise: image and mask then fit each other far better (docs/benchmarks.md). A given
side is followed well enough without."""


class PairPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Answers p(image, mask), p(image | mask) and p(mask | image) with one ``Denoiser``.

    ``scheduler`` describes the process the network was trained for; samplers are chosen call by call.
    """

    def __init__(self, denoiser: Denoiser, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, scheduler=scheduler)

    @property
    def process(self) -> Process:
        """What the network predicts. Raises ModelError for a scheduler that is none of ours."""
        return Process.of(self.scheduler)

    @property
    def two_levels(self) -> bool:
        """Whether an image or a mask can be given."""
        return bool(self.denoiser.two_levels)

    def guidance_for(self, asked: float | None, *, given: bool) -> float:
        """The guidance that is meant: ``asked``, or the default with a ``given`` side and without."""
        if asked is not None:
            return asked
        return GUIDANCE if self.two_levels and not given else 1.0

    @torch.no_grad()
    def __call__(
        self,
        noise: Tensor,
        *,
        image: Tensor | None = None,
        mask: Tensor | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        generators: Sequence[Generator] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sample pairs.

        Args:
            noise: float32 (B, bands + bits, H, W), standard normal; H and W divisible by the denoiser's ``multiple``.
            image: given images in network values (B, bands, H, W): sample masks for them.
            mask: given masks as analog bits (B, bits, H, W): sample images for them. Not both.
            steps: network evaluations (more calls with guidance); None is the sampler's default.
            guidance: 1 samples what was learnt; above 1 makes each side follow the other more strictly, by moving away
                from the answer without it (Bao et al. 2023, section 3.3); None is GUIDANCE for new pairs, else 1.
            sampler: one of ``samplers_for(process)``; None is the first of them.
            generators: one a sample, on the CPU, for samplers that add noise on the way.

        Returns:
            image (B, bands, H, W) in network values and mask as analog bits (B, bits, H, W), float32 on the CPU.
        """
        if image is not None and mask is not None:
            raise ValueError("nothing to sample: both the image and the mask are given")
        guidance = self.guidance_for(guidance, given=image is not None or mask is not None)
        if not self.two_levels and (image is not None or mask is not None or guidance != 1):
            raise ValueError("a network of one noise level makes new pairs only, without guidance")
        bands, device = self.denoiser.image_channels, self.denoiser.device
        process = self.process
        sampler = sampler or samplers_for(process)[0]
        stepper = Stepper(process, sampler, steps or default_steps(sampler), device)
        noise = noise.to(device)
        state = noise.clone()
        asked = slice(None)
        if image is not None:
            state[:, :bands], asked = image.to(device), slice(bands, None)
        if mask is not None:
            state[:, bands:], asked = mask.to(device), slice(0, bands)
        for position, level in enumerate(stepper.levels):
            answer = guided(self.denoiser, state, noise, level, image is not None, mask is not None, guidance=guidance)
            # Only what is asked for moves; a given side stays what it was.
            state[:, asked] = stepper.step(position, answer[:, asked], state[:, asked], generators)
        return state[:, :bands].float().cpu(), state[:, bands:].float().cpu()


def guided(
    denoiser: Denoiser,
    state: Tensor,
    noise: Tensor,
    level: float,
    image_given: bool,
    mask_given: bool,
    *,
    guidance: float = 1.0,
) -> Tensor:
    """What the network says of a state, moved away from what it says of each side alone when ``guidance`` is not 1.

    Args:
        denoiser: the network.
        state: float32 (B, bands + bits, H, W); a given side is clean.
        noise: standard normal of the shape of ``state``: what a side is replaced by to ask for the other alone.
        level: noise level of what is asked for.
        image_given, mask_given: which side is clean; its part of the answer means nothing.
        guidance: 1 asks the network once; each side that is asked for costs another call otherwise.

    Returns:
        the answer, of the shape of ``state``.
    """
    bands = denoiser.image_channels
    levels = torch.full((len(state),), level, device=state.device)
    clean, full = torch.zeros_like(levels), torch.ones_like(levels)
    image_level = clean if image_given else levels
    mask_level = clean if mask_given else levels
    answer: Tensor = denoiser(state, image_level, mask_level)
    if guidance == 1:
        return answer
    alone = answer.clone()
    if not image_given:
        blind = torch.cat([state[:, :bands], noise[:, bands:]], dim=1)
        alone[:, :bands] = denoiser(blind, levels, full)[:, :bands]
    if not mask_given:
        blind = torch.cat([noise[:, :bands], state[:, bands:]], dim=1)
        alone[:, bands:] = denoiser(blind, full, levels)[:, bands:]
    return alone + guidance * (answer - alone)
