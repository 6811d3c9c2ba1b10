"""Class shares that are asked for: from masks that are given, and from masks the generator draws first."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from given_tiles import hashes

from geosynth.diffusion.choosing import by_shares
from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.errors import Cancelled, GeosynthError, ModelError
from geosynth.events import Events
from geosynth.folders import OutputFolder
from geosynth.rasters import read_tags
from geosynth.tileset import Tileset


def test_masks_are_chosen_so_that_the_shares_come_out(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    real = Tileset(shared_world_tileset)
    names = real.spec.legend.names
    shares = np.array([tile.class_fractions for tile in real.select("train")])
    rare = int(np.argsort(shares.mean(axis=0))[1])
    share = float(0.7 * shares[:, rare].max())
    request = GenerateRequest(
        count=24, steps=1, masks_from=(str(shared_world_tileset),), want=f"{names[rare]}={share:.4f}"
    )
    summary = generate(shared_generator, request, tmp_path / "out", Events())
    assert shares.mean(axis=0)[rare] < share / 1.5
    assert summary.wanted == {names[rare]: pytest.approx(share, abs=1e-4)}
    assert summary.class_shares[names[rare]] == pytest.approx(share, abs=0.02)
    parents = [tile.parent_id for tile in Tileset(tmp_path / "out").tiles]
    assert len(set(parents)) > 1


def test_without_masks_the_generator_draws_them_first(shared_generator: Path, tmp_path: Path) -> None:
    plain = GenerateRequest(count=5, steps=1, block=2)
    usual = generate(shared_generator, plain, tmp_path / "plain", Events()).class_shares
    name, before = min(usual.items(), key=lambda entry: entry[1])
    request = GenerateRequest(count=5, steps=1, block=2, want=f"{name}={before + 0.01:.4f}")
    summary = generate(shared_generator, request, tmp_path / "out", Events())
    assert summary.pairs == 5
    made = Tileset(tmp_path / "out")
    for tile in made.tiles:
        assert (tile.image_origin, tile.mask_origin, tile.placement) == ("generated", "generated", "fictitious")
        assert not tile.parent_id
        for path in (tile.image, tile.mask):
            assert read_tags(made.path / path)["GEOSYNTH_SYNTHETIC"] == "both"
    assert len({tile.geometry.wkt for tile in made.tiles}) == 5
    said = [(read_tags(made.path / tile.image), read_tags(made.path / tile.mask)) for tile in made.tiles]
    for image, mask in said:
        assert image["GEOSYNTH_WANT"] == mask["GEOSYNTH_WANT"] == f"{name}={before + 0.01:.4f}".rstrip("0")
        assert 0 <= float(mask["GEOSYNTH_CONFIDENCE"]) <= 1
        assert (image["GEOSYNTH_GUIDANCE"], mask["GEOSYNTH_MASK_GUIDANCE"]) == ("1", "1.5")
    # What was painted several times is the same mask.
    pixels = {mask["GEOSYNTH_MASK_INDEX"]: made.read(tile)[2] for (_, mask), tile in zip(said, made.tiles, strict=True)}
    for (_, mask), tile in zip(said, made.tiles, strict=True):
        assert np.array_equal(made.read(tile)[2], pixels[mask["GEOSYNTH_MASK_INDEX"]])
    assert not (tmp_path / "out" / ".geosynth" / "masks").exists()


def test_of_masks_the_generator_draws_those_are_painted_that_give_the_shares(
    shared_generator: Path, tmp_path: Path
) -> None:
    def shares(name: str, **asked: object) -> dict[str, float]:
        request = GenerateRequest(count=16, steps=1, block=8, **asked)  # type: ignore[arg-type]
        return generate(shared_generator, request, tmp_path / name, Events()).class_shares

    usual = shares("plain")
    name, before = max(usual.items(), key=lambda entry: entry[1])
    asked = 0.98 * before  # so short a training gives one class nearly everywhere
    obtained = shares("wanted", want=f"{name}={asked:.4f}")[name]
    assert abs(obtained - asked) < abs(before - asked) / 2
    balanced = shares("balanced", balance=True)
    even = 1 / len(usual)
    apart = [sum(abs(share - even) for share in found.values()) for found in (usual, balanced)]
    assert apart[1] < apart[0] - 0.03


def test_stopped_while_masks_are_drawn_or_painted_it_goes_on_to_the_same_bytes(
    shared_generator: Path, tmp_path: Path
) -> None:
    request = GenerateRequest(count=4, steps=1, block=2, balance=True)
    generate(shared_generator, request, tmp_path / "whole", Events())
    for stop in (3, 9):
        asked = iter(range(1, stop + 1))
        events = Events(stop=[lambda left=asked: "enough" if next(left, None) is None else ""])
        out = tmp_path / f"stopped-{stop}"
        with pytest.raises(Cancelled):
            generate(shared_generator, request, out, events)
        assert list((out / ".geosynth" / "journal").glob("masks-*")) or stop == 3
        generate(shared_generator, request, out, Events(), rerun="resume")
        assert hashes(out) == hashes(tmp_path / "whole")


def test_what_cannot_be_wanted(shared_generator: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="images"):
        request = GenerateRequest(steps=1, images_from=(str(shared_world_tileset),), balance=True)
        generate(shared_generator, request, out, Events())
    with pytest.raises(GeosynthError, match="no class is called castle"):
        generate(shared_generator, GenerateRequest(count=1, want="castle=0.1"), out, Events())
    assert not out.exists()


def test_a_share_out_of_reach_is_said() -> None:
    said: list[str] = []
    events = Events([lambda record: said.append(str(record.get("message", "")))])
    shares = np.array([[0.9, 0.1], [0.8, 0.2]])
    assert set(by_shares(30, shares, {1: 0.5}, 0, ["land", "water"], events)) == {1}
    assert any("water 20.00% instead of 50.00%" in text for text in said)
    assert any("one of them 30 times" in text for text in said)


@pytest.mark.parametrize(
    ("shares", "share", "message"),
    [
        ([[0.995, 0.005], [0.998, 0.002]], 0.01, "with 30 pairs from 2 masks .* car 0.50% instead of 1.00%"),
        ([[1.0, 0.0], [1.0, 0.0]], 0.005, "no mask shows car"),
        ([[0.9, 0.1], [0.8, 0.2]], 0.15, None),
    ],
)
def test_rare_classes_out_of_reach_are_said_too(shares: list[list[float]], share: float, message: str | None) -> None:
    said: list[str] = []
    events = Events([lambda record: said.append(str(record.get("message", "")))])
    by_shares(30, np.array(shares), {1: share}, 0, ["land", "car"], events)
    missed = [text for text in said if "painted" not in text]
    assert not missed if message is None else re.search(message, missed[0])


def test_the_same_wish_written_otherwise_is_the_same_request(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    first, other = Tileset(shared_world_tileset).spec.legend.names[:2]
    given = {"count": 1, "steps": 1, "block": 1, "masks_from": (str(shared_world_tileset),)}
    generate(shared_generator, GenerateRequest(**given, want=f"{first}=0.1,{other}=0.2"), tmp_path / "out", Events())
    again = GenerateRequest(**given, want=f"{other.upper()}=0.20, {first}=0.1")
    assert generate(shared_generator, again, tmp_path / "out", Events()).nothing_to_do
    nothing = GenerateRequest(count=1, steps=1, block=1, want=" , ")
    assert not generate(shared_generator, nothing, tmp_path / "plain", Events()).wanted


def test_drawn_masks_are_gone_when_the_tileset_is_complete(
    shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []
    finish = OutputFolder.finish

    def watched(folder: OutputFolder) -> None:
        left.append((folder.state / "masks").exists())
        finish(folder)

    monkeypatch.setattr(OutputFolder, "finish", watched)
    generate(shared_generator, GenerateRequest(count=1, steps=1, block=1, balance=True), tmp_path / "out", Events())
    assert left == [False]
