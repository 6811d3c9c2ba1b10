"""How something is sampled, said outright: defaults for what is left open, an error for what does not fit."""

from __future__ import annotations

from geosynth.diffusion.pipeline import PairPipeline
from geosynth.diffusion.process import Process
from geosynth.diffusion.samplers import Stepper, default_steps, samplers_for
from geosynth.errors import ModelError


def settled_sampler(process: Process, sampler: str | None, steps: int | None) -> tuple[str, int]:
    """Sampler and steps; None takes the first that there is, and as many as it needs.

    Raises:
        ModelError: the process has no such sampler, or it cannot take so many steps.
    """
    there = samplers_for(process)
    sampler = sampler or there[0]
    steps = steps or (default_steps(sampler) if sampler in there else 1)
    Stepper(process, sampler, steps)  # refuses what does not fit
    return sampler, steps


def refuse_one_level(pipeline: PairPipeline, given: str | None, guidance: float | None) -> None:
    """Raise ModelError where a pipeline of one noise level is asked for more than new pairs.

    Args:
        pipeline: a generator's.
        given: what one side is given by, in words; None for new pairs.
        guidance: as in a request.
    """
    if pipeline.two_levels or (given is None and guidance in (None, 1)):
        return
    raise ModelError(
        "this generator has one noise level for image and mask and makes new pairs only, but"
        f" {given or 'guidance is asked for'}",
        remedy="train one with a recipe of two levels",
    )
