"""Whole scenes: what one window would give, no seams, the same bytes however they are made, maps painted in place."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from shapely import box

from geosynth.diffusion import scenefiles, scenelevels, wholescene
from geosynth.diffusion.canvas import Windows, canvas_noise, shift_at
from geosynth.diffusion.codes import decode
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.pipeline import PairPipeline
from geosynth.diffusion.request import Reading
from geosynth.diffusion.samplers import Stepper
from geosynth.diffusion.wholescene import SceneRequest, SceneSummary, generate_scene
from geosynth.errors import Cancelled, GeosynthError, LabelError, ModelError, OutputError
from geosynth.events import Events
from geosynth.folders import file_hash
from geosynth.lineage import read_lineage
from geosynth.scenes import sieving
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

SMALL = SceneRequest(72, 90, steps=2)


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).is_relative_to(".geosynth/log")
    }


def read(folder: Path) -> tuple[Any, Any]:
    with rasterio.open(folder / "image.tif") as image, rasterio.open(folder / "mask.tif") as mask:
        return image.read(), mask.read(1)


@pytest.fixture(scope="module")
def scene(shared_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scene") / "out"
    generate_scene(shared_generator, SMALL, out, Events())
    return out


@pytest.fixture
def world_mask(tmp_path: Path) -> Path:
    write_scene(Landscape(3), tmp_path / "world", "map", 400, 300, 60, 75)
    return tmp_path / "world" / "map_mask.tif"


def test_the_files_are_a_georeferenced_pair(scene: Path, shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    with rasterio.open(scene / "image.tif") as image, rasterio.open(scene / "mask.tif") as mask:
        for dataset in (image, mask):
            assert (dataset.height, dataset.width) == (72, 90)
            assert dataset.crs == generator.spec.crs
            assert (dataset.transform.a, -dataset.transform.e) == generator.spec.pixel_size
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "both"
            assert dataset.tags()["GEOSYNTH_GENERATOR"] == generator.hash
            assert dataset.tags()["GEOSYNTH_PLACEMENT"] == "fictitious"
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert image.transform == mask.transform
        assert (image.count, image.dtypes[0]) == (3, "uint8")
        assert mask.nodata == 255 and mask.colormap(1)[1][:3] == (0xD1, 0x49, 0x5B)
        assert set(np.unique(mask.read(1))) <= set(generator.spec.legend.ids)
    about = json.loads((scene / "scene.json").read_text(encoding="utf-8"))
    assert (about["kind"], about["height"], about["width"], about["mask_made"]) == ("scene", 72, 90, 1.0)
    assert sum(about["class_shares"].values()) == pytest.approx(1)
    assert read_lineage(scene) == generator.lineage
    assert not (scene / ".geosynth" / "canvas").exists()


@pytest.mark.parametrize("sampler", ["euler", "dpm"])
def test_a_scene_of_one_window_is_what_the_pipeline_makes(sampler: str, shared_generator: Path, tmp_path: Path) -> None:
    request = SceneRequest(32, 32, steps=6, sampler=sampler, sieve=0)
    generate_scene(shared_generator, request, tmp_path / "out", Events())
    image, mask = read(tmp_path / "out")
    generator = load_generator(shared_generator)
    channels = generator.bands + generator.pipeline.denoiser.mask_channels
    noise = canvas_noise(0, channels, 0, 0, 32, 32)[None]
    values, bits = generator.pipeline(noise, steps=6, sampler=sampler)
    assert np.abs(image - generator.scale.to_raster(values, "uint8", None)[0].astype(int)).max() <= 1
    classes = generator.spec.legend.to_id(decode(bits, generator.classes)[0].numpy())[0]
    assert (classes == mask).mean() > 0.99  # states are stored in 16 bits


def local(denoiser: Any, state: torch.Tensor, noise: torch.Tensor, level: float, *_: bool, **__: float) -> torch.Tensor:
    """A network that looks at nothing but the pixel itself."""
    return 0.6 * state.sin() + level + 0.1 * noise


@pytest.mark.parametrize("overlap", [0, 8, 16])
@pytest.mark.parametrize("sampler", ["euler", "dpm"])
def test_a_network_without_a_view_makes_the_same_however_the_windows_lie(
    sampler: str, overlap: int, shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenelevels, "guided", local)
    monkeypatch.setattr("geosynth.diffusion.canvas._STORED", np.dtype(np.float32))
    found: list[Any] = []
    monkeypatch.setattr(
        scenefiles, "state_rows", lambda *rows: found.append(scenelevels.state_rows(*rows)) or found[-1]
    )
    request = SceneRequest(100, 77, steps=5, sampler=sampler, overlap=overlap)
    generate_scene(shared_generator, request, tmp_path / "out", Events())
    generator = load_generator(shared_generator)
    stepper = Stepper(generator.pipeline.process, sampler, 5)
    noise = canvas_noise(0, found[0].shape[0], 0, 0, 104, 80)[None]
    state = noise
    for position, level in enumerate(stepper.levels):
        state = stepper.step(position, local(None, state, noise, level), state)
    np.testing.assert_allclose(np.concatenate(found, axis=1), state[0, :, :100].numpy(), atol=2e-5)


def test_the_bytes_do_not_depend_on_the_workers(scene: Path, shared_generator: Path, tmp_path: Path) -> None:
    generate_scene(shared_generator, SMALL, tmp_path / "two", Events(), workers=2)
    assert files(tmp_path / "two") == files(scene)


@pytest.mark.parametrize(("sampler", "checks"), [("euler", 2), ("dpm", 4), ("dpm", 8)])
def test_a_cancelled_scene_goes_on_with_the_same_bytes(
    sampler: str, checks: int, shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenelevels, "_ROWS", 2)
    request = SceneRequest(72, 90, steps=3, sampler=sampler)
    generate_scene(shared_generator, request, tmp_path / "whole", Events())
    asked = iter(range(checks))
    stopping = Events(stop=[lambda: None if next(asked, None) is not None else "enough"])
    with pytest.raises(Cancelled):
        generate_scene(shared_generator, request, tmp_path / "parts", stopping)
    canvas = tmp_path / "parts" / ".geosynth" / "canvas"
    # What a killed process had half written: garbage in the state that the first rows not done belong to.
    done = np.fromfile(canvas / "done", np.uint8).reshape(3, 72)
    layouts = [Windows.along(72, 32, 8, shift_at(level, 24, 8)[0]) for level in range(3)]
    left = [level for level in range(3) if not done[level, : len(layouts[level].starts)].all()]
    assert done.any() and bool(left) == (checks < 8)  # the last one is stopped while its rasters are written
    if left:
        state = np.memmap(canvas / f"state-{(left[0] + 1) % (3 if sampler == 'dpm' else 2)}", np.float16, "r+")
        state.reshape(-1, 72, 96)[:, layouts[left[0]].starts[done[left[0]].sum()] :] = 99
        state.flush()
    with pytest.raises(OutputError, match="unfinished"):
        generate_scene(shared_generator, request, tmp_path / "parts", Events())
    generate_scene(shared_generator, request, tmp_path / "parts", Events(), rerun="resume")
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.parametrize("sampler", ["euler", "dpm"])
def test_rows_that_are_done_again_stay_as_they_are(
    sampler: str, shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's death brings back tasks that are done, when the next levels have begun on their files."""
    request = SceneRequest(96, 64, steps=3, sampler=sampler)
    generate_scene(shared_generator, request, tmp_path / "whole", Events())

    def with_deaths(function: Any, tasks: Any, *_: Any, **__: Any) -> Any:
        for number, task in enumerate(tasks):
            yield function(task)
            for earlier in tasks[:number]:
                function(earlier)

    monkeypatch.setattr(wholescene, "run_tasks", with_deaths)
    monkeypatch.setattr(scenelevels, "_ROWS", 1)
    generate_scene(shared_generator, request, tmp_path / "redone", Events())
    assert files(tmp_path / "redone") == files(tmp_path / "whole")


def test_scenes_lie_in_places_of_their_own(shared_generator: Path, tmp_path: Path) -> None:
    places = []
    for seed in (0, 1):
        generate_scene(shared_generator, SceneRequest(32, 900, steps=1, seed=seed), tmp_path / str(seed), Events())
        with rasterio.open(tmp_path / str(seed) / "image.tif") as dataset:
            places.append(box(*dataset.bounds))
    assert not places[0].intersects(places[1])


def test_there_is_nothing_to_do_twice(scene: Path, shared_generator: Path) -> None:
    before = files(scene)
    again = generate_scene(shared_generator, SMALL, scene, Events())
    assert again.nothing_to_do and (again.height, again.width) == (72, 90)
    assert files(scene) == before
    with pytest.raises(OutputError, match="different seed"):
        generate_scene(shared_generator, SceneRequest(72, 90, steps=2, seed=1), scene, Events())


def test_a_scene_smaller_than_a_tile_is_cut_out_of_one(shared_generator: Path, tmp_path: Path) -> None:
    small, tile = (SceneRequest(*size, steps=2, sieve=0) for size in ((9, 20), (32, 32)))  # specks depend on the edge
    summary = generate_scene(shared_generator, small, tmp_path / "small", Events())
    generate_scene(shared_generator, tile, tmp_path / "tile", Events())
    assert (summary.height, summary.width) == (9, 20)
    for part, whole in zip(read(tmp_path / "small"), read(tmp_path / "tile"), strict=True):
        assert np.array_equal(part, whole[..., :9, :20])


def test_a_map_is_painted_where_it_lies(world_mask: Path, shared_generator: Path, tmp_path: Path) -> None:
    request = SceneRequest(steps=2, masks_from=(str(world_mask),))
    summary = generate_scene(shared_generator, request, tmp_path / "out", Events())
    assert isinstance(summary, SceneSummary) and (summary.height, summary.width) == (60, 75)
    with rasterio.open(world_mask) as given, rasterio.open(tmp_path / "out" / "mask.tif") as mask:
        assert np.array_equal(given.read(1), mask.read(1))
        assert (given.crs, given.transform) == (mask.crs, mask.transform)
        assert mask.tags()["GEOSYNTH_SYNTHETIC"] == "none"
    with rasterio.open(tmp_path / "out" / "image.tif") as image:
        tags = image.tags()
        assert image.bounds == given.bounds
        assert (tags["GEOSYNTH_SYNTHETIC"], tags["GEOSYNTH_PLACEMENT"]) == ("image", "donor")
    lineage = read_lineage(tmp_path / "out")
    assert [seen.bounds for seen in lineage.seen if seen.scene == "map_mask"] == [tuple(given.bounds)]


def test_a_network_is_shown_the_map_clean_and_only_where_it_is_known(
    world_mask: Path, shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that are known as a whole ask for the image; in others the known pixels are as noisy as the rest."""
    with rasterio.open(world_mask, "r+") as dataset:
        mask = dataset.read(1)
        mask[:, 60:] = 255
        dataset.write(mask, 1)
    seen: list[tuple[bool, torch.Tensor]] = []

    def watching(
        _: Any, state: torch.Tensor, noise: torch.Tensor, level: float, *given: bool, **__: Any
    ) -> torch.Tensor:
        seen.append((given[1], state[:, 3:].clone()))
        return torch.zeros_like(state)

    monkeypatch.setattr(scenelevels, "guided", watching)
    request = SceneRequest(steps=2, masks_from=(str(world_mask),))
    generate_scene(shared_generator, request, tmp_path / "out", Events())
    size = load_generator(shared_generator).bit_size
    assert {clean for clean, _ in seen} == {True, False}
    for clean, bits in seen:
        assert ((bits.abs() == size).all() == clean).item()


def test_what_a_map_does_not_know_is_made_up(world_mask: Path, shared_generator: Path, tmp_path: Path) -> None:
    with rasterio.open(world_mask, "r+") as dataset:
        given = dataset.read(1)
        given[:, 40:] = 255
        dataset.write(given, 1)
    request = SceneRequest(steps=2, masks_from=(str(world_mask),))
    generate_scene(shared_generator, request, tmp_path / "out", Events())
    _, mask = read(tmp_path / "out")
    assert np.array_equal(mask[:, :40], given[:, :40])
    assert 255 not in mask
    for name in ("image", "mask"):
        with rasterio.open(tmp_path / "out" / f"{name}.tif") as dataset:
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "both"
    about = json.loads((tmp_path / "out" / "scene.json").read_text(encoding="utf-8"))
    assert about["mask_made"] == pytest.approx((given == 255).mean())


@pytest.mark.parametrize("painted", [False, True])
def test_specks_go_as_from_the_whole_scene(
    painted: bool, world_mask: Path, shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little is looked at together, and never where the map is known."""
    request = SceneRequest(60, 75, steps=2)
    fixed = np.zeros((60, 75), bool)
    if painted:
        with rasterio.open(world_mask, "r+") as dataset:
            given = dataset.read(1)
            given[:, 40:] = 255
            given[np.random.default_rng(0).random(given.shape) < 0.2] = 255
            given[20, 20:22] = 1, 6
            dataset.write(given, 1)
        request, fixed = SceneRequest(steps=2, masks_from=(str(world_mask),)), given != 255
    generate_scene(shared_generator, replace(request, sieve=0), tmp_path / "all", Events())
    monkeypatch.setattr(scenefiles, "_STRIP", 7)
    monkeypatch.setattr(sieving, "_COLUMNS", 20)
    generate_scene(shared_generator, replace(request, sieve=4), tmp_path / "few", Events())
    (image, specked), (same, mask) = read(tmp_path / "all"), read(tmp_path / "few")
    assert np.array_equal(image, same)
    assert np.array_equal(mask, sieving.sieved(specked, 4, fixed))
    assert (mask != specked).any() and (mask == specked)[fixed].all()
    for folder, tag in (("all", None), ("few", "4")):
        with rasterio.open(tmp_path / folder / "mask.tif") as dataset:
            assert dataset.tags().get("GEOSYNTH_SIEVE") == tag
    about = json.loads((tmp_path / "few" / "scene.json").read_text(encoding="utf-8"))
    assert about["request"]["sieve"] == 4
    assert about["class_shares"]["water"] == pytest.approx((mask == 3).mean())


def test_polygons_are_painted(shared_generator: Path, tmp_path: Path) -> None:
    shapes = [box(500_000, 4_999_950, 500_070, 5_000_000), box(500_010, 4_999_960, 500_030, 4_999_980)]
    frame = geopandas.GeoDataFrame({"class": ["grass", "water"]}, geometry=shapes, crs="EPSG:32633")
    frame.to_file(tmp_path / "map.gpkg")
    request = SceneRequest(steps=2, masks_from=(str(tmp_path / "map.gpkg"),), reading=Reading(outside="grass"))
    generate_scene(shared_generator, request, tmp_path / "out", Events())
    _, mask = read(tmp_path / "out")
    expected = np.full((50, 70), 6, np.uint8)
    expected[20:40, 10:30] = 3
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (SceneRequest(steps=2), "how large the scene is to be"),
        (SceneRequest(64, 0), "a scene of 0 x 64 pixels"),
        (SceneRequest(64, 64, overlap=17), "overlap of 17 px — give 16 at most"),
        (SceneRequest(64, 64, sampler="magic"), "no sampler 'magic'"),
        (SceneRequest(64, 64, masks_from=("MASK",)), "both a size and a map"),
        (SceneRequest(masks_from=("TILES",)), "is a tileset, not one map"),
        (SceneRequest(masks_from=("SCENE",)), r"folder of a whole scene — give the file in it: .*mask\.tif"),
        (SceneRequest(masks_from=("MASK", "OTHER")), "2 maps are given"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    request_: SceneRequest,
    message: str,
    scene: Path,
    world_mask: Path,
    shared_world_tileset: Path,
    shared_generator: Path,
    tmp_path: Path,
) -> None:
    write_scene(Landscape(3), tmp_path / "other", "far", 4000, 3000, 40, 40)
    far = tmp_path / "other" / "far_mask.tif"
    paths = {"MASK": world_mask, "TILES": shared_world_tileset, "OTHER": far, "SCENE": scene}
    asked = SceneRequest(**{**vars(request_), "masks_from": tuple(str(paths[name]) for name in request_.masks_from)})
    with pytest.raises((ModelError, LabelError), match=message):
        generate_scene(shared_generator, asked, tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_what_is_read_is_not_overwritten(scene: Path, generator: Path, tmp_path: Path) -> None:
    """Both would be emptied: a generator's folder is geosynth's, and so is that of a scene whose mask is the map."""
    copy = Path(shutil.copytree(scene, tmp_path / "scene"))
    before = files(generator), files(copy)
    painted = SceneRequest(steps=2, masks_from=(str(copy / "mask.tif"),))
    for request, out in ((SMALL, generator), (painted, copy)):
        with pytest.raises(OutputError, match="is read, and would be overwritten"):
            generate_scene(generator, request, out, Events(), rerun="overwrite")
    assert (files(generator), files(copy)) == before


def test_a_generator_of_one_level_paints_no_map(
    world_mask: Path, shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PairPipeline, "two_levels", False)
    with pytest.raises(ModelError, match=r"one noise level .* a map is given"):
        generate_scene(shared_generator, SceneRequest(masks_from=(str(world_mask),)), tmp_path / "out", Events())


def test_a_written_scene_needs_no_disk(shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = SceneRequest(32, 32, steps=1)
    generate_scene(shared_generator, request, tmp_path / "out", Events())
    (tmp_path / "out" / ".geosynth" / "complete").unlink()  # killed at the very end
    monkeypatch.setattr(wholescene.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    with pytest.raises(OutputError, match="needs"):
        generate_scene(shared_generator, request, tmp_path / "out", Events(), rerun="overwrite")
    assert not generate_scene(shared_generator, request, tmp_path / "out", Events(), rerun="resume").nothing_to_do


def test_windows_of_a_map_that_is_painted_as_a_whole_are_not_listed(
    shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geosynth.diffusion.finddonors._MOST", 1)
    shapes = [box(500_000, 4_999_950, 500_070, 5_000_000)]
    geopandas.GeoDataFrame({"class": ["water"]}, geometry=shapes, crs="EPSG:32633").to_file(tmp_path / "map.gpkg")
    request = SceneRequest(steps=1, masks_from=(str(tmp_path / "map.gpkg"),), reading=Reading(outside="grass"))
    assert generate_scene(shared_generator, request, tmp_path / "out", Events()).width == 70


def test_a_disk_that_is_too_small_is_said_first(
    shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wholescene.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    with pytest.raises(GeosynthError, match=r"a scene of 20000 x 20000 pixels needs \d\d\.\d GB .* 1\.0 GB are free"):
        generate_scene(shared_generator, SceneRequest(20000, 20000), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()
