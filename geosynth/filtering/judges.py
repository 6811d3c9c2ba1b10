"""Who says how well a mask fits its image: a segmenter by its loss, a generator by the masks it tells for the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from geosynth.descriptions import kind_of
from geosynth.diffusion.codes import decode
from geosynth.diffusion.generator import Generator, cached_generator, load_generator, resolve
from geosynth.errors import LeakError, ModelError
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage, read_lineage
from geosynth.noise import generator_for, sample_noise
from geosynth.samples import check_compatible
from geosynth.segmentation.segmenter import Segmenter, cached_segmenter, load_segmenter
from geosynth.tileset import Tileset

Kind = Literal["segmenter", "generator"]


@dataclass(frozen=True)
class Judge:
    """A model by its folder and content hash; what workers need to open the same one."""

    kind: Kind
    folder: str
    hash: str
    device: str

    @property
    def largest(self) -> float:
        """No loss is larger: a limit there lets everything pass."""
        return math.inf if self.kind == "segmenter" else 1.0

    def losses(
        self,
        images: NDArray[Any],
        valid: NDArray[np.bool_],
        masks: NDArray[np.uint8],
        numbers: Sequence[int],
        draws: int,
        steps: int,
    ) -> NDArray[np.float32]:
        """How badly masks fit images, by pixel; 0 where the mask is unknown.

        A segmenter's cross-entropy, or the share of ``draws`` masks of a generator that have another class.

        Args:
            images: raster values (N, C, H, W).
            valid: bool (N, H, W).
            masks: class indices uint8 (N, H, W), 255 unknown.
            numbers: of the tiles, which with the draw decide a generator's noise.
            draws, steps: of a generator.

        Returns:
            float32 (N, H, W).
        """
        if self.kind == "segmenter":
            segmenter = cached_segmenter(self.folder, self.hash, self.device)
            target = torch.from_numpy(masks.astype(np.int64)).to(segmenter.device)
            loss = F.cross_entropy(segmenter.logits(images, valid), target, ignore_index=UNKNOWN, reduction="none")
            result: NDArray[np.float32] = loss.cpu().numpy()
            return result
        told = _told(cached_generator(self.folder, self.hash), self.device, images, valid, numbers, draws, steps)
        other: NDArray[np.float32] = np.where(masks == UNKNOWN, 0, (told != masks).mean(axis=0)).astype(np.float32)
        return other


def _told(
    generator: Generator,
    device: str,
    images: NDArray[Any],
    valid: NDArray[np.bool_],
    numbers: Sequence[int],
    draws: int,
    steps: int,
) -> NDArray[np.uint8]:
    """Masks that a generator tells for images: class indices uint8 (draws, N, H, W)."""
    pipeline = generator.pipeline.to(device)
    given = torch.stack([generator.scale.to_network(image, there) for image, there in zip(images, valid, strict=True)])
    shape = (generator.bands + pipeline.denoiser.mask_channels, *images.shape[-2:])
    masks = []
    for draw in range(draws):
        noise = torch.stack([sample_noise(draw, number, shape) for number in numbers])
        extra = [generator_for("filter", draw, number) for number in numbers]
        _, bits = pipeline(noise, image=given, steps=steps, generators=extra)
        masks.append(decode(bits, generator.classes, generator.bit_size)[0].numpy())
    return np.stack(masks)


def open_judge(path: str, device: str, real: Tileset, judged: Tileset, events: Events) -> tuple[Judge, Lineage]:
    """The model that filters ``judged``, and what it saw, both checked against each other and the real tiles.

    Raises:
        ModelError: neither segmenter nor generator, one that does not fit, or a segmenter of synthetic pairs.
        LeakError: it saw test tiles, or labels that ``real`` does not have.
        TilesetError: the tilesets do not go together.
    """
    check_compatible(real, judged)
    folder = resolve(path).resolve()
    model: Segmenter | Generator
    if kind_of(folder) == "generator":
        model = load_generator(folder)
        judge = Judge("generator", str(folder), model.hash, device)
        if not model.pipeline.two_levels:
            raise ModelError("makes new pairs only", where=folder, remedy="filter by a segmenter, or another generator")
        if model.spec.tile_size != judged.spec.tile_size:
            raise ModelError(
                f"makes tiles of {model.spec.tile_size} px, these are {judged.spec.tile_size} px",
                where=folder,
                remedy="filter by the generator that made them",
            )
    elif kind_of(folder) == "segmenter":
        model = load_segmenter(folder, device)
        judge = Judge("segmenter", str(folder), model.hash, device)
        made = model.training.get("made_pairs", model.training.get("pairs", {}).get("synthetic", 0))
        if made:
            raise ModelError(
                f"was trained on {made} synthetic pairs, whose mistakes it takes for right",
                where=folder,
                remedy="train one on the real tiles alone: geosynth segment TILES --out SEGMENTER",
            )
    else:
        what = "is neither a segmenter nor a generator" if folder.exists() else "no such folder"
        raise ModelError(what, where=folder, remedy="give a segmenter or a generator: --by MODEL")
    asked, known = _kind(judged.spec), _kind(model.spec)
    if asked != known:
        raise ModelError(
            "its bands or classes are not those of the tiles", where=folder, remedy="give a model of the same tiles"
        )
    lineage = read_lineage(folder)
    _check_fair(judge, lineage, real, events)
    return judge, lineage


def _kind(spec: Any) -> tuple[Any, ...]:
    return [(b.name, b.dtype) for b in spec.bands], [(c.id, c.name) for c in spec.legend.classes]


def _check_fair(judge: Judge, lineage: Lineage, real: Tileset, events: Events) -> None:
    """Whoever filters hands on what it knows: that must be what the real tiles may tell."""
    where, crs = Path(judge.folder), real.spec.crs_name
    tests = lineage.overlap([tile for tile in real.tiles if tile.split == "test"], crs)
    if tests:
        raise LeakError(
            f"saw {len(tests)} test tiles of {real.path.name}: what it filters would be fitted to them",
            where=where,
            remedy="filter by a model of the training split alone",
        )
    allowed = [tile for tile in real.tiles if tile.split != "test" and tile.labelled]
    beyond = lineage.labels_beyond(allowed, crs)
    if beyond:
        raise LeakError(
            f"saw labels of {len(beyond)} places that {real.path.name} has none of: they would come back by the filter",
            where=where,
            remedy="filter by a model that was trained on these very tiles",
        )
    if not lineage.seen:
        events.warn(f"{where.name} does not say what it was trained on; a leak cannot be ruled out")
