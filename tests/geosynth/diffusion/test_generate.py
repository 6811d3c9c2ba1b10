import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from conftest import world_tiles
from given_tiles import copy_with_ids, hashes

from geosynth.diffusion import samplers
from geosynth.diffusion.codes import encode
from geosynth.diffusion.generate import GenerateRequest, count_for_ratio, generate
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.errors import Cancelled, ModelError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.lineage import read_lineage
from geosynth.noise import sample_noise
from geosynth.rasters import read_tags
from geosynth.tileset import Tileset

FIVE = GenerateRequest(5, steps=2, block=2)


@pytest.fixture(scope="module")
def pairs(shared_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "synthetic"
    generate(shared_generator, FIVE, out, Events())
    return out


def test_a_synthetic_tileset_is_a_tileset(pairs: Path, shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    tileset = Tileset(pairs)
    assert len(tileset.tiles) == 5
    assert tileset.spec.crs == generator.spec.crs
    assert tileset.spec.pixel_size == generator.spec.pixel_size
    for number, tile in enumerate(tileset.tiles):
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "generated", "fictitious")
        assert (tile.generator, tile.seed, tile.sample_index) == (generator.hash, 0, number)
        image, valid, mask = tileset.read(tile)
        assert valid.all()
        assert set(np.unique(mask)) <= set(tileset.spec.legend.ids)
        for band, low, high in zip(image, generator.scale.low, generator.scale.high, strict=True):
            assert band.min() >= low and band.max() <= high
    assert read_lineage(pairs) == generator.lineage


def test_every_file_says_that_it_is_synthetic(pairs: Path, shared_generator: Path) -> None:
    for path in [*pairs.glob("images/*.tif"), *pairs.glob("masks/*.tif")]:
        with rasterio.open(path) as dataset:
            tags = dataset.tags()
        assert tags["GEOSYNTH_SYNTHETIC"] == "both"
        assert tags["GEOSYNTH_GENERATOR"] == load_generator(shared_generator).hash
        assert (tags["GEOSYNTH_SAMPLER"], tags["GEOSYNTH_STEPS"], tags["GEOSYNTH_GUIDANCE"]) == ("dpm", "2", "1.5")
        assert tags["DIGITAL_SOURCE_TYPE"].endswith("trainedAlgorithmicMedia")


def test_the_bytes_do_not_depend_on_the_workers(pairs: Path, shared_generator: Path, tmp_path: Path) -> None:
    generate(shared_generator, FIVE, tmp_path / "two", Events(), workers=2)
    assert hashes(tmp_path / "two") == hashes(pairs)


def test_a_dask_cluster_gives_the_same_bytes(pairs: Path, shared_generator: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        generate(shared_generator, FIVE, tmp_path / "two", Events(), scheduler=cluster.scheduler_address)
    assert hashes(tmp_path / "two") == hashes(pairs)


def test_an_interrupted_run_goes_on_to_the_same_bytes(pairs: Path, shared_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answers = iter([None, None])
    with pytest.raises(Cancelled):
        generate(shared_generator, FIVE, out, Events(stop=[lambda: next(answers, "enough")]))
    assert len(list(out.glob("images/*.tif"))) == 4  # two of three blocks
    with pytest.raises(OutputError, match="--resume"):
        generate(shared_generator, FIVE, out, Events())
    generate(shared_generator, FIVE, out, Events(), rerun="resume")
    assert hashes(out) == hashes(pairs)
    assert generate(shared_generator, FIVE, out, Events()).nothing_to_do


def test_the_sampler_is_part_of_the_request(pairs: Path, shared_generator: Path, tmp_path: Path) -> None:
    generate(shared_generator, replace(FIVE, count=1, block=1, sampler="euler"), tmp_path / "euler", Events())
    tileset = Tileset(tmp_path / "euler")
    assert read_tags(tileset.path / tileset.tiles[0].image)["GEOSYNTH_SAMPLER"] == "euler"
    asked = json.loads((pairs / ".geosynth" / "request.json").read_text())
    assert (asked["sampler"], asked["steps"], asked["count"]) == ("dpm", 2, 5)
    with pytest.raises(OutputError, match="sampler"):
        generate(shared_generator, replace(FIVE, sampler="euler"), pairs, Events())
    with pytest.raises(ModelError, match=r"no sampler 'ddpm'.*dpm, euler"):
        generate(shared_generator, replace(FIVE, sampler="ddpm"), tmp_path / "out", Events())
    with pytest.raises(ModelError, match="how many pairs"):
        generate(shared_generator, GenerateRequest(), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def one_level(shared_world_tileset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of recipe satsynth: it adds noise on the way, and answers one question."""
    out = tmp_path_factory.mktemp("satsynth") / "model"
    request = TrainRequest(steps=1, batch=2, recipe="satsynth")
    train_generator(shared_world_tileset, request, out, Events(), threads=1, precision="32")
    return out


def test_noise_levels_are_a_part_of_the_request(
    pairs: Path, shared_generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version with other levels would make other bytes: it must not go on with a run of this one."""
    monkeypatch.setattr(samplers, "LOWEST", 0.1)
    with pytest.raises(OutputError, match="different levels"):
        generate(shared_generator, FIVE, pairs, Events(), rerun="resume")


def test_noise_on_the_way_is_a_matter_of_the_sample(one_level: Path, tmp_path: Path) -> None:
    """Stopped and resumed, the ancestral sampler goes on with the same noise."""
    request = GenerateRequest(3, steps=2, block=1)
    generate(one_level, request, tmp_path / "whole", Events())
    answers = iter([None, None])
    with pytest.raises(Cancelled):
        generate(one_level, request, tmp_path / "parts", Events(stop=[lambda: next(answers, "enough")]))
    generate(one_level, request, tmp_path / "parts", Events(), rerun="resume")
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    tileset = Tileset(tmp_path / "whole")
    assert read_tags(tileset.path / tileset.tiles[0].image)["GEOSYNTH_SAMPLER"] == "ddpm"
    assert len({tile.image_sha256 for tile in tileset.tiles}) == 3


def test_one_noise_level_answers_one_question(one_level: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    tiles = (str(shared_world_tileset),)
    for request, what in (
        (GenerateRequest(1, steps=1, masks_from=tiles), "mask is given"),
        (GenerateRequest(1, steps=1, images_from=tiles), "image is given"),
        (GenerateRequest(1, steps=1, guidance=2.0), "guidance is asked for"),
    ):
        with pytest.raises(ModelError, match=f"new pairs only.*{what}"):
            generate(one_level, request, tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_masks_say_how_sure_they_are(pairs: Path) -> None:
    for tile in Tileset(pairs).tiles:
        assert 0 <= float(read_tags(pairs / tile.mask)["GEOSYNTH_CONFIDENCE"]) <= 1


def test_without_a_count_every_donor_gets_a_pair(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    request = GenerateRequest(steps=1, images_from=(str(shared_world_tileset),))
    generate(shared_generator, request, tmp_path / "out", Events())
    train = [tile.id for tile in Tileset(shared_world_tileset).select("train")]
    assert [tile.parent_id for tile in Tileset(tmp_path / "out").tiles] == train


def test_more_pairs_begin_with_the_same_ones(pairs: Path, shared_generator: Path, tmp_path: Path) -> None:
    generate(shared_generator, GenerateRequest(3, steps=2, block=2), tmp_path / "three", Events())
    for few, many in zip(Tileset(tmp_path / "three").tiles, Tileset(pairs).tiles, strict=False):
        with rasterio.open(tmp_path / "three" / few.image) as a, rasterio.open(pairs / many.image) as b:
            assert np.array_equal(a.read(), b.read())


def test_images_for_given_masks(shared_generator: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    request = GenerateRequest(3, steps=2, block=2, masks_from=(str(shared_world_tileset),))
    generate(shared_generator, request, tmp_path / "painted", Events())
    real = {tile.id: tile for tile in Tileset(shared_world_tileset).tiles}
    for tile in Tileset(tmp_path / "painted").tiles:
        donor = real[tile.parent_id]
        assert donor.split == "train"
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "human", "donor")
        assert tile.geometry.equals(donor.geometry)
        with (
            rasterio.open(tmp_path / "painted" / tile.mask) as a,
            rasterio.open(shared_world_tileset / donor.mask) as b,
        ):
            assert np.array_equal(a.read(), b.read())
            assert a.tags()["GEOSYNTH_SYNTHETIC"] == "none"  # the given side stays what it is
        with rasterio.open(tmp_path / "painted" / tile.image) as dataset:
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "image"


def test_masks_for_given_images(shared_generator: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    request = GenerateRequest(3, steps=2, block=2, images_from=(str(shared_world_tileset),))
    generate(shared_generator, request, tmp_path / "labelled", Events())
    for tile in Tileset(tmp_path / "labelled").tiles:
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("real", "predicted", "real")
        with (
            rasterio.open(tmp_path / "labelled" / tile.image) as a,
            rasterio.open(shared_world_tileset / "images" / f"{tile.parent_id}.tif") as b,
        ):
            assert np.array_equal(a.read(), b.read())
            assert a.transform == b.transform


def test_the_given_side_decides_the_answer(shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    noise = sample_noise(0, 0, (6, 32, 32))[None]
    water, field = (encode(torch.full((1, 32, 32), index, dtype=torch.uint8), 6) for index in (2, 4))
    wet, kept = generator.pipeline(noise, mask=water, steps=2)
    dry, _ = generator.pipeline(noise, mask=field, steps=2)
    assert torch.equal(kept, water)  # the given side is returned untouched
    assert not torch.allclose(wet, dry)
    strict, _ = generator.pipeline(noise, mask=water, steps=2, guidance=3.0)
    assert not torch.allclose(wet, strict)
    with pytest.raises(ValueError, match="nothing to sample"):
        generator.pipeline(noise, mask=water, image=wet)


def test_masks_are_read_with_their_own_legend(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    """The same classes under other ids give the same images."""
    shifted = tmp_path / "shifted"
    copy_with_ids(shared_world_tileset, shifted, offset=10)
    for name, source in (("plain", shared_world_tileset), ("moved", shifted)):
        request = GenerateRequest(2, steps=2, block=2, masks_from=(str(source),))
        generate(shared_generator, request, tmp_path / name, Events())
    for one, other in zip(Tileset(tmp_path / "plain").tiles, Tileset(tmp_path / "moved").tiles, strict=True):
        image, _, mask = Tileset(tmp_path / "plain").read(one)
        same, _, moved = Tileset(tmp_path / "moved").read(other)
        assert np.array_equal(image, same)
        assert np.array_equal(mask + 10, moved)


def test_calls_side_by_side_do_not_disturb_each_other(shared_generator: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    pipeline = load_generator(shared_generator).pipeline
    noises = [sample_noise(0, index, (6, 32, 32))[None] for index in range(4)]

    def sample(noise: torch.Tensor) -> torch.Tensor:
        image, _ = pipeline(noise, steps=6)
        return image  # type: ignore[no-any-return]

    alone = [sample(noise) for noise in noises]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(sample, noises))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(alone, together, strict=True))


def test_ratio_counts_labelled_real_training_pairs(shared_world_tileset: Path) -> None:
    assert count_for_ratio(1.5, shared_world_tileset) == 24
    assert count_for_ratio(0.001, shared_world_tileset) == 1


def test_a_damaged_donor_is_found_before_anything_is_written(
    shared_generator: Path, world_tileset: Path, tmp_path: Path
) -> None:
    tile = Tileset(world_tileset).select("train")[1]
    (world_tileset / tile.mask).write_bytes(b"")
    request = GenerateRequest(steps=1, masks_from=(str(world_tileset),))
    with pytest.raises(TilesetError, match=f"{tile.id}.*damaged"):
        generate(shared_generator, request, tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_donors_that_do_not_fit(shared_generator: Path, tmp_path: Path) -> None:
    other = world_tiles(tmp_path / "other", rows=1, cols=3, side=16)
    request = GenerateRequest(2, steps=1, masks_from=(str(other),))
    with pytest.raises(ModelError, match=r"tiles of 16 px.*makes 32 px"):
        generate(shared_generator, request, tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_fewer_pairs_than_donors_are_for_donors_from_all_over(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    train = [tile.id for tile in Tileset(shared_world_tileset).select("train", labelled=True)]
    drawn = []
    for seed in range(8):
        request = GenerateRequest(2, seed=seed, steps=1, block=2, masks_from=(str(shared_world_tileset),))
        generate(shared_generator, request, tmp_path / str(seed), Events())
        parents = [tile.parent_id for tile in Tileset(tmp_path / str(seed)).tiles]
        assert parents == sorted(set(parents), key=train.index)  # each once, in the order of the index
        drawn += parents
    assert len(set(drawn)) > 4


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_precision_is_kept_with_the_run(shared_generator: Path, tmp_path: Path, precision: str) -> None:
    out, answers = tmp_path / "out", iter([None, None])
    with pytest.raises(Cancelled):
        generate(shared_generator, FIVE, out, Events(stop=[lambda: next(answers, "enough")]), precision=precision)
    other = "32" if precision == "bf16" else "bf16"
    generate(shared_generator, FIVE, out, Events(), rerun="resume", precision=other)
    generate(shared_generator, FIVE, tmp_path / "whole", Events(), precision=precision)
    assert hashes(out) == hashes(tmp_path / "whole")
    generate(shared_generator, FIVE, tmp_path / "other", Events(), precision=other)
    assert hashes(tmp_path / "other") != hashes(out)
