"""What a training tells, keeps and draws, without a training."""

import math
import re
import time
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.progress import Pace, Progress, spoken
from geosynth.diffusion.samplegrids import SampleGrids, _in_spreads, grid
from geosynth.diffusion.stopping import HeldOut
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.metriclog import FILE, MetricLog


def a_trainer(step: int, total: int = 1000) -> Any:
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value, broadcast=lambda value: value)
    return SimpleNamespace(
        global_step=step,
        max_steps=total,
        strategy=strategy,
        precision_plugin=SimpleNamespace(forward_context=nullcontext),
        is_global_zero=True,
        should_stop=False,
        world_size=1,
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (40, "40 s"), (100, "2 min"), (720, "12 min"), (12600, "3.5 h")]
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_the_pace_is_told_once_and_without_the_first_steps() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    told = []
    for step in range(30):
        now += 100.0 if step < 2 else 0.5
        told.append(pace.step("cpu"))
    assert [value for value in told if value is not None] == [pytest.approx(0.5)]


def test_the_time_that_is_left_is_said() -> None:
    said: list[str] = []
    events = Events([lambda record: said.append(record["message"]) if record["event"] == "log" else None])
    progress = Progress(events, MetricLog(events))
    now = 0.0

    def clock() -> float:
        return now

    progress._pace = Pace(clock)
    task: Any = SimpleNamespace(device=torch.device("cpu"))
    for step in range(1, 20):
        now += 0.5
        progress.on_train_batch_end(a_trainer(step, 4006), task, {"losses": torch.zeros(2)})
    assert said == ["about 33 min for the 4000 steps left, on cpu"]


def test_the_time_is_said_before_the_first_step() -> None:
    said: list[str] = []
    events = Events([lambda record: said.append(record["message"]) if record["event"] == "log" else None])
    progress = Progress(events, MetricLog(events), rehearse=True)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        time.sleep(0.3)

    task: Any = SimpleNamespace(device=torch.device("cpu"), rehearsal=lambda: step)
    progress.on_train_start(a_trainer(0, 1000), task)
    assert steps >= 5
    (message,) = said
    assert re.fullmatch(r"about [5-7] min for the 1000 steps left, on cpu", message)
    for done in range(1, 20):
        progress.on_train_batch_end(a_trainer(done, 1000), task, {"losses": torch.zeros(2)})
    assert len(said) == 1
    progress.on_train_start(a_trainer(980, 1000), task)  # of few steps nothing is rehearsed
    assert len(said) == 1


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    progress = Progress(Events(), MetricLog(Events()))
    task: Any = SimpleNamespace(device=torch.device("cpu"))
    with pytest.raises(ModelError, match="loss_mask is nan"):
        progress.on_train_batch_end(a_trainer(10), task, {"losses": torch.tensor([1.0, math.nan])})


def test_metrics_of_steps_done_again_are_taken_back(tmp_path: Path) -> None:
    log = MetricLog(Events(), tmp_path)
    log.begin(0)
    for step in (10, 20, 30):
        log.tell("loss_image", step / 10, step)
    with (tmp_path / FILE).open("a") as stream:
        stream.write("4")  # killed while it wrote
    resumed = MetricLog(Events(), tmp_path)
    resumed.begin(20)
    resumed.tell("loss_image", 7.0, 30)
    assert (tmp_path / FILE).read_text().split() == [
        "step,name,value",
        "10,loss_image,1",
        "20,loss_image,2",
        "30,loss_image,7",
    ]


def test_tensorboard_files_are_written_when_asked_for(tmp_path: Path) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for begun, steps in ((0, (10, 20, 30)), (20, (30,))):
        log = MetricLog(Events(), tmp_path, tensorboard=True)
        log.begin(begun)
        for step in steps:
            log.tell("loss_image", step + begun, step)
        log.close()
    events = loading.EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss_image")
    assert [(event.step, event.value) for event in events] == [(10, 10.0), (20, 20.0), (30, 50.0)]


@pytest.mark.parametrize("sides", ["both", "image", "mask"])
def test_the_judge_waits_as_long_as_it_was_told_and_remembers_when_resumed(sides: str) -> None:
    from geosynth.diffusion import training

    class Task(training.DiffusionTask):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.average = torch.nn.Linear(1, 1, bias=False)
            self.plan = training.Plan(1000)

        def held_out_loss(self, limit: int = 64) -> training.HeldOutLoss:
            loss = losses[int(self.average.weight)]
            return training.HeldOutLoss(
                *((loss, 0.5) if sides == "both" else (loss, None)[:: 1 if sides == "image" else -1])
            )

    losses, task = [5.0, 3.0, 4.0, 2.5, 2.6, 2.7, 1.0], Task()
    judge = HeldOut(MetricLog(Events()), every=10, patience=2)
    stopped = []
    for number in range(6):
        with torch.no_grad():
            task.average.weight.fill_(number)
        resumed = HeldOut(MetricLog(Events()), every=10, patience=2)
        resumed.load_state_dict(judge.state_dict())
        judge = resumed
        for step in (10 * number + 5, 10 * number + 10):
            trainer = a_trainer(step)
            judge.on_train_batch_end(trainer, task)
            stopped.append(trainer.should_stop)
    assert stopped.index(True) == 11  # after two measurements worse than the fourth
    judge.restore(task)
    assert int(task.average.weight) == 3
    assert judge.step == 40


def test_a_picture_of_samples() -> None:
    legend = load_legend("world")
    image = torch.zeros(2, 3, 4, 4)
    image[0], image[1] = 5.0, -5.0
    mask = torch.zeros(2, 4, 4, dtype=torch.uint8)
    mask[1] = 2
    drawn = np.asarray(Image.open(BytesIO(grid(image, mask, legend))))
    assert drawn.shape == (10, 10, 3)
    assert drawn[0, 0].tolist() == [255, 255, 255]
    assert drawn[0, 9].tolist() == [0, 0, 0]
    assert tuple(drawn[9, 0]) == legend.classes[0].rgb
    assert tuple(drawn[9, 9]) == legend.classes[2].rgb
    assert np.asarray(Image.open(BytesIO(grid(image[:, :1], mask, legend)))).shape == (10, 10, 3)
    folder: Any = None
    assert SampleGrids(folder, legend, ["B02", "B03", "B04", "B08"], 1).drawn == [2, 1, 0]


def test_pictures_have_the_colours_of_the_raster() -> None:
    """Whatever the bands were mixed to for the network."""
    plain = BandScale((100.0, 110.0, 90.0), (40.0, 30.0, 20.0), (0.0,) * 3, (255.0,) * 3)
    mixed = plain.decorrelated(np.array([[1.0, 0.95, 0.9], [0.95, 1.0, 0.93], [0.9, 0.93, 1.0]]), 0.5)
    colour = np.array([60.0, 125.0, 105.0], np.float32).reshape(1, 3, 1, 1)
    valid = np.ones((1, 1, 1), bool)
    drawn = [_in_spreads(scale.to_network(colour, valid), scale) for scale in (plain, mixed)]
    expected = torch.tensor([-0.5, 0.25, 0.375]).reshape(1, 3, 1, 1)
    for found in drawn:
        torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=0)
    assert not torch.allclose(mixed.to_network(colour, valid), expected, atol=0.05)
