"""Datasets, mixing and batches."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rasterio import Affine
from rasterio.crs import CRS
from torch.utils.data import DataLoader

from geosynth.errors import TilesetError
from geosynth.folders import claim
from geosynth.grid import Grid
from geosynth.legend import Legend, load_legend
from geosynth.rasters import Band
from geosynth.samples import (
    Normalisation,
    Pair,
    TilesetDataModule,
    TilesetDataset,
    check_compatible,
    draw_synthetic,
    mix,
    pairs_of,
    training_batch,
)
from geosynth.tileset import Tileset, TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles
from geosynth.world import Landscape

SIDE = 16
SPEC = TileSpec(
    "real",
    tuple(Band(name, "uint8", 0.0) for name in ("red", "green", "blue")),
    load_legend("world"),
    CRS.from_epsg(32633),
    (1.0, 1.0),
    1.0,
    SIDE,
)


def write(folder: Path, spec: TileSpec = SPEC, splits: str = "ttttvvx", *, unlabelled: int = 0, at: int = 0) -> Tileset:
    """A tileset with a tile per letter (t, v, x: train, val, test), all at one place but with images of their own."""
    names = {"t": "train", "v": "val", "x": "test"}
    with claim(folder, {"command": "made up", "id": spec.id}) as out:
        rows = []
        for number, letter in enumerate(splits):
            image, mask = Landscape(at).render(number * SIDE, at, SIDE, SIDE)
            image, mask = np.maximum(image, 1), mask.copy()
            image = image[: len(spec.bands)].astype(spec.bands[0].dtype)
            image[:, :2, :3] = 0  # nodata
            mask[5, 5] = 255
            if number < unlabelled:
                mask[:] = 255
            grid = Grid(spec.crs, Affine(1, 0, 500000, 0, -1, 5000000), SIDE, SIDE)
            valid = (image != 0).any(0)
            origin = {"image_origin": "real", "mask_origin": "human", "placement": "real"}
            row = encode_tile(
spec, f"t{number:02}", grid, image, valid, mask, {},
                split=names[letter], scene="s", row=number * SIDE, col=0, **origin,
            )  # fmt: skip
            rows.append(row)
        out.record("all", {"tiles": write_tiles(out.path, rows)})
        compact(out, spec)
    return Tileset(folder)


def test_a_sample_is_normalised_and_its_holes_are_unknown(tmp_path):
    tileset = write(tmp_path / "a")
    normalisation = Normalisation.of(tileset.statistics)
    pairs = pairs_of(tileset, "train")
    held = TilesetDataset(pairs, normalisation, in_memory=True)
    read = TilesetDataset(pairs, normalisation, in_memory=False)
    assert len(held) == 4
    for index in range(4):
        sample = held[index]
        image, valid, ids = tileset.read(pairs[index].tile)
        assert sample["image"].shape == (3, SIDE, SIDE) and sample["image"].dtype == torch.float32
        assert sample["mask"].shape == (SIDE, SIDE) and sample["mask"].dtype == torch.int64
        assert (sample["image"][:, ~valid] == 0).all() and (sample["mask"][~valid] == 255).all()
        assert sample["mask"][5, 5] == 255
        expected = (image[1].astype(float) - tileset.statistics[1].mean) / tileset.statistics[1].std
        np.testing.assert_allclose(sample["image"][1].numpy()[valid], expected[valid], rtol=1e-5, atol=1e-5)
        known = sample["mask"].numpy() != 255
        assert (sample["mask"].numpy()[known] == ids[known] - 1).all()  # world ids are 1..6
        for key in sample:
            assert torch.equal(sample[key], read[index][key])


def test_tiles_on_one_place_are_not_mosaicked(tmp_path):
    """All tiles of the fixture share a footprint; each sample must be its own file."""
    tileset = write(tmp_path / "a")
    dataset = TilesetDataset(pairs_of(tileset, "train"), Normalisation((0,) * 3, (1,) * 3))
    images = [dataset.raw(index)[0] for index in range(len(dataset))]
    assert all((a != b).any() for number, a in enumerate(images) for b in images[:number])


def test_a_constant_band_becomes_zero():
    image = np.full((1, 4, 4), 7, np.uint16)
    assert (Normalisation((7.0,), (0.0,))(image, np.ones((4, 4), bool)) == 0).all()


def test_rejected_tiles_are_left_out(tmp_path):
    tileset = write(tmp_path / "a")
    tileset.__dict__["tiles"] = (replace(tileset.tiles[0], review="rejected"), *tileset.tiles[1:])
    assert [pair.tile.id for pair in pairs_of(tileset, "train")] == ["t01", "t02", "t03"]


def test_ratio_counts_labelled_real_pairs(tmp_path):
    real = write(tmp_path / "a", unlabelled=2)
    synthetic = write(tmp_path / "b", replace(SPEC, id="made"), "t" * 10, at=3)
    everything = [Pair(real, tile) for tile in real.select("train")]
    assert len(everything) == 4
    candidates = pairs_of(synthetic, "train")
    for ratio, count in ((0, 0), (0.5, 1), (1, 2), (3.0, 6), (5, 10), (None, 10)):
        mixed = mix(everything, candidates, ratio, seed=0)
        assert sum(pair.tileset is synthetic for pair in mixed) == count
        assert sum(pair.tileset is real for pair in mixed) == 2, "unlabelled real tiles teach a segmenter nothing"
        assert len({pair.tile.id + pair.tileset.spec.id for pair in mixed}) == len(mixed), "without replacement"
    with pytest.raises(TilesetError, match=r"10 labelled synthetic.*ratio 6 of 2.*is 12.*generate 2 more.*--ratio 5 "):
        mix(everything, candidates, 6, seed=0)


def test_the_draw_is_seeded_nested_and_stable(tmp_path):
    real = write(tmp_path / "a")
    candidates = pairs_of(write(tmp_path / "b", replace(SPEC, id="made"), "t" * 12, at=3), "train")
    real_pairs = pairs_of(real, "train")
    some, more = draw_synthetic(real_pairs, candidates, 1, 0), draw_synthetic(real_pairs, candidates, 2, 0)
    assert more[:4] == some
    assert draw_synthetic(real_pairs, candidates[::-1], 1, 0) == some, "a function of the tiles, not of their order"
    assert draw_synthetic(real_pairs, candidates, 1, 1) != some
    without = [pair for pair in candidates if pair is not some[1]]
    assert draw_synthetic(real_pairs, without, 1, 0) == [some[0], *some[2:], more[4]]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"bands": SPEC.bands[:2]}, "bands is red uint8, green uint8, there"),
        ({"bands": tuple(replace(band, dtype="uint16") for band in SPEC.bands)}, "red uint16"),
        ({"legend": Legend.from_names(["building", "road"])}, "legend is 1 building, 2 road, there"),
        ({"pixel_size": (1.02, 1.02)}, "pixel size is 1.02, 1.02, there it is 1, 1"),
        ({"crs": CRS.from_epsg(32634), "gsd_m": 0.5}, "pixel size is 0.5, there it is 1"),
        ({"tile_size": 32}, "tile size is 32, there it is 16"),
    ],
)
def test_tilesets_that_do_not_go_together_are_named(tmp_path, change, difference):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", replace(SPEC, id="b"))
    second.spec = replace(second.spec, **change)
    with pytest.raises(TilesetError) as caught:
        check_compatible(first, second)
    assert difference in str(caught.value)
    assert str(first.path) in str(caught.value) and str(second.path) in str(caught.value)


def test_small_differences_are_no_reason(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", replace(SPEC, id="b"))
    second.spec = replace(second.spec, pixel_size=(1.009, 0.992))
    check_compatible(first, second)
    # In another zone, what counts is the ground.
    second.spec = replace(second.spec, crs=CRS.from_epsg(4326), pixel_size=(1e-5, 1e-5), gsd_m=1.005)
    check_compatible(first, second)


def test_batches_are_pure_functions_of_seed_and_step(tmp_path):
    dataset = TilesetDataset(pairs_of(write(tmp_path / "a"), "train"), Normalisation((0,) * 3, (50,) * 3))
    first = [training_batch(dataset, batch=3, seed=1, step=step) for step in range(4)]
    again = training_batch(dataset, batch=3, seed=1, step=2)
    assert torch.equal(again["image"], first[2]["image"]) and torch.equal(again["mask"], first[2]["mask"])
    assert not torch.equal(first[0]["image"], first[2]["image"])
    other = training_batch(dataset, batch=3, seed=2, step=2)
    assert not torch.equal(again["image"], other["image"])


def test_all_pairs_are_seen_equally_often_and_turned_with_their_masks(tmp_path):
    dataset = TilesetDataset(pairs_of(write(tmp_path / "a"), "train"), Normalisation((0,) * 3, (50,) * 3))
    # A tile is known by its brightness, which turning does not change; nodata marks the same corner in both.
    means = [float(dataset[index]["image"].sum()) for index in range(4)]
    seen = np.zeros(4, int)
    corners = set()
    for step in range(16):
        batch = training_batch(dataset, batch=3, seed=0, step=step)
        for image, mask in zip(batch["image"], batch["mask"], strict=True):
            seen[np.abs(np.asarray(means) - float(image.sum())).argmin()] += 1
            hole = (image == 0).all(0)
            assert hole.sum() == 6 and (mask[hole] == 255).all()
            place = hole.nonzero()
            corners.add((tuple(place.min(0).values.tolist()), tuple(place.max(0).values.tolist())))
    assert seen.tolist() == [12, 12, 12, 12]
    assert len(corners) == 8, "all eight flips and turns"


def test_the_datamodule_serves_any_torchgeo_trainer(tmp_path):
    real = write(tmp_path / "a")
    synthetic = write(tmp_path / "b", replace(SPEC, id="made"), "t" * 10, at=3)
    module = TilesetDataModule(real, [synthetic], ratio=2, batch_size=3, steps=5)
    module.setup("fit")
    module.setup("test")
    assert (len(module.train_dataset), len(module.val_dataset), len(module.test_dataset)) == (12, 2, 1)
    batches = list(module.train_dataloader())
    assert len(batches) == 5 and batches[0]["image"].shape == (3, 3, SIDE, SIDE)
    assert isinstance(module.val_dataloader(), DataLoader)
    assert torch.equal(
        next(iter(module.val_dataloader()))["mask"], torch.stack([s["mask"] for s in module.val_dataset])
    )
    batch = batches[0]
    assert module.on_after_batch_transfer(batch, 0) is batch, "torchgeo's default divides by 255"
    assert [pair.tileset for pair in TilesetDataModule(real, [synthetic], ratio=2, real=False).training_pairs] == [
        synthetic
    ] * 8


def test_nothing_to_train_on_is_said_at_once(tmp_path):
    real = write(tmp_path / "a", unlabelled=4)
    with pytest.raises(TilesetError, match="no labelled pair to train on"):
        TilesetDataModule(real)


def test_a_damaged_tile_is_named(tmp_path):
    tileset = write(tmp_path / "a")
    (tileset.path / tileset.tiles[1].image).write_bytes(b"no tiff")
    with warnings.catch_warnings(), pytest.raises(TilesetError, match=r"t01\.tif"):
        TilesetDataset(pairs_of(tileset, "train"), Normalisation.of(tileset.statistics))


def test_statistics_are_those_of_the_real_tileset(tmp_path):
    real = write(tmp_path / "a")
    synthetic = write(tmp_path / "b", replace(SPEC, id="made"), "t" * 10, at=3)
    content = json.loads((real.path / "tileset.json").read_text())["statistics"]
    module = TilesetDataModule(real, [synthetic], real=False)
    assert module.normalisation.mean == tuple(entry["mean"] for entry in content)
    assert module.normalisation.mean != tuple(entry.mean for entry in synthetic.statistics)
