"""A generator as judge: its own masks for the image, against the pair's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from judged_tiles import world_pairs, write_pairs

from geosynth.diffusion.codes import encode
from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.diffusion.generator import Generator, load_generator
from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.filtering import judges
from geosynth.filtering.judges import Judge, _told
from geosynth.filtering.rule import FilterPlan
from geosynth.filtering.run import filter_tileset
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage
from geosynth.tileset import Tileset


class Knowing:
    """A pipeline that tells the true mask of every image."""

    def __init__(self, generator: Generator, truth: Tileset) -> None:
        self.denoiser, self.two_levels, self.classes = generator.pipeline.denoiser, True, generator.classes
        self.bit_size, self.masks = generator.bit_size, {}
        for tile in truth.select():
            image, valid, mask = truth.read(tile)
            self.masks[generator.scale.to_network(image, valid).numpy().tobytes()] = truth.spec.legend.to_index(mask)

    def to(self, _: str) -> Knowing:
        return self

    def __call__(self, noise: torch.Tensor, *, image: torch.Tensor, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        masks = np.stack([self.masks[part.numpy().tobytes()] for part in image])
        return image, encode(torch.from_numpy(masks), self.classes, self.bit_size)


def test_one_that_knows_the_masks_keeps_the_right_ones(
    tmp_path: Path, generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the made pairs every other has its mask upside down."""
    pairs = world_pairs(24)
    real = write_pairs(tmp_path / "real", pairs[:12], held_out=4, generated=False)
    made = write_pairs(tmp_path / "made", [(i, m[::-1] if n % 2 else m) for n, (i, m) in enumerate(pairs[12:])])
    loaded, truth = load_generator(generator), write_pairs(tmp_path / "truth", pairs)
    knowing = replace(loaded, pipeline=Knowing(loaded, truth))  # type: ignore[arg-type]
    monkeypatch.setattr(judges, "load_generator", lambda _: knowing)
    monkeypatch.setattr(judges, "cached_generator", lambda *_: knowing)
    monkeypatch.setattr(judges, "read_lineage", lambda _: Lineage())  # it learnt other tiles
    filter_tileset(made.path, generator, real.path, Events(), FilterPlan(draws=1, steps=2), device="cpu")
    found = [tile.filter for tile in Tileset(made.path).tiles]
    assert set(found[::2]) == {"kept"}
    other = [np.mean(mask != mask[::-1]) for _, mask in pairs[13::2]]
    assert sum(share > 0.2 for share in other) >= 3
    assert all(verdict != "kept" for verdict, share in zip(found[1::2], other, strict=True) if share > 0.2)


def test_the_loss_is_the_share_of_masks_that_say_otherwise(shared_world_tileset: Path, shared_generator: Path) -> None:
    tileset, generator = Tileset(shared_world_tileset), load_generator(shared_generator)
    images, valid, _ = (np.stack(part) for part in zip(*map(tileset.read, tileset.tiles[:2]), strict=True))
    told = _told(generator, "cpu", images, valid, (5, 6), 2, 2)
    assert told.shape == (2, 2, 32, 32) and told.max() < len(tileset.spec.legend)
    judge = Judge("generator", str(shared_generator), generator.hash, "cpu")
    mask = told[0].copy()
    mask[0, :4] = UNKNOWN
    losses = judge.losses(images, valid, mask, (5, 6), 2, 2)
    assert np.array_equal(losses, np.where(mask == UNKNOWN, 0, (told[1] != mask) / 2).astype(np.float32))
    assert set(np.unique(losses)) == {0, 0.5}
    # A pair is judged the same, whichever others are judged with it.
    alone = judge.losses(images[1:], valid[1:], mask[1:], (6,), 2, 2)
    assert (alone[0] == losses[1]).mean() > 0.99


def test_classes_a_generator_does_not_know_are_named(
    shared_world_tileset: Path, shared_generator: Path, tmp_path: Path
) -> None:
    """After four steps it says nearly anything: so much is normal then that nothing can be filtered."""
    generate(shared_generator, GenerateRequest(count=2, steps=2), tmp_path / "made", Events(), device="cpu")
    told: list[str] = []

    def keep(record: dict[str, Any]) -> None:
        if record.get("level") == "warning":
            told.append(record["message"])

    summary = filter_tileset(
        tmp_path / "made",
        shared_generator,
        shared_world_tileset,
        Events([keep]),
        FilterPlan(draws=1, steps=2, factor=1.25),
        device="cpu",
    )
    lost = [entry for entry in summary.classes if entry.real_loss is not None and 1.25 * entry.real_loss >= 1]
    assert lost and all(entry.unknown == 0 for entry in lost)
    assert f"wrong so often on real {', '.join(entry.name for entry in lost)} that" in " ".join(told)


def test_a_generator_filters_its_own_pairs(shared_world_tileset: Path, generator: Path, tmp_path: Path) -> None:
    generate(generator, GenerateRequest(count=3, steps=2), tmp_path / "made", Events(), device="cpu")
    plan = FilterPlan(draws=1, steps=2)
    summary = filter_tileset(tmp_path / "made", generator, shared_world_tileset, Events(), plan, device="cpu")
    assert summary.kept + summary.cleaned + summary.rejected == len(Tileset(tmp_path / "made").tiles) == 3
    assert all(tile.filter for tile in Tileset(tmp_path / "made").tiles)
    (generator / "denoiser" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
        filter_tileset(tmp_path / "made", generator, shared_world_tileset, Events(), plan, device="cpu")
