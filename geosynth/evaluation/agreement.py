"""Whether image and mask of a pair belong together: the mask that a model gives for the image against the pair's own.

A score alone says little, because a model is wrong on real pairs, too. So each comes with the same model's score on
real held-out pairs, over the classes that both have: a synthetic tileset without the hard classes gains nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassConfusionMatrix

from geosynth.diffusion.codes import decode
from geosynth.diffusion.generator import Generator
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.noise import sample_noise
from geosynth.samples import TilesetDataset
from geosynth.scenes.sieving import sieved
from geosynth.segmentation.metrics import dataset_confusion, scores
from geosynth.segmentation.networks import padded_logits
from geosynth.segmentation.segmenter import Segmenter

STEPS = 20
"""Network evaluations a mask that the generator is asked for."""

_BATCH = 8


@dataclass(frozen=True)
class Agreement:
    """Mean IoU 0..1 of a model's masks with those of the pairs: synthetic ones, and real held-out ones.

    Both are means over the same ``classes`` (indices): those in the masks of both.
    """

    made: float
    real: float
    classes: tuple[int, ...]

    @property
    def ratio(self) -> float | None:
        """``made`` over ``real``: 1 says synthetic pairs agree as real ones do; None where the model knows nothing."""
        return self.made / self.real if self.real > 0 else None

    @property
    def difference(self) -> float:
        """``made`` minus ``real``. Above 0 speaks for synthetic pairs that are easier than real ones."""
        return self.made - self.real

    def to_json(self) -> dict[str, Any]:
        return {"made": self.made, "real": self.real, "ratio": self.ratio, "difference": self.difference}


def agreement(made: NDArray[np.int64], real: NDArray[np.int64]) -> Agreement | None:
    """From confusion matrices (K, K), rows the pairs' own masks; None when no class is in both."""
    classes = tuple(int(number) for number in np.flatnonzero((made.sum(1) > 0) & (real.sum(1) > 0)))
    if not classes:
        return None
    ours, theirs = scores(made).iou, scores(real).iou
    mean = [math.fsum(iou[number] for number in classes) / len(classes) for iou in (ours, theirs)]
    return Agreement(mean[0], mean[1], classes)


def segmenter_confusion(segmenter: Segmenter, dataset: TilesetDataset, events: Events) -> NDArray[np.int64]:
    """Confusion (K, K), rows the pairs' own masks, of a segmenter on a dataset that is normalised as it wants it."""
    return dataset_confusion(
        lambda image: padded_logits(segmenter.network, image.to(segmenter.device)),
        dataset,
        len(segmenter.spec.legend),
        events,
    )


def generator_confusion(
    generator: Generator,
    dataset: TilesetDataset,
    events: Events,
    *,
    steps: int = STEPS,
    guidance: float = 1.0,
    seed: int = 0,
    sieve: int = 0,
) -> NDArray[np.int64]:
    """Confusion (K, K), rows the pairs' own masks, of the generator's answer p(mask | image).

    One mask is sampled an image, so even a perfect generator disagrees where the image leaves the mask open. The noise
    of pair i is a function of (seed, i).

    Args:
        generator: answers the question; it stays on the device it is on.
        dataset: pairs with its bands, legend and tile size; however normalised, raster values are read.
        events: told the progress, asked whether to stop.
        steps: network evaluations a mask.
        guidance: as in ``generate``; 1 is none.
        seed: of the noise.
        sieve: connected areas of fewer pixels of these masks take the class around them; 0 keeps all.
    """
    classes, side = generator.classes, generator.spec.tile_size
    shape = (generator.bands + generator.pipeline.denoiser.mask_channels, side, side)
    matrix = MulticlassConfusionMatrix(classes, ignore_index=UNKNOWN, validate_args=False)
    for start in range(0, len(dataset), _BATCH):
        events.check()
        events.progress(start, len(dataset), "masks sampled")
        indices = range(start, min(start + _BATCH, len(dataset)))
        raw = [dataset.raw(index) for index in indices]
        images = torch.stack([generator.scale.to_network(image, valid) for image, valid, _ in raw])
        noise = torch.stack([sample_noise(seed, index, shape) for index in indices])
        _, bits = generator.pipeline(noise, image=images, steps=steps, guidance=guidance)
        own = torch.from_numpy(np.stack([mask for _, _, mask in raw]).astype(np.int64))
        answers = [sieved(mask, sieve) for mask in decode(bits, classes)[0].numpy()]
        matrix.update(torch.from_numpy(np.stack(answers)).long(), own)
    counts: NDArray[np.int64] = matrix.confmat.numpy().astype(np.int64)
    return counts
