"""What a generator's training says while it runs."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from geosynth.diffusion.training import DiffusionTask
from geosynth.events import Events


class Progress(Callback):
    """Reports steps, mean losses since the last report, and the held-out loss now and then."""

    def __init__(self, events: Events, every: int = 10, held_out_every: int = 250) -> None:
        self.events, self.every, self.held_out_every = events, every, held_out_every
        self._sums: dict[str, float] = {}
        self._count = 0

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        step, total = trainer.global_step, int(trainer.max_steps)
        for name in ("loss_image", "loss_mask"):
            self._sums[name] = self._sums.get(name, 0.0) + float(trainer.callback_metrics[name])
        self._count += 1
        if step % self.every == 0 or step == total:
            self.events.progress(step, total, "steps")
            for name, value in self._sums.items():
                self.events.metric(name, value / self._count, step)
            self._sums, self._count = {}, 0
        if step % self.held_out_every == 0 or step == total:
            assert isinstance(task, DiffusionTask)
            held_out = task.held_out_loss()
            if held_out is not None:
                for name, value in zip(("val_loss_image", "val_loss_mask"), held_out, strict=True):
                    self.events.metric(name, value, step)
