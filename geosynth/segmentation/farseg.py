"""torchgeo's FarSeg for any number of bands."""

from __future__ import annotations

from segmentation_models_pytorch.encoders import get_encoder
from torch import nn
from torchgeo.models import FarSeg

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
"""The encoders FarSeg is made for."""


class FarSegNetwork(FarSeg):
    """FarSeg (Zheng et al. 2020): a pyramid whose levels are weighted by how they relate to the whole scene.

    Args:
        encoder: one of ``RESNETS``.
        bands: input channels.
        classes: output channels.
    """

    def __init__(self, encoder: str, bands: int, classes: int) -> None:
        super().__init__(encoder, classes)
        # The same ResNet under the same names, but of any number of bands and without the classifier nobody uses.
        self.backbone = get_encoder(encoder, in_channels=bands, weights=None)

    @property
    def encoder(self) -> nn.Module:
        """The ResNet as the other architectures have it: gives its feature maps, knows its output stride."""
        return self.backbone  # type: ignore[no-any-return]
