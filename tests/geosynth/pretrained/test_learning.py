"""That something is learnt: losses fall, weights move, labels are followed."""

import json
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from tiny_diffusion import COLOURS

from geosynth.pretrained.base import load_base
from geosynth.pretrained.model import CONTROLNET, base_of, cached_networks, load_label_painter
from geosynth.tileset import Tileset


def test_held_out_losses_fall(painter: Path, told: list[tuple[str, int, float]]) -> None:
    training = json.loads((painter / "geosynth.json").read_text())["training"]
    for part in ("label", "image"):
        losses = [value for name, _, value in told if name == f"val_loss_{part}"]
        assert losses[-1] < 0.9 * losses[0]
        assert training[f"val_loss_{part}"] == losses[-1]


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
    print(agreement(tileset, 0), others)
    assert agreement(tileset, 0) > max(others) + 0.1
