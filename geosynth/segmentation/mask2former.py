"""transformers' Mask2Former for any number of bands: over any encoder, or as a local checkpoint has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn import functional as F

from geosynth.errors import ModelError
from geosynth.segmentation.setloss import Queries, set_loss

MASK2FORMER = "mask2former"
CHECKPOINT = "checkpoint"
"""Name of the encoder that a checkpoint's own settings describe."""

BACKBONES = ("swin", "resnet", "convnext")
"""Backbones of checkpoints that are built; all are part of transformers and take any number of bands."""

_LEVELS = 4
_LEAST_QUERIES = 32
_SMALL = {
    "feature_size": 128,
    "mask_feature_size": 128,
    "hidden_dim": 128,
    "encoder_feedforward_dim": 512,
    "dim_feedforward": 512,
    "encoder_layers": 3,
    "decoder_layers": 4,
    "num_attention_heads": 8,
}
"""A third of the paper's layers, half as wide: for small tiles and few labels."""

_EPSILON = 1e-6


class Mask2FormerNetwork(nn.Module):
    """Mask2Former (Cheng et al. 2022): queries that each name a class and draw its mask.

    Args:
        encoder: of segmentation_models_pytorch; ``CHECKPOINT`` for the one that ``settings`` describe.
        bands: input channels.
        classes: output channels.
        settings: those of a checkpoint (its config.json); None: small ones.

    Raises:
        ModelError: transformers is not installed, or the settings cannot be used.
    """

    def __init__(self, encoder: str, bands: int, classes: int, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        own = None if settings is not None else get_encoder(encoder, in_channels=bands, weights=None)
        built = _built(bands, classes, None if own is None else own.out_channels[-_LEVELS:], settings)
        pixels = built.model.pixel_level_module
        self.encoder: nn.Module = own if own is not None else Backbone(pixels.encoder)
        self.pixels, self.queries, self.head = pixels.decoder, built.model.transformer_module, built.class_predictor

    def stages(self, image: Tensor) -> list[Queries]:
        """What the queries say after every layer, float32, of images (B, C, H, W); masks have a quarter of the size."""
        maps = self.encoder(image)[-_LEVELS:]
        with torch.autocast(image.device.type, enabled=False):  # places of pixels need more digits than bf16 has
            decoded = self.pixels([level.float() for level in maps])
            found = self.queries(decoded.multi_scale_features, decoded.mask_features, output_hidden_states=True)
            classes = [self.head(state.transpose(0, 1)) for state in found.intermediate_hidden_states]
        return list(zip(classes, found.masks_queries_logits, strict=True))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, H, W): logarithms of what all queries say for a class, so that softmax gives their shares."""
        classes, masks = self.stages(image)[-1]
        drawn = F.interpolate(masks, size=image.shape[-2:], mode="bilinear", align_corners=False).sigmoid()
        return torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :-1], drawn).add(_EPSILON).log()

    def training_loss(self, image: Tensor, mask: Tensor) -> Tensor:
        """Its own loss, see ``setloss``: image as ``forward`` takes it, mask int64 (B, H, W), 255 unknown."""
        return set_loss(self.stages(image), mask)


class Backbone(nn.Module):
    """A backbone of transformers as the other encoders are: gives the image and its feature maps, coarsest last."""

    output_stride = 32

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image, *self.inner(image).feature_maps]


def _built(bands: int, classes: int, channels: Any, settings: Mapping[str, Any] | None) -> Any:
    """transformers' model of these sizes; of its backbone nothing but the channels counts where they are given."""
    config = _configuration(settings or _SMALL)
    config.num_labels = classes
    if channels is not None:
        config.num_queries = max(_LEAST_QUERIES, classes)
        config.backbone_config = _stand_in(channels)
    elif config.num_queries < classes:
        raise ModelError(
            f"has {config.num_queries} queries, too few for {classes} classes",
            remedy="give another checkpoint, or leave out --pretrained",
        )
    config.backbone_config.num_channels = bands
    from transformers import Mask2FormerForUniversalSegmentation

    return Mask2FormerForUniversalSegmentation(config)


def _configuration(settings: Mapping[str, Any]) -> Any:
    check_installed()
    from transformers import Mask2FormerConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    return Mask2FormerConfig.from_dict(dict(settings))


def _stand_in(channels: Any) -> Any:
    """A backbone of these channels, as small as there is: it is built, asked for them, and thrown away."""
    from transformers import ResNetConfig

    names = [f"stage{number + 1}" for number in range(_LEVELS)]
    return ResNetConfig(hidden_sizes=list(channels), depths=[1] * _LEVELS, embedding_size=8, out_features=names)


def check_installed() -> None:
    """Raise ModelError where transformers is not installed."""
    from importlib.util import find_spec

    if find_spec("transformers") is None:
        raise ModelError(
            "mask2former needs transformers",
            remedy='pip install "geosynth-eo[stable-diffusion]", or give another --arch',
        )
