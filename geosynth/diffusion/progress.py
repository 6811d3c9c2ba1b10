"""What a generator's training says while it runs: steps, losses, and how long it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.metriclog import MetricLog

REHEARSED = 200
"""Steps that are worth a rehearsal, which takes at least five."""


class Progress(Callback):
    """Reports steps, mean losses since the last report, and once how long it will take.

    ``names`` are those of the numbers in the ``losses`` of a training step. With ``rehearse`` the time is told before
    the first step, from steps of a ``DiffusionTask`` that do not count; else, and of short runs, after the first steps.
    """

    def __init__(
        self,
        events: Events,
        metrics: MetricLog,
        every: int = 10,
        names: Sequence[str] = ("loss_image", "loss_mask"),
        rehearse: bool = False,
    ) -> None:
        self.events, self.metrics, self.every, self.names, self.rehearse = events, metrics, every, names, rehearse
        self._sum: torch.Tensor | None = None
        self._count = 0
        self._pace = Pace()

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.metrics.begin(trainer.global_step)
        self._pace = Pace()
        if self.rehearse and trainer.max_steps - trainer.global_step >= REHEARSED:
            step = task.rehearsal()
            told = False
            while not told:
                self.events.check()
                with trainer.precision_plugin.forward_context():
                    step()
                told = self._tell_time(trainer, task)

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, *_: Any) -> None:
        step, total = trainer.global_step, int(trainer.max_steps)
        # Summed where they are: reading a number from a GPU every step would make it wait.
        self._sum = outputs["losses"] if self._sum is None else self._sum + outputs["losses"]
        self._count += 1
        if step % self.every == 0 or step == total:
            self.events.progress(step, total, "steps")
            means = trainer.strategy.reduce(self._sum / self._count, reduce_op="mean")
            for name, value in zip(self.names, means.tolist(), strict=True):
                if not math.isfinite(value):
                    raise ModelError(f"training failed: {name} is {value}", remedy="give a lower --learning-rate")
                self.metrics.tell(name, value, step)
            self._sum, self._count = None, 0
        self._tell_time(trainer, task)

    def _tell_time(self, trainer: Trainer, task: LightningModule) -> bool:
        """After a step: say how long the rest will take, once that is known; whether it was said now."""
        seconds = self._pace.step(task.device.type)
        left = int(trainer.max_steps) - trainer.global_step
        if seconds is not None and left:
            self.events.log(f"about {spoken(seconds * left)} for the {left} steps left, on {task.device.type}")
        return seconds is not None

    def on_train_end(self, *_: Any) -> None:
        self.metrics.close()

    def on_exception(self, *_: Any) -> None:
        self.metrics.close()


class Pace:
    """Seconds a step takes, told once: when enough steps were seen after the first ones, which choose algorithms."""

    SKIPPED, SEEN, SECONDS = 2, 3, 2.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._done, self._began, self._told = 0, 0.0, False

    def step(self, device: str) -> float | None:
        """Note a finished step; seconds a step when they are known for the first time, else None."""
        self._done += 1
        if self._told or self._done < self.SKIPPED:
            return None
        seen = self._done - self.SKIPPED
        if seen and (seen < self.SEEN or self.clock() - self._began < self.SECONDS):
            return None
        if device == "cuda":
            torch.cuda.synchronize()  # the clock must not stop before the work does
        if not seen:
            self._began = self.clock()
            return None
        self._told = True
        return (self.clock() - self._began) / seen


def spoken(seconds: float) -> str:
    """A length of time as a person says it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
