"""Good and bad synthetic tiles of the made-up world: every number that should tell them apart does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RGB
from evaluation_tiles import make_tiles
from judged_tiles import PairOfArrays, world_pairs, write_pairs

from geosynth.diffusion.generator import load_generator
from geosynth.errors import ModelError, TilesetError
from geosynth.evaluation.yardstick import (
    Fidelity,
    SampleSizes,
    Yardstick,
    check_models,
    common_sizes,
    fid_dimensions,
    measure,
)
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.rasters import Band
from geosynth.segmentation.segmenter import Segmenter, load_segmenter
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tileset import Tileset

COUNT = 24


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Tileset:
    pairs = world_pairs(2 * COUNT) + world_pairs(COUNT, far=50_000)
    return write_pairs(tmp_path_factory.mktemp("judged") / "real", pairs, held_out=COUNT, generated=False)


@pytest.fixture(scope="module")
def segmenter(real: Tileset) -> Segmenter:
    plan = SegmenterPlan(encoder="timm-mobilenetv3_small_minimal_100", steps=50, batch=8, learning_rate=5e-3)
    out = real.path.parent / "segmenter"
    # In bf16, which "auto" takes where the CPU is fast at it, so short a training gives other features.
    train_segmenter(real.path, [], plan, out, Events(), threads=1, device="cpu", precision="32")
    return load_segmenter(out, "cpu")


@pytest.fixture(scope="module")
def yardstick(real: Tileset, segmenter: Segmenter) -> Yardstick:
    return Yardstick(real, segmenter, None, SampleSizes(COUNT, COUNT), Events())


Change = Callable[[list[PairOfArrays]], list[PairOfArrays]]


@pytest.fixture(scope="module")
def judged(yardstick: Yardstick, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fidelity]:
    """The made-up world under another seed, as it is and damaged."""
    random = np.random.default_rng(0)
    changes: dict[str, Change] = {
        "good": lambda pairs: pairs,
        "noise": lambda pairs: [(random.integers(0, 256, i.shape).astype(np.uint8), m) for i, m in pairs],
        "shuffled": lambda pairs: [(i, pairs[n - 5][1]) for n, (i, _) in enumerate(pairs)],
        "shifted": lambda pairs: [(i, np.roll(m, 8, axis=0)) for i, m in pairs],
        "specked": lambda pairs: [
            (i, np.where(random.random(m.shape) < 0.05, random.integers(1, 7, m.shape), m).astype(np.uint8))
            for i, m in pairs
        ],
        "repeated": lambda pairs: [pairs[n % 2] for n in range(len(pairs))],
    }
    folder, pairs = tmp_path_factory.mktemp("made"), world_pairs(COUNT, seed=1)
    return {
        name: yardstick.measure(write_pairs(folder / name, change(pairs)), Events()) for name, change in changes.items()
    }


def test_noise_is_far_from_real_images(judged: dict[str, Fidelity], yardstick: Yardstick) -> None:
    good, noise, floor = judged["good"], judged["noise"], yardstick.floor
    assert noise.kid.value - 4 * noise.kid.standard_error > good.kid.value + 4 * good.kid.standard_error
    assert noise.fid > 2 * good.fid
    # Noise looks alike everywhere: all of it lies together, far from most real tiles. But a few of the real ones are
    # lonely and reach it, so its precision says nothing (see ``test_distances``).
    assert noise.neighbourhoods.coverage < good.neighbourhoods.coverage / 2
    assert noise.neighbourhoods.density < good.neighbourhoods.density
    assert noise.neighbourhoods.recall < good.neighbourhoods.recall / 4
    assert abs(good.kid.value - floor.kid.value) < 4 * (good.kid.standard_error + floor.kid.standard_error)
    assert noise.class_divergence == good.class_divergence  # its masks are good


def test_few_kinds_of_tiles_cover_little(judged: dict[str, Fidelity]) -> None:
    good, repeated = judged["good"], judged["repeated"]
    assert repeated.neighbourhoods.coverage < 0.6 * good.neighbourhoods.coverage
    assert repeated.neighbourhoods.recall < good.neighbourhoods.recall / 2
    assert repeated.kid.value > good.kid.value
    assert repeated.fid > good.fid
    assert (repeated.class_variation or 0) > (good.class_variation or 1)
    assert (repeated.class_divergence or 0) > (good.class_divergence or 1)


def test_specks_show_in_the_layout(judged: dict[str, Fidelity]) -> None:
    good, specked = judged["good"], judged["specked"]
    for name in ("adjacency_divergence", "border_divergence", "component_distance"):
        assert getattr(specked, name) > getattr(good, name), name
    assert (specked.component_distance or 0) > (good.component_distance or 1) + 1
    assert specked.kid == good.kid  # its images are good


@pytest.mark.parametrize("name", ["noise", "shuffled", "shifted"])
def test_pairs_that_do_not_belong_together_disagree(judged: dict[str, Fidelity], name: str) -> None:
    good, bad = judged["good"].segmenter_agreement, judged[name].segmenter_agreement
    assert good is not None
    assert bad is not None
    assert bad.made < 0.7 * good.made
    assert bad.difference < good.difference
    assert (bad.ratio or 0) < 0.75 < (good.ratio or 0)
    assert judged[name].generator_agreement is None  # no generator was asked


def test_the_floor_is_what_held_out_tiles_get(yardstick: Yardstick) -> None:
    floor, others = yardstick.floor, yardstick.other_training_tiles(Events())
    assert floor.segmenter_agreement is not None
    assert floor.segmenter_agreement.ratio == 1
    assert floor.copy_ratio == 1
    assert yardstick.held_out_split == "val"
    assert others is not None
    assert others.kid.value < 3 * others.kid.standard_error
    assert others.fid < floor.fid  # of the same place
    assert others.copy_ratio is None


def test_copies_are_near_and_others_are_not(
    real: Tileset, yardstick: Yardstick, judged: dict[str, Fidelity], tmp_path: Path
) -> None:
    pairs = [(image, mask) for image, _, mask in map(real.read, real.select("train"))]
    copies = yardstick.measure(write_pairs(tmp_path / "copies", pairs[:COUNT]), Events())
    assert copies.share_nearer == 1
    assert copies.copy_ratio == pytest.approx(0, abs=1e-2)
    assert judged["good"].copy_ratio == pytest.approx(1, abs=0.3)
    given = yardstick.measure(write_pairs(tmp_path / "given", pairs, generated=False), Events())
    assert (given.copy_ratio, given.share_nearer) == (None, None)  # real images cannot be copies


def test_json_round_trip(judged: dict[str, Fidelity], real: Tileset) -> None:
    names = real.spec.legend.names
    content = json.loads(json.dumps(judged["good"].to_json(names), allow_nan=False))
    good = judged["good"]
    assert content["kid"] == {"value": good.kid.value, "standard_error": good.kid.standard_error}
    assert list(content["component_distances"]) == list(names)
    assert good.segmenter_agreement is not None
    assert content["segmenter_agreement"]["ratio"] == good.segmenter_agreement.ratio
    assert content["neighbourhoods"]["coverage"] == good.neighbourhoods.coverage
    assert content["generator_agreement"] is None


def test_measuring_alone_is_the_same_and_asks_the_generator(
    real: Tileset, segmenter: Segmenter, shared_generator: Path, tmp_path: Path
) -> None:
    small = write_pairs(tmp_path / "small", world_pairs(9, seed=2))
    found = measure(real, small, segmenter, load_generator(shared_generator), Events(), steps=2)
    assert found.sizes == SampleSizes(9, 9)
    assert found.fid_dimensions == 2
    assert found.generator_agreement is not None
    assert 0 <= found.generator_agreement.made < 0.5  # it was hardly trained
    again = Yardstick(real, segmenter, None, SampleSizes(9, 9), Events()).measure(small, Events())
    assert replace(found, generator_agreement=None) == again


def test_tiles_that_do_not_fit_are_refused(real: Tileset, yardstick: Yardstick, tmp_path: Path) -> None:
    few = write_pairs(tmp_path / "few", world_pairs(3))
    with pytest.raises(TilesetError, match=r"few: 3 synthetic tiles.*too few"):
        common_sizes(real, [few])
    with pytest.raises(TilesetError, match="some: 10 tiles to compare, fewer than 24"):
        yardstick.measure(write_pairs(tmp_path / "some", world_pairs(10)), Events())
    other = make_tiles(tmp_path / "bands", {"train": 10}, synthetic=True, bands=(Band("nir", "uint8"),))
    with pytest.raises(TilesetError, match="bands"):
        yardstick.measure(other, Events())
    with pytest.raises(TilesetError, match="held-out"):
        common_sizes(write_pairs(tmp_path / "unsplit", world_pairs(10), generated=False), [])


def test_images_without_labels_count(real: Tileset, segmenter: Segmenter, tmp_path: Path) -> None:
    """With nine labelled tiles a side images are compared as if all had labels; masks are those of the nine."""
    shown = [(image, mask) for image, _, mask in map(real.read, (*real.select("train"), *real.select("val")))]
    train = 2 * COUNT
    pairs = [
        (image, mask if number < 9 or 0 <= number - train < 9 else np.full_like(mask, UNKNOWN))
        for number, (image, mask) in enumerate(shown)
    ]
    few = write_pairs(tmp_path / "few", pairs, held_out=COUNT, generated=False)
    made = write_pairs(tmp_path / "made", world_pairs(COUNT, seed=1))
    sizes = common_sizes(few, [made])
    assert sizes == SampleSizes(COUNT, 9)
    found, all_labelled = (
        Yardstick(tiles, segmenter, None, asked, Events()).measure(made, Events())
        for tiles, asked in ((few, sizes), (real, SampleSizes(COUNT, COUNT)))
    )
    assert found.sizes == sizes
    for name in ("kid", "fid", "fid_dimensions", "neighbourhoods", "copy_ratio"):
        assert getattr(found, name) == getattr(all_labelled, name), name
    assert found.class_variation != all_labelled.class_variation  # of nine tiles, not of COUNT
    with pytest.raises(TilesetError, match="9 labelled tiles to compare, fewer than 10"):
        Yardstick(few, segmenter, None, SampleSizes(COUNT, 10), Events())


def test_images_are_compared_where_hardly_any_have_labels(
    real: Tileset, yardstick: Yardstick, judged: dict[str, Fidelity], tmp_path: Path
) -> None:
    shown = [(image, mask) for image, _, mask in map(real.read, (*real.select("train"), *real.select("val")))]
    pairs = [
        (image, np.full_like(mask, UNKNOWN) if number % 16 else mask) for number, (image, mask) in enumerate(shown)
    ]
    few = write_pairs(tmp_path / "few", pairs, held_out=COUNT, generated=False)
    made = write_pairs(tmp_path / "made", world_pairs(COUNT, seed=1))
    sizes = common_sizes(few, [made])
    assert sizes == SampleSizes(COUNT, 0)
    found = Yardstick(few, yardstick.segmenter, None, sizes, Events()).measure(made, Events())
    assert found.kid == judged["good"].kid
    names = ("class_divergence", "class_variation", "adjacency_divergence", "border_divergence", "component_distance")
    assert [getattr(found, name) for name in (*names, "segmenter_agreement")] == [None] * 6
    assert set(found.component_distances) == {None}


def test_models_that_do_not_fit_are_refused(real: Tileset, segmenter: Segmenter, tmp_path: Path) -> None:
    check_models(real, segmenter, None)
    mixed = replace(segmenter, training={"pairs": {"real": 5, "synthetic": 7}})
    with pytest.raises(ModelError, match="trained on 7 synthetic pairs"):
        check_models(real, mixed, None)
    other = make_tiles(tmp_path / "bands", {"train": 2}, bands=(*RGB[:2], Band("nir", "uint8")))
    with pytest.raises(ModelError, match="segmenter was trained on"):
        check_models(other, segmenter, None)


def test_tiles_of_synthetic_scenes_are_no_real_ones(segmenter: Segmenter, real: Tileset, tmp_path: Path) -> None:
    """A tileset cut from a synthetic scene among real ones: its rows say so."""
    pairs = world_pairs(45)
    mixed = write_pairs(tmp_path / "mixed", pairs, held_out=15, generated=False)
    tiles = [
        replace(tile, image_origin="generated", mask_origin="generated") if number % 3 == 0 else tile
        for number, tile in enumerate(mixed.tiles)
    ]
    mixed.tiles = tuple(tiles)
    assert common_sizes(mixed, []) == SampleSizes(10, 10)  # five of the fifteen held-out ones are none
    with pytest.raises(TilesetError, match="0 real training tiles"):
        common_sizes(write_pairs(tmp_path / "made", pairs, held_out=15), [])
    check_models(mixed, segmenter, None)
    own = replace(segmenter, training={**segmenter.training, "tileset": mixed.spec.id})
    with pytest.raises(ModelError, match="trained on 10 synthetic pairs"):
        check_models(mixed, own, None)


def test_dimensions_of_fid_grow_with_the_tiles() -> None:
    assert [fid_dimensions(count) for count in (8, 100, 256, 5000)] == [2, 25, 64, 64]
