"""Training on cached latents as a Lightning task: the LoRA that draws labels, or the ControlNet that paints images.

Both learn what Stable Diffusion was trained for: to tell the noise (or the velocity) in a noisy latent (Rombach et al.
2022; Hu et al. 2022 for LoRA; Zhang et al. 2023 for ControlNet). Everything else stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from geosynth.diffusion.batches import Pairs
from geosynth.diffusion.training import Plan, ema_decay_at, learning_rate_at
from geosynth.noise import generator_for, mix_seed
from geosynth.pretrained.base import BaseModel
from geosynth.pretrained.colours import ColourCode
from geosynth.pretrained.latents import Latents
from geosynth.pretrained.prompts import Part, Prompting
from geosynth.pretrained.views import View, cut_mask, shares

NO_PROMPT = 0.1
"""Share of the samples that are told nothing, so that guidance can ask without words (Ho and Salimans 2021)."""

HELD_OUT = 64
"""Views the held-out loss is measured on, at most."""
_HELD_OUT_CHUNK = 8

Batch = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Material:
    """Views of tiles with their latents."""

    pairs: Pairs
    views: Sequence[View]
    latents: Latents

    def usable(self, part: Part) -> list[int]:
        """Numbers of the views that show anything of a part."""
        return [number for number in range(self.latents.count) if self.latents.read(number, part)[1].any()]


@dataclass(frozen=True, eq=False)
class Drawing:
    """Batches as pure functions of (seed, step).

    Attributes:
        part: what is learnt.
        base: of which the tokenizer is used.
        material: what to draw from.
        chosen: numbers of the views that are drawn.
        code, prompting: classes as colours, and what is told in words.
        size: side, pixels.
        plan: batch and seed.
        levels: noise levels of the scheduler.
    """

    part: Part
    base: BaseModel
    material: Material
    chosen: Sequence[int]
    code: ColourCode
    prompting: Prompting
    size: int
    plan: Plan
    levels: int

    def step(self, step: int) -> Batch:
        """The batch of a step."""
        generator = generator_for(f"pretrained-{self.part}", self.plan.seed, step)
        where = torch.rand(self.plan.batch, generator=generator, dtype=torch.float64).tolist()
        silent = (torch.rand(self.plan.batch, generator=generator) < NO_PROMPT).tolist()
        levels = torch.randint(self.levels, (self.plan.batch,), generator=generator)
        chosen = self.chosen
        numbers = [chosen[int(place * len(chosen))] for place in where]
        seeds = [mix_seed(f"pretrained-{self.part}-noise", self.plan.seed, step, at) for at in range(len(numbers))]
        return self._batch(numbers, silent, levels, seeds)

    def fixed(self) -> Iterator[Batch]:
        """Up to ``HELD_OUT`` views with noise of their own and levels spread evenly; the same at every call."""
        numbers = list(self.chosen[:HELD_OUT])
        order = torch.randperm(len(numbers), generator=generator_for("pretrained-levels", self.plan.seed))
        levels = ((order.double() + 0.5) / max(1, len(numbers)) * self.levels).long()
        for start in range(0, len(numbers), _HELD_OUT_CHUNK):
            part = slice(start, start + _HELD_OUT_CHUNK)
            seeds = [mix_seed(f"pretrained-{self.part}-held-out", self.plan.seed, number) for number in numbers[part]]
            yield self._batch(numbers[part], [False] * len(numbers[part]), levels[part], seeds)

    def _batch(self, numbers: Sequence[int], silent: Sequence[bool], levels: Tensor, seeds: Sequence[int]) -> Batch:
        classes = len(self.code.classes)
        read = [self.material.latents.read(number, self.part) for number in numbers]
        latents, weights = (torch.stack(part) for part in zip(*read, strict=True))
        views = [self.material.views[number] for number in numbers]
        masks = [cut_mask(self.material.pairs, view, self.size, classes) for view in views]
        prompts = [
            "" if quiet else self.prompting.prompt(self.part, shares(mask, classes), view.scale)
            for quiet, mask, view in zip(silent, masks, views, strict=True)
        ]
        noise = torch.empty_like(latents)
        for row, seed in enumerate(seeds):
            noise[row].normal_(generator=torch.Generator().manual_seed(seed))
        batch = {
            "latents": latents,
            "weights": weights,
            "noise": noise,
            "levels": levels,
            "tokens": self.base.tokens(prompts),
        }
        if self.part == "image":
            batch["condition"] = condition(self.code, torch.stack(masks))
        return batch


def condition(code: ColourCode, masks: Tensor) -> Tensor:
    """What the ControlNet is given for masks: their colours, float32 (B, 3, H, W) in 0..1."""
    return (code.encode(masks) + 1) / 2


class _Steps(IterableDataset[Batch]):
    """The batches of steps ``start`` to ``stop - 1``; without a length, see ``diffusion.loading.StepBatches``."""

    def __init__(self, drawing: Drawing, start: int, stop: int) -> None:
        self.drawing, self.steps = drawing, range(start, stop)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.drawing.step, self.steps)


class LatentTask(LightningModule):
    """Fits some weights of a frozen model; ``average`` holds their moving average, which is what gets saved.

    Args:
        base: frozen; with an adapter in its U-Net where the part is "label".
        controlnet: trained where the part is "image"; None otherwise.
        drawing: training batches.
        held_out: batches the held-out loss is measured on; None: there are none.
        schedule: diffusers' scheduler with the base model's noise levels.
        plan: how to train.
        save_memory: activations are computed again in the backward pass instead of kept (Chen et al. 2016).
    """

    strict_loading = False  # the frozen weights are not in the checkpoint

    def __init__(
        self,
        base: BaseModel,
        controlnet: Any,
        drawing: Drawing,
        held_out: Drawing | None,
        schedule: Any,
        plan: Plan,
        *,
        save_memory: bool = False,
    ) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.controlnet = base.unet, base.text_encoder, controlnet
        self.base, self.drawing, self.held_out, self.schedule, self.plan = base, drawing, held_out, schedule, plan
        learner = self.unet if controlnet is None else controlnet
        self.learnt = {name: weight for name, weight in learner.named_parameters() if weight.requires_grad}
        self.average = {name: weight.detach().clone() for name, weight in self.learnt.items()}
        if save_memory:
            for network in (self.unet, self.controlnet):
                if network is not None:
                    network.enable_gradient_checkpointing()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the present step on."""
        return DataLoader(_Steps(self.drawing, self.trainer.global_step, self.plan.steps), batch_size=None)

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error over the latent pixels that count, of which there may be none."""
        noisy = self.schedule.add_noise(batch["latents"], batch["noise"], batch["levels"])
        with torch.no_grad():
            words = self.text_encoder(batch["tokens"])[0]
        residuals = {}
        if self.controlnet is not None:
            down, middle = self.controlnet(noisy, batch["levels"], words, batch["condition"], return_dict=False)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        told = self.unet(noisy, batch["levels"], words, **residuals).sample
        if self.schedule.config.prediction_type == "v_prediction":
            target = self.schedule.get_velocity(batch["latents"], batch["noise"], batch["levels"])
        else:
            target = batch["noise"]
        error = (told.float() - target).square().mean(dim=1)
        loss: Tensor = (error * batch["weights"]).sum() / batch["weights"].sum().clamp(min=1)
        return loss

    def on_train_start(self) -> None:
        # Dropout and the like of a pretrained network stay off.
        self.eval()
        self.unet.train()  # gradient checkpointing asks for it; Stable Diffusion's U-Net has no dropout
        if self.controlnet is not None:
            self.controlnet.train()
        self.average = {name: weight.to(self.device) for name, weight in self.average.items()}

    def training_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        torch.manual_seed(mix_seed("dropout", self.plan.seed, self.global_step))
        loss = self.loss(batch)
        return {"loss": loss, "losses": loss.detach()[None]}

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        step = self.global_step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.plan)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        with torch.no_grad():
            weights = [weight.detach() for weight in self.learnt.values()]
            torch._foreach_lerp_(list(self.average.values()), weights, 1 - ema_decay_at(step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            list(self.learnt.values()), lr=self.plan.learning_rate, weight_decay=0.01, fused=self.device.type != "mps"
        )

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(list(self.learnt.values()), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Of gigabytes only what is learnt: the rest is the base model, which is there.
        checkpoint["state_dict"] = {}
        checkpoint["learnt"] = {name: weight.detach() for name, weight in self.learnt.items()}
        checkpoint["average"] = dict(self.average)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, weight in self.learnt.items():
                weight.copy_(checkpoint["learnt"][name])
        self.average = dict(checkpoint["average"])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the averaged weights are in the place of the present ones."""
        self._exchange(self.average)
        try:
            yield
        finally:
            self._exchange(self.average)

    def _exchange(self, others: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.learnt.items():
                kept = weight.detach().clone()
                weight.copy_(others[name])
                others[name].copy_(kept)

    @torch.no_grad()
    def held_out_loss(self) -> float | None:
        """Loss of the averaged weights on held-out views: same views, noise and levels at every call."""
        if self.held_out is None:
            return None
        total, count = 0.0, 0
        with self.averaged():
            for batch in self.held_out.fixed():
                size = len(batch["latents"])
                total += size * float(self.loss({name: part.to(self.device) for name, part in batch.items()}))
                count += size
        return total / count if count else None
