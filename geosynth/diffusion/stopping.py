"""The held-out loss while training runs, and what it may decide: which weights are kept, and when it is enough."""

from __future__ import annotations

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from geosynth.diffusion.training import DiffusionTask
from geosynth.metriclog import MetricLog


class HeldOut(Callback):
    """Measures the held-out loss of the averaged weights every so many steps.

    With ``patience`` it keeps the best averaged weights, and stops the training after so many measurements without
    better ones. What it keeps travels in the checkpoint, so a resumed run chooses among the same weights. A side of
    which nothing is held out has no say.
    """

    def __init__(self, metrics: MetricLog, every: int = 250, patience: int | None = None) -> None:
        self.metrics, self.every, self.patience = metrics, every, patience
        self.best, self.step, self.waited = math.inf, 0, 0
        self.weights: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        assert isinstance(task, DiffusionTask)
        step = trainer.global_step
        if step % self.every and step != trainer.max_steps:
            return
        # Process 0 measures and the others believe it, so that all stop at the same step.
        image, mask = trainer.strategy.broadcast(tuple(task.held_out_loss()) if trainer.is_global_zero else None)
        weighted = []
        for name, value, weight in (("image", image, 1.0), ("mask", mask, task.plan.mask_weight)):
            if value is not None:
                self.metrics.tell(f"val_loss_{name}", value, step)
                weighted.append(weight * value)
        if self.patience is not None and weighted:
            self._judge(trainer, task, sum(weighted))

    def _judge(self, trainer: Trainer, task: DiffusionTask, loss: float) -> None:
        if loss < self.best:
            self.best, self.step, self.waited = loss, trainer.global_step, 0
            self.weights = {name: value.cpu().clone() for name, value in task.average.state_dict().items()}
        else:
            self.waited += 1
        trainer.should_stop = self.patience is not None and self.waited >= self.patience

    def restore(self, task: DiffusionTask) -> None:
        """Give the task the best averaged weights, where they were kept."""
        if self.weights:
            task.average.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "step": self.step, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.step, self.waited = (state_dict[name] for name in ("best", "step", "waited"))
        self.weights = state_dict["weights"]
