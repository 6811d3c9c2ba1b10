"""The made-up landscape: windows are crops, labels are sane, every class is there."""

from __future__ import annotations

import numpy as np
import pytest

from geosynth.legend import load_legend
from geosynth.world import CLASSES, LOOKS, Landscape, landscape

AT_LEAST = {"building": 0.05, "road": 0.05, "water": 0.04, "tree": 0.10, "field": 0.15, "grass": 0.08}

ORIGINS = [*((look, (0, 0)) for look in LOOKS), (LOOKS[0], (-3_000_123, 40_000_017))]


def test_shapes_types_and_ids() -> None:
    image, mask = Landscape(5).render(-7, 11, 40, 70)
    assert image.shape == (3, 40, 70) and image.dtype == np.uint8
    assert mask.shape == (40, 70) and mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {i for i, _, _ in CLASSES}
    assert [i for i, _, _ in CLASSES] == [1, 2, 3, 4, 5, 6]
    assert [(entry.id, entry.name, entry.color) for entry in load_legend("world").classes] == list(CLASSES)
    assert len(LOOKS) >= 3


@pytest.mark.parametrize("look", LOOKS)
def test_a_window_is_a_crop(look: str) -> None:
    """Bit for bit, also across chunk borders, left of and above the origin, and with nothing left in the cache."""
    land, (top, left) = Landscape(11, look), (-250, -130)
    image, mask = land.render(top, left, 420, 300)
    rng = np.random.default_rng(1)
    for _ in range(4):
        h, w = (int(n) for n in rng.integers(1, 200, 2))
        r, c = int(rng.integers(0, 420 - h)), int(rng.integers(0, 300 - w))
        landscape._chunk.cache_clear()
        part, labels = land.render(top + r, left + c, h, w)
        assert np.array_equal(part, image[:, r : r + h, c : c + w])
        assert np.array_equal(labels, mask[r : r + h, c : c + w])


@pytest.mark.parametrize(("look", "origin"), ORIGINS)
def test_chunks_leave_no_seams(look: str, origin: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting the plane into other chunks gives the same picture, up to float rounding."""
    land = Landscape(4, look)
    image, mask = land.render(*origin, 260, 260)
    monkeypatch.setattr(landscape, "CHUNK", 131)
    other, labels = land.render(*origin, 260, 260)
    assert np.mean(labels != mask) < 1e-4
    assert np.mean(np.abs(other.astype(int) - image).max(0) > 1) < 1e-3


def test_the_same_again_and_different_seeds_differ() -> None:
    first = Landscape(2).render(100, 100, 96, 96)
    landscape._chunk.cache_clear()
    again = Landscape(2).render(100, 100, 96, 96)
    other = Landscape(3).render(100, 100, 96, 96)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.mean(first[0] != other[0]) > 0.5
    assert np.mean(first[1] != other[1]) > 0.1
    for seed in (-1, 2**63, 2**70):
        Landscape(seed).render(0, 0, 4, 4)


def test_the_result_may_be_written_to() -> None:
    land = Landscape()
    image, mask = land.render(0, 0, landscape.CHUNK, landscape.CHUNK)
    kept = image.copy()
    image[:], mask[:] = 0, 0
    assert np.array_equal(land.render(0, 0, landscape.CHUNK, landscape.CHUNK)[0], kept)


@pytest.mark.parametrize("look", LOOKS)
def test_class_balance(look: str) -> None:
    _, mask = Landscape(0, look).render(0, 0, 1024, 1024)
    share = np.bincount(mask.ravel(), minlength=7) / mask.size
    for i, name, _ in CLASSES:
        assert share[i] >= AT_LEAST[name], f"{name}: {share[i]:.3f}"
    tiles = mask.reshape(8, 128, 8, 128).swapaxes(1, 2).reshape(64, -1)
    assert np.mean([len(np.unique(tile)) >= 3 for tile in tiles]) > 0.9


def test_classes_look_different_and_colours_are_natural() -> None:
    image, mask = Landscape(1).render(0, 0, 512, 512)
    means = {name: image[:, mask == i].mean(1) for i, name, _ in CLASSES if (mask == i).any()}
    assert means["water"].mean() < means["grass"].mean() < means["road"].mean() + 25
    assert 70 < image.mean() < 150
    assert np.mean((image == 0) | (image == 255)) < 0.01


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"lunar.*temperate"):
        Landscape(0, "lunar")
    with pytest.raises(ValueError, match="at least one pixel"):
        Landscape().render(0, 0, 0, 5)
