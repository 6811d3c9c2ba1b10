"""One yardstick for synthetic tiles: a sample of real training tiles, and how real held-out tiles come out against it.

Every number depends on the number of tiles, so all that is compared is measured on equally many: one yardstick, several
tilesets. What held-out real tiles get is the floor: they are real, from another place, and no copies. Images are
compared with all real ones, also those without labels: with few labels that decides whether a difference can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosynth.diffusion.generator import Generator
from geosynth.errors import ModelError, TilesetError
from geosynth.evaluation.agreement import STEPS, Agreement, agreement, generator_confusion, segmenter_confusion
from geosynth.evaluation.distances import (
    COVERAGE_NEIGHBOURS,
    KernelDistance,
    Neighbourhoods,
    frechet_distance,
    kernel_distance,
    neighbourhoods,
)
from geosynth.evaluation.features import FeatureNetwork, Features, FeatureSpace, dataset_features
from geosynth.evaluation.fidelity import CopySearch, total_variation
from geosynth.evaluation.layout import (
    adjacency,
    borders,
    class_shares,
    component_sizes,
    divergence,
    mean_size_distance,
    size_distance,
)
from geosynth.events import Events
from geosynth.samples import Pair, TilesetDataset, check_compatible
from geosynth.scenes.origins import synthetic_side
from geosynth.segmentation.segmenter import Segmenter
from geosynth.tileset import Split, Tile, Tileset

LIMIT = 1000
"""Most tiles that are compared on either side."""

FID_DIMENSIONS = 64
"""Most principal components that FID compares; fewer with few tiles, see ``fid_dimensions``."""

WHOLE = 0.95
"""Share of valid pixels below which a tile is left out: generators leave no holes, so holes would count as a flaw."""

_FEWEST = COVERAGE_NEIGHBOURS + 3


@dataclass(frozen=True)
class SampleSizes:
    """Tiles a side: ``images`` for what looks at images alone, ``pairs`` for what looks at masks as well.

    ``pairs`` is 0 where a side has too few labelled tiles; masks are not compared then.
    """

    images: int
    pairs: int


@dataclass(frozen=True)
class Fidelity:
    """How synthetic tiles compare with equally many real training tiles. Smaller is better unless said otherwise.

    Attributes:
        sizes: sample sizes; that of images holds for KID, FID and neighbourhoods, that of pairs for all others but the
            copy check, which looks at every image.
        kid: KID of segmenter features; 0 on average for unseen tiles of the same kind.
        fid: FID of the first ``fid_dimensions`` principal components of these features, in units of the variance of
            real tiles in all dimensions; never 0, see the floor.
        fid_dimensions: see ``fid_dimensions()``.
        neighbourhoods: precision, recall, density, coverage in feature space; larger is better.
        class_divergence: Jensen–Shannon divergence (bits, 0..1) of the class shares; this and all that follow but the
            last two are None where masks are not compared.
        class_variation: share of pixels that would have to change class, 0..1.
        adjacency_divergence: the same divergence for pairs of neighbouring pixels.
        border_divergence: for pairs of different classes alone: which classes meet; None where no classes meet.
        component_distance: by how many doublings connected areas differ in size, mean over the classes in both.
        component_distances: the same a class, in legend order; None for a class that one side lacks.
        segmenter_agreement: of a real-trained segmenter's mask for the image with the pair's, beside real pairs'.
        generator_agreement: the same for the generator's own mask for the image; None without one that answers that.
        copy_ratio: median distance of generated images to their nearest training tile, over that of held-out ones;
            about 1 is good, far below 1 are copies; None without generated images or held-out tiles.
        share_nearer: share of generated images that come suspiciously near a training tile; about 0.01 is normal.
    """

    sizes: SampleSizes
    kid: KernelDistance
    fid: float
    fid_dimensions: int
    neighbourhoods: Neighbourhoods
    class_divergence: float | None
    class_variation: float | None
    adjacency_divergence: float | None
    border_divergence: float | None
    component_distance: float | None
    component_distances: tuple[float | None, ...]
    segmenter_agreement: Agreement | None
    generator_agreement: Agreement | None
    copy_ratio: float | None
    share_nearer: float | None

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """JSON values; what is a class's by its name."""
        content = asdict(self)
        content["component_distances"] = dict(zip(names, self.component_distances, strict=True))
        for name in ("segmenter_agreement", "generator_agreement"):
            found: Agreement | None = getattr(self, name)
            content[name] = None if found is None else found.to_json()
        return content


def fid_dimensions(tiles: int) -> int:
    """Principal components for FID with this many tiles: four tiles a dimension or more, so that covariances hold."""
    return min(FID_DIMENSIONS, tiles // 4)


def _usable(tileset: Tileset, split: Split | None = None) -> tuple[Tile, ...]:
    """Tiles whose images can be compared: not rejected, without large holes."""
    return tuple(tile for tile in tileset.select(split) if tile.valid_fraction >= WHOLE)


def _usable_real(tileset: Tileset, split: Split) -> tuple[Tile, ...]:
    """Those of which no side was made by a model: tiles of a synthetic scene are in real tilesets, too."""
    return tuple(tile for tile in _usable(tileset, split) if not _is_synthetic(tile))


def _labelled(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    return tuple(tile for tile in tiles if tile.labelled)


def _is_synthetic(tile: Tile) -> bool:
    return synthetic_side(tile.image_origin, tile.mask_origin) != "none"


def common_sizes(real: Tileset, others: Sequence[Tileset], limit: int = LIMIT) -> SampleSizes:
    """The most tiles that training, held-out tiles and every one of ``others`` can give.

    Raises:
        TilesetError: one has too few tiles; the message names it.
    """
    found = [
        (real, _usable_real(real, "train"), "real training"),
        (real, _held_out(real), "real held-out (val or test)"),
        *((other, _usable(other), "synthetic") for other in others),
    ]
    for tileset, tiles, kind in found:
        if len(tiles) < _FEWEST:
            raise TilesetError(
                f"{len(tiles)} {kind} tiles with data nearly everywhere, too few to compare",
                where=tileset.path,
                remedy=f"give a tileset with at least {_FEWEST}",
            )
    pairs = min(len(_labelled(tiles)) for _, tiles, _ in found)
    return SampleSizes(min(limit, *(len(tiles) for _, tiles, _ in found)), min(limit, pairs) if pairs >= _FEWEST else 0)


def _held_out(real: Tileset) -> tuple[Tile, ...]:
    # Not the test split where it can be helped: whoever tunes by these numbers must not have seen it.
    val = _usable_real(real, "val")
    return val if _labelled(val) else _usable_real(real, "test")


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is known of one sample of tiles."""

    features: Features
    masks: NDArray[np.uint8]
    segmented: NDArray[np.int64] | None
    generated: NDArray[np.int64] | None


class Yardstick:
    """Measures tilesets against the training tiles of a real one.

    Args:
        real: split=train is what is compared with; val (else test) gives the floor and calibrates agreement. Only tiles
            count of which no side was made by a model.
        segmenter: trained on real tiles alone; its encoder gives the features, and its masks are compared with those of
            the pairs. None leaves the masks out.
        generator: asked for masks too, when it can answer; None leaves that out.
        sizes: tiles a side, evenly spread over each index; see ``common_sizes``.
        events: told the progress, asked whether to stop.
        steps: network evaluations a mask that the generator is asked for.
        features: gives the features instead of the segmenter; one of the two there must be.

    Attributes:
        floor: what the held-out real tiles get.
        held_out_split: val, or test where there is no val.

    Raises:
        ModelError: a model does not fit the tiles, or the segmenter was trained on synthetic ones.
        TilesetError: too few tiles, or one cannot be read.
    """

    def __init__(
        self,
        real: Tileset,
        segmenter: Segmenter | None,
        generator: Generator | None,
        sizes: SampleSizes,
        events: Events,
        *,
        steps: int = STEPS,
        features: FeatureNetwork | None = None,
    ) -> None:
        check_models(real, segmenter, generator)
        network = features or (None if segmenter is None else FeatureNetwork.of(segmenter))
        if network is None:
            raise ValueError("features come from a segmenter or from another network")
        self.network = network
        self._check_sizes(real, (), sizes)
        self.real, self.segmenter, self.sizes, self.steps = real, segmenter, sizes, steps
        self.generator = generator if generator is not None and generator.pipeline.two_levels else None
        self._copies = CopySearch(real)
        images, labelled = self._datasets(real, _usable_real(real, "train"))
        self._reference = {pair.tile.id for dataset in (images, labelled) for pair in dataset.pairs}
        self._features, self._masks = dataset_features(network, images, events), _masks(labelled)
        self._space = FeatureSpace.fit(self._features)
        held_out = _held_out(real)
        self.held_out_split = held_out[0].split
        self._held_out = self._measured(real, held_out, events)
        self.floor = self._compared(self._held_out, copy_ratio=1.0, share_nearer=None)

    def measure(self, synthetic: Tileset, events: Events) -> Fidelity:
        """The same numbers for a synthetic tileset (any split).

        Raises:
            TilesetError: it does not go with the real one, has too few tiles, or one cannot be read.
        """
        check_compatible(self.real, synthetic)
        self._check_sizes(self.real, [synthetic], self.sizes)
        sample = self._measured(synthetic, _usable(synthetic), events)
        check = self._copies.check(synthetic, events)
        ratio = None
        if check is not None and len(check.held_out) and np.median(check.held_out) > 0:
            ratio = float(np.median(check.distances) / np.median(check.held_out))
        return self._compared(sample, copy_ratio=ratio, share_nearer=None if check is None else check.share_nearer)

    def other_training_tiles(self, events: Events) -> Fidelity | None:
        """What training tiles outside the reference get: a floor without a change of place; None with too few."""
        others = [tile for tile in _usable_real(self.real, "train") if tile.id not in self._reference]
        if len(others) < self.sizes.images or len(_labelled(others)) < self.sizes.pairs:
            return None
        return self._compared(self._measured(self.real, others, events), copy_ratio=None, share_nearer=None)

    @staticmethod
    def _check_sizes(real: Tileset, others: Sequence[Tileset], asked: SampleSizes) -> None:
        has = common_sizes(real, others, max(asked.images, asked.pairs))
        for kind, there, wanted in (("", has.images, asked.images), ("labelled ", has.pairs, asked.pairs)):
            if there < wanted:
                raise TilesetError(
                    f"{there} {kind}tiles to compare, fewer than {wanted}",
                    where=(*others, real)[0].path,
                    remedy="compare fewer tiles",
                )

    def _datasets(self, tileset: Tileset, tiles: Sequence[Tile]) -> tuple[TilesetDataset, TilesetDataset]:
        """Samples of the images and of the labelled tiles; one dataset, read once, where they are the same tiles."""
        images = _spread(tiles, self.sizes.images)
        labelled = _spread(_labelled(tiles), self.sizes.pairs)
        read = [
            TilesetDataset([Pair(tileset, tile) for tile in some], self.network.normalisation)
            for some in ([images] if images == labelled else [images, labelled])
        ]
        return read[0], read[-1]

    def _measured(self, tileset: Tileset, tiles: Sequence[Tile], events: Events) -> _Measured:
        images, labelled = self._datasets(tileset, tiles)
        asked, segmenter = self.generator, self.segmenter
        features, segmented = dataset_features(self.network, images, events), None
        if segmenter is not None:
            # Raster values are kept, so taking them another way reads nothing anew.
            labelled.normalisation = segmenter.spec.normalisation
            segmented = segmenter_confusion(segmenter, labelled, events)
        return _Measured(
            features,
            _masks(labelled),
            segmented,
            None if asked is None else generator_confusion(asked, labelled, events, steps=self.steps),
        )

    def _compared(self, sample: _Measured, *, copy_ratio: float | None, share_nearer: float | None) -> Fidelity:
        classes, dimensions = len(self.real.spec.legend), fid_dimensions(self.sizes.images)
        ours, theirs = self._space.scaled(self._features), self._space.scaled(sample.features)
        projected = [self._space.projected(features, dimensions) for features in (self._features, sample.features)]
        shares = [class_shares(masks, classes) for masks in (self._masks, sample.masks)]
        neighbours = [adjacency(masks, classes) for masks in (self._masks, sample.masks)]
        sizes = [component_sizes(masks, classes) for masks in (self._masks, sample.masks)]
        apart = tuple(size_distance(one, other) for one, other in zip(*sizes, strict=True))
        real = self._held_out
        return Fidelity(
            sizes=self.sizes,
            kid=kernel_distance(ours, theirs),
            fid=frechet_distance(projected[0], projected[1]),
            fid_dimensions=dimensions,
            neighbourhoods=neighbourhoods(ours, theirs),
            class_divergence=divergence(shares[0], shares[1]),
            class_variation=total_variation(shares[0], shares[1]) if self.sizes.pairs else None,
            adjacency_divergence=divergence(neighbours[0], neighbours[1]),
            border_divergence=divergence(borders(neighbours[0]), borders(neighbours[1])),
            component_distance=mean_size_distance(apart),
            component_distances=apart,
            segmenter_agreement=_agreement(sample.segmented, real.segmented),
            generator_agreement=_agreement(sample.generated, real.generated),
            copy_ratio=copy_ratio,
            share_nearer=share_nearer,
        )


def _spread(tiles: Sequence[Tile], count: int) -> list[Tile]:
    """``count`` of the tiles, evenly spread."""
    return [tiles[position * len(tiles) // count] for position in range(count)]


def _agreement(made: NDArray[np.int64] | None, real: NDArray[np.int64] | None) -> Agreement | None:
    return None if made is None or real is None else agreement(made, real)


def measure(
    real: Tileset,
    synthetic: Tileset,
    segmenter: Segmenter,
    generator: Generator | None,
    events: Events,
    *,
    steps: int = STEPS,
) -> Fidelity:
    """One synthetic tileset on a ``Yardstick`` of its own, which raises the same; to compare several, share one."""
    sizes = common_sizes(real, [synthetic])
    return Yardstick(real, segmenter, generator, sizes, events, steps=steps).measure(synthetic, events)


def check_models(real: Tileset, segmenter: Segmenter | None, generator: Generator | None) -> None:
    """Raise ModelError unless the models fit the tileset and the segmenter was trained on real tiles alone."""
    training = {} if segmenter is None else segmenter.training
    made = training.get("pairs", {}).get("synthetic", 0)
    if training.get("tileset") == real.spec.id and training.get("real", True):
        made += sum(map(_is_synthetic, real.select("train", labelled=True)))  # tiles of synthetic scenes
    if made:
        raise ModelError(
            f"the segmenter was trained on {made} synthetic pairs, which it would take for real",
            remedy="train one on the real tileset alone: geosynth segment TILES --out SEGMENTER",
        )
    asked = _kind(real.spec)
    for name, model in (("segmenter", segmenter), ("generator", generator)):
        if model is not None and _kind(model.spec) != asked:
            raise ModelError(
                f"its bands, classes or pixels are not those the {name} was trained on",
                where=real.path,
                remedy=f"use a {name} trained on this tileset",
            )
    if generator is not None and generator.spec.tile_size != real.spec.tile_size:
        raise ModelError(
            f"tiles of {real.spec.tile_size} px, the generator makes {generator.spec.tile_size} px",
            where=real.path,
            remedy="use a generator trained on this tileset",
        )


def _kind(spec: Any) -> tuple[Any, ...]:
    return (
        [(band.name, band.dtype) for band in spec.bands],
        [(entry.id, entry.name) for entry in spec.legend.classes],
    )


def _masks(dataset: TilesetDataset) -> NDArray[np.uint8]:
    """Class indices of all tiles, uint8 (N, H, W); (0, 1, 1) of none."""
    if not len(dataset):
        return np.empty((0, 1, 1), np.uint8)
    return np.stack([dataset.raw(index)[2] for index in range(len(dataset))])
