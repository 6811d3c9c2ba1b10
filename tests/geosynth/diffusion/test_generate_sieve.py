"""Specks of drawn masks go, wherever masks are drawn; nothing else changes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from geosynth.diffusion import making
from geosynth.diffusion.codes import decode
from geosynth.diffusion.donors import Donor
from geosynth.diffusion.drawnmasks import MaskBlock, draw_masks
from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.diffusion.generator import load_generator
from geosynth.events import Events
from geosynth.noise import sample_noise
from geosynth.rasters import read_tags
from geosynth.scenes.outlines import trace
from geosynth.scenes.sieving import sieved
from geosynth.tileset import Tileset

PAIRS = GenerateRequest(3, steps=2, block=2, guidance=1.0)


def both(generator: Path, request: GenerateRequest, folder: Path) -> tuple[Tileset, Tileset]:
    """The pairs of a request with and without their specks."""
    for name, sieve in (("all", 0), ("few", 5)):
        generate(generator, replace(request, sieve=sieve), folder / name, Events(), precision="32")
    return Tileset(folder / "all"), Tileset(folder / "few")


def test_new_pairs_lose_their_specks(shared_generator: Path, tmp_path: Path) -> None:
    specked, made = both(shared_generator, PAIRS, tmp_path)
    generator = load_generator(shared_generator)
    noise = torch.stack([sample_noise(0, number, (6, 32, 32)) for number in (2, 3)])
    _, bits = generator.pipeline(noise, steps=2, guidance=1.0)
    drawn = generator.spec.legend.to_id(decode(bits, 6, generator.bit_size)[0].numpy())[0]
    assert np.array_equal(specked.read(specked.tiles[2])[2], drawn)
    for before, after in zip(specked.tiles, made.tiles, strict=True):
        image, _, mask = specked.read(before)
        same, _, cleaned = made.read(after)
        assert np.array_equal(image, same)
        assert np.array_equal(cleaned, sieved(mask, 5))
        assert (trace(cleaned).sizes < 5).sum() < 0.3 * (trace(mask).sizes < 5).sum()
        tags = [read_tags(tileset.path / tile.mask) for tileset, tile in ((specked, before), (made, after))]
        assert [entry.get("GEOSYNTH_SIEVE") for entry in tags] == [None, "5"]
        assert tags[0]["GEOSYNTH_CONFIDENCE"] == tags[1]["GEOSYNTH_CONFIDENCE"]  # that of the bits
    asked = [json.loads((t.path / ".geosynth" / "request.json").read_text()).get("sieve") for t in (specked, made)]
    assert asked == [None, 5]


def test_masks_for_given_images_lose_theirs(shared_generator: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    request = replace(PAIRS, images_from=(str(shared_world_tileset),))
    specked, made = both(shared_generator, request, tmp_path)
    for before, after in zip(specked.tiles, made.tiles, strict=True):
        mask, cleaned = specked.read(before)[2], made.read(after)[2]
        assert np.array_equal(cleaned, sieved(mask, 5)) and (cleaned != mask).any()


def test_given_masks_keep_theirs(shared_generator: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    request = replace(PAIRS, masks_from=(str(shared_world_tileset),))
    for tileset in both(shared_generator, request, tmp_path):
        for tile in tileset.tiles:
            donor = next(own for own in Tileset(shared_world_tileset).tiles if own.id == tile.parent_id)
            assert np.array_equal(tileset.read(tile)[2], Tileset(shared_world_tileset).read(donor)[2])
            assert "GEOSYNTH_SIEVE" not in read_tags(tileset.path / tile.image)


def test_masks_drawn_to_be_chosen_from_lose_theirs(shared_generator: Path, tmp_path: Path) -> None:
    generator, drawn, found = load_generator(shared_generator), {}, {}
    for sieve in (0, 5):
        request = replace(PAIRS, sieve=sieve, sampler="dpm")
        block = MaskBlock(str(shared_generator), generator.hash, str(tmp_path / str(sieve)), request, 0, "cpu")
        name, found[sieve] = draw_masks(block)
        drawn[sieve] = np.load(tmp_path / str(sieve) / f"{name}.npy")
    assert np.array_equal(drawn[5], [sieved(mask, 5) for mask in drawn[0]])
    assert found[5]["shares"] == [[(mask == id_).mean() for id_ in generator.spec.legend.ids] for mask in drawn[5]]
    assert found[5]["confidence"] == found[0]["confidence"]


def test_holes_are_filled_without_specks_and_what_was_given_stays(shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    mask = np.full((32, 32), 4, np.uint8)
    mask[:, 12:] = 255
    mask[3, 3] = mask[20, 11] = 2  # specks of the user's: they stay, also where what is drawn beside them is of a class
    donor = Donor(None, mask, mask != 255, {}, {})
    noise = torch.stack([sample_noise(0, number, (6, 32, 32)) for number in range(2)])
    filled = {}
    for sieve in (0, 5):
        request = replace(PAIRS, masks_from=("map",), sieve=sieve, sampler="dpm")
        block = making.Block(str(shared_generator), generator.hash, "", generator.spec, request, 0, "cpu", None)
        side = making._given(block, generator, [donor, donor], noise)
        filled[sieve] = decode(side, 6, generator.bit_size)[0].numpy()
    position = generator.spec.legend.to_index(mask)
    for specked, cleaned in zip(filled[0], filled[5], strict=True):
        assert np.array_equal(cleaned, sieved(specked, 5, donor.known)) and (cleaned != specked).any()
        assert np.array_equal(cleaned[donor.known], position[donor.known])
