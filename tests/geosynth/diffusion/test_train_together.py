"""Two processes that share every batch learn what one learns."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.stopping import HeldOut
from geosynth.diffusion.training import DiffusionTask, Plan
from geosynth.errors import Cancelled
from geosynth.events import Events
from geosynth.fitting import CHECKPOINT, fit
from geosynth.legend import UNKNOWN
from geosynth.metriclog import MetricLog
from geosynth.ranks import Rank, together

STEPS = 6


class Pairs:
    """Twelve pairs of 8 px, a third of them without labels, each with another share of pixels without data."""

    def __len__(self) -> int:
        return 12

    def raw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = np.random.default_rng(index).integers(0, 256, (1, 8, 8)).astype(np.uint8)
        valid = np.random.default_rng(100 + index).random((8, 8)) < 0.3 + index / 20
        mask = np.full((8, 8), UNKNOWN, np.uint8) if index % 3 == 0 else (image[0] // 64).astype(np.uint8)
        return image, valid, mask


def a_task() -> DiffusionTask:
    torch.manual_seed(0)
    network = Denoiser(
        image_channels=1, mask_channels=2, sample_size=8, patch=1, widths=(32, 32), attention=(False, False), layers=1
    )
    labelled = np.arange(12) % 3 != 0
    plan = Plan(STEPS, batch=5, size=8, warmup=1, learning_rate=4e-4)  # five do not divide by two
    return DiffusionTask(network, Pairs(), Pairs(), BandScale((128.0,), (64.0,), (0.0,), (255.0,)), 4, plan, labelled)


def run(task: DiffusionTask, rank: Rank, folder: Path, events: Events) -> None:
    log = MetricLog(events)
    report = [Progress(events, log, every=1), HeldOut(log, every=3, patience=5)]
    fit(task, {}, folder, events, report, steps=STEPS, checkpoint_every=100, rank=rank)


def beside(rank: Rank, folder: Path) -> Callable[[], None]:
    torch.set_num_threads(1)
    return lambda: run(a_task(), rank, folder, Events())


def trained(folder: Path, count: int, stop: int | None = None) -> tuple[dict[str, list[float]], DiffusionTask]:
    told: dict[str, list[float]] = {}

    def keep(record: dict[str, object]) -> None:
        if record["event"] == "metric":
            told.setdefault(str(record["name"]), []).append(float(str(record["value"])))

    def ask() -> str | None:
        return "enough" if stop is not None and len(told.get("loss_image", [])) >= stop else None

    task = a_task()
    with together(count, beside, (folder,), Events()) as rank:
        run(task, rank, folder, Events([keep], [ask]))
    return told, task


def test_two_processes_give_the_loss_and_the_weights_of_one(tmp_path: Path) -> None:
    alone, one = trained(tmp_path / "one", 1)
    shared, two = trained(tmp_path / "two", 2)
    assert len(alone["loss_mask"]) == STEPS
    assert alone.keys() == shared.keys()
    for name, values in alone.items():
        assert shared[name] == pytest.approx(values, rel=1e-4), name
    for (name, expected), found in zip(
        one.average.state_dict().items(), two.average.state_dict().values(), strict=True
    ):
        assert torch.allclose(found, expected, atol=1e-4), name
    assert not multiprocessing.active_children()


def test_a_cancelled_pair_of_processes_ends_and_goes_on(tmp_path: Path) -> None:
    whole, expected = trained(tmp_path / "whole", 2)
    with pytest.raises(Cancelled):
        trained(tmp_path / "parts", 2, stop=4)
    assert not multiprocessing.active_children()
    assert (tmp_path / "parts" / CHECKPOINT).is_file()
    rest, found = trained(tmp_path / "parts", 2)
    assert rest["loss_image"] == whole["loss_image"][4:]
    assert all(
        torch.equal(a, b) for a, b in zip(found.average.parameters(), expected.average.parameters(), strict=True)
    )
