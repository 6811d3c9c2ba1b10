"""Runs a ``DiffusionTask`` under Lightning, with checkpoints a killed run goes on from bit for bit."""

from __future__ import annotations

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from geosynth.diffusion.training import DiffusionTask
from geosynth.errors import Cancelled
from geosynth.events import Events

CHECKPOINT = "last.ckpt"


class Progress(Callback):
    """Reports steps, losses and the held-out loss as events."""

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


class Checkpoint(Callback):
    """Saves the whole training state, atomically, every so many steps or seconds; and, saved, stops when asked to."""

    def __init__(self, folder: Path, events: Events, every: int, seconds: float = 60.0) -> None:
        self.path, self.events, self.every, self.seconds = folder / CHECKPOINT, events, every, seconds
        self._saved = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        late = time.monotonic() - self._saved > self.seconds
        if trainer.global_step % self.every == 0 or late:
            self.save(trainer)
        try:
            self.events.check()
        except Cancelled:
            self.save(trainer)
            raise

    def save(self, trainer: Trainer) -> None:
        temporary = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(self.path)
        self._saved = time.monotonic()


def fit(
    task: DiffusionTask,
    folder: Path,
    events: Events,
    *,
    precision: str = "32",
    accelerator: str = "cpu",
    checkpoint_every: int = 500,
) -> None:
    """Train ``task`` to the end of its plan, from ``folder``'s checkpoint when there is one.

    Args:
        task: what to train; trained in place.
        folder: where the checkpoint lives.
        events: progress, metrics, cancellation.
        precision: "32" or "bf16" (autocast; weights stay float32).
        accelerator: a Lightning accelerator name, "cpu" or "gpu".
        checkpoint_every: steps between checkpoints; one is also written every minute.

    Raises:
        Cancelled: the user stopped it; the checkpoint is up to date.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / CHECKPOINT
    _quiet()
    trainer = Trainer(
        accelerator=accelerator,
        devices=1,
        max_steps=task.plan.steps,
        max_epochs=-1,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        gradient_clip_val=task.plan.clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Progress(events), Checkpoint(folder, events, checkpoint_every)],
        default_root_dir=folder,
    )
    # The loader only counts: batches come from the step number (see batches.py).
    steps: DataLoader[int] = DataLoader(range(task.plan.steps), batch_size=None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(task, steps, ckpt_path=str(last) if last.exists() else None, weights_only=True)


def has_fast_bfloat16(device: str) -> bool:
    """Whether bf16 autocast pays: on any CUDA device, and on CPUs with AVX-512 bf16 instructions."""
    if device != "cpu":
        return True
    return bool(torch.cpu._is_avx512_bf16_supported())


def _quiet() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
