"""Segmentation networks by name, for any band and class count; never downloads weights."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosynth.errors import ModelError
from geosynth.noise import mix_seed

ARCHITECTURES = {
    "unet": "unet",
    "unet++": "unetplusplus",
    "fpn": "fpn",
    "deeplabv3+": "deeplabv3plus",
    "pspnet": "pspnet",
    "segformer": "segformer",
    "upernet": "upernet",
}
"""Our names (torchgeo's where it has one) and what segmentation_models_pytorch calls them."""


def build_network(architecture: str, encoder: str, bands: int, classes: int, seed: int = 0) -> nn.Module:
    """A network with random weights, a function of ``seed`` alone.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        encoder: an encoder of segmentation_models_pytorch, or ``tu-`` and a timm name.
        bands: input channels.
        classes: output channels.
        seed: of the weights; the caller's random state is left as it was.

    Raises:
        ModelError: no such architecture or encoder, or the two do not go together.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(f"no architecture '{architecture}'", remedy=f"give one of: {', '.join(ARCHITECTURES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_seed("segment-weights", seed))
        try:
            network: nn.Module = smp.create_model(
                ARCHITECTURES[architecture], encoder, encoder_weights=None, in_channels=bands, classes=classes
            )
        except (KeyError, ValueError, NotImplementedError, RuntimeError) as error:
            reason = str(error.args[0] if error.args else error).split("Available options")[0][:160]
            raise ModelError(
                f"no network '{architecture}' with encoder '{encoder}' ({reason.strip()})",
                remedy="give another --encoder, for example resnet18, resnet50 or efficientnet-b0",
            ) from None
    return network


def padded_logits(network: nn.Module, image: Tensor) -> Tensor:
    """Logits (B, K, H, W) of images float32 (B, C, H, W) of any size.

    Encoders halve the image several times; to the right and below it is filled up with zeros (the mean) to a size they
    can halve, and the logits are cut back.
    """
    height, width = image.shape[-2:]
    stride = max(int(network.encoder.output_stride), 32)  # type: ignore[union-attr, arg-type]
    right, below = -width % stride, -height % stride
    logits: Tensor = network(F.pad(image, (0, right, 0, below)) if right or below else image)
    return logits[..., :height, :width]
