"""Lightning runs that stop anywhere and go on as if they had not.

A task draws its batch from the step number, so the state of a run is its weights, its optimizer and the step: what a
Lightning checkpoint holds.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from geosynth.errors import Cancelled, ModelError
from geosynth.events import Events

CHECKPOINT = "last.ckpt"


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
        temporary = self.path.parent / "tmp" / self.path.name  # swept away by the next claim after a kill
        temporary.parent.mkdir(exist_ok=True)
        trainer.save_checkpoint(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(self.path)
        self._saved = time.monotonic()


def fit(
    task: LightningModule,
    data: Mapping[str, Any],
    folder: Path,
    events: Events,
    report: Sequence[Callback],
    *,
    steps: int,
    device: str = "cpu",
    precision: str = "32",
    clip: float = 1.0,
    checkpoint_every: int = 500,
) -> None:
    """Train ``task`` to step ``steps``, from the checkpoint in ``folder`` when there is one.

    Args:
        task: trained in place.
        data: how ``Trainer.fit`` gets it: ``{"train_dataloaders": …}`` or ``{"datamodule": …}``.
        folder: where the checkpoint lives; removed by the caller when the result is written.
        events: asked after every step whether to stop.
        report: callbacks that tell how it goes; they run before the checkpoint is written.
        steps: optimizer steps in all.
        device: "cpu", "cuda" or "mps".
        precision: "32", or "bf16" for autocast; weights stay float32.
        clip: largest norm of the gradient.
        checkpoint_every: steps between checkpoints; one is also written every minute.

    Raises:
        Cancelled: the user stopped it; the checkpoint is up to date.
        ModelError: the checkpoint is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / CHECKPOINT
    if last.exists() and not zipfile.is_zipfile(last):
        raise ModelError("is a damaged checkpoint", where=last, remedy="start again with --overwrite")
    for name in ("lightning.pytorch", "lightning.fabric"):  # our events say what there is to say
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=1,
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            gradient_clip_val=clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*report, Checkpoint(folder, events, checkpoint_every)],
            default_root_dir=folder,
        )
        trainer.fit(task, **data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
