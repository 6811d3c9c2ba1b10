"""From noise to data in a number of network evaluations: diffusers' schedulers, chosen by name.

A sampler turns what the network says at a noise level into the state at the next one. ``euler`` follows the straight
line, ``dpm`` is DPM-Solver++ of second order (Lu et al. 2022), ``ddim`` is Song et al. 2021 without noise, ``ddpm`` is
the ancestral sampler of Ho et al. 2020, which adds noise at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Generator, Tensor

from geosynth.diffusion.process import CLIP, TIMESTEPS, Process
from geosynth.errors import ModelError

_STEPS = {"euler": 30, "dpm": 10, "ddim": 50, "ddpm": TIMESTEPS}


def samplers_for(process: Process) -> tuple[str, ...]:
    """Names of the samplers a process can be stepped with, its default first."""
    if process.betas is None:
        return ("dpm", "euler")
    return ("ddpm", "ddim", "dpm") if process.prediction == "epsilon" else ("dpm", "ddim", "ddpm")


def default_steps(sampler: str) -> int:
    """Network evaluations a pair, unless asked otherwise."""
    return _STEPS[sampler]


class Stepper:
    """One run of a sampler: which levels the network is asked at, and what follows from its answers.

    Args:
        process: what the network predicts.
        sampler: one of ``samplers_for(process)``.
        steps: network evaluations.
        device: where the states are.

    Attributes:
        levels: noise level the network is fed at each evaluation, falling from about 1.
        remembers: whether a step depends on the answers before it: states must then be stepped in order, all at once.

    Raises:
        ModelError: the sampler does not fit the process, or cannot make so many steps.
    """

    def __init__(self, process: Process, sampler: str, steps: int, device: str | torch.device = "cpu") -> None:
        if sampler not in samplers_for(process):
            fitting = ", ".join(samplers_for(process))
            raise ModelError(f"no sampler '{sampler}' for this generator", remedy=f"give --sampler {fitting}")
        if process.betas is not None and steps > TIMESTEPS:
            raise ModelError(f"{sampler} makes at most {TIMESTEPS} steps, not {steps}", remedy="give fewer --steps")
        self._scheduler: Any = _scheduler(process, sampler)
        if sampler == "euler":
            self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps), device=device)
        else:
            self._scheduler.set_timesteps(steps, device=device)
        timesteps = self._scheduler.timesteps
        # The exact level: the integer timestep of a flow scheduler is a rounding of it.
        levels = self._scheduler.sigmas[: len(timesteps)] if process.betas is None else (timesteps + 1) / TIMESTEPS
        self.levels: list[float] = [float(level) for level in levels]
        self.remembers = sampler == "dpm"
        self._noisy = sampler == "ddpm"

    def step(
        self, position: int, answer: Tensor, state: Tensor, generators: Sequence[Generator] | None = None
    ) -> Tensor:
        """The state after evaluation ``position``.

        Args:
            position: 0 for the first evaluation.
            answer: what the network said of ``state`` at ``levels[position]``, same shape.
            state: float32, samples along the first axis.
            generators: one a sample, for samplers that add noise.

        Returns:
            the state at the next level, or the data after the last evaluation.
        """
        scheduler = self._scheduler
        if not self.remembers:
            scheduler = copy.copy(scheduler)  # a scheduler counts its calls; here ``position`` says where we are
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(position)
        noise = {"generator": list(generators)} if self._noisy and generators is not None else {}
        stepped: Tensor = scheduler.step(answer, scheduler.timesteps[position], state, return_dict=False, **noise)[0]
        return stepped


def _scheduler(process: Process, sampler: str) -> Any:
    own = process.scheduler()
    if sampler in ("euler", "ddpm"):
        return own
    if process.betas is None:
        return DPMSolverMultistepScheduler(TIMESTEPS, prediction_type="flow_prediction", use_flow_sigmas=True)
    shared = {"beta_schedule": process.betas, "prediction_type": process.prediction, "timestep_spacing": "trailing"}
    if sampler == "ddim":
        return DDIMScheduler(TIMESTEPS, **shared, clip_sample=True, clip_sample_range=CLIP)
    # Cosine betas end in almost nothing but noise, where the solver's logarithms explode (diffusers' documentation).
    clipped = -5.1 if process.betas == "squaredcos_cap_v2" else -float("inf")
    return DPMSolverMultistepScheduler(TIMESTEPS, **shared, lambda_min_clipped=clipped)
