"""Training samples changed at random, image and mask together.

Every draw is a pure function of (seed, step, place in the batch): libraries of augmentations keep their random state in
the process, so that a run could not be taken up again in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Generator, Tensor
from torch.nn import functional as F

from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for
from geosynth.samples import Pair, TilesetDataset, class_shares, turn

Sample = dict[str, Tensor]
"""``image`` float32 (B, C, H, W) in standard deviations, 0 where there is no data; ``mask`` int64 (B, H, W), 255
unknown; ``valid`` bool (B, H, W)."""

_SPAN = 3.0
"""Gamma bends values up to so many standard deviations from the mean; what lies outside keeps its value."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training samples, all off by default.

    Attributes:
        colour: strength 0..1 of changes of brightness, contrast and gamma, band by band.
        zoom: crops at random, enlarged back to the tile's size up to 1 + ``zoom`` times.
        cutmix: share of samples into which a rectangle of another sample of the batch is put.
        copy_paste: share of samples onto which objects of rare classes from other tiles are put.
    """

    colour: float = 0.0
    zoom: float = 0.0
    cutmix: float = 0.0
    copy_paste: float = 0.0


class Augmenter:
    """Applies an ``Augmentation`` to the batches of a training: a ``samples.Augment``."""

    def __init__(self, what: Augmentation, seed: int) -> None:
        self.what, self.seed = what, seed
        self._donors: dict[range, Donors] = {}

    def __call__(self, dataset: TilesetDataset, pairs: range, batch: Sample, step: int) -> Sample:
        what, samples = self.what, range(len(batch["image"]))
        if what.zoom:
            batch = _each(batch, [zoomed(_one(batch, k), what.zoom, self._draws("zoom", step, k)) for k in samples])
        if what.copy_paste:
            if pairs not in self._donors:
                self._donors[pairs] = Donors.of(dataset.pairs, pairs)
            donors = self._donors[pairs]
            pasted = []
            for k in samples:
                draws = self._draws("copy-paste", step, k)
                on = _chance(draws, what.copy_paste)
                pasted.append(paste_objects(_one(batch, k), dataset, donors, draws) if on else _one(batch, k))
            batch = _each(batch, pasted)
        if what.cutmix:
            mixed = []
            for k in samples:
                draws = self._draws("cutmix", step, k)
                other = _one(batch, (k + 1 + _below(draws, len(samples) - 1)) % len(samples))
                on = _chance(draws, what.cutmix)
                mixed.append(cut_mixed(_one(batch, k), other, draws) if on else _one(batch, k))
            batch = _each(batch, mixed)
        if what.colour:
            batch = _each(
                batch, [coloured(_one(batch, k), what.colour, self._draws("colour", step, k)) for k in samples]
            )
        return batch

    def _draws(self, purpose: str, step: int, place: int) -> Generator:
        return generator_for(f"segment-{purpose}", self.seed, step, place)


def coloured(sample: Sample, strength: float, draws: Generator) -> Sample:
    """Another light: each band's brightness, contrast and gamma changed, half of it the same in all bands.

    At strength 1 brightness moves up to one standard deviation, contrast by up to a factor of e either way, and so does
    the exponent of gamma.
    """
    image = sample["image"]
    bands = image.shape[0]
    drawn = torch.rand(3, 1 + bands, generator=draws) * 2 - 1
    brightness, contrast, gamma = (strength * (drawn[:, :1] + drawn[:, 1:]) / 2)[:, :, None, None]
    unit = (image + _SPAN) / (2 * _SPAN)
    inside = (unit > 0) & (unit < 1)
    bent = torch.where(inside, unit.clamp(0, 1) ** gamma.exp(), unit) * (2 * _SPAN) - _SPAN
    changed = bent * contrast.exp() + brightness
    return {**sample, "image": torch.where(sample["valid"], changed, 0.0)}


def zoomed(sample: Sample, zoom: float, draws: Generator) -> Sample:
    """A square part at a random place, as large as the whole again: image interpolated, mask and valid by nearest."""
    side = sample["mask"].shape[-1]
    factor = 1 + zoom * float(torch.rand((), generator=draws))
    part = max(1, round(side / factor))
    top, left = (_below(draws, side - part + 1) for _ in range(2))
    window = (..., slice(top, top + part), slice(left, left + part))
    image, mask, valid = (sample[name][window][None] for name in ("image", "mask", "valid"))
    share = valid[None].float()
    # Pixels without data (0) must not shine into their neighbours: the mean is over the others.
    large = F.interpolate(image, size=side, mode="bilinear", align_corners=False)
    weight = F.interpolate(share, size=side, mode="bilinear", align_corners=False)
    near = F.interpolate(torch.stack([mask.float(), valid.float()], 1), size=side, mode="nearest-exact")[0]
    there = near[1] > 0
    return {
        **sample,
        "image": torch.where(there, large[0] / weight[0].clamp_min(1e-6), 0.0),
        "mask": near[0].long(),
        "valid": there,
    }


def cut_mixed(sample: Sample, other: Sample, draws: Generator) -> Sample:
    """CutMix (Yun et al. 2019): a rectangle of another sample, image, mask and missing data alike."""
    height, width = sample["mask"].shape
    share = float(torch.rand((), generator=draws)) ** 0.5
    tall, wide = max(1, round(height * share)), max(1, round(width * share))
    top, left = _below(draws, height - tall + 1), _below(draws, width - wide + 1)
    window = (..., slice(top, top + tall), slice(left, left + wide))
    mixed = {name: value.clone() for name, value in sample.items()}
    for name, value in mixed.items():
        value[window] = other[name][window]
    return mixed


@dataclass(frozen=True)
class Donors:
    """The rare classes, those with less than an equal share of the known pixels, and where they are.

    ``chances`` go up as classes get rarer; ``tiles`` are positions in the dataset, a tuple a class.
    """

    classes: tuple[int, ...]
    chances: tuple[float, ...]
    tiles: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair], used: range) -> Donors:
        """Those of the pairs ``used`` of a dataset."""
        shares = class_shares([pairs[index] for index in used])
        rare = [int(k) for k in np.flatnonzero((shares > 0) & (shares < 1 / len(shares)))]
        tiles = tuple(tuple(i for i in used if pairs[i].tile.class_fractions[k] > 0) for k in rare)
        return cls(tuple(rare), tuple(float(1 / shares[k]) for k in rare), tiles)


def paste_objects(sample: Sample, dataset: TilesetDataset, donors: Donors, draws: Generator) -> Sample:
    """Copy-Paste (Ghiasi et al. 2021): about half of the objects of a rare class in another tile, turned at random.

    Rare classes are drawn more often. Objects lie only on known pixels: what is unknown stays so.
    """
    if not donors.classes:
        return sample
    which = int(torch.multinomial(torch.tensor(donors.chances), 1, generator=draws))
    tiles = donors.tiles[which]
    index, turned = tiles[_below(draws, len(tiles))], _below(draws, 8)
    raw = dataset.raw(index)
    objects, count = ndimage.label(turn(raw[2], turned) == donors.classes[which])
    if not count:
        return sample
    taken = torch.rand(count, generator=draws) < 0.5
    taken[_below(draws, count)] = True
    chosen = torch.cat([torch.zeros(1, dtype=torch.bool), taken])[torch.from_numpy(objects.astype(np.int64))]
    chosen &= sample["mask"] != UNKNOWN
    image = dataset.gather([index], [turned])["image"][0]
    return {
        **sample,
        "image": torch.where(chosen, image, sample["image"]),
        "mask": torch.where(chosen, donors.classes[which], sample["mask"]),
    }


def _one(batch: Sample, place: int) -> Sample:
    return {name: value[place] for name, value in batch.items()}


def _each(batch: Sample, samples: Sequence[Sample]) -> Sample:
    return {name: torch.stack([sample[name] for sample in samples]) for name in batch}


def _chance(draws: Generator, share: float) -> bool:
    return bool(torch.rand((), generator=draws) < share)


def _below(draws: Generator, count: int) -> int:
    """An integer of 0 … count - 1."""
    return int(torch.randint(max(1, count), (), generator=draws))
