"""Windows whose weights add up to one, noise that belongs to its pixel, states on the disk."""

from collections import Counter
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from geosynth.diffusion.canvas import Canvas, Windows, canvas_noise, padded, runs, shift_at
from geosynth.errors import OutputError

LAYOUTS = [
    (length, overlap, shift)
    for length in (32, 40, 64, 104, 200)
    for overlap in (0, 8, 16)
    for shift in range(0, 32 - overlap, 8)
]


@pytest.mark.parametrize(("length", "overlap", "shift"), LAYOUTS)
def test_the_weights_over_every_pixel_add_up_to_one(length: int, overlap: int, shift: int) -> None:
    windows = Windows.along(length, 32, overlap, shift)
    total = np.zeros(length)
    for start, weights in zip(windows.starts, windows.weights, strict=True):
        assert 0 <= start <= length - 32 and start % 8 == 0
        assert weights.min() > 0
        total[start : start + 32] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize(("length", "overlap", "shift"), LAYOUTS)
def test_bands_are_the_line_and_know_who_covers_them(length: int, overlap: int, shift: int) -> None:
    windows = Windows.along(length, 32, overlap, shift)
    ends = [windows.band(number) for number in range(len(windows.starts))]
    assert [0, *(end for _, end in ends)] == [*(begin for begin, _ in ends), length]
    for begin, end in ends:
        covering = [n for n, start in enumerate(windows.starts) if start < end and start + 32 > begin]
        assert list(windows.touching(begin, end)) == covering


def test_neighbours_share_at_least_the_overlap_and_no_answer_ends_suddenly() -> None:
    windows = Windows.along(104, 32, 8, 16)
    for one, other in pairwise(windows.starts):
        assert one + 32 - other >= 8
    for number, weights in enumerate(windows.weights):
        assert number == 0 or weights[0] < 0.02
        assert number == len(windows.weights) - 1 or weights[-1] < 0.02


def test_windows_that_share_nothing_cost_one_evaluation_a_pixel_but_for_the_edges() -> None:
    assert Windows.along(96, 32, 0, 0).starts == (0, 32, 64)
    assert Windows.along(96, 32, 0, 8).starts == (0, 8, 40, 64)


def test_windows_move_to_every_place_about_as_often_and_far_from_where_they_were() -> None:
    shifts = [shift_at(level, 64, 8) for level in range(64)]
    for axis in (0, 1):
        places = Counter(shift[axis] for shift in shifts)
        assert sorted(places) == list(range(0, 64, 8))
        assert max(places.values()) <= 10
    for one, other in pairwise(shifts):
        far = [min((a - b) % 64, (b - a) % 64) for a, b in zip(one, other, strict=True)]
        assert min(far) >= 8 and max(far) >= 16


def test_noise_belongs_to_its_pixel() -> None:
    whole = canvas_noise(3, 2, 0, 0, 200, 150)
    assert torch.equal(canvas_noise(3, 2, 61, 50, 70, 33), whole[:, 61:131, 50:83])
    assert torch.equal(canvas_noise(3, 2, 0, 0, 1, 1), whole[:, :1, :1])
    assert not torch.equal(canvas_noise(4, 2, 0, 0, 200, 150), whole)
    assert abs(float(whole.mean())) < 0.02 and abs(float(whole.std()) - 1) < 0.02
    assert len(torch.unique(whole)) > 0.99 * whole.numel()  # no block is another one's copy


@pytest.mark.parametrize("remembers", [False, True])
def test_what_is_read_is_never_what_is_written(tmp_path: Path, remembers: bool) -> None:
    canvas = Canvas(tmp_path / "canvas", 2, 4, 5, remembers, 6)
    canvas.make()
    assert sum(path.stat().st_size for path in canvas.folder.iterdir()) == canvas.bytes
    for level in range(1, 6):
        canvas.state(level)[:] = level
        canvas.state(level + 1)[:] = level + 1
        assert (canvas.state(level) == level).all()
        if remembers and level > 1:
            assert (canvas.state(level - 1) == level - 1).all()
            canvas.answer(level - 1)[:] = level - 1
            canvas.answer(level)[:] = level
            assert (canvas.answer(level - 1) == level - 1).all()


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    canvas = Canvas(tmp_path / "canvas", 2, 4, 5, False, 6)
    canvas.make()
    canvas.done[2, 3] = 1
    canvas.given[:] = 7
    canvas.make()
    assert canvas.done.sum() == 1 and (canvas.given == 7).all()
    canvas.discard()
    assert not canvas.folder.exists()


@pytest.mark.skipif(not hasattr(__import__("os"), "posix_fallocate"), reason="space cannot be asked for here")
def test_a_disk_that_is_too_small_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("geosynth.diffusion.canvas.os.posix_fallocate", full)
    with pytest.raises(OutputError, match=r"cannot hold 0\.0 GB of intermediate values \(No space left"):
        Canvas(tmp_path / "canvas", 2, 4, 5, False, 6).make()


def test_a_canvas_holds_a_window_and_divides() -> None:
    assert [padded(pixels, 32, 8) for pixels in (1, 32, 33, 40, 41)] == [32, 32, 40, 40, 48]


def test_rows_that_follow_each_other_are_one_run() -> None:
    assert list(runs([0, 1, 2, 4, 7, 8], 8)) == [(0, 3), (4, 5), (7, 9)]
    assert list(runs([0, 1, 2, 3, 4], 2)) == [(0, 2), (2, 4), (4, 5)]
    assert list(runs([], 2)) == []
