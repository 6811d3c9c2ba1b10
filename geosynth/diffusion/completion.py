"""A given side with holes, completed: what may lie where nobody drew, or where an image has no data.

A network that was trained on whole tiles has never seen a hole beside clean pixels, and answers nonsense there and near
it. So a pair is sampled first while the known pixels of its given side are held to what they are, at the noise level of
each step (replacement sampling: Song et al. 2021, appendix I.2; Lugmayr et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from geosynth.diffusion.pipeline import PairPipeline, guided
from geosynth.diffusion.samplers import Stepper


@torch.no_grad()
def completed(
    pipeline: PairPipeline,
    noise: Tensor,
    given: Tensor,
    known: Tensor,
    *,
    is_image: bool,
    steps: int,
    sampler: str,
    generators: Sequence[Generator] | None = None,
) -> Tensor:
    """One side of pairs with its holes sampled to go with what is known.

    Args:
        pipeline: a generator's, of two noise levels.
        noise: float32 (B, bands + bits, H, W), standard normal.
        given: the side as the network takes it, (B, bands or bits, H, W).
        known: bool (B, H, W).
        is_image: which side it is.
        steps, sampler, generators: as for the pipeline.

    Returns:
        the side, float32 on the CPU, as ``given`` where it is known. Bits that were sampled are not yet codes.
    """
    bands, device = pipeline.denoiser.image_channels, pipeline.denoiser.device
    side = slice(0, bands) if is_image else slice(bands, None)
    process, stepper = pipeline.process, Stepper(pipeline.process, sampler, steps, device)
    noise, clean, held = noise.to(device), given.to(device), known[:, None].to(device)
    state = noise.clone()
    for position, level in enumerate(stepper.levels):
        levels = torch.full((len(state),), level, device=device)
        state[:, side] = torch.where(held, process.mix(clean, noise[:, side], levels), state[:, side])
        answer = guided(pipeline.denoiser, state, noise, level, False, False)
        state = stepper.step(position, answer, state, generators)
    return torch.where(known[:, None], given, state[:, side].float().cpu())
