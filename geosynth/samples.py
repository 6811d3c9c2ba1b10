"""Tilesets as torchgeo datasets and a datamodule; real and synthetic pairs mixed at ratio R.

A pair is read from its own two files, never from a mosaic: made-up places may touch real ones. Training batches are
pure functions of (seed, step), so a resumed run is the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets import NonGeoDataset

from geosynth.errors import TilesetError
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for
from geosynth.normalisation import Normalisation
from geosynth.scenes.targets import same_crs
from geosynth.tileset import Split, Tile, Tileset

MEMORY_LIMIT = 2 << 30
"""Bytes of pixels up to which a dataset keeps its tiles in memory unless told otherwise."""

PIXEL_SIZE_TOLERANCE = 0.01
"""Relative difference of pixel sizes up to which two tilesets go together."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One tile together with the tileset its files are in."""

    tileset: Tileset
    tile: Tile


def pairs_of(tileset: Tileset, split: Split) -> list[Pair]:
    """The labelled pairs of a split that nobody rejected, in index order."""
    return [Pair(tileset, tile) for tile in tileset.select(split, labelled=True)]


def check_compatible(first: Tileset, second: Tileset) -> None:
    """Raise TilesetError, naming both folders and the difference, unless one network can be trained on both."""
    a, b = first.spec, second.spec
    sizes_a: Any = a.pixel_size if same_crs(a.crs, b.crs) or a.gsd_m is None or b.gsd_m is None else (a.gsd_m,)
    sizes_b: Any = b.pixel_size if sizes_a is a.pixel_size else (b.gsd_m,)
    close = all(abs(x - y) <= PIXEL_SIZE_TOLERANCE * x for x, y in zip(sizes_a, sizes_b, strict=True))
    compared = [
        ("bands", [(band.name, band.dtype) for band in a.bands], [(band.name, band.dtype) for band in b.bands]),
        ("legend", [(c.id, c.name) for c in a.legend.classes], [(c.id, c.name) for c in b.legend.classes]),
        ("pixel size", sizes_a, sizes_a if close else sizes_b),
        ("tile size", [a.tile_size], [b.tile_size]),
    ]
    for name, mine, other in compared:
        if mine != other:
            raise TilesetError(
                f"does not go with {first.path}: its {name} is {_plain(other)}, there it is {_plain(mine)}",
                where=second.path,
                remedy="use tilesets made with the same bands, legend, pixel size and tile size",
            )


def _plain(values: Sequence[Any]) -> str:
    return ", ".join(" ".join(str(part) for part in v) if isinstance(v, tuple) else f"{v:g}" for v in values)


def draw_synthetic(real: Sequence[Pair], synthetic: Sequence[Pair], ratio: float | None, seed: int) -> list[Pair]:
    """The synthetic pairs that go with ``real`` at ``ratio``, drawn without replacement in a seeded order.

    The order is a hash of (seed, tileset, tile), so a smaller ratio draws a subset of what a larger one draws, and a
    pair rejected meanwhile changes nothing for the others.

    Args:
        real: real training pairs; those with labels count.
        synthetic: labelled pairs to draw from.
        ratio: synthetic pairs per labelled real one; None takes all.
        seed: chooses the order.

    Raises:
        TilesetError: there are fewer synthetic pairs than asked for.
    """

    def rank(pair: Pair) -> bytes:
        text = f"{seed}:{pair.tileset.spec.id}:{pair.tile.id}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    ordered = sorted(synthetic, key=rank)
    if ratio is None:
        return ordered
    labelled = sum(pair.tile.labelled for pair in real)
    count = round(ratio * labelled)
    if count > len(ordered):
        folders = sorted({str(pair.tileset.path) for pair in ordered}) or ["no synthetic tileset"]
        raise TilesetError(
            f"{len(ordered)} labelled synthetic training pairs, but ratio {ratio:g} of {labelled} labelled real pairs"
            f" is {count}",
            where=", ".join(folders),
            remedy=f"generate {count - len(ordered)} more, or give --ratio {len(ordered) / labelled:.3g} or less",
        )
    return ordered[:count]


def mix(real: Sequence[Pair], synthetic: Sequence[Pair], ratio: float | None, seed: int) -> list[Pair]:
    """The labelled real pairs and R synthetic pairs for each of them (SatSynth's ratio); see ``draw_synthetic``."""
    return [pair for pair in real if pair.tile.labelled] + draw_synthetic(real, synthetic, ratio, seed)


def class_shares(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Shares of the classes in the known pixels of all pairs, float64 (K,) in legend order; zeros if there are none."""
    counts = np.sum([pair.tile.class_fractions for pair in pairs], axis=0, dtype=np.float64)
    shares: NDArray[np.float64] = counts / (counts.sum() or 1.0)
    return shares


class TilesetDataset(NonGeoDataset):
    """Pairs of one or more tilesets as normalised samples.

    Args:
        pairs: what to read, in this order.
        normalisation: band statistics, the same for every tileset.
        in_memory: keep all pixels in memory, in the tileset's own dtype; None: when they take at most 2 GiB.
        events: asked, while reading into memory, whether to stop.

    Raises:
        TilesetError: the tilesets do not go together, or a file cannot be read.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        normalisation: Normalisation,
        *,
        in_memory: bool | None = None,
        events: Events | None = None,
    ) -> None:
        self.pairs, self.normalisation = tuple(pairs), normalisation
        tilesets = list({id(pair.tileset): pair.tileset for pair in self.pairs}.values())
        for other in tilesets[1:]:
            check_compatible(tilesets[0], other)
        self._memory: tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]] | None = None
        if not self.pairs:
            return
        spec = tilesets[0].spec
        side, bands, dtype = spec.tile_size, len(spec.bands), np.dtype(spec.bands[0].dtype)
        size = len(self.pairs) * side * side * (bands * dtype.itemsize + 2)
        if in_memory or (in_memory is None and size <= MEMORY_LIMIT):
            images = np.empty((len(self.pairs), bands, side, side), dtype)
            valid = np.empty((len(self.pairs), side, side), bool)
            masks = np.empty((len(self.pairs), side, side), np.uint8)
            for index in range(len(self.pairs)):
                if events is not None:
                    events.check()
                images[index], valid[index], masks[index] = self._read(index)
            self._memory = images, valid, masks

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def in_memory(self) -> bool:
        """Whether pixels are kept, rather than read again each time."""
        return self._memory is not None or not self.pairs

    def raw(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        """Image in raster values (C, H, W), valid bool (H, W), class index uint8 (H, W), 255 unknown or nodata."""
        if self._memory is None:
            return self._read(index)
        images, valid, masks = self._memory
        return images[index], valid[index], masks[index]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``image`` float32 (C, H, W), ``mask`` int64 (H, W): class index, 255 unknown."""
        image, valid, mask = self.raw(index)
        return {"image": self.normalisation(image, valid), "mask": torch.from_numpy(mask.astype(np.int64))}

    def gather(self, indices: Sequence[int], turns: Sequence[int]) -> dict[str, Tensor]:
        """The samples ``indices`` turned by ``turns`` (0..7, see ``turn``) as a batch.

        ``image`` (B, C, H, W) and ``mask`` as one sample has them, ``valid`` bool (B, H, W): where there is data.
        """
        raw = [self.raw(index) for index in indices]
        images, valid, masks = (
            np.stack([turn(entry[part], which) for entry, which in zip(raw, turns, strict=True)]) for part in range(3)
        )
        return {
            "image": self.normalisation(images, valid),
            "mask": torch.from_numpy(masks.astype(np.int64)),
            "valid": torch.from_numpy(valid),
        }

    def _read(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]:
        pair = self.pairs[index]
        image, valid, ids = pair.tileset.read(pair.tile)
        mask = pair.tileset.spec.legend.to_index(ids)
        return image, valid, np.where(valid, mask, np.uint8(UNKNOWN))


def turn(array: NDArray[Any], which: int) -> NDArray[Any]:
    """One of the eight flips and quarter turns (the dihedral group D4) of the last two axes; ``which`` in 0..7."""
    turned = np.rot90(array, which % 4, axes=(-2, -1))
    return turned[..., ::-1] if which >= 4 else turned


@dataclass(frozen=True)
class Phase:
    """A part of a training: the ``steps`` of the run whose batches are drawn from ``pairs``, positions in a dataset."""

    steps: range
    pairs: range


def phases(real: int, synthetic: int, steps: int, pretrain: float) -> tuple[Phase, ...]:
    """The phases of a training on ``real`` pairs and, after them in the dataset, ``synthetic`` ones.

    With ``pretrain`` 0 there is one, on all of them; else that share of the steps sees the synthetic pairs alone, and
    the rest the real ones alone. The number of steps is the same either way.
    """
    if not pretrain:
        return (Phase(range(steps), range(real + synthetic)),)
    first = min(max(1, round(steps * pretrain)), steps - 1)
    return Phase(range(first), range(real, real + synthetic)), Phase(range(first, steps), range(real))


Augment = Callable[[TilesetDataset, range, dict[str, Tensor], int], dict[str, Tensor]]
"""Changes a batch at random: (dataset, its pairs in use, batch as ``gather`` gives it, step) to a batch.

A pure function of them: what is drawn depends on the step alone.
"""


def training_batch(
    dataset: TilesetDataset, *, batch: int, seed: int, step: int, phase: Phase | None = None, turns: bool = True
) -> dict[str, Tensor]:
    """The batch of one step: a pure function of (seed, step).

    The stream of indices is one shuffled pass over the pairs of the phase after another, so all are seen equally often;
    with ``turns`` every pair is flipped and turned at random, image and mask together.
    """
    pairs, first = (phase.pairs, phase.steps.start) if phase else (range(len(dataset)), 0)
    count = len(pairs)
    positions = range((step - first) * batch, (step - first + 1) * batch)
    orders = {
        epoch: torch.randperm(count, generator=generator_for("segment-order", seed, epoch)).tolist()
        for epoch in range(positions[0] // count, positions[-1] // count + 1)
    }
    indices = [pairs[orders[position // count][position % count]] for position in positions]
    drawn = torch.randint(8, (batch,), generator=generator_for("segment", seed, step)).tolist()
    return dataset.gather(indices, drawn if turns else [0] * batch)


class StepBatches(IterableDataset[dict[str, Tensor]]):
    """The training batches from step ``start`` to the end of the last phase.

    Without a length on purpose: Lightning, resuming inside an epoch, would count the batches it did not draw.
    """

    def __init__(
        self,
        dataset: TilesetDataset,
        *,
        batch: int,
        seed: int,
        start: int,
        phases: Sequence[Phase],
        turns: bool = True,
        augment: Augment | None = None,
    ) -> None:
        self.dataset, self.batch, self.seed, self.start = dataset, batch, seed, start
        self.phases, self.turns, self.augment = tuple(phases), turns, augment

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for phase in self.phases:
            for step in phase.steps[max(0, self.start - phase.steps.start) :]:
                drawn = training_batch(
                    self.dataset, batch=self.batch, seed=self.seed, step=step, phase=phase, turns=self.turns
                )
                yield drawn if self.augment is None else self.augment(self.dataset, phase.pairs, drawn, step)


class TilesetDataModule(NonGeoDataModule):
    """Train, val and test pairs of a real tileset, its training pairs mixed with those of synthetic tilesets.

    Inputs are checked on construction; pixels are read in ``setup``. The training loader goes on at the trainer's
    step, so a run resumed from a checkpoint sees what it would have seen.

    Args:
        tileset: the real tileset; gives the band statistics (of its training tiles), val and test.
        synthetic: synthetic tilesets.
        ratio: synthetic pairs per labelled real training pair; None takes all there are.
        real: whether the real training pairs are trained on, too.
        batch_size: pairs a batch.
        steps: batches the training loader gives.
        seed: chooses pairs, their order and their turns.
        pretrain: share of the steps that see the synthetic pairs alone, before the real ones alone; 0: all together.
        turns: whether training pairs are flipped and turned at random.
        augment: changes training batches further.
        in_memory: see ``TilesetDataset``.
        events: asked, while pixels are read, whether to stop.

    Raises:
        TilesetError: the tilesets do not go together, or there is nothing (or too little) to train on.
    """

    def __init__(
        self,
        tileset: Tileset,
        synthetic: Sequence[Tileset] = (),
        *,
        ratio: float | None = None,
        real: bool = True,
        batch_size: int = 16,
        steps: int = 1000,
        seed: int = 0,
        pretrain: float = 0.0,
        turns: bool = True,
        augment: Augment | None = None,
        in_memory: bool | None = None,
        events: Events | None = None,
    ) -> None:
        super().__init__(TilesetDataset, batch_size)
        self.train_dataset: TilesetDataset | None = None
        self.val_dataset: TilesetDataset | None = None
        self.test_dataset: TilesetDataset | None = None
        self.tileset, self.synthetic = tileset, tuple(synthetic)
        self.seed, self.turns, self.augment, self.in_memory, self.events = seed, turns, augment, in_memory, events
        self.normalisation = Normalisation.of(tileset.statistics)
        for other in self.synthetic:
            check_compatible(tileset, other)
        labelled = pairs_of(tileset, "train")
        candidates = [pair for other in self.synthetic for pair in pairs_of(other, "train")]
        choose = mix if real else draw_synthetic
        self.training_pairs = choose(labelled, candidates, ratio if self.synthetic else None, seed)
        if not self.training_pairs:
            raise TilesetError(
                "no labelled pair to train on",
                where=tileset.path,
                remedy="give a tileset whose training split has labels, or a synthetic tileset",
            )
        self.real_pairs = sum(pair.tileset is tileset for pair in self.training_pairs)
        made = len(self.training_pairs) - self.real_pairs
        if pretrain and not (self.real_pairs and made):
            raise TilesetError(
                f"{self.real_pairs} real and {made} synthetic training pairs, but pretraining needs both",
                where=tileset.path,
                remedy="give real tiles with labels and --synthetic TILES, or leave out --pretrain",
            )
        self.phases = phases(self.real_pairs, made, steps, pretrain)

    def setup(self, stage: str) -> None:
        """Read the pixels of a stage: fit (train and val), validate or test."""
        if stage == "fit" and self.train_dataset is None:
            self.train_dataset = self._dataset(self.training_pairs)
        if stage in ("fit", "validate") and self.val_dataset is None:
            self.val_dataset = self._dataset(pairs_of(self.tileset, "val"))
        if stage == "test" and self.test_dataset is None:
            self.test_dataset = self._dataset(pairs_of(self.tileset, "test"))

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches from the trainer's present step on."""
        assert self.train_dataset is not None, "setup('fit') comes first"
        start = self.trainer.global_step if self.trainer else 0
        batches = StepBatches(
            self.train_dataset,
            batch=self.batch_size,
            seed=self.seed,
            start=start,
            phases=self.phases,
            turns=self.turns,
            augment=self.augment,
        )
        return DataLoader(batches, batch_size=None)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Samples come normalised; torchgeo would divide them by 255."""
        return batch

    def _dataset(self, pairs: Sequence[Pair]) -> TilesetDataset:
        return TilesetDataset(pairs, self.normalisation, in_memory=self.in_memory, events=self.events)
