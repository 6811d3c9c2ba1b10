from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from geosynth.diffusion.process import RECIPES, TIMESTEPS, Process
from geosynth.errors import ModelError

PROCESSES = [recipe.process for recipe in RECIPES.values()]


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_what_its_saved_scheduler_says(process: Process) -> None:
    saved = process.scheduler()
    assert Process.of(type(saved).from_config(saved.config)) == process


def test_other_schedulers_are_refused() -> None:
    for scheduler in (DDIMScheduler(), DDPMScheduler(prediction_type="sample")):
        with pytest.raises(ModelError, match="geosynth train"):
            Process.of(scheduler)


@pytest.mark.parametrize("process", PROCESSES)
def test_noise_takes_over_from_clean_to_pure(process: Process) -> None:
    signal, share = process.shares(torch.linspace(0, 1, TIMESTEPS + 1))
    assert signal[0] == 1 and share[0] == 0
    assert signal[-1] < 0.01 and share[-1] > 0.99
    assert (signal.diff() < 0).all() and (share.diff() >= 0).all()


def test_the_table_of_levels_stays_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    process, level = RECIPES["v"].process, torch.tensor([0.5])
    first = process.shares(level.to("meta"))[0]
    assert first.device.type == "meta"
    monkeypatch.setattr(torch.Tensor, "to", lambda *_: pytest.fail("copied again"))
    process.shares(torch.empty(1, device="meta"))


@pytest.mark.parametrize("process", [p for p in PROCESSES if p.betas])
def test_levels_with_betas_are_those_of_diffusers(process: Process) -> None:
    data, noise = torch.randn(2, 5, 1, 2, 2)
    timesteps = torch.tensor([0, 1, 500, 998, 999])
    scheduler = process.scheduler()
    level = (timesteps + 1) / TIMESTEPS
    assert torch.allclose(process.mix(data, noise, level), scheduler.add_noise(data, noise, timesteps), atol=1e-6)
    if process.prediction == "v_prediction":
        assert torch.allclose(
            process.target(data, noise, level), scheduler.get_velocity(data, noise, timesteps), atol=1e-6
        )


def test_min_snr_weights_of_v() -> None:
    process = RECIPES["v"].process
    level = torch.tensor([0.001, 0.5, 1.0])
    signal, share = process.shares(level)
    ratio = (signal / share) ** 2
    assert torch.allclose(process.weight(level), torch.minimum(ratio, torch.tensor(5.0)) / (ratio + 1))
    assert torch.equal(Process().weight(level), torch.ones(3))


@pytest.mark.parametrize("process", PROCESSES)
def test_training_levels_are_noisy_and_a_function_of_the_generator(process: Process) -> None:
    drawn, again = (process.draw_levels(4000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(drawn, again)
    assert drawn.min() > 0 and drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)
