"""The segmenter folder: a network, what it was trained on, and how good it was.

``segmenter.json`` says how to rebuild and feed the network; ``weights.safetensors`` holds it; ``lineage.json`` lists
the tiles it saw. ``segmenter.json`` is written last, carries the hash of the weights and one of itself, and both are
checked on load. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from geosynth.descriptions import DESCRIPTIONS, description_hash, misfit
from geosynth.devices import choose_device
from geosynth.errors import GeosynthError, ModelError
from geosynth.folders import OutputFolder, canonical_json
from geosynth.legend import Legend
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import Lineage
from geosynth.normalisation import Normalisation
from geosynth.rasters import Band
from geosynth.segmentation.flips import FLIPS, turned, turned_back
from geosynth.segmentation.networks import build_network, padded_logits

FORMAT = 1
KIND = "segmenter"
META = DESCRIPTIONS[KIND]
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class SegmenterSpec:
    """What a segmenter takes and gives.

    ``pixel_size`` (x, y) is in units of ``crs`` (``EPSG:n`` or WKT), ``gsd_m`` ground metres or None, ``tile_size`` the
    side in pixels of the tiles it was trained on, ``settings`` those of a checkpoint's network (see ``checkpoint``).
    """

    architecture: str
    encoder: str
    bands: tuple[Band, ...]
    legend: Legend
    crs: str
    pixel_size: tuple[float, float]
    gsd_m: float | None
    tile_size: int
    normalisation: Normalisation
    settings: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "encoder": self.encoder,
            "bands": [band.to_json() for band in self.bands],
            "legend": self.legend.to_json(),
            "crs": self.crs,
            "pixel_size": list(self.pixel_size),
            "gsd_m": self.gsd_m,
            "tile_size": self.tile_size,
            "mean": list(self.normalisation.mean),
            "std": list(self.normalisation.std),
            **({} if self.settings is None else {"network": self.settings}),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SegmenterSpec:
        x, y = content["pixel_size"]
        return cls(
            architecture=str(content["architecture"]),
            encoder=str(content["encoder"]),
            bands=tuple(Band.from_json(band) for band in content["bands"]),
            legend=Legend.from_json(content["legend"]),
            crs=str(content["crs"]),
            pixel_size=(float(x), float(y)),
            gsd_m=None if content["gsd_m"] is None else float(content["gsd_m"]),
            tile_size=int(content["tile_size"]),
            normalisation=Normalisation(tuple(map(float, content["mean"])), tuple(map(float, content["std"]))),
            settings=content.get("network"),
        )


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained segmenter, ready to use: network in eval mode on ``device``, and the content hash of its folder.

    ``training`` holds the training summary, ``validation`` the scores on the val split (None where there was none).
    """

    spec: SegmenterSpec
    network: nn.Module
    device: str
    training: dict[str, Any]
    validation: dict[str, Any] | None
    hash: str

    @torch.no_grad()
    def logits(
        self, images: NDArray[Any], valid: NDArray[np.bool_], *, flips: int = 1, precision: str = "32"
    ) -> Tensor:
        """Logits float32 (N, K, H, W), on the device, of raster values (N, C, H, W) and valid bool (N, H, W).

        Args:
            images, valid: what to segment.
            flips: a key of ``FLIPS``; the logits are the mean over that many views, each turned back.
            precision: "32", or "bf16" for autocast (the weights stay float32).
        """
        sample = self.spec.normalisation(images, valid).to(self.device)
        total: Tensor | None = None
        with torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16"):
            for view in FLIPS[flips]:
                part = turned_back(padded_logits(self.network, turned(sample, view)), view).float()
                total = part if total is None else total.add_(part)
        assert total is not None
        return total if flips == 1 else total.div_(flips)


def save_segmenter(
    folder: OutputFolder,
    spec: SegmenterSpec,
    weights: dict[str, Tensor],
    training: dict[str, Any],
    validation: dict[str, Any] | None,
    lineage: Lineage,
) -> str:
    """Write the files of a segmenter into a claimed folder, ``segmenter.json`` last; returns the content hash."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(weights.items())}
    weights_hash = folder.write(WEIGHTS, safetensors.save(tensors))
    folder.write(LINEAGE, json.dumps(lineage.to_json()) + "\n")
    content = {
        "format": FORMAT,
        "kind": KIND,
        **spec.to_json(),
        "training": training,
        "validation": validation,
        "weights_sha256": weights_hash,
    }
    content["hash"] = description_hash(content)
    folder.write(META, canonical_json(content))
    return str(content["hash"])


def describe_segmenter(folder: str | PathLike[str]) -> dict[str, Any]:
    """The content of ``segmenter.json``, its form checked but the weights not read.

    Raises:
        ModelError: not a segmenter (the message says what it is instead), or a damaged one.
    """
    path = Path(folder)
    meta = path / META
    if not meta.is_file():
        what, remedy = misfit(path, KIND)
        raise ModelError(what, where=path, remedy=remedy)
    try:
        content: dict[str, Any] = json.loads(meta.read_text(encoding="utf-8"))
        if content["kind"] != KIND or content["format"] != FORMAT:
            raise ModelError(
                f"holds a {content['kind']} of format {content['format']}; this geosynth reads a {KIND} of format"
                f" {FORMAT}",
                where=meta,
                remedy="upgrade geosynth",
            )
        if content["hash"] != description_hash(content):
            raise ModelError("was changed after it was written", where=meta, remedy="copy or train the segmenter again")
        return content
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, GeosynthError):
            raise
        raise ModelError(f"is damaged ({error})", where=meta, remedy="copy or train the segmenter again") from None


def load_segmenter(folder: str | PathLike[str], device: str = "auto") -> Segmenter:
    """A segmenter from its folder, rebuilt from ``segmenter.json`` alone, weights checked against their hash.

    Raises:
        ModelError: not a segmenter, or a damaged one; or this machine lacks the device.
    """
    where = choose_device(device)
    content = describe_segmenter(folder)
    path = Path(folder) / WEIGHTS
    remedy = "copy or train the segmenter again"
    if not path.is_file():
        raise ModelError("is missing", where=path, remedy=remedy)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != content["weights_sha256"]:
        raise ModelError("is damaged (not the weights that were written)", where=path, remedy=remedy)
    try:
        spec = SegmenterSpec.from_json(content)
        network = build_network(
            spec.architecture, spec.encoder, len(spec.bands), len(spec.legend), settings=spec.settings
        )
        network.load_state_dict(safetensors.load(data))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"does not fit its description ({str(error)[:160]})", where=path, remedy=remedy) from None
    network = network.to(where).eval().requires_grad_(False)
    return Segmenter(spec, network, where, content["training"], content["validation"], content["hash"])


@lru_cache(maxsize=1)
def cached_segmenter(folder: str, content_hash: str, device: str) -> Segmenter:
    """``load_segmenter`` for workers that do many tasks with one; raises ModelError when it is no longer the same."""
    segmenter = load_segmenter(folder, device)
    if segmenter.hash != content_hash:
        raise ModelError("was changed during the run", where=folder, remedy="run again with --overwrite")
    return segmenter
