"""From noise to data in a number of network evaluations: diffusers' schedulers, chosen by name.

A sampler turns what the network says at a noise level into the state at the next one. ``euler`` follows the straight
line, ``dpm`` is DPM-Solver++ of second order (Lu et al. 2022), ``ddim`` is Song et al. 2021 without noise, ``ddpm`` is
the ancestral sampler of Ho et al. 2020, which adds noise at every step.

On the straight line the levels are evenly spaced in the log of the signal-to-noise ratio. What is large in a tile,
its mean most of all, is decided at levels above 0.9: evenly spaced levels spend one step of ten there, and it comes out
with half of its contrast (docs/benchmarks.md).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from numpy.typing import NDArray
from torch import Generator, Tensor

from geosynth.diffusion.process import CLIP, TIMESTEPS, Process
from geosynth.errors import ModelError

HIGHEST, LOWEST = 0.99, 0.15
"""Noise levels of the first and the last evaluation on the straight line. What a network trained for hours adds below
the last is mostly noise: tiles are farther from real ones with lower levels (``benchmarks/ablation.py levels``)."""

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
        if process.betas is None:
            levels = flow_levels(steps)
            _set_levels(self._scheduler, levels, device)
        else:
            self._scheduler.set_timesteps(steps, device=device)
            levels = (self._scheduler.timesteps.cpu().numpy() + 1) / TIMESTEPS
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
        if hasattr(scheduler, "set_begin_index") and scheduler.step_index is None:
            scheduler.set_begin_index(position)  # not by its timestep: two levels may round to one
        noise = {"generator": list(generators)} if self._noisy and generators is not None else {}
        stepped: Tensor = scheduler.step(answer, scheduler.timesteps[position], state, return_dict=False, **noise)[0]
        return stepped


def level_range(process: Process) -> list[float] | None:
    """First and last noise level of any number of evaluations; None where discrete timesteps decide.

    A part of requests: a run that was begun with others must not go on with these.
    """
    return [HIGHEST, LOWEST] if process.betas is None else None


def flow_levels(steps: int, *, lowest: float = LOWEST) -> NDArray[np.float64]:
    """Falling noise levels of ``steps`` evaluations on the straight line, evenly spaced in log((1 - level) / level).

    Args:
        steps: at least 1.
        lowest: the last of them, 0..1.

    Returns:
        float64 (steps,), each between 0 (clean) and 1 (noise).
    """
    first, last = (np.log(level / (1 - level)) for level in (HIGHEST, lowest))
    spaced: NDArray[np.float64] = 1 / (1 + np.exp(-np.linspace(first, last, steps)))
    return spaced


def _set_levels(scheduler: Any, levels: NDArray[np.float64], device: str | torch.device) -> None:
    """Step through given levels. The solver takes none from outside, so its tables are set after its own are made."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        scheduler.set_timesteps(sigmas=levels, device=device)
        return
    scheduler.set_timesteps(len(levels), device=device)
    scheduler.sigmas = torch.from_numpy(np.append(levels, 0.0).astype(np.float32))
    scheduler.timesteps = torch.from_numpy(levels * TIMESTEPS).to(device, torch.int64)


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
