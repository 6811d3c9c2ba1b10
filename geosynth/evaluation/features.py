"""What a network sees in images: feature vectors, and the space they are compared in.

The network is a segmenter trained on real tiles, or an encoder whose weights lie in a local file. Two feature maps of
its encoder, averaged over the tile: the deepest, which tells what is there (the classes were learnt
from it), and the one two levels up, four times finer, which still tells how it looks: texture, edges, noise. Deep
features alone are trained to ignore these, and small tiles have a single deep pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from geosynth.events import Events
from geosynth.normalisation import Normalisation
from geosynth.samples import TilesetDataset
from geosynth.segmentation.encoderfile import load_encoder, read_encoder_file
from geosynth.segmentation.networks import build_network, encoder_of
from geosynth.segmentation.segmenter import Segmenter

_PIXELS = 1 << 18
"""Pixels that go through the network at once."""

_LEVELS_UP = 2


@dataclass(frozen=True)
class Features:
    """Feature vectors of N tiles, one float64 (N, D) array a level: ``deep`` and ``fine``."""

    deep: NDArray[np.float64]
    fine: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.deep)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Features:
        return Features(self.deep[rows], self.fine[rows])


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """An encoder in eval mode on ``device``, and how it takes images; ``name`` and ``hash`` say whose it is."""

    name: str
    encoder: nn.Module
    normalisation: Normalisation
    device: str
    hash: str

    @classmethod
    def of(cls, segmenter: Segmenter) -> FeatureNetwork:
        """The encoder of a segmenter."""
        name, encoder = "the segmenter trained on the real tiles", encoder_of(segmenter.network)
        return cls(name, encoder, segmenter.spec.normalisation, segmenter.device, segmenter.hash)

    @classmethod
    def from_file(
        cls, path: str | PathLike[str], encoder: str, bands: Sequence[str], normalisation: Normalisation
    ) -> FeatureNetwork:
        """An encoder with the weights of a local file, on the CPU; nothing is ever downloaded.

        Args:
            path: see ``encoderfile.read_encoder_file``.
            encoder: its name, see ``networks.build_network``.
            bands: names of the bands it shall take; a first layer of others is adapted.
            normalisation: of these bands. Weights of photographs expect values about 0 that vary by about 1, too.

        Raises:
            ModelError: no such encoder, or a file that does not hold it.
        """
        network = encoder_of(build_network("unet", encoder, len(bands), 2))
        file = read_encoder_file(path)
        load_encoder(network, file, bands)
        network = network.eval().requires_grad_(False)
        return cls(f"{encoder} from {file.path.name}", network, normalisation, "cpu", f"{encoder} {file.sha256}")


@torch.no_grad()
def image_features(network: FeatureNetwork, images: Tensor) -> Features:
    """Features of normalised images float32 (B, C, H, W); what lies outside a tile (padding) is not averaged in."""
    encoder: Any = network.encoder
    height, width = images.shape[-2:]
    stride = max(int(encoder.output_stride), 32)
    maps = encoder(F.pad(images.to(network.device), (0, -width % stride, 0, -height % stride)))

    def averaged(level: Tensor) -> NDArray[np.float64]:
        step = (height + -height % stride) // level.shape[-2]
        inside = level[..., : -(-height // step), : -(-width // step)]
        vectors: NDArray[np.float64] = inside.double().mean(dim=(2, 3)).cpu().numpy()
        return vectors

    return Features(averaged(maps[-1]), averaged(maps[max(1, len(maps) - 1 - _LEVELS_UP)]))


def dataset_features(network: FeatureNetwork, dataset: TilesetDataset, events: Events) -> Features:
    """Features of all tiles of a dataset that is normalised as the network wants it.

    Raises:
        TilesetError: a tile cannot be read.
        Cancelled: the user stopped it.
    """
    batch = max(1, _PIXELS // dataset.pairs[0].tileset.spec.tile_size ** 2)
    parts = []
    for start in range(0, len(dataset), batch):
        events.check()
        events.progress(start, len(dataset), "tiles described")
        indices = range(start, min(start + batch, len(dataset)))
        parts.append(image_features(network, dataset.gather(indices, [0] * len(indices))["image"]))
    return Features(np.concatenate([part.deep for part in parts]), np.concatenate([part.fine for part in parts]))


@dataclass(frozen=True)
class FeatureSpace:
    """Where features are compared; fitted to those of real training tiles, and the same for whatever is compared.

    Vectors are compared by direction: a few kinds of tiles (water) excite a network ten times as much as all others,
    and a cubic kernel would see nothing else. Then each level is centred and multiplied by one number, so that both
    vary equally and a dimension by 1 on average; not each dimension by its own spread, for then one that is silent on
    real tiles would decide everything.

    Attributes:
        centres: mean direction of each level.
        factors: what each level is multiplied with.
        axes: float64 (A, D), the principal axes of the scaled features, widest first.
    """

    centres: tuple[NDArray[np.float64], NDArray[np.float64]]
    factors: tuple[float, float]
    axes: NDArray[np.float64]

    @classmethod
    def fit(cls, features: Features) -> FeatureSpace:
        """The space of the features of at least 2 real tiles."""
        levels = (_directions(features.deep), _directions(features.fine))
        dimensions = sum(level.shape[1] for level in levels)
        spreads = [float(level.var(axis=0).sum()) for level in levels]
        factors = tuple(float(np.sqrt(dimensions / len(levels) / spread)) if spread > 0 else 1.0 for spread in spreads)
        space = cls((levels[0].mean(axis=0), levels[1].mean(axis=0)), (factors[0], factors[1]), np.eye(dimensions))
        axes = np.linalg.svd(space.scaled(features), full_matrices=False)[2]
        return cls(space.centres, space.factors, axes)

    def scaled(self, features: Features) -> NDArray[np.float64]:
        """Both levels side by side: float64 (N, D), for KID and for neighbourhoods."""
        levels = zip((features.deep, features.fine), self.centres, self.factors, strict=True)
        return np.concatenate([(_directions(level) - centre) * factor for level, centre, factor in levels], axis=1)

    def projected(self, features: Features, dimensions: int) -> NDArray[np.float64]:
        """The first ``dimensions`` principal components, float64 (N, dimensions), for FID; real tiles vary by 1 in all.

        FID fits a covariance: with D of several hundred and as many tiles it would measure the sample size. The leading
        components hold nearly all that differs between real tiles; what real tiles never do is KID's to see.
        """
        components: NDArray[np.float64] = self.scaled(features) @ self.axes[:dimensions].T / math.sqrt(len(self.axes.T))
        return components


def _directions(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (N, D) at length 1; one of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1)
    return unit
