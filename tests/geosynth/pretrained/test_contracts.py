"""The rules of every folder hold here, too: same bytes, resumed runs, refusals. Nothing needs to be learnt."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import world_tiles
from safetensors.torch import load_file
from tiny_diffusion import build, tiles

from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.request import GenerateRequest
from geosynth.diffusion.wholescene import SceneRequest
from geosynth.errors import Cancelled, GeosynthError, ModelError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.folders import file_hash
from geosynth.lineage import read_lineage
from geosynth.pretrained.generate import generate_painted
from geosynth.pretrained.inputs import PaintRequest
from geosynth.pretrained.model import load_label_painter
from geosynth.pretrained.request import Manner
from geosynth.pretrained.scene import paint_scene
from geosynth.pretrained.train import train_painter
from geosynth.rasters import read_tags
from geosynth.tileset import Tileset

FIVE = GenerateRequest(5, steps=2, block=2)


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("untaught") / "sd", steps=0, prediction="epsilon")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of 64 px: crops, and a scale of 2."""
    return tiles(tmp_path_factory.mktemp("large") / "tiles", side=64, count=6)


@pytest.fixture(scope="module")
def request_(untaught: Path) -> PaintRequest:
    return PaintRequest(str(untaught), steps=4, label_steps=3, batch=2, size=32, rank=2, views=4)


@pytest.fixture(scope="module")
def model(request_: PaintRequest, large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    train_painter(large, request_, out, Events(), threads=1, precision="32")
    return out


@pytest.fixture(scope="module")
def pairs(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "synthetic"
    generate_painted(model, FIVE, Manner(), out, Events(), precision="32")
    return out


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).is_relative_to(".geosynth/log")
    }


def cancel_after(checks: int) -> Events:
    answers: Iterator[None] = iter([None] * checks)
    return Events(stop=[lambda: next(answers, "enough")])


def test_a_cancelled_training_goes_on_to_the_same_bytes(
    model: Path, request_: PaintRequest, large: Path, tmp_path: Path
) -> None:
    """Stopped while encoding, in the midst of the labels, and in the midst of the images."""
    out = tmp_path / "parts"
    stages = []
    for checks in (7, 9, 10, 8):
        with pytest.raises(Cancelled):
            train_painter(large, request_, out, cancel_after(checks), rerun="resume", threads=1, precision="32")
        state = out / ".geosynth"
        stages.append([(state / part / "last.ckpt").is_file() for part in ("label", "image")])
    assert [True, False] in stages and [True, True] in stages
    train_painter(large, request_, out, Events(), rerun="resume", threads=2, precision="32")  # keeps 1 thread
    assert hashes(out) == hashes(model)
    assert train_painter(large, request_, out, Events()).nothing_to_do
    with pytest.raises(OutputError, match="different rank"):
        train_painter(large, replace(request_, rank=3), out, Events())


def test_saving_memory_and_sixteen_bits_train_too(request_: PaintRequest, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    seen: list[float] = []

    def keep(record: dict[str, object]) -> None:
        if record["event"] == "metric":
            seen.append(float(str(record["value"])))

    wanted = replace(request_, steps=1, label_steps=1, samples_every=1)
    train_painter(large, wanted, out, Events([keep]), threads=1, precision="bf16", save_memory=True)
    assert all(np.isfinite(seen))
    assert sorted(path.name for path in (out / "samples").iterdir()) == [
        "step-000001-label.png",
        "step-000002-image.png",
    ]
    assert json.loads((out / ".geosynth" / "machine.json").read_text())["save_memory"] is True


def test_the_folder_is_one_of_diffusers(model: Path, untaught: Path) -> None:
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionControlNetPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer

    pipeline = StableDiffusionControlNetPipeline(
        vae=AutoencoderKL.from_pretrained(untaught / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(untaught / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(untaught / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(untaught / "unet"),
        controlnet=ControlNetModel.from_pretrained(model / "controlnet"),
        scheduler=DDIMScheduler.from_pretrained(model / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.load_lora_weights(model)
    weights = load_file(model / "pytorch_lora_weights.safetensors")
    loaded = {name.replace(".default_0.", "."): value for name, value in pipeline.unet.named_parameters()}
    assert all(loaded[name.removeprefix("unet.")].equal(value) for name, value in weights.items())
    assert not list(model.rglob("*.bin")) and not (model / "unet").exists()


def test_a_synthetic_tileset_is_a_tileset(pairs: Path, model: Path) -> None:
    painter, tileset = load_label_painter(model), Tileset(pairs)
    assert painter.scales == (1.0, 2.0)
    assert len(tileset.tiles) == 5
    for number, tile in enumerate(tileset.tiles):
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "generated", "fictitious")
        assert (tile.generator, tile.seed, tile.sample_index) == (painter.hash, 0, number)
        _, valid, mask = tileset.read(tile)
        assert valid.all()
        assert set(np.unique(mask)) <= set(tileset.spec.legend.ids)
        tags = read_tags(pairs / tile.mask)
        assert (tags["GEOSYNTH_SYNTHETIC"], tags["GEOSYNTH_SAMPLER"], tags["GEOSYNTH_STEPS"]) == ("both", "dpm", "2")
        assert 0 <= float(tags["GEOSYNTH_CONFIDENCE"]) <= 1
    assert read_lineage(pairs) == painter.lineage
    assert len(painter.lineage.image_keys) == 4


def test_bytes_do_not_depend_on_workers_or_interruptions(pairs: Path, model: Path, tmp_path: Path) -> None:
    generate_painted(model, FIVE, Manner(), tmp_path / "two", Events(), workers=2, precision="32")
    assert hashes(tmp_path / "two") == hashes(pairs)
    out = tmp_path / "parts"
    with pytest.raises(Cancelled):
        generate_painted(model, FIVE, Manner(), out, cancel_after(2), precision="32")
    with pytest.raises(OutputError, match="--resume"):
        generate_painted(model, FIVE, Manner(), out, Events(), precision="32")
    generate_painted(model, FIVE, Manner(), out, Events(), rerun="resume", precision="32")
    assert hashes(out) == hashes(pairs)
    assert generate_painted(model, FIVE, Manner(), out, Events(), precision="32").nothing_to_do


def test_given_masks_keep_what_they_are(model: Path, tmp_path: Path) -> None:
    given = tiles(tmp_path / "tiles", count=6)
    request = replace(FIVE, count=None, masks_from=(str(given),), block=4)
    generate_painted(model, request, Manner(), tmp_path / "out", Events(), precision="32")
    own = {tile.id: tile for tile in Tileset(given).tiles}
    made = Tileset(tmp_path / "out")
    assert len(made.tiles) == 4
    for tile in made.tiles:
        assert (Tileset(given).read(own[tile.parent_id])[2] == made.read(tile)[2]).all()
    assert min(1 - tile.unknown_fraction for tile in made.tiles) == 0.5  # what is unknown is painted, and stays unknown
    assert read_lineage(tmp_path / "out") == load_label_painter(model).lineage | read_lineage(tmp_path / "out")


def test_wanted_shares_choose_among_drawn_masks(model: Path, tmp_path: Path) -> None:
    summary = generate_painted(
        model, replace(FIVE, count=4, want="water=0.4"), Manner(), tmp_path / "out", Events(), precision="32"
    )
    assert summary.wanted == {"water": 0.4}
    tags = read_tags(tmp_path / "out" / Tileset(tmp_path / "out").tiles[0].mask)
    assert tags["GEOSYNTH_WANT"] == "water=0.4" and "GEOSYNTH_MASK_INDEX" in tags


def test_tiles_and_scenes_of_other_sizes(model: Path, tmp_path: Path) -> None:
    generate_painted(model, replace(FIVE, count=1, block=1), Manner(tile=40), tmp_path / "t", Events(), precision="32")
    assert Tileset(tmp_path / "t").spec.tile_size == 40
    wanted = SceneRequest(height=24, width=72, steps=2)
    made = paint_scene(model, wanted, Manner(gsd=1.0), tmp_path / "scene", Events(), precision="32")
    assert (made.height, made.width) == (24, 72)
    with (
        rasterio.open(tmp_path / "scene" / "image.tif") as image,
        rasterio.open(tmp_path / "scene" / "mask.tif") as mask,
    ):
        assert image.shape == mask.shape == (24, 72)
        assert image.res == (1.0, 1.0) and image.transform == mask.transform
        assert set(np.unique(mask.read(1))) <= {1, 3, 4}
        assert image.tags()["GEOSYNTH_SYNTHETIC"] == "both"
    assert paint_scene(model, wanted, Manner(gsd=1.0), tmp_path / "scene", Events(), precision="32").nothing_to_do
    # The scene's mask as a map: painted where it lies.
    given = SceneRequest(steps=2, masks_from=(str(tmp_path / "scene" / "mask.tif"),))
    paint_scene(model, given, Manner(scale=2.0), tmp_path / "map", Events(), precision="32")
    with (
        rasterio.open(tmp_path / "map" / "mask.tif") as painted,
        rasterio.open(tmp_path / "scene" / "mask.tif") as mask,
    ):
        assert (painted.read() == mask.read()).all() and painted.transform == mask.transform
    with pytest.raises(OutputError, match="is read, and would be overwritten"):
        paint_scene(model, given, Manner(scale=2.0), tmp_path / "scene", Events(), rerun="overwrite")


def test_the_base_model_is_looked_for_and_must_be_the_same(model: Path, untaught: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(model, tmp_path / "moved"))
    (moved / ".geosynth" / "log" / "base.json").unlink()
    one = replace(FIVE, count=1, block=1)
    with pytest.raises(ModelError, match=r"moved: .*trained on \(sd\) is not at sd.*--pretrained FOLDER"):
        generate_painted(moved, one, Manner(), tmp_path / "out", Events())
    generate_painted(moved, one, Manner(pretrained=str(untaught)), tmp_path / "out", Events(), precision="32")
    other = build(tmp_path / "other", steps=0)
    with pytest.raises(ModelError, match="is not the Stable Diffusion that"):
        generate_painted(moved, one, Manner(pretrained=str(other)), tmp_path / "out2", Events())
    assert not (tmp_path / "out2").exists()


def test_an_embedded_base_model_needs_no_other(request_: PaintRequest, large: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    base = Path(shutil.copytree(request_.pretrained, tmp_path / "sd"))
    wanted = replace(request_, pretrained=str(base), steps=1, label_steps=1, embed=True)
    train_painter(large, wanted, tmp_path / "model", Events(), threads=1, precision="32")
    shutil.rmtree(base)
    one = replace(FIVE, count=1, block=1)
    generate_painted(tmp_path / "model", one, Manner(), tmp_path / "out", Events(), precision="32")
    assert len(Tileset(tmp_path / "out").tiles) == 1
    assert StableDiffusionPipeline.from_pretrained(tmp_path / "model", use_safetensors=True).unet is not None


def test_damage_is_noticed(model: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(model, tmp_path / "damaged"))
    with (damaged / "controlnet" / "diffusion_pytorch_model.safetensors").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"xxxx")
    with pytest.raises(ModelError, match=r"controlnet/diffusion_pytorch_model\.safetensors: is damaged"):
        load_label_painter(damaged)


def test_what_it_cannot_do_is_said_with_the_remedy(model: Path, large: Path, tmp_path: Path) -> None:
    asks: list[tuple[GenerateRequest, Manner, str]] = [
        (replace(FIVE, images_from=(str(large),)), Manner(), r"not masks for images.*--strength"),
        (FIVE, Manner(strength=0.5), r"nothing is given to begin from.*--masks-from"),
        (FIVE, Manner(tile=30), r"tiles of 30 px.*multiple of 4"),
        (FIVE, Manner(prompt="{town}"), r"field \{town\}"),
        (replace(FIVE, sampler="ddpm"), Manner(), r"no sampler 'ddpm'.*dpm, ddim"),
        (replace(FIVE, count=None), Manner(), "how many pairs"),
        (replace(FIVE, masks_from=(str(large),)), Manner(), r"tiles of 64 px, the generator makes 32"),
    ]
    for request, manner, what in asks:
        with pytest.raises(GeosynthError, match=what):
            generate_painted(model, request, manner, tmp_path / "out", Events())
    for wanted, what in (
        (SceneRequest(height=30, width=32), "multiples of 4"),
        (SceneRequest(), "how large"),
        (SceneRequest(height=4096, width=4096), "at once"),
    ):
        with pytest.raises(ModelError, match=what):
            paint_scene(model, wanted, Manner(), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match=r"draws with Stable Diffusion, which can only: geosynth generate"):
        load_generator(model)


def test_bad_training_input_touches_nothing(request_: PaintRequest, large: Path, tmp_path: Path) -> None:
    asks = [
        (replace(request_, size=30), "multiple of 4 px"),
        (replace(request_, size=128), "crops of 128 px"),
        (replace(request_, scales=(4.0,)), "too few for a scale of 4"),
        (replace(request_, targets=("to_z",)), "no layer to_z"),
        (replace(request_, template="{x}"), "field {x}"),
        (replace(request_, pretrained=str(large)), "no Stable Diffusion in diffusers' layout"),
    ]
    for wanted, what in asks:
        with pytest.raises((ModelError, TilesetError), match=what):
            train_painter(large, wanted, tmp_path / "out", Events())
    with pytest.raises(ModelError, match="batch out of range"):
        replace(request_, batch=0)
    four = world_tiles(tmp_path / "tiles", rows=1, cols=3)
    meta = json.loads((four / "tileset.json").read_text())
    meta["bands"].append({"name": "nir", "dtype": "uint8", "nodata": None})
    (four / "tileset.json").write_text(json.dumps(meta))
    with pytest.raises(ModelError, match=r"has 4 bands.*without --recipe stable-diffusion"):
        train_painter(four, request_, tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()
