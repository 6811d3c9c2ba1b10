"""Batches made ahead of the step that needs them, the same ones whoever makes them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from geosynth.diffusion.batches import Batch, Drawing

MOST_WORKERS = 8
"""Processes that make batches for a GPU, at most."""


def default_workers(device: str, in_memory: bool, ranks: int = 1) -> int:
    """Processes that make batches.

    For a GPU as many as keep it fed. A CPU computes a step some hundred times longer than a batch takes to make, and
    needs all its cores for it: none, or one that waits for the disk.
    """
    if device == "cuda":
        return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) // ranks - 1))
    return 0 if in_memory else 1


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
    # Forked workers share the pixels; where there is no fork each gets a copy.
    context = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        pin_memory=device.type == "cuda",
        prefetch_factor=2,
    )
