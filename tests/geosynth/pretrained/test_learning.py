"""That something is learnt: losses fall, weights move, labels are followed, the scale shows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from tiny_diffusion import COLOURS, tiles

from geosynth.diffusion.request import GenerateRequest
from geosynth.events import Events
from geosynth.pretrained.base import load_base
from geosynth.pretrained.generate import generate_painted
from geosynth.pretrained.model import CONTROLNET, base_of, cached_networks, load_label_painter
from geosynth.pretrained.request import Manner
from geosynth.rasters import read_tags
from geosynth.tileset import Tileset

SIX = GenerateRequest(6, steps=8, block=6, guidance=1.0)


def test_held_out_losses_fall(painter: Path, told: list[tuple[str, int, float]]) -> None:
    training = json.loads((painter / "geosynth.json").read_text())["training"]
    # A LoRA moves few weights of a model that has never seen labels; the ControlNet starts from one that knows images.
    for part, share in (("label", 0.97), ("image", 0.5)):
        losses = {step: value for name, step, value in told if name == f"val_loss_{part}"}
        assert losses[max(losses)] < share * losses[0]  # before the first step: the base model alone
        assert training[f"val_loss_{part}"] == losses[max(losses)]


def test_weights_change_and_are_read_back_as_they_were(painter: Path) -> None:
    model = load_label_painter(painter)
    base = base_of(model, None)
    networks = cached_networks(str(painter), model.hash, str(base.folder), base.half, "cpu")
    lora = load_file(painter / "pytorch_lora_weights.safetensors")
    assert any(value.abs().max() > 0 for name, value in lora.items() if "lora_B" in name)  # they start as zero
    present = {
        f"unet.{name.replace('.default_0.', '.').replace('.default.', '.')}": value
        for name, value in networks.base.unet.named_parameters()
        if "lora_" in name
    }
    assert present.keys() == lora.keys()
    assert all(present[name].equal(value) for name, value in lora.items())
    layers = [layer for layer in networks.base.unet.modules() if isinstance(getattr(layer, "scaling", None), dict)]
    assert {weight for layer in layers for weight in layer.scaling.values()} == {1.0}  # as it was trained
    saved = load_file(painter / CONTROLNET / "diffusion_pytorch_model.safetensors")
    assert all(networks.controlnet.state_dict()[name].equal(value) for name, value in saved.items())
    start = load_base(base).unet.state_dict()
    moved = [name for name, value in saved.items() if name in start and not start[name].equal(value)]
    assert len(moved) > 20
    assert saved["controlnet_mid_block.weight"].abs().max() > 0  # starts as zero: it changed nothing


def agreement(tileset: Tileset, shift: int) -> float:
    """Share of pixels whose colour is nearest to that of their class, by the mask of the tile ``shift`` further on."""
    pairs = [tileset.read(tile) for tile in tileset.tiles if tile.unknown_fraction == 0]
    hits = []
    for number, (image, _, _) in enumerate(pairs):
        mask = tileset.spec.legend.to_index(pairs[(number + shift) % len(pairs)][2])
        distance = np.square(image[None].astype(float) - COLOURS[:, :, None, None]).sum(axis=1)
        hits.append((distance.argmin(axis=0) == mask).mean())
    return float(np.mean(hits))


def test_images_follow_their_masks_and_not_others(painted: Path) -> None:
    tileset = Tileset(painted)
    others = [agreement(tileset, shift) for shift in range(1, 15)]
    assert agreement(tileset, 0) > max(others) + 0.3


def borders(tileset: Tileset) -> float:
    """Share of neighbouring pixels of different classes."""
    masks = [tileset.read(tile)[2] for tile in tileset.tiles]
    return float(np.mean([(mask[1:] != mask[:-1]).mean() + (mask[:, 1:] != mask[:, :-1]).mean() for mask in masks]))


def contrast(tileset: Tileset) -> float:
    """Mean difference of neighbouring grey values of the images: small where much is plain, and noise counts little."""
    greys = [tileset.read(tile)[0].mean(axis=0) for tile in tileset.tiles]
    return float(np.mean([np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey)).mean() for grey in greys]))


def test_a_larger_scale_draws_finer_and_says_so(painter: Path, tmp_path: Path) -> None:
    made = {}
    for scale in (0.5, 1.0, 2.0):
        generate_painted(painter, SIX, Manner(scale=scale), tmp_path / str(scale), Events(), precision="32")
        made[scale] = Tileset(tmp_path / str(scale))
    assert borders(made[0.5]) < borders(made[1.0]) < borders(made[2.0])
    assert contrast(made[0.5]) < contrast(made[1.0]) < contrast(made[2.0])
    assert [tileset.spec.gsd_m for tileset in made.values()] == [0.25, 0.5, 1.0]
    assert [tileset.spec.pixel_size for tileset in made.values()] == [(0.25, 0.25), (0.5, 0.5), (1.0, 1.0)]
    fine = made[2.0]
    tags = read_tags(fine.path / fine.tiles[0].image)
    assert tags["GEOSYNTH_SCALE"] == "2"
    assert tags["GEOSYNTH_PROMPT"].startswith("satellite imagery, remote sensing, aerial photograph, ")
    assert fine.grid(fine.tiles[0]).pixel_size == (1.0, 1.0)


def test_variations_stay_near_their_tiles_as_strength_says(painter: Path, tmp_path: Path) -> None:
    """Where images do not fit their masks, a weak variation is like its image, a strong one like its mask."""
    given = Tileset(tiles(tmp_path / "given", other=500))
    own = {tile.id: given.read(tile)[0].astype(float) for tile in given.tiles}
    distances = {}
    for strength in (0.1, 1.0):
        out = tmp_path / str(strength)
        request = replace(SIX, masks_from=(str(given.path),))
        generate_painted(painter, request, Manner(strength=strength), out, Events(), precision="32")
        made = Tileset(out)
        distances[strength] = np.mean([np.abs(made.read(tile)[0] - own[tile.parent_id]).mean() for tile in made.tiles])
        assert read_tags(out / made.tiles[0].image)["GEOSYNTH_STRENGTH"] == f"{strength:g}"
        for tile in made.tiles:
            assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "human", "donor")
    assert distances[0.1] < 0.7 * distances[1.0]
