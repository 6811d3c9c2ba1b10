"""What a segmenter's training says while it runs, which weights are kept, and when it is enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.metriclog import MetricLog
from geosynth.segmentation.metrics import Scores, dataset_confusion, scores
from geosynth.segmentation.task import SegmentationTask

_TELL_EVERY = 10
_TIMES = 8
_LEAST = 50


def steps_between(steps: int) -> int:
    """How often val is scored unless told otherwise: eight times or so in a run, at least 50 steps apart."""
    return max(_LEAST, steps // _TIMES)


class Validation(Callback):
    """Reports steps and loss, scores the val split every so many steps and at the end, and keeps the best weights.

    The best are those of the highest mean IoU over the classes that val shows; without known val pixels, the last. What
    it keeps travels in the checkpoint, so a resumed run chooses among the same weights.

    Args:
        events: progress, and lines about scores.
        metrics: ``loss``, ``val_mean_iou``, and ``val_iou_<name>`` for the classes that have one.
        names: class names, in the order of their indices.
        every: steps between two scores.
        patience: stop after so many scores in a row that are not the best; None: never.
        patient_until: step before which scores do not count for that.
    """

    def __init__(
        self,
        events: Events,
        metrics: MetricLog,
        names: Sequence[str],
        *,
        every: int,
        patience: int | None = None,
        patient_until: int = 0,
    ) -> None:
        self.events, self.metrics, self.names = events, metrics, tuple(names)
        self.every, self.patience, self.patient_until = every, patience, patient_until
        self.step, self.score, self.weights = 0, -math.inf, dict[str, Tensor]()
        self.scores: Scores | None = None
        self.waited, self.last = 0, 0
        self._loss, self._count = 0.0, 0

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.metrics.begin(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, *_: Any) -> None:
        self.last, total = trainer.global_step, int(trainer.max_steps)
        step = self.last
        loss = float(trainer.callback_metrics["train_loss"])
        if not math.isfinite(loss):  # said at once: nothing of such weights may be scored or kept
            raise ModelError(f"training failed: the loss is {loss}", remedy="give a lower --learning-rate")
        self._loss += loss
        self._count += 1
        if step % _TELL_EVERY == 0 or step == total:
            self.events.progress(step, total, "steps")
            self.metrics.tell("loss", self._loss / self._count, step)
            self._loss, self._count = 0.0, 0
        if step % self.every == 0 or step == total:
            self._validate(trainer, task, step)

    def _validate(self, trainer: Trainer, task: LightningModule, step: int) -> None:
        module = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(task, SegmentationTask)
        found: Scores | None = None
        if len(module.val_dataset):
            task.eval()
            # Cancellation waits for the checkpoint that follows: a half validated step could not be resumed.
            matrix = dataset_confusion(
                lambda image: task(image.to(task.device)), module.val_dataset, len(self.names), Events()
            )
            task.train()
            found = scores(matrix)
        if found is None or math.isnan(found.mean_iou):  # nothing to choose by: the last weights
            self._keep(task, step, None)
            return
        self.metrics.tell("val_mean_iou", found.mean_iou, step)
        for name, iou in zip(self.names, found.iou, strict=True):
            if not math.isnan(iou):
                self.metrics.tell(f"val_iou_{name}", iou, step)
        if found.mean_iou > self.score:
            self.score, self.waited = found.mean_iou, 0
            self._keep(task, step, found)
        elif step > self.patient_until:
            self.waited += 1
        if self.patience is not None and self.waited >= self.patience and step < trainer.max_steps:
            self.events.log(f"stopped at step {step}: no better val mean IoU than {self.score:.3f} of step {self.step}")
            trainer.should_stop = True

    def _keep(self, task: SegmentationTask, step: int, found: Scores | None) -> None:
        self.step, self.scores = step, found
        self.weights = {name: tensor.detach().cpu().clone() for name, tensor in task.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "score": self.score,
            "weights": self.weights,
            "scores": None if self.scores is None else asdict(self.scores),
            "waited": self.waited,
            "last": self.last,
            "loss": (self._loss, self._count),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step, self.score, self.weights = state_dict["step"], state_dict["score"], state_dict["weights"]
        self.scores = None if state_dict["scores"] is None else Scores(**state_dict["scores"])
        self.waited, self.last = state_dict["waited"], state_dict["last"]
        self._loss, self._count = state_dict["loss"]
