"""What a training starts from, beside random weights: a file for the encoder, or a folder for the whole network."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from geosynth.lineage import Lineage, read_lineage
from geosynth.segmentation.checkpoint import Checkpoint, load_checkpoint, read_checkpoint
from geosynth.segmentation.encoderfile import EncoderFile, load_encoder, read_encoder_file
from geosynth.segmentation.mask2former import Mask2FormerNetwork
from geosynth.segmentation.networks import encoder_of, padded_side
from geosynth.tileset import TileSpec

FilePath = str | PathLike[str]


@dataclass(frozen=True)
class Start:
    """The files, read; None where there is none."""

    encoder: EncoderFile | None = None
    checkpoint: Checkpoint | None = None

    @classmethod
    def of(cls, encoder_weights: FilePath | None, pretrained: FilePath | None) -> Start:
        """The files that are named, read. Raises ModelError where they cannot be used."""
        return cls(
            None if encoder_weights is None else read_encoder_file(encoder_weights),
            None if pretrained is None else read_checkpoint(pretrained),
        )

    @property
    def settings(self) -> dict[str, Any] | None:
        """Those of a checkpoint's network."""
        return None if self.checkpoint is None else self.checkpoint.settings

    @property
    def paths(self) -> list[Path]:
        """Files and folders that are read."""
        return [part.path for part in (self.encoder, self.checkpoint) if part is not None]

    @property
    def lineages(self) -> list[Lineage]:
        """What is known of what it has seen: it lies beside the weights of a geosynth segmenter."""
        folders = [part.path.parent for part in (self.encoder,) if part is not None]
        return [read_lineage(folder) for folder in folders]

    def load(self, network: nn.Module, spec: TileSpec) -> list[str]:
        """Give a network its first weights; returns lines about it."""
        bands, side = [band.name for band in spec.bands], padded_side(spec.tile_size, network)
        said = []
        if self.encoder is not None:
            said.append(load_encoder(encoder_of(network), self.encoder, bands, side))
        if self.checkpoint is not None:
            assert isinstance(network, Mask2FormerNetwork)
            said.append(load_checkpoint(network, self.checkpoint, bands, spec.legend.names, side))
        return said
