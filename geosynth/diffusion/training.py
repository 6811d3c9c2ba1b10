"""Training of the denoiser as a Lightning task that can stop anywhere and go on as if it had not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from geosynth.diffusion.batches import Batch, Drawing, Pairs
from geosynth.diffusion.codes import encode
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.loading import StepBatches, step_loader
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.objective import error_sums, mean_errors
from geosynth.diffusion.process import DEFAULT_RECIPE, RECIPES
from geosynth.legend import UNKNOWN
from geosynth.noise import mix_seed

EMA_LIMIT = 0.9995
"""Largest decay of the moving average of the weights."""

DECAY_SHARE = 0.3
"""The last share of the steps, in which the learning rate falls."""

FITTED_TILES = 512
"""Tiles from which is learnt how values of a patch go together, at most."""

HELD_OUT_TILES = 64
"""Tiles the held-out loss is measured on, at most."""

HELD_OUT_CHUNK = 16
"""Tiles the network answers at a time when the held-out loss is measured."""


@dataclass(frozen=True)
class Plan:
    """How to train: everything that, with the data and the starting weights, decides the result.

    ``decorrelation`` of the bands is that of the recipe unless said otherwise.
    """

    steps: int
    batch: int = 16
    size: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    mask_weight: float = 1.0
    clip: float = 1.0
    seed: int = 0
    recipe: str = DEFAULT_RECIPE
    labelled_share: float | None = None
    decorrelation: float | None = None


@dataclass(frozen=True)
class Means:
    """How to compute. Decides the last bits of the result at most.

    Attributes:
        workers: processes that make batches ahead of time; 0: made when needed. Changes no bit.
        channels_last: whether weights and activations lie in memory with the channels last.
        compiled: whether torch compiles the network; minutes at the start, faster steps on GPUs.
    """

    workers: int = 0
    channels_last: bool = False
    compiled: bool = False


class HeldOutLoss(NamedTuple):
    """Mean squared error of images and of masks over all held-out pixels asked for; None where none is."""

    image: float | None
    mask: float | None


def learning_rate_at(step: int, plan: Plan) -> float:
    """Warm up, stay, and fall along a half cosine to a twentieth in the last ``DECAY_SHARE`` of the steps."""
    warm = min(1.0, (step + 1) / max(1, min(plan.warmup, plan.steps // 10)))
    start = plan.steps * (1 - DECAY_SHARE)
    fall = min(1.0, max(0.0, (step - start) / max(1.0, plan.steps - start)))
    return plan.learning_rate * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * fall)) / 2)


def ema_decay_at(step: int) -> float:
    """Decay of the moving average: short at first, so that short runs are not dominated by where they started."""
    return min(EMA_LIMIT, (1 + step) / (10 + step))


class DiffusionTask(LightningModule):
    """Fits a ``Denoiser``; ``average`` holds the moving average of its weights, which is what gets saved.

    Batches are functions of the step, and the loader begins at the step the run has come to: nothing of it is saved.

    Args:
        denoiser: trained in place.
        train: pairs to learn from.
        held_out: pairs the held-out loss is measured on; may be empty.
        scale: pixel values to network values; bands are decorrelated beyond it, as those of ``train`` want it.
        classes: number of classes.
        plan: how to train.
        labelled: which training pairs have labels, bool (N,); None: all.
        means: how to compute.
        held_out_labelled: which held-out pairs have labels, bool (M,); None: all.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        train: Pairs,
        held_out: Pairs,
        scale: BandScale,
        classes: int,
        plan: Plan,
        labelled: NDArray[np.bool_] | None = None,
        means: Means | None = None,
        held_out_labelled: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        self.means = means or Means()
        self.denoiser = denoiser
        self.recipe = RECIPES[plan.recipe]
        strength = self.recipe.decorrelation if plan.decorrelation is None else plan.decorrelation
        if strength:
            scale = scale.decorrelated(_covariance(train, scale), strength)
        if denoiser.shortcut:
            denoiser.fit_shortcut(_clean(train, scale, classes, denoiser.bit_size))
        self.average = copy.deepcopy(denoiser).requires_grad_(False).eval()
        if self.means.channels_last:
            self.to(memory_format=torch.channels_last)
        if self.means.compiled:
            self.denoiser.compile()
        self.scale, self.classes, self.plan = scale, classes, plan
        bits = denoiser.mask_channels
        self.drawing = Drawing(
            train, self.recipe, bits, plan.size, plan.batch, plan.seed, labelled, plan.labelled_share
        )
        self.held_out = Drawing(held_out, self.recipe, bits, plan.size, HELD_OUT_CHUNK, plan.seed, held_out_labelled)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the present step on."""
        trainer = self.trainer
        steps = StepBatches(self.drawing, trainer.global_step, self.plan.steps, trainer.global_rank, trainer.world_size)
        return step_loader(steps, self.device, self.means.workers)

    def errors(self, network: Denoiser, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums of squared errors of a batch on the task's device and numbers of pixels, see ``error_sums``."""
        bands = network.image_channels
        data = torch.cat(
            [self.scale.to_network(batch.image, batch.valid), encode(batch.mask, self.classes, network.bit_size)], dim=1
        )
        level = torch.cat(
            [
                batch.image_level[:, None].expand(-1, bands),
                batch.mask_level[:, None].expand(-1, network.mask_channels),
            ],
            dim=1,
        )[:, :, None, None]
        process = self.recipe.process
        noisy = process.mix(data, batch.noise, level)
        if self.means.channels_last:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        predicted = network(noisy, batch.image_level, batch.mask_level)
        return error_sums(
            predicted,
            process.target(data, batch.noise, level),
            batch.valid,
            batch.known,
            batch.image_level,
            batch.mask_level,
            bands,
            process,
        )

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        # Dropout, too, is a function of (seed, step).
        torch.manual_seed(mix_seed("dropout", self.plan.seed, self.global_step, self.global_rank))
        sums, counts = self.errors(self.denoiser, batch)
        losses = mean_errors(sums, counts)
        if self.trainer.world_size > 1:
            losses = losses * _share_of_pixels(counts.sum(dim=1))
        return {"loss": losses[0] + self.plan.mask_weight * losses[1], "losses": losses.detach()}

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        # The rate, like the batch, is a function of the step alone: nothing to restore when a run is resumed.
        step = self.global_step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.plan)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        with torch.no_grad():
            weights = list(self.denoiser.parameters())
            torch._foreach_lerp_(list(self.average.parameters()), weights, 1 - ema_decay_at(step))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        # Lightning's own refuses fused optimisers, for the sake of scaled float16 gradients; ours are not scaled.
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer(self.denoiser)

    def _optimizer(self, network: Denoiser) -> torch.optim.Optimizer:
        # One kernel for all weights: a third of the time of a loop over them, on CPUs too.
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.AdamW(
            network.parameters(), lr=self.plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=fused
        )

    def rehearsal(self) -> Callable[[], None]:
        """A training step to be timed: of a copy of the network, which learns nothing that is kept."""
        network = copy.deepcopy(self.denoiser)
        optimizer = self._optimizer(network)
        # Batches are made ahead of time, or in next to no time.
        batch = Batch(*(part.to(self.device) for part in self.drawing.step(0, 0, self.trainer.world_size)))

        def step() -> None:
            optimizer.zero_grad()
            sums, counts = self.errors(network, batch)
            torch.autograd.backward(mean_errors(sums, counts).sum())
            torch.nn.utils.clip_grad_norm_(network.parameters(), self.plan.clip)
            optimizer.step()

        return step

    @torch.no_grad()
    def held_out_loss(self, limit: int = HELD_OUT_TILES) -> HeldOutLoss:
        """Loss of the averaged weights on held-out tiles: same tiles, noise and levels at every call.

        It depends on the tiles, the seed and the weights, and on nothing else of the plan.
        """
        chosen = self.held_out.sample(limit)
        totals = torch.zeros(2, 2, dtype=torch.float64)  # of errors and of pixels; of images and of masks
        for start in range(0, len(chosen), HELD_OUT_CHUNK):
            batch = self.held_out.fixed(chosen[start : start + HELD_OUT_CHUNK])
            parts = self.errors(self.average, Batch(*(part.to(self.device) for part in batch)))
            totals += torch.stack(parts).cpu().double().sum(dim=2)
        image, mask = (error / pixels if pixels else None for error, pixels in totals.T.tolist())
        return HeldOutLoss(image, mask)


def _share_of_pixels(mine: Tensor) -> Tensor:
    """What this process's image and mask loss count for among all processes, float32 (2,), 1 on average.

    The loss of a batch is a mean over the pixels that are asked for. Of those each process has its own number, and
    the mean of means is not their mean.

    Args:
        mine: how many pixels this process is asked for, of images and of masks, float (2,).
    """
    everybody = mine.clone()
    dist.all_reduce(everybody)
    return mine.clamp(min=1) * dist.get_world_size() / everybody.clamp(min=1)


def _covariance(pairs: Pairs, scale: BandScale) -> NDArray[np.float64]:
    """Of the bands' deviations from their means, in standard deviations, over up to ``FITTED_TILES`` tiles."""
    bands = len(scale.mean)
    total, count = np.zeros((bands, bands)), 0
    for position in _spread(pairs):
        image, valid, mask = pairs.raw(position)
        on = np.broadcast_to(valid, mask.shape)
        values = scale.to_deviations(image, on)[:, on]
        total += values @ values.T
        count += values.shape[1]
    return total / max(count, 1)


def _spread(pairs: Pairs) -> list[int]:
    count = min(len(pairs), FITTED_TILES)
    return [position * len(pairs) // count for position in range(count)]


def _clean(
    pairs: Pairs, scale: BandScale, classes: int, bit_size: float
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Up to ``FITTED_TILES`` pairs, evenly spread, as ``Denoiser.fit_shortcut`` takes them."""
    for position in _spread(pairs):
        image, valid, mask = (torch.from_numpy(np.array(part)) for part in pairs.raw(position))
        valid = valid.expand(mask.shape)
        values = scale.to_network(image[None], valid[None])[0]
        yield values, valid, encode(mask[None], classes, bit_size)[0], mask != UNKNOWN
