"""The held-out loss is a function of the tiles, the seed and the weights."""

import numpy as np
import pytest
import torch

from geosynth.diffusion import training
from geosynth.diffusion.batches import Drawing
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.process import RECIPES
from geosynth.diffusion.training import DiffusionTask, Plan
from geosynth.legend import UNKNOWN


class Pairs:
    """Pairs of 8 px, each with another share of pixels without data; ``labelled`` says which have a mask."""

    def __init__(self, labelled: list[bool]) -> None:
        self.labelled = np.array(labelled, bool)

    def __len__(self) -> int:
        return len(self.labelled)

    def raw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = np.random.default_rng(index).integers(0, 256, (1, 8, 8)).astype(np.uint8)
        valid = np.random.default_rng(100 + index).random((8, 8)) < 0.3 + index / 20
        mask = (image[0] // 64).astype(np.uint8) if self.labelled[index] else np.full((8, 8), UNKNOWN, np.uint8)
        return image, valid, mask


def a_task(labelled: list[bool], batch: int = 4) -> DiffusionTask:
    torch.manual_seed(0)
    network = Denoiser(
        image_channels=1, mask_channels=2, sample_size=8, patch=1, widths=(32, 32), attention=(False, False), layers=1
    )
    scale, pairs = BandScale((128.0,), (64.0,), (0.0,), (255.0,)), Pairs(labelled)
    return DiffusionTask(
        network, Pairs([True]), pairs, scale, 4, Plan(1, batch, size=8), held_out_labelled=pairs.labelled
    )


def test_it_depends_neither_on_the_batch_nor_on_what_is_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = a_task([True, False] * 6).held_out_loss()
    assert expected.image is not None and expected.mask is not None
    for batch, chunk in ((1, 16), (5, 16), (4, 1), (4, 5)):
        monkeypatch.setattr(training, "HELD_OUT_CHUNK", chunk)
        found = a_task([True, False] * 6, batch).held_out_loss()
        assert found == pytest.approx(expected, rel=1e-5)


def test_every_pixel_counts_alike_and_only_where_it_is_asked_for() -> None:
    task = a_task([True] * 12)
    alone = []
    for index in range(12):
        batch = task.held_out.fixed([index])
        sums, counts = task.errors(task.average, batch)
        assert counts[0].item() == (batch.valid.sum() if batch.image_level[0] > 0 else 0)
        assert counts[1].item() == (batch.known.sum() if batch.mask_level[0] > 0 else 0)
        alone.append(torch.stack([sums[:, 0], counts[:, 0]]))
    sums, counts = torch.stack(alone).sum(dim=0)
    assert task.held_out_loss() == pytest.approx((sums / counts).tolist())


def test_a_side_of_which_nothing_is_known_has_no_loss() -> None:
    image, mask = a_task([False] * 3).held_out_loss()
    assert image is not None and image > 0
    assert mask is None
    assert a_task([]).held_out_loss() == (None, None)


def test_noise_and_questions_belong_to_a_tile() -> None:
    drawing = Drawing(Pairs([True] * 6), RECIPES["flow"], 2, size=8, batch=4, seed=0)
    alone, together = drawing.fixed([3]), drawing.fixed([1, 3, 5])
    assert torch.equal(alone.noise[0], together.noise[1])
    assert (alone.image_level[0], alone.mask_level[0]) == (together.image_level[1], together.mask_level[1])
    assert len(set(drawing.fixed(range(6)).image_level.tolist())) > 3


@pytest.mark.parametrize(
    ("labelled", "limit", "expected"),
    [
        ([False] * 18 + [True] * 2, 8, 2),  # all there are
        ([False] * 12 + [True] * 8, 8, 4),  # at least half
        ([False] * 4 + [True] * 12, 8, 6),  # their share
        ([False] * 1 + [True] * 1, 8, 1),
        ([True] * 9, 4, 4),
        ([False] * 9, 4, 0),
    ],
)
def test_labelled_tiles_have_a_say(labelled: list[bool], limit: int, expected: int) -> None:
    chosen = a_task(labelled).held_out.sample(limit)
    assert len(set(chosen)) == min(limit, len(labelled))
    assert chosen == sorted(chosen)
    assert sum(labelled[number] for number in chosen) == expected
