"""Training of the denoiser as a Lightning task that can stop anywhere and go on as if it had not."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from geosynth.diffusion.batches import Batch, Pairs, held_out_batch, training_batch
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.objective import pair_loss
from geosynth.diffusion.process import DEFAULT_RECIPE, RECIPES
from geosynth.noise import generator_for

EMA_LIMIT = 0.9995
"""Largest decay of the moving average of the weights."""

DECAY_SHARE = 0.3
"""The last share of the steps, in which the learning rate falls."""


@dataclass(frozen=True)
class Plan:
    """How to train: everything that, with the data and the starting weights, decides the result."""

    steps: int
    batch: int = 16
    size: int = 64
    learning_rate: float = 4e-4
    warmup: int = 100
    mask_weight: float = 1.0
    clip: float = 1.0
    seed: int = 0
    recipe: str = DEFAULT_RECIPE


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

    The batch of a step is drawn from ``self.global_step``, not from the loader, so resuming needs no loader state.
    """

    def __init__(
        self, denoiser: Denoiser, train: Pairs, held_out: Pairs, scale: BandScale, classes: int, plan: Plan
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.average = copy.deepcopy(denoiser).requires_grad_(False).eval()
        self.train_pairs, self.held_out = train, held_out
        self.scale, self.classes, self.plan = scale, classes, plan
        self.recipe = RECIPES[plan.recipe]

    def loss(self, network: Denoiser, batch: Batch) -> tuple[Tensor, Tensor]:
        """Image and mask loss of a batch, scalars."""
        bands = network.image_channels
        data, noise = batch.data.to(self.device), batch.noise.to(self.device)
        image_level, mask_level = batch.image_level.to(self.device), batch.mask_level.to(self.device)
        level = torch.cat(
            [image_level[:, None].expand(-1, bands), mask_level[:, None].expand(-1, network.mask_channels)], dim=1
        )[:, :, None, None]
        process = self.recipe.process
        predicted = network(process.mix(data, noise, level), image_level, mask_level)
        return pair_loss(
            predicted,
            process.target(data, noise, level),
            batch.valid.to(self.device),
            batch.known.to(self.device),
            image_level,
            mask_level,
            bands,
            process,
        )

    def training_step(self, _: Any, __: int) -> Tensor:
        plan = self.plan
        torch.manual_seed(plan.seed * 1_000_003 + self.global_step)  # dropout, too, is a function of (seed, step)
        batch = training_batch(
            self.train_pairs,
            self.scale,
            self.classes,
            self.recipe,
            size=plan.size,
            batch=plan.batch,
            seed=plan.seed,
            step=self.global_step,
            rank=self.global_rank,
        )
        image, mask = self.loss(self.denoiser, batch)
        self.log_dict({"loss_image": image.detach(), "loss_mask": mask.detach()})
        return image + plan.mask_weight * mask

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        # The rate, like the batch, is a function of the step alone: nothing to restore when a run is resumed.
        step = self.global_step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.plan)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        with torch.no_grad():
            weights = list(self.denoiser.parameters())
            torch._foreach_lerp_(list(self.average.parameters()), weights, 1 - ema_decay_at(step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.denoiser.parameters(), lr=self.plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
        )

    @torch.no_grad()
    def held_out_loss(self, limit: int = 64) -> tuple[float, float] | None:
        """Image and mask loss of the averaged weights on held-out tiles: same tiles, noise and levels at every call."""
        pairs = self.held_out
        count = min(limit, len(pairs))
        if count == 0:
            return None
        total = torch.zeros(2)
        for start in range(0, count, self.plan.batch):
            indices = range(start, min(start + self.plan.batch, count))
            generator = generator_for("held-out", self.plan.seed, start)
            batch = held_out_batch(
                pairs, indices, self.scale, self.classes, self.recipe, size=self.plan.size, generator=generator
            )
            losses = [value.float().cpu() for value in self.loss(self.average, batch)]
            total += torch.stack(losses) * len(indices)
        image, mask = (total / count).tolist()
        return image, mask
