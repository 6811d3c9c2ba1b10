"""Batches made ahead of the step that needs them, the same ones whoever makes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Literal

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from geosynth.diffusion.batches import Batch, Drawing
from geosynth.ranks import leave_signals

START: Literal["fork", "spawn"] = "fork" if sys.platform == "linux" else "spawn"
"""How workers are started. Forked ones share the pixels, but elsewhere than on Linux a fork is unsafe (macOS, whose
frameworks crash in it) or unknown (Windows)."""

MOST_WORKERS = 8 if START == "fork" else 2
"""Processes that make batches for a GPU, at most; few where each has a copy of the pixels."""


def default_workers(device: str, in_memory: bool, ranks: int = 1) -> int:
    """Processes that make batches.

    For a GPU as many as keep it fed. A CPU computes a step some hundred times longer than a batch takes to make, and
    needs all its cores for it: none, or one that waits for the disk where that one is forked.
    """
    if device == "cuda":
        return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) // ranks - 1))
    return 0 if in_memory or START != "fork" else 1


class StepBatches(IterableDataset[Batch]):
    """The batches of steps ``start`` to ``stop - 1``, or process ``rank``'s part of each.

    Worker w of W makes every W-th; the loader takes them in turn, so their order does not depend on W. Without a
    length on purpose: Lightning, resuming inside an epoch, would count the batches it did not draw.
    """

    def __init__(self, drawing: Drawing, start: int, stop: int, rank: int = 0, ranks: int = 1) -> None:
        self.drawing, self.steps, self.rank, self.ranks = drawing, range(start, stop), rank, ranks

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        mine = self.steps if worker is None else self.steps[worker.id :: worker.num_workers]
        for step in mine:
            yield self.drawing.step(step, self.rank, self.ranks)


def step_loader(batches: StepBatches, device: torch.device, workers: int) -> DataLoader[Batch]:
    """A loader of ``batches``: with ``workers`` processes ahead of time, with none at the moment they are needed."""
    if workers == 0:
        return DataLoader(batches, batch_size=None)
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=START,
        worker_init_fn=_ready,
        pin_memory=device.type == "cuda",
        prefetch_factor=2,
    )


def _ready(_: int) -> None:
    # A worker that a Ctrl-C ends would take the training with it, before that has saved where it is.
    leave_signals()
