"""What is looked at while a training of this route runs: the held-out loss, and pictures of what it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from geosynth.diffusion.samplegrids import grid
from geosynth.folders import OutputFolder
from geosynth.legend import Legend
from geosynth.metriclog import MetricLog
from geosynth.pretrained.prompts import Part
from geosynth.pretrained.task import LatentTask

PICTURES = 8
"""Samples in a picture."""


class HeldOutLatents(Callback):
    """Tells the held-out loss of the averaged weights every so many steps and at the end; keeps the last.

    Before the first step, too: that is the loss of the base model alone.
    """

    def __init__(self, metrics: MetricLog, part: Part, every: int) -> None:
        self.metrics, self.part, self.every = metrics, part, every
        self.at_end: float | None = None

    def on_train_batch_start(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        if trainer.global_step == 0:
            self._tell(task, 0)

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            loss = self._tell(task, step)
            if step == trainer.max_steps:
                self.at_end = loss

    def _tell(self, task: LightningModule, step: int) -> float | None:
        assert isinstance(task, LatentTask)
        loss = task.held_out_loss()
        if loss is not None:
            self.metrics.tell(f"val_loss_{self.part}", loss, step)
        return loss


class Pictures(Callback):
    """Draws samples of the averaged weights every so many steps: ``samples/step-000500-label.png``, above masks.

    Args:
        folder: the generator folder.
        legend: colours of the masks.
        part: what is learnt, in the file's name.
        before: steps of the training before this part: pictures are numbered through.
        every: steps between two pictures; there is one at the end, too.
        draw: called with the averaged weights in place: pictures (N, 3, H, W) in -1..1, class indices (N, H, W).
    """

    def __init__(
        self,
        folder: OutputFolder,
        legend: Legend,
        part: Part,
        before: int,
        every: int,
        draw: Callable[[], tuple[Tensor, Tensor]],
    ) -> None:
        self.folder, self.legend, self.part, self.before = folder, legend, part, before
        self.every, self.draw = every, draw

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        assert isinstance(task, LatentTask)
        step = trainer.global_step
        if step % self.every and step != trainer.max_steps:
            return
        with torch.no_grad(), task.averaged():
            pictures, masks = self.draw()
        self.folder.write(f"samples/step-{self.before + step:06d}-{self.part}.png", grid(pictures, masks, self.legend))
