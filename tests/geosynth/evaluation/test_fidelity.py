from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation_tiles import make_pair, make_tiles

from geosynth.evaluation.fidelity import (
    CopySearch,
    class_shares,
    nearest,
    presence,
    shrink,
    total_variation,
)
from geosynth.events import Events
from geosynth.tileset import Tileset


def test_class_shares_count_known_pixels(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    tiles = real.select("train")
    masks = np.stack([real.spec.legend.to_index(real.read(tile)[2]) for tile in tiles])
    counted = np.bincount(masks.ravel(), minlength=6)[:6] / masks.size
    shares = class_shares(tiles)
    assert shares is not None
    np.testing.assert_allclose(shares, counted)
    np.testing.assert_allclose(presence(tiles, 6), [(masks == k).any(axis=(1, 2)).mean() for k in range(6)])
    assert class_shares([]) is None


def test_total_variation_by_hand() -> None:
    assert total_variation(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])) == pytest.approx(0.25)


@pytest.mark.parametrize("side", [3, 16, 24, 40])
def test_shrinking_keeps_the_mean_and_averages_areas(side: int) -> None:
    image = np.random.default_rng(0).normal(size=(2, side, side))
    np.testing.assert_allclose(shrink(image, 16).mean(axis=(1, 2)), image.mean(axis=(1, 2)))
    np.testing.assert_allclose(shrink(np.arange(16.0).reshape(1, 4, 4), 2)[0], [[2.5, 4.5], [10.5, 12.5]])


def test_nearest_finds_turned_and_mirrored_rows() -> None:
    known = np.random.default_rng(1).normal(size=(5, 2, 16, 16)).astype(np.float32)
    turned = np.stack([np.rot90(known[3], 1, axes=(1, 2)), known[1][..., ::-1], np.zeros((2, 16, 16))])
    distances, where = nearest(turned.reshape(3, -1), known.reshape(5, -1), 2)
    assert where[:2].tolist() == [3, 1]
    assert distances[:2] == pytest.approx([0, 0], abs=2e-3)
    assert distances[2] == pytest.approx(np.sqrt((known**2).mean(axis=(1, 2, 3)).min()), rel=1e-5)


def test_copies_are_found_and_others_are_not(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    copied = make_tiles(tmp_path / "copied", {"train": 8}, synthetic=True, copies=real)
    check = CopySearch(real).check(copied, Events())
    assert check is not None
    assert check.share_nearer == 1.0
    assert [tile.id for tile in check.nearest] == [tile.id for tile in real.select("train")]
    fair = CopySearch(real).check(made, Events())
    assert fair is not None
    assert fair.distances.min() > 10 * check.distances.max()
    assert fair.order[0] == fair.distances.argmin()


def test_real_tiles_are_read_once_for_several_tilesets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = make_pair(tmp_path)
    copied = make_tiles(tmp_path / "copied", {"train": 8}, synthetic=True, copies=real)
    read: list[str] = []
    plain = Tileset.read
    monkeypatch.setattr(Tileset, "read", lambda tileset, tile: read.append(str(tileset.path)) or plain(tileset, tile))
    search = CopySearch(real)
    assert search.check(real, Events()) is None and not read  # nothing generated in it
    found = [search.check(tileset, Events()) for tileset in (made, copied)]
    assert read.count(str(real.path)) == len(real.select("train")) + len(real.select("val") or real.select("test"))
    for tileset, check in zip((made, copied), found, strict=True):
        alone = CopySearch(real).check(tileset, Events())
        assert check is not None and alone is not None
        assert np.array_equal(check.distances, alone.distances) and check.nearest == alone.nearest
        assert check.threshold == alone.threshold


def test_without_held_out_tiles_nearness_is_not_judged(tmp_path: Path) -> None:
    real = make_tiles(tmp_path / "real", {"train": 4})
    check = CopySearch(real).check(make_tiles(tmp_path / "made", {"train": 3}, synthetic=True, far=900), Events())
    assert check is not None
    assert check.threshold is None
    assert check.share_nearer is None
    assert CopySearch(real).check(real, Events()) is None  # nothing generated in it
