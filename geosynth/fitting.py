"""Lightning runs that stop anywhere and go on as if they had not.

A task draws its batch from the step number, so the state of a run is its weights, its optimizer and the step: what a
Lightning checkpoint holds.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from geosynth.errors import Cancelled, ModelError
from geosynth.events import Events
from geosynth.ranks import Rank

CHECKPOINT = "last.ckpt"

_PATIENCE = timedelta(minutes=10)
"""How long one of several processes waits for the others before it gives up."""


class OwnSignals(Callback):
    """Gives SIGTERM back to whoever answered it before the trainer took it.

    Lightning's answer is a collective call in the midst of others, and then an end without a checkpoint.
    """

    def __init__(self) -> None:
        self.before = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, *_: Any) -> None:
        if threading.current_thread() is threading.main_thread():  # others may not, and Lightning does not
            signal.signal(signal.SIGTERM, self.before)


class Checkpoint(Callback):
    """Saves the whole training state, atomically, every so many steps or seconds; and, saved, stops when asked to."""

    def __init__(self, folder: Path, events: Events, every: int, seconds: float = 60.0) -> None:
        self.path, self.events, self.every, self.seconds = folder / CHECKPOINT, events, every, seconds
        self._saved = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.should_stop:
            return  # it ends here, and a run resumed before this step would end here too
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
    rank: Rank | None = None,
) -> None:
    """Train ``task`` to step ``steps``, from the checkpoint in ``folder`` when there is one.

    Args:
        task: trained in place.
        data: how ``Trainer.fit`` gets it: ``{"datamodule": …}``, or nothing when the task itself has a loader.
        folder: where the checkpoint lives; removed by the caller when the result is written.
        events: asked after every step whether to stop.
        report: callbacks that tell how it goes; they run before the checkpoint is written.
        steps: optimizer steps in all.
        device: "cpu", "cuda" or "mps".
        precision: "32", or "bf16" for autocast; weights stay float32.
        clip: largest norm of the gradient.
        checkpoint_every: steps between checkpoints; one is also written every minute.
        rank: which of several processes this is (see ``ranks``); process 0 writes the checkpoints. None: there is one.

    Raises:
        Cancelled: the user stopped it; the checkpoint is up to date.
        ModelError: the checkpoint is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / CHECKPOINT
    if last.exists() and not _is_whole(last):
        raise ModelError("is a damaged checkpoint", where=last, remedy="start again with --overwrite")
    for name in ("lightning.pytorch", "lightning.fabric"):  # our events say what there is to say
        logging.getLogger(name).setLevel(logging.ERROR)
    rank = rank or Rank()
    writers = [Checkpoint(folder, events, checkpoint_every)] if rank.number == 0 else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=rank.count,
            strategy="auto" if rank.count == 1 else _Together(timeout=_PATIENCE, gradient_as_bucket_view=True),
            use_distributed_sampler=False,
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            gradient_clip_val=clip,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[OwnSignals(), *report, *writers],
            plugins=[_Here(rank)],
            default_root_dir=folder,
        )
        trainer.fit(task, **data, ckpt_path=str(last) if last.exists() else None, weights_only=True)


class _Here(ClusterEnvironment):
    """Tells Lightning who is who; nothing is left for it to start, or to guess from variables of SLURM and others."""

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self.rank = rank

    creates_processes_externally = True
    main_address = "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self.rank.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.rank.count

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        return self.rank.number

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        return self.rank.number

    def node_rank(self) -> int:
        return 0


class _Together(DDPStrategy):
    """Lets process 0 save a checkpoint whenever it likes: the others wait for it in their next step anyway."""

    def barrier(self, name: str | None = None) -> None:
        if name != "Trainer.save_checkpoint":
            super().barrier(name)


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is a zip file whose members have their checksums; torch does not look at them."""
    try:
        with zipfile.ZipFile(checkpoint) as file:
            return file.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False
