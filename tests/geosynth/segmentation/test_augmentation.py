"""Augmentations: image and mask together, nodata and unknown where they belong, the same draws at the same step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_world import write_squares

from geosynth.noise import generator_for
from geosynth.samples import Normalisation, TilesetDataset, class_shares, pairs_of, training_batch
from geosynth.segmentation.augmentation import (
    Augmentation,
    Augmenter,
    Donors,
    coloured,
    cut_mixed,
    paste_objects,
    zoomed,
)
from geosynth.tileset import Tileset

EVERYTHING = Augmentation(colour=0.5, zoom=1.0, cutmix=0.5, copy_paste=0.5)


def sample(number, side=24, bands=5):
    """A sample whose mask can be read off its first band, with a corner without data and an unknown row elsewhere."""
    draws = torch.Generator().manual_seed(number)
    mask = torch.randint(0, 4, (side // 4, side // 4), generator=draws)
    mask = mask.repeat_interleave(4, 0).repeat_interleave(4, 1)
    image = torch.stack([mask * 0.5 - 1 + 0.1 * band for band in range(bands)])
    valid = torch.ones(side, side, dtype=torch.bool)
    valid[:5, :6] = False
    mask[12] = 255
    return {"image": torch.where(valid, image, 0.0), "mask": torch.where(valid, mask, 255), "valid": valid}


def belongs(found):
    """Whether every pixel still has the class its image shows, and nothing where there is no data."""
    known, image = found["mask"] != 255, found["image"]
    assert (image[:, ~found["valid"]] == 0).all() and (found["mask"][~found["valid"]] == 255).all()
    return torch.allclose(image[0][known], found["mask"][known] * 0.5 - 1)


def draws(number):
    return generator_for("test", number)


def test_cutmix_takes_image_mask_and_holes_along():
    shares = []
    for number in range(20):
        one, other = sample(0), sample(1)
        found = cut_mixed(one, other, draws(number))
        assert belongs(found)
        changed = (found["image"] != one["image"]).any(0) | (found["mask"] != one["mask"])
        rows, cols = changed.nonzero(as_tuple=True)
        window = (..., slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
        for name in found:
            assert torch.equal(found[name][window], other[name][window])
        shares.append(float(changed.float().mean()))
        assert torch.equal(one["mask"], sample(0)["mask"]), "the sample itself is left alone"
    assert min(shares) < 0.3 and max(shares) > 0.5


def test_zoom_enlarges_a_part():
    whole = sample(0, side=32)
    sizes = []
    for number in range(20):
        found = zoomed(whole, 1.0, draws(number))
        assert found["image"].shape == whole["image"].shape and found["mask"].dtype == torch.int64
        assert (found["image"][:, ~found["valid"]] == 0).all() and (found["mask"][~found["valid"]] == 255).all()
        # Inside a block of one class, away from its borders, image and mask agree.
        mask = found["mask"].float()[None, None]
        low = -torch.nn.functional.max_pool2d(-mask, 5, 1, 2)[0, 0]
        inner = (low == torch.nn.functional.max_pool2d(mask, 5, 1, 2)[0, 0]) & (found["mask"] != 255)
        assert inner.any() and torch.allclose(found["image"][0][inner], found["mask"][inner] * 0.5 - 1, atol=1e-5)
        runs = (found["mask"][20:, 1:] != found["mask"][20:, :-1]).float().sum(1).mean()
        sizes.append(float(runs))
    original = float((whole["mask"][20:, 1:] != whole["mask"][20:, :-1]).float().sum(1).mean())
    assert np.mean(sizes) < 0.85 * original, "fewer borders: things are larger"


def test_nodata_does_not_shine_into_its_neighbours():
    flat = {
        "image": torch.full((1, 16, 16), 2.0),
        "mask": torch.zeros(16, 16, dtype=torch.int64),
        "valid": torch.ones(16, 16, dtype=torch.bool),
    }
    flat["valid"][4:7, 3:9] = False
    flat["image"][:, ~flat["valid"]] = 0
    flat["mask"][~flat["valid"]] = 255
    for number in range(8):
        found = zoomed(flat, 1.0, draws(number))
        assert torch.allclose(found["image"][0][found["valid"]], torch.tensor(2.0))


@pytest.mark.parametrize("bands", [1, 3, 13])
def test_colour_changes_bands_and_nothing_else(bands):
    one = sample(0, bands=bands)
    found = coloured(one, 0.5, draws(0))
    assert torch.equal(found["mask"], one["mask"]) and torch.equal(found["valid"], one["valid"])
    assert (found["image"][:, ~one["valid"]] == 0).all()
    order = one["image"][0][one["valid"]].argsort(stable=True)
    for band in range(bands):
        assert (found["image"][band][one["valid"]][order].diff() >= -1e-5).all(), "darker stays darker"
    assert not torch.allclose(found["image"], one["image"], atol=0.05)
    torch.testing.assert_close(coloured(one, 0.0, draws(0))["image"], one["image"])
    if bands > 1:
        shift = (found["image"] - one["image"])[:, one["valid"]].mean(1)
        assert shift.std() > 1e-3, "bands differ"


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Six tiles with bright squares of class 1 on class 0; the first rows are unknown."""
    folder = tmp_path_factory.mktemp("augmentation")
    tileset = Tileset(write_squares(folder / "tiles", "tttttt", unknown=slice(0, 8)))
    return TilesetDataset(pairs_of(tileset, "train"), Normalisation((100.0, 100.0), (40.0, 40.0)))


def test_donors_are_the_rare_classes(squares):
    shares = class_shares(squares.pairs)
    counts = np.bincount(np.concatenate([squares.raw(i)[2].ravel() for i in range(6)]), minlength=256)[:2]
    np.testing.assert_allclose(shares, counts / counts.sum())
    assert shares[1] < 0.5
    donors = Donors.of(squares.pairs, range(2, 6))
    assert donors.classes == (1,) and donors.tiles == ((2, 3, 4, 5),)


def test_objects_are_pasted_with_their_looks_on_known_pixels_alone(squares):
    donors = Donors.of(squares.pairs, range(6))
    added = 0
    for number in range(12):
        one = {name: value[0] for name, value in squares.gather([0], [0]).items()}
        found = paste_objects(one, squares, donors, draws(number))
        assert torch.equal(found["mask"] == 255, one["mask"] == 255) and torch.equal(found["valid"], one["valid"])
        changed = (found["image"] != one["image"]).any(0)
        assert (found["mask"][changed] == 1).all() and (one["mask"][changed] != 255).all()
        # Squares are bright (140 ± 20) on dark ground (60 ± 20): what was pasted looks like what it is called.
        assert (found["image"][:, found["mask"] == 1] * 40 + 100 >= 119).all()
        assert (found["image"][:, found["mask"] == 0] * 40 + 100 <= 81).all()
        added += int((found["mask"] == 1).sum() - (one["mask"] == 1).sum())
    assert added > 100


def test_where_no_class_is_rare_nothing_is_pasted(squares):
    one = sample(0)
    assert paste_objects(one, squares, Donors((), (), ()), draws(0)) is one


def test_draws_are_pure_functions_of_seed_step_and_place(squares):
    def batch(seed, step):
        drawn = training_batch(squares, batch=4, seed=0, step=0)
        return Augmenter(EVERYTHING, seed)(squares, range(6), drawn, step)

    one, again, later, other = batch(0, 3), batch(0, 3), batch(0, 4), batch(1, 3)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["image"], later["image"]) and not torch.equal(one["image"], other["image"])
    long = Augmenter(EVERYTHING, 0)
    drawn = training_batch(squares, batch=4, seed=0, step=0)
    for step in range(3):
        long(squares, range(6), drawn, step)
    assert torch.equal(long(squares, range(6), drawn, 3)["image"], one["image"]), (
        "what was drawn before does not matter"
    )


@pytest.mark.parametrize("name", ["colour", "zoom", "cutmix", "copy_paste"])
def test_each_is_a_switch_of_its_own(squares, name):
    drawn = training_batch(squares, batch=4, seed=0, step=0)
    found = Augmenter(replace(Augmentation(), **{name: 1.0}), 0)(squares, range(6), drawn, 0)
    assert found.keys() == drawn.keys() and not torch.equal(found["image"], drawn["image"])
    assert found["image"].dtype == torch.float32 and found["mask"].dtype == torch.int64
    assert (found["mask"] == drawn["mask"]).all() == (name == "colour")
    off = Augmenter(Augmentation(), 0)(squares, range(6), drawn, 0)
    assert torch.equal(off["image"], drawn["image"])


def test_the_share_of_samples_is_as_asked(squares):
    drawn = training_batch(squares, batch=6, seed=0, step=0)
    changed = 0
    augment = Augmenter(Augmentation(cutmix=0.3), 0)
    for step in range(60):
        changed += int((augment(squares, range(6), drawn, step)["image"] != drawn["image"]).flatten(1).any(1).sum())
    assert 0.2 < changed / 360 < 0.4
