"""Samplers against a network that is right: data from a normal distribution, whose best answer has a formula."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from geosynth.diffusion import samplers
from geosynth.diffusion.process import RECIPES, Process
from geosynth.diffusion.samplers import Stepper, flow_levels, samplers_for
from geosynth.errors import ModelError

MEAN, SPREAD = 0.7, 0.3
KINDS = [(recipe.process, sampler) for recipe in RECIPES.values() for sampler in samplers_for(recipe.process)]


def best_answer(process: Process, state: Tensor, level: float) -> Tensor:
    signal, share = process.shares(torch.tensor(level))
    gain = signal * SPREAD**2 / ((signal * SPREAD) ** 2 + share**2)
    data = MEAN + gain * (state - signal * MEAN)
    noise = (state - signal * data) / share
    return {"flow": noise - data, "epsilon": noise, "v_prediction": signal * noise - share * data}[process.prediction]


def sample(process: Process, sampler: str, steps: int, count: int = 20000) -> Tensor:
    stepper = Stepper(process, sampler, steps)
    state = torch.randn(1, count, generator=torch.Generator().manual_seed(0))
    generators = [torch.Generator().manual_seed(1)]
    for position, level in enumerate(stepper.levels):
        state = stepper.step(position, best_answer(process, state, level), state, generators)
    return state


@pytest.mark.parametrize(("process", "sampler"), KINDS)
def test_many_steps_give_the_distribution_of_the_data(
    process: Process, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "flow_levels", partial(flow_levels, lowest=0.002))
    drawn = sample(process, sampler, 1000)
    assert drawn.mean() == pytest.approx(MEAN, abs=0.01)
    assert drawn.std() == pytest.approx(SPREAD, abs=0.01)


@pytest.mark.parametrize(("process", "sampler"), KINDS)
def test_few_steps_lose_spread_but_no_more(process: Process, sampler: str) -> None:
    assert SPREAD - 0.1 < sample(process, sampler, 20).std() < SPREAD + 0.01


def test_ten_steps_keep_the_contrast_of_what_is_large() -> None:
    """Along directions with as much power as noise, and up to 512 times as much: the mean of a tile of 64 px."""
    flow = RECIPES["flow"].process
    power = torch.logspace(0, 2.7, 12)
    stepper = Stepper(flow, "dpm", 10)
    state = torch.ones(1, len(power))
    for position, level in enumerate(stepper.levels):
        answer = (level - (1 - level) * power) / ((1 - level) ** 2 * power + level**2) * state
        state = stepper.step(position, answer, state)
    assert torch.allclose(state[0] / power.sqrt(), torch.ones(len(power)), atol=0.06)


def test_the_second_order_solver_is_nearer_than_euler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "flow_levels", partial(flow_levels, lowest=0.02))
    flow = RECIPES["flow"].process
    errors = [abs(float(sample(flow, sampler, 20).std()) - SPREAD) for sampler in ("dpm", "euler")]
    assert errors[0] < errors[1] / 3


@pytest.mark.parametrize(("process", "sampler"), [kind for kind in KINDS if kind[1] != "dpm"])
def test_steps_of_a_forgetful_sampler_can_be_taken_part_by_part(process: Process, sampler: str) -> None:
    stepper = Stepper(process, sampler, 10)
    assert not stepper.remembers
    state, answer = torch.randn(4, 6), torch.randn(4, 6)

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(number) for number in range(4)]

    whole = stepper.step(3, answer, state, generators())
    parts = [stepper.step(3, answer[i : i + 1], state[i : i + 1], generators()[i : i + 1]) for i in (2, 0, 3, 1)]
    assert torch.equal(whole, torch.cat([parts[1], parts[3], parts[0], parts[2]]))


def test_noise_on_the_way_is_a_function_of_the_samples_generator() -> None:
    stepper = Stepper(RECIPES["satsynth"].process, "ddpm", 10)
    state, answer = torch.randn(2, 6), torch.randn(2, 6)
    first, again, other = (
        stepper.step(0, answer, state, [torch.Generator().manual_seed(seed) for seed in seeds])
        for seeds in ((1, 2), (1, 2), (3, 2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])


def test_a_sampler_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(ModelError, match="dpm, euler"):
        Stepper(Process(), "ddpm", 10)
    with pytest.raises(ModelError, match="at most 1000"):
        Stepper(RECIPES["v"].process, "ddim", 1001)
