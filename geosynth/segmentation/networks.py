"""Segmentation networks by name, for any band and class count; never downloads weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosynth.errors import ModelError
from geosynth.legend import UNKNOWN
from geosynth.noise import mix_seed
from geosynth.segmentation.farseg import RESNETS, FarSegNetwork
from geosynth.segmentation.mask2former import CHECKPOINT, MASK2FORMER, Mask2FormerNetwork

FARSEG = "farseg"
_SMP = {
    "unet": "unet",
    "unet++": "unetplusplus",
    "fpn": "fpn",
    "deeplabv3+": "deeplabv3plus",
    "pspnet": "pspnet",
    "segformer": "segformer",
    "upernet": "upernet",
}
"""Our names (torchgeo's where it has one) and what segmentation_models_pytorch calls them."""

TIMM = "tu-"
"""How names of timm's encoders begin."""

ARCHITECTURES = (*_SMP, FARSEG, MASK2FORMER)
"""What ``build_network`` builds. Each has an ``encoder`` that gives a list of feature maps, the coarsest last; one that
learns by a loss of its own has ``training_loss`` (image, mask)."""

OWN_LOSS = {MASK2FORMER: "set"}
"""Architectures with a loss of their own, and what it is called."""


@dataclass(frozen=True)
class Preset:
    """An architecture and an encoder that go by one name."""

    architecture: str
    encoder: str


PRESETS = {"default": Preset("unet", "resnet18"), "satsynth": Preset("fpn", "resnet50")}
"""satsynth: the segmenter of the SatSynth paper."""


def build_network(
    architecture: str,
    encoder: str,
    bands: int,
    classes: int,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A network with random weights, a function of ``seed`` alone.

    Args:
        architecture: one of ``ARCHITECTURES``.
        encoder: an encoder of segmentation_models_pytorch, or ``tu-`` and a timm name; ``farseg`` takes ``RESNETS``.
        bands: input channels.
        classes: output channels.
        seed: of the weights; the caller's random state is left as it was.
        settings: of a checkpoint whose network is to be built (see ``mask2former``); ``encoder`` is "checkpoint" then.

    Raises:
        ModelError: no such architecture or encoder, or the two do not go together.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(f"no architecture '{architecture}'", remedy=f"give one of: {', '.join(ARCHITECTURES)}")
    if architecture == FARSEG and encoder not in RESNETS:
        raise ModelError(f"farseg has no encoder '{encoder}'", remedy=f"give one of: {', '.join(RESNETS)}")
    if (settings is not None) != (encoder == CHECKPOINT) or (settings is not None and architecture != MASK2FORMER):
        raise ModelError("a checkpoint's encoder goes with mask2former and --pretrained alone", remedy="give both")
    if settings is None and not _is_encoder(encoder):
        raise ModelError(f"no encoder '{encoder}'", remedy=f"give another --encoder, for example {_alike(encoder)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_seed("segment-weights", seed))
        try:
            if architecture == FARSEG:
                return FarSegNetwork(encoder, bands, classes)
            if architecture == MASK2FORMER:
                return Mask2FormerNetwork(encoder, bands, classes, settings)
            network: nn.Module = smp.create_model(
                _SMP[architecture], encoder, encoder_weights=None, in_channels=bands, classes=classes
            )
        except ModelError:
            raise
        except Exception as error:  # libraries raise whatever comes to them where two parts do not fit
            raise ModelError(
                f"no network '{architecture}' with encoder '{encoder}' ({_reason(error)})",
                remedy="give another --encoder, for example resnet18, resnet50 or efficientnet-b0",
            ) from None
    return network


def check_takes(
    network: nn.Module,
    bands: int,
    side: int,
    remedy: str = "give another --encoder, for example resnet18, resnet50 or efficientnet-b0",
) -> None:
    """Raise ModelError unless a network takes images of ``side`` pixels; some are made for one size alone."""
    training, device = network.training, next(network.parameters()).device
    try:
        with torch.no_grad():
            padded_logits(network.eval(), torch.zeros(1, bands, side, side, device=device))
    except Exception as error:
        raise ModelError(f"this network cannot take tiles of {side} px ({_reason(error)})", remedy=remedy) from None
    finally:
        network.train(training)


def encoder_of(network: nn.Module) -> nn.Module:
    """The encoder of a network of any architecture."""
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder


def padded_logits(network: nn.Module, image: Tensor) -> Tensor:
    """Logits (B, K, H, W) of images float32 (B, C, H, W) of any size.

    Encoders halve the image several times; to the right and below it is filled up with zeros (the mean) to a size they
    can halve, and the logits are cut back.
    """
    height, width = image.shape[-2:]
    logits: Tensor = network(_padded(image, network, 0))
    return logits[..., :height, :width]


def own_loss(network: nn.Module, image: Tensor, mask: Tensor) -> Tensor | None:
    """What a network with a loss of its own learns by, of images of any size; None for the others."""
    if not isinstance(network, Mask2FormerNetwork):
        return None
    return network.training_loss(_padded(image, network, 0), _padded(mask, network, UNKNOWN))


def _padded(image: Tensor, network: nn.Module, value: int) -> Tensor:
    height, width = image.shape[-2:]
    right, below = padded_side(width, network) - width, padded_side(height, network) - height
    return F.pad(image, (0, right, 0, below), value=value) if right or below else image


def padded_side(side: int, network: nn.Module) -> int:
    """To how many pixels ``padded_logits`` fills up a side."""
    stride = max(int(network.encoder.output_stride), 32)  # type: ignore[union-attr, arg-type]
    return side + -side % stride


def _is_encoder(name: str) -> bool:
    if name in smp.encoders.encoders:
        return True
    # smp takes its older timm- names for tu- ones; a tag after the dot only says which weights.
    timms = re.match(r"(tu|timm)-(.+)", name)
    if timms is None:
        return False
    plain = timms[2].split(".")[0]
    return bool(timm.is_model(plain) or timm.is_model(f"tf_{plain}"))


def _alike(name: str) -> str:
    """The encoders whose names are nearest to one that there is not."""
    names = [*smp.encoders.get_encoder_names(), *(f"tu-{model}" for model in timm.list_models())]
    near = get_close_matches(name.lower(), names, 4, 0.5)
    return ", ".join(near or ["resnet18", "resnet50", "efficientnet-b0", "mit_b0"])


def _reason(error: Exception) -> str:
    text = str(error.args[0] if error.args else error) or type(error).__name__
    return text.splitlines()[0][:160].strip()
