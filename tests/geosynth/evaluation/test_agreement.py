from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged_tiles import SIDE, world_pairs, write_pairs

from geosynth.diffusion.codes import encode
from geosynth.diffusion.generator import Generator, load_generator
from geosynth.evaluation.agreement import agreement, generator_confusion
from geosynth.events import Events
from geosynth.noise import sample_noise
from geosynth.normalisation import Normalisation
from geosynth.samples import TilesetDataset, pairs_of
from geosynth.tileset import Tileset


class Knowing:
    """A pipeline that knows the mask of every image and can be told to answer with another class somewhere."""

    def __init__(self, generator: Generator, tileset: Tileset, wrong: int = 0) -> None:
        self.denoiser, self.two_levels = generator.pipeline.denoiser, True
        self.wrong, self.classes = wrong, generator.classes
        self.asked: list[torch.Tensor] = []
        self.masks = {}
        for tile in tileset.select():
            image, valid, mask = tileset.read(tile)
            self.masks[generator.scale.to_network(image, valid).numpy().tobytes()] = tileset.spec.legend.to_index(mask)

    def __call__(
        self, noise: torch.Tensor, *, image: torch.Tensor, steps: int, guidance: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.asked += list(noise)
        masks = np.stack([self.masks[part.numpy().tobytes()] for part in image])
        masks[:, : self.wrong] = (masks[:, : self.wrong] + 1) % self.classes
        return image, 0.3 * encode(torch.from_numpy(masks), self.classes)


def dataset_of(tileset: Tileset) -> TilesetDataset:
    return TilesetDataset(pairs_of(tileset, "train"), Normalisation.of(tileset.statistics))


def test_agreement_is_over_the_classes_of_both() -> None:
    made, real = np.zeros((4, 4), np.int64), np.zeros((4, 4), np.int64)
    made[0, 0], made[0, 1], made[2, 2] = 60, 20, 20  # class 1 only predicted, 3 nowhere
    real[0, 0], real[1, 1], real[1, 0], real[2, 2], real[3, 1] = 50, 5, 5, 30, 10
    found = agreement(made, real)
    assert found is not None
    assert found.classes == (0, 2)
    assert found.made == pytest.approx((60 / 80 + 1) / 2)
    assert found.real == pytest.approx((50 / 55 + 1) / 2)
    assert found.ratio == pytest.approx(found.made / found.real)
    assert found.difference == pytest.approx(found.made - found.real)
    assert agreement(made * 0, real) is None


def test_a_model_that_knows_nothing_gives_no_ratio() -> None:
    found = agreement(np.array([[5, 5], [0, 0]]), np.array([[0, 5], [5, 0]]))
    assert found is not None
    assert found.real == 0
    assert found.ratio is None


def test_a_generator_that_knows_agrees_and_one_that_errs_does_not(tmp_path: Path, generator: Path) -> None:
    tileset = write_pairs(tmp_path / "tiles", world_pairs(11))
    loaded, dataset = load_generator(generator), dataset_of(tileset)
    right, wrong = (replace(loaded, pipeline=Knowing(loaded, tileset, rows)) for rows in (0, SIDE // 2))  # type: ignore[arg-type]
    counts = generator_confusion(right, dataset, Events())
    assert counts.sum() == 11 * SIDE * SIDE
    assert np.trace(counts) == counts.sum()
    erring = generator_confusion(wrong, dataset, Events())
    np.testing.assert_array_equal(erring.sum(1), counts.sum(1))  # rows are the pairs' own masks
    assert np.trace(erring) == counts.sum() / 2
    found = agreement(erring, counts)
    assert found is not None
    assert found.real == 1
    assert found.made < 0.6


def test_noise_is_a_function_of_seed_and_pair(tmp_path: Path, generator: Path) -> None:
    tileset = write_pairs(tmp_path / "tiles", world_pairs(11))
    loaded = load_generator(generator)
    knowing: Any = Knowing(loaded, tileset)
    generator_confusion(replace(loaded, pipeline=knowing), dataset_of(tileset), Events(), seed=5)
    for index, noise in enumerate(knowing.asked):
        assert torch.equal(noise, sample_noise(5, index, (3 + 3, SIDE, SIDE)))


def test_a_trained_generator_answers_the_same_again(tmp_path: Path, generator: Path) -> None:
    dataset = dataset_of(write_pairs(tmp_path / "tiles", world_pairs(4)))
    loaded = load_generator(generator)
    first, second = (generator_confusion(loaded, dataset, Events(), steps=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.sum() == 4 * SIDE * SIDE
