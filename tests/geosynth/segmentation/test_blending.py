"""Blended logits: no seam, and the same numbers however the work is cut and shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from geosynth.errors import Cancelled
from geosynth.segmentation.blending import Area, blend
from geosynth.segmentation.networks import build_network, padded_logits
from geosynth.segmentation.windows import Windows

HEIGHT, WIDTH, CLASSES = 400, 500, 3


class Ground:
    """A smooth scene: where a window ends is the only place that could show an edge."""

    def __init__(self, hole: tuple[slice, slice] | None = None) -> None:
        random = np.random.default_rng(0)
        self.image = gaussian_filter(random.normal(size=(2, HEIGHT, WIDTH)), (0, 4, 4)).astype(np.float32) * 20
        self.holds = np.ones((HEIGHT, WIDTH), bool)
        if hole:
            self.holds[hole] = False
        self.lines: list[int] = []

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        image, valid = np.zeros((2, height, width), np.float32), np.zeros((height, width), bool)
        part = self.image[:, row : row + height, col : col + width]
        image[:, : part.shape[1], : part.shape[2]] = part
        valid[: part.shape[1], : part.shape[2]] = self.holds[row : row + height, col : col + width]
        self.lines += range(row, min(row + height, HEIGHT))
        return image, valid


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    """Convolutions whose padding is felt 12 px from a window's border."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Conv2d(8 if layers else 2, 8, 5, padding=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, CLASSES, 1)).requires_grad_(False)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return build_network("unet", "resnet18", 2, CLASSES).eval().requires_grad_(False)


def blended(
    network: nn.Module, ground: Ground, window: int, overlap: int, *areas: Area, **options: Any
) -> NDArray[np.float32]:
    """Logits (K, H, W) put together from areas (the whole scene when there is none); NaN where there are none."""

    def forward(image: NDArray[Any], _: NDArray[np.bool_]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(image))
        return padded_logits(network, tensor) if hasattr(network, "encoder") else network(tensor)

    rows, cols = Windows.over(HEIGHT, window, overlap), Windows.over(WIDTH, window, overlap)
    everything = Area(range(len(rows.starts)), range(len(cols.starts)))
    whole = np.full((CLASSES, HEIGHT, WIDTH), np.nan, np.float32)
    for area in areas or (everything,):
        for part in blend(forward, ground, rows, cols, area, classes=CLASSES, **options):  # type: ignore[arg-type]
            at = np.s_[:, part.row : part.row + part.logits.shape[1], part.col : part.col + part.logits.shape[2]]
            assert np.isnan(whole[at]).all(), "every pixel comes once"
            whole[at] = part.logits
    return whole


def edges(logits: NDArray[np.float32], axis: int, windows: Windows) -> float:
    """The mean step of the logits across borders of windows, as a multiple of that elsewhere."""
    steps = np.abs(np.diff(logits, axis=axis)).mean(axis=(0, 3 - axis))
    ends = {start - 1 for start in windows.starts if start}
    ends |= {start + windows.size - 1 for start in windows.starts if start + windows.size < windows.length}
    return float(steps[sorted(ends)].mean() / np.delete(steps, sorted(ends)).mean())


@pytest.mark.parametrize("name", ["plain", "unet"])
def test_no_border_of_a_window_shows(name: str, request: pytest.FixtureRequest) -> None:
    network, ground = request.getfixturevalue(name), Ground()
    for axis, length in ((1, HEIGHT), (2, WIDTH)):
        beside = edges(blended(network, ground, 128, 0), axis, Windows.over(length, 128, 0))
        assert beside > 2, "without blending they do"
        assert edges(blended(network, ground, 128, 64), axis, Windows.over(length, 128, 64)) < 1.1


def test_windows_that_contradict_each_other_pass_over_gradually() -> None:
    """Windows that differ by 1 everywhere, the worst a network can do: no step is steeper than the weights are."""
    calls = 0

    def moody(image: NDArray[Any], _: NDArray[np.bool_]) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.full((1, CLASSES, *image.shape[-2:]), float(calls % 2))

    rows, cols = Windows.over(HEIGHT, 96, 32), Windows.over(WIDTH, 96, 32)
    area = Area(range(len(rows.starts)), range(len(cols.starts)))
    parts = [part.logits[0].numpy().copy() for part in blend(moody, Ground(), rows, cols, area, classes=CLASSES)]  # type: ignore[arg-type]
    whole = np.concatenate(parts)
    assert whole.min() < 0.01 and whole.max() > 0.99, "the windows do differ"
    steepest = np.pi / 2 / 32  # of half a Hann window over 32 px
    assert np.abs(np.diff(whole, axis=0)).max() <= 1.05 * steepest
    assert np.abs(np.diff(whole, axis=1)).max() <= 1.05 * steepest


@pytest.mark.parametrize(("window", "overlap"), [(96, 32), (96, 60), (64, 0), (416, 32)])
def test_areas_fit_together_to_the_last_bit(plain: nn.Module, window: int, overlap: int) -> None:
    ground = Ground(np.s_[100:220, 150:400])
    whole = blended(plain, ground, window, overlap)
    rows, cols = (len(Windows.over(length, window, overlap).starts) for length in (HEIGHT, WIDTH))
    areas = [
        Area(range(rows)[row : row + 2], range(cols)[col : col + 3])
        for row in range(0, rows, 2)
        for col in range(0, cols, 3)
    ]
    np.testing.assert_array_equal(blended(plain, ground, window, overlap, *areas), whole)
    np.testing.assert_array_equal(blended(plain, ground, window, overlap, threads=3), whole)


def test_a_network_with_real_threads_to_share_gives_the_same_bits() -> None:
    """This one's numbers do change with the number of threads of a pass; so a pass has one."""
    network = build_network("fpn", "resnet18", 2, CLASSES).eval().requires_grad_(False)
    before = torch.get_num_threads()
    outcomes = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            outcomes.append(blended(network, Ground(), 256, 64, threads=threads))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    np.testing.assert_array_equal(*outcomes)


def test_batches_give_the_same_up_to_rounding(unet: nn.Module) -> None:
    ground = Ground()
    np.testing.assert_allclose(
        blended(unet, ground, 128, 32, batch=3), blended(unet, ground, 128, 32), rtol=1e-3, atol=1e-3
    )


def test_every_line_is_read_once(plain: nn.Module) -> None:
    ground = Ground()
    blended(plain, ground, 96, 60)
    assert ground.lines == list(range(HEIGHT))


def test_it_stops_when_told_and_puts_the_threads_back(plain: nn.Module) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise Cancelled("enough")

    before = torch.get_num_threads()
    with pytest.raises(Cancelled):
        blended(plain, Ground(), 96, 32, check=check, threads=2)
    assert torch.get_num_threads() == before
