"""How data becomes noise, and what the network is asked to tell: the recipes of training and sampling.

Levels run from 0 (clean) to 1 (noise). A noisy side is ``signal(level) * data + noise_share(level) * noise``, and three
predictions are known: the direction of a straight line (rectified flow), v, and the noise itself. What a process is,
is written in the diffusers scheduler saved with a generator: a flow scheduler is a straight line, a DDPM scheduler says
its betas and its prediction type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Generator, Tensor

from geosynth.errors import ModelError

Prediction = Literal["flow", "v_prediction", "epsilon"]
Betas = Literal["linear", "squaredcos_cap_v2"]

TIMESTEPS = 1000
"""Discrete noise levels of a process with betas: level ``(t + 1) / TIMESTEPS`` is timestep t."""

CLIP = 3.0
"""Largest absolute network value an estimate of the data may have: 6 standard deviations of a band."""


@dataclass(frozen=True)
class Process:
    """A noising process and its prediction. ``betas`` is None for the straight line of rectified flow."""

    prediction: Prediction = "flow"
    betas: Betas | None = None

    def __post_init__(self) -> None:
        if (self.prediction == "flow") != (self.betas is None):
            raise ValueError(f"no process predicts {self.prediction} with betas {self.betas}")

    @classmethod
    def of(cls, scheduler: Any) -> Process:
        """The process a saved scheduler describes.

        Raises:
            ModelError: a scheduler of another kind.
        """
        config = scheduler.config
        if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            return cls()
        if isinstance(scheduler, DDPMScheduler) and config.prediction_type in ("v_prediction", "epsilon"):
            return cls(config.prediction_type, config.beta_schedule)
        raise ModelError(
            f"its scheduler {type(scheduler).__name__} is none of geosynth's",
            remedy="use a generator made by: geosynth train",
        )

    def scheduler(self) -> FlowMatchEulerDiscreteScheduler | DDPMScheduler:
        """The scheduler that is saved with a generator and describes this process."""
        if self.betas is None:
            return FlowMatchEulerDiscreteScheduler()
        return DDPMScheduler(
            TIMESTEPS,
            beta_schedule=self.betas,
            prediction_type=self.prediction,
            clip_sample=True,
            clip_sample_range=CLIP,
            timestep_spacing="trailing",
        )

    def shares(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of data and of noise at ``level`` (any shape, 0..1): two tensors of that shape."""
        if self.betas is None:
            return 1 - level, level
        kept = _signal_power(self.betas, level.device)[(level * TIMESTEPS).round().long()]
        return kept.sqrt(), (1 - kept).sqrt()

    def mix(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Data and noise (B, C, H, W) at ``level``, (B,) or broadcastable to them."""
        signal, share = self.shares(_spread(level))
        return signal * data + share * noise

    def target(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """What the network learns to tell at ``level``: direction, v or noise, of the shape of ``data``."""
        if self.prediction == "flow":
            return noise - data
        if self.prediction == "epsilon":
            return noise
        signal, share = self.shares(_spread(level))
        return signal * noise - share * data  # Salimans and Ho 2022, section 4

    def weight(self, level: Tensor) -> Tensor:
        """Weight of the squared error at ``level``, of its shape.

        v is weighted by min-SNR with gamma 5 (Hang et al. 2023, section 3.4); direction and noise are not weighted.
        """
        if self.prediction != "v_prediction":
            return torch.ones_like(level)
        signal, share = self.shares(level)
        ratio = signal.square() / share.square().clamp(min=1e-8)
        return ratio.clamp(max=5.0) / (ratio + 1)

    def draw_levels(self, count: int, generator: Generator) -> Tensor:
        """Training levels of ``count`` sides, float32 (count,).

        On the straight line they follow a logit-normal (Esser et al. 2024, section 3.1), which spends the effort in the
        middle, mixed with a tenth of uniform levels so that both ends are seen too. With betas all are equally likely.
        """
        normal = torch.randn(count, generator=generator).sigmoid()
        uniform = torch.rand(count, generator=generator)
        flat = torch.rand(count, generator=generator) < 0.1
        if self.betas is None:
            return torch.where(flat, uniform, normal)
        return ((uniform * TIMESTEPS).floor() + 1) / TIMESTEPS


def _spread(level: Tensor) -> Tensor:
    return level[:, None, None, None] if level.ndim == 1 else level


@lru_cache
def _signal_power(betas: str, device: torch.device) -> Tensor:
    """Share of the power that is data, float32 (TIMESTEPS + 1,): 1 at level 0, then after every timestep.

    It stays on the device: copied at every step, the device would wait for it.
    """
    scheduler = DDPMScheduler(TIMESTEPS, beta_schedule=betas)
    return torch.cat([torch.ones(1), scheduler.alphas_cumprod.float()]).to(device)


@dataclass(frozen=True)
class Recipe:
    """How a generator is trained.

    Attributes:
        process: what the network learns to tell.
        two_levels: whether image and mask have a noise level each. Otherwise both sides share one, and the network
            answers only what it was made for: new pairs.
        bit_size: absolute value of the mask's analog bits, beside images that spread by 0.5.
        decorrelation: how far bands are decorrelated, 0..1, see ``BandScale.decorrelated``; measured, see
            ``benchmarks/ablation.py bands``.
    """

    process: Process
    two_levels: bool = True
    bit_size: float = 1.0
    decorrelation: float = 0.0


RECIPES = {
    "flow": Recipe(Process(), bit_size=0.5, decorrelation=0.5),
    "v": Recipe(Process("v_prediction", "squaredcos_cap_v2")),
    "satsynth": Recipe(Process("epsilon", "linear"), two_levels=False),
}
"""flow: rectified flow. v: v-prediction, cosine betas, min-SNR. satsynth: noise prediction, linear betas, one level, as
in SatSynth (CVPR 2024, section 3)."""

DEFAULT_RECIPE = "flow"
