"""Training a segmenter as a torchgeo task that can stop anywhere and go on as if it had not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchgeo.tasks import SemanticSegmentation
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.wrappers import ClasswiseWrapper

from geosynth.legend import UNKNOWN
from geosynth.noise import mix_seed
from geosynth.segmentation.losses import SegmentationLoss
from geosynth.segmentation.networks import build_network, own_loss, padded_logits

_WARMUP = 0.05
_FLOOR = 0.02


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Warm up over a twentieth of the steps, then fall along a half cosine to a fiftieth of the peak."""
    warm = min(1.0, (step + 1) / max(1.0, _WARMUP * steps))
    fall = (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2
    return peak * warm * (_FLOOR + (1 - _FLOOR) * fall)


class SegmentationTask(SemanticSegmentation):
    """torchgeo's task with any architecture of ``networks``, pixels of class 255 outside loss and metrics.

    The metrics of validation and test are the macro mean IoU (``val_mean_iou``) and the IoU per class.

    Args:
        architecture: see ``networks.ARCHITECTURES``.
        encoder: see ``networks.build_network``.
        bands: input channels.
        names: class names, in the order of their indices.
        learning_rate: its peak.
        steps: optimiser steps of the whole training; the learning rate depends on them.
        seed: of weights and dropout.
        loss: see ``losses.loss_terms``; a network with a loss of its own learns by that.
        weights: of the classes in that loss; None: all 1.
        settings: of a checkpoint whose network is trained, see ``networks.build_network``.
    """

    def __init__(
        self,
        architecture: str = "unet",
        encoder: str = "resnet18",
        *,
        bands: int,
        names: Sequence[str],
        learning_rate: float = 1e-3,
        steps: int = 1000,
        seed: int = 0,
        loss: str = "ce",
        weights: Sequence[float] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        # torchgeo builds these inside its own __init__, before attributes of this class could be set.
        self._build = (architecture, encoder, bands, len(names), seed, settings)
        self._loss = (loss, weights)
        super().__init__(
            model=architecture,  # type: ignore[arg-type]
            backbone=encoder,
            weights=None,
            in_channels=bands,
            num_classes=len(names),
            labels=list(names),
            ignore_index=UNKNOWN,
            lr=learning_rate,
        )
        self.peak, self.steps, self.seed = learning_rate, steps, seed

    def configure_models(self) -> None:
        """The network of this architecture and encoder, random weights."""
        self.model = build_network(*self._build)

    def configure_losses(self) -> None:
        """The loss over known pixels."""
        self.criterion = SegmentationLoss(*self._loss)

    def configure_metrics(self) -> None:
        """Mean IoU over the classes and IoU per class; none in training, where they would cost more than they tell."""
        labels: list[str] = self.hparams["labels"]
        settings: dict[str, Any] = {"num_classes": len(labels), "ignore_index": UNKNOWN, "validate_args": False}
        metrics = MetricCollection(
            {
                "mean_iou": MulticlassJaccardIndex(average="macro", **settings),
                "iou": ClasswiseWrapper(
                    MulticlassJaccardIndex(average="none", **settings), labels=labels, prefix="iou_"
                ),
            }
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K, H, W) of normalised images (B, C, H, W) of any size."""
        return padded_logits(self.model, x)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """The loss over the known pixels; 0 when there are none."""
        torch.manual_seed(mix_seed("segment-dropout", self.seed, self.global_step))  # a function of (seed, step), too
        image, mask = batch["image"], batch["mask"]
        own = own_loss(self.model, image, mask)
        loss: Tensor = self.criterion(self(image), mask) if own is None else own
        self.log("train_loss", loss.detach(), batch_size=len(image))
        return loss

    def on_train_epoch_end(self) -> None:
        """There are no training metrics."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Set the learning rate from the step alone, so that there is nothing to restore when a run is resumed."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(self.global_step, self.steps, self.peak)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def configure_optimizers(self) -> Any:
        """AdamW; its learning rate is set step by step."""
        # One kernel for all weights: a loop over them is a good part of a small step.
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.AdamW(self.parameters(), lr=self.peak, weight_decay=0.01, fused=fused)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """To a norm; Lightning's own refuses fused optimisers, for the sake of scaled float16 gradients, not ours."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)
