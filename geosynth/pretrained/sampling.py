"""From noise to pictures: labels by the U-Net with its LoRA, images by the U-Net with the ControlNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from geosynth.errors import ModelError
from geosynth.pretrained.base import BaseModel
from geosynth.pretrained.latents import to_latents, to_pictures
from geosynth.pretrained.model import Networks

SAMPLERS = {"dpm": 25, "ddim": 50}
"""Samplers and the steps they take unless told otherwise. Neither adds noise on the way."""

GUIDANCE = 3.0
"""How much more a picture follows its prompt than without (Ho and Salimans 2021), unless told otherwise."""


def settled_sampler(sampler: str | None, steps: int | None) -> tuple[str, int]:
    """Sampler and steps; None takes the first, and as many as it needs. Raises ModelError for an unknown one."""
    name = sampler or next(iter(SAMPLERS))
    if name not in SAMPLERS:
        raise ModelError(f"no sampler '{name}'", remedy=f"give one of: {', '.join(SAMPLERS)}")
    return name, steps or SAMPLERS[name]


@torch.no_grad()
def draw_labels(
    networks: Networks, noise: Tensor, prompts: Sequence[str], *, sampler: str, steps: int, guidance: float
) -> Tensor:
    """Pictures of label maps, colours float32 (B, 3, H, W) on the CPU, from ``noise`` (B, c, h, w)."""
    unet = networks.base.unet
    unet.enable_lora()
    try:
        return sampled(networks.base, None, noise, prompts, None, sampler=sampler, steps=steps, guidance=guidance)
    finally:
        unet.disable_lora()


@torch.no_grad()
def sampled(
    base: BaseModel,
    controlnet: Any,
    noise: Tensor,
    prompts: Sequence[str],
    condition: Tensor | None,
    *,
    sampler: str,
    steps: int,
    guidance: float,
    start: Tensor | None = None,
    strength: float = 1.0,
) -> Tensor:
    """Pictures from noise.

    Args:
        base: the model, with or without its LoRA switched on.
        controlnet: follows ``condition``; None without one.
        noise: float32 (B, c, h, w), standard normal.
        prompts: B texts.
        condition: colours of label maps (B, 3, H, W) in 0..1 that the pictures are to follow.
        sampler, steps: how noise becomes data.
        guidance: 1 asks once; above, a picture follows its prompt more strictly, at twice the cost.
        start: pictures (B, 3, H, W) in -1..1 to begin from instead of noise (Meng et al. 2022).
        strength: how much of the way from data to noise they go back first, 0..1; 1 leaves next to nothing of them.

    Returns:
        colours float32 (B, 3, H, W) about -1..1, on the CPU.
    """
    device = next(base.unet.parameters()).device
    asked = list(prompts) if guidance == 1 else [""] * len(prompts) + list(prompts)
    words = base.text_encoder(base.tokens(asked).to(device))[0]
    repeats = len(asked) // len(prompts)
    if condition is not None:
        condition = condition.to(device).repeat(repeats, 1, 1, 1)
    scheduler = _scheduler(sampler, base.scheduler)
    scheduler.set_timesteps(steps, device=device)
    first = steps - max(1, round(steps * strength)) if start is not None else 0
    state = noise.to(device) * scheduler.init_noise_sigma
    if start is not None:
        if sampler == "dpm":  # it counts its steps
            scheduler.set_begin_index(first)
        level = scheduler.timesteps[first : first + 1].repeat(len(noise))
        state = scheduler.add_noise(to_latents(base, start.to(device)), noise.to(device), level)
    for timestep in scheduler.timesteps[first:]:
        given = scheduler.scale_model_input(state, timestep).repeat(repeats, 1, 1, 1)
        residuals: dict[str, Any] = {}
        if condition is not None:
            down, middle = controlnet(given, timestep, words, condition, return_dict=False)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        answer = base.unet(given, timestep, words, **residuals).sample.float()
        if repeats == 2:
            alone, told = answer.chunk(2)
            answer = alone + guidance * (told - alone)
        state = scheduler.step(answer, timestep, state, return_dict=False)[0]
    return to_pictures(base, state).cpu()


def _scheduler(sampler: str, config: Any) -> Any:
    """One of ``SAMPLERS`` for the noise levels and the kind of answer of the base model."""
    kind = DPMSolverMultistepScheduler if sampler == "dpm" else DDIMScheduler
    known = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type")
    shared = {name: config[name] for name in known if name in config}
    if sampler == "ddim":  # latents are not bound to -1..1
        shared |= {"clip_sample": False, "set_alpha_to_one": False}
    return kind(**shared, timestep_spacing="trailing")
