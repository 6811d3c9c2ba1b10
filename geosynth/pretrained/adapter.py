"""The LoRA in a U-Net: put in, taken out as plain tensors, and read back, in the layout of diffusers' pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from geosynth.errors import ModelError
from geosynth.noise import mix_seed

FILE = "pytorch_lora_weights.safetensors"
"""Where ``load_lora_weights`` of diffusers' pipelines looks."""

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention's projections, as in Hu et al. 2022."""

_PREFIX = "unet."


def check_targets(layers: Sequence[str], targets: Sequence[str]) -> None:
    """Raise ModelError where none of ``layers`` ends with the name of a target."""
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise ModelError(
                f"the U-Net has no layer {target}", remedy=f"give other --lora-targets, for example {','.join(TARGETS)}"
            )


def add_adapter(unet: Any, rank: int, targets: Sequence[str], seed: int) -> None:
    """Put a LoRA into ``unet``, whose other weights are frozen; it changes nothing before it is trained.

    Args:
        unet: changed in place.
        rank: of the matrices; their product counts with weight 1.
        targets: layers, by the end of their names.
        seed: of the starting weights.

    Raises:
        ModelError: LoRA cannot be put beside one of them.
    """
    from peft import LoraConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_seed("lora", seed))
        try:
            unet.add_adapter(
                LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets))
            )
        except ValueError as error:  # a layer that LoRA cannot be put beside
            raise ModelError(
                f"the U-Net takes no LoRA there ({str(error)[:120]})", remedy="give other --lora-targets"
            ) from None


def adapter_weights(learnt: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an adapter by their names among the U-Net's parameters, as they are called in the file."""
    return {_PREFIX + name.replace(".default.", "."): weight.cpu().contiguous() for name, weight in learnt.items()}


def load_adapter(unet: Any, weights: Mapping[str, Tensor]) -> None:
    """Put a trained LoRA into ``unet``. Raises ModelError unless it fits."""
    try:
        unet.load_lora_adapter(dict(weights), prefix=_PREFIX[:-1])
    except (ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"its LoRA does not fit the U-Net ({str(error)[:120]})", remedy="train it again") from None
    unet.requires_grad_(False)
