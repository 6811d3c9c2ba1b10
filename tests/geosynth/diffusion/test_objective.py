from __future__ import annotations

import pytest
import torch

from geosynth.diffusion.objective import QUESTIONS, draw_levels, error_sums, mean_errors
from geosynth.diffusion.process import RECIPES, Process


@pytest.mark.parametrize("process", [Process(), RECIPES["v"].process])
def test_questions_are_asked_in_their_shares(process: Process) -> None:
    image, mask = draw_levels(8000, process, torch.Generator().manual_seed(0))
    shares = {
        "joint": image == mask,
        "image": mask == 0,
        "mask": image == 0,
        "image alone": (mask == 1) & (image != 1),
        "mask alone": (image == 1) & (mask != 1),
    }
    for name, asked in shares.items():
        assert asked.float().mean() == pytest.approx(QUESTIONS[name], abs=0.02), name
    assert sum(QUESTIONS.values()) == pytest.approx(1)
    assert min(image.min(), mask.min()) >= 0
    assert max(image.max(), mask.max()) <= 1


def test_one_level_for_both_sides() -> None:
    image, mask = draw_levels(100, RECIPES["satsynth"].process, torch.Generator().manual_seed(0), two_levels=False)
    assert torch.equal(image, mask)
    assert image.min() > 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_target_leads_back_to_the_data(recipe: str) -> None:
    process = RECIPES[recipe].process
    data, noise = torch.randn(2, 8, 3, 4, 4)
    level = torch.full((8,), 0.4)
    state, target = process.mix(data, noise, level), process.target(data, noise, level)
    signal, share = process.shares(torch.tensor(0.4))
    back = {
        "flow": state - share * target,
        "epsilon": (state - share * target) / signal,
        "v_prediction": signal * state - share * target,
    }[process.prediction]
    assert torch.allclose(back, data, atol=1e-4)


def test_loss_counts_only_what_is_asked_for_and_known() -> None:
    target = torch.zeros(4, 5, 2, 2)
    prediction = torch.ones(4, 5, 2, 2)
    valid = torch.ones(4, 2, 2, dtype=torch.bool)
    known = torch.ones(4, 2, 2, dtype=torch.bool)
    image_level = torch.tensor([0.5, 0.5, 0.0, 0.5])
    mask_level = torch.tensor([0.5, 0.0, 0.5, 1.0])
    known[3] = False  # an unlabelled tile
    prediction[2, :3] = 100.0  # given image: no loss
    prediction[1, 3:] = 100.0  # given mask: no loss
    prediction[3, 3:] = 100.0  # unknown mask: no loss
    sums, counts = error_sums(prediction, target, valid, known, image_level, mask_level, 3, Process())
    assert mean_errors(sums, counts).tolist() == [1.0, 1.0]
    assert counts.tolist() == [[4, 4, 0, 4], [4, 0, 4, 0]]
    valid[0, 0, 0] = False
    prediction[0, :3, 0, 0] = 100.0  # nodata: no loss
    sums, counts = error_sums(prediction, target, valid, known, image_level, mask_level, 3, Process())
    assert mean_errors(sums, counts).tolist() == [1.0, 1.0]
    assert counts[0].tolist() == [3, 4, 0, 4]
    sums, counts = error_sums(prediction, target, valid, known, torch.zeros(4), mask_level, 3, Process())
    assert mean_errors(sums, counts)[0] == 0  # nothing is asked for


def test_weights_of_levels_reach_the_loss() -> None:
    process = RECIPES["v"].process
    level = torch.tensor([0.9, 0.2])
    target, on = torch.zeros(2, 2, 2, 2), torch.ones(2, 2, 2, dtype=torch.bool)
    image, mask = mean_errors(*error_sums(torch.ones(2, 2, 2, 2), target, on, on, level, level.flip(0), 1, process))
    assert image == pytest.approx(float(process.weight(level).mean()))
    assert mask == pytest.approx(float(process.weight(level).mean()))
