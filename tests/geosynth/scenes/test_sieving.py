"""Specks go to the class around them, by a rule that does not look further than it says."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from geosynth.legend import UNKNOWN
from geosynth.scenes import sieving
from geosynth.scenes.outlines import trace
from geosynth.scenes.sieving import sieve_margin, sieved, sieved_strips


def test_a_speck_takes_the_class_of_its_longest_border() -> None:
    ids = np.zeros((8, 9), np.uint8)
    ids[:, 5:] = 1
    ids[3:5, 4] = 2  # four sides of class 0, two of class 1
    assert (sieved(ids, 3) == np.where(ids == 2, 0, ids)).all()
    ids[3:5, 4:6] = 3
    ids[2, 4] = 3  # as long a border with 0 as with 1: the lower class
    assert (sieved(ids, 6) == np.where(np.arange(9) >= 5, 1, 0)).sum() == 70


def test_what_is_large_enough_and_what_is_unknown_stays() -> None:
    ids = np.zeros((9, 9), np.uint8)
    ids[1:3, 1:3] = 1
    ids[5, 5] = UNKNOWN
    assert (sieved(ids, 4) == ids).all()
    island = np.full((5, 5), UNKNOWN, np.uint8)
    island[2, 2] = 1
    assert (sieved(island, 9) == island).all()


def test_a_speck_within_a_speck() -> None:
    ids = np.zeros((9, 9), np.uint8)
    ids[3:6, 3:6] = 1
    ids[4, 4] = 2
    assert (sieved(ids, 9) == 0).all()


def test_no_pixel_depends_on_others_beyond_the_margin() -> None:
    random = np.random.default_rng(0)
    smallest = 3
    margin = sieve_margin(smallest)
    for _ in range(30):
        ids = random.choice(np.array([0, 1, 2, UNKNOWN], np.uint8), (60, 60), p=[0.6, 0.2, 0.15, 0.05])
        whole = sieved(ids, smallest)
        part = sieved(ids[10:50, 5:45], smallest)
        assert (part[margin:-margin, margin:-margin] == whole[10:50, 5:45][margin:-margin, margin:-margin]).all()
        assert (trace(whole).sizes < smallest).sum() < 0.3 * (trace(ids).sizes < smallest).sum()


Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def regions(ids: Ids) -> list[Mask]:
    found = []
    for value in np.unique(ids[ids != UNKNOWN]):
        numbers, count = label(ids == value)
        found += [numbers == number for number in range(1, count + 1)]
    return found


def plainly_sieved(ids: Ids, smallest: int, fixed: Mask) -> Ids:
    """The rule, region by region."""
    for _ in range(2):
        after, areas = ids.copy(), regions(ids)
        large = np.any([area for area in areas if area.sum() >= smallest] or [np.zeros(ids.shape, bool)], axis=0)
        for area in areas:
            if area.sum() >= smallest or (area & fixed).any():
                continue
            border = np.zeros(256, int)
            for row, col in np.argwhere(area):
                for near in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                    inside = 0 <= near[0] < ids.shape[0] and 0 <= near[1] < ids.shape[1]
                    if inside and large[near]:
                        border[ids[near]] += 1
            if border.any():
                after[area] = border.argmax()
        ids = after
    return ids


def specked(random: np.random.Generator, height: int, width: int) -> tuple[Ids, Mask]:
    """Areas of several sizes with specks in and between them; a part of the pixels is fixed."""
    coarse = random.choice(np.array([0, 1, 2, UNKNOWN], np.uint8), (height // 4 + 1, width // 4 + 1))
    ids = np.kron(coarse, np.ones((4, 4), np.uint8))[:height, :width]
    noise = random.choice(np.array([0, 1, 2, 3], np.uint8), ids.shape)
    return np.where(random.random(ids.shape) < random.uniform(0, 0.6), noise, ids), random.random(ids.shape) < 0.1


@pytest.mark.parametrize("smallest", [2, 4, 9])
def test_what_the_rule_says_is_what_happens(smallest: int) -> None:
    random = np.random.default_rng(smallest)
    for _ in range(20):
        ids, fixed = specked(random, 17, 23)
        nowhere = np.zeros(ids.shape, bool)
        assert np.array_equal(sieved(ids, smallest), plainly_sieved(ids, smallest, nowhere))
        kept = sieved(ids, smallest, fixed)
        assert np.array_equal(kept, plainly_sieved(ids, smallest, fixed))
        assert np.array_equal(kept[fixed], ids[fixed])


def test_small_areas_are_left_only_among_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    random, there, left = np.random.default_rng(1), 0, 0
    for _ in range(20):
        ids, _ = specked(random, 24, 24)
        after = sieved(ids, 4)
        there += sum(area.sum() < 4 for area in regions(ids))
        with monkeypatch.context() as once:
            once.setattr(sieving, "_PASSES", 1)
            before = sieved(ids, 4)
        large = [area for area in regions(before) if area.sum() >= 4]
        for area in regions(after):
            if area.sum() < 4:
                left += 1
                assert not any((binary_dilation(area) & other).any() for other in large)
    assert 0 < left < 0.1 * there


def test_below_two_pixels_nothing_is_small() -> None:
    ids, fixed = specked(np.random.default_rng(0), 20, 20)
    for smallest in (0, 1):
        assert np.array_equal(sieved(ids, smallest), ids)
        assert np.array_equal(np.concatenate(list(sieved_strips([(ids, fixed)], smallest))), ids)


def test_strips_are_what_the_whole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieving, "_COLUMNS", 13)
    random = np.random.default_rng(2)
    for smallest in (0, 2, 4, 6):
        for heights in ([150], [64, 64, 22], [7] * 21 + [3], [1] * 20 + [100, 30]):
            ids, fixed = specked(random, 150, 45)
            tops = np.cumsum([0, *heights])
            rows = [(ids[top:end], fixed[top:end]) for top, end in pairwise(tops)]
            found = list(sieved_strips(iter(rows), smallest))
            assert [len(part) for part in found] == heights
            assert np.array_equal(np.concatenate(found), sieved(ids, smallest, fixed))


def test_strips_come_as_soon_as_they_are_certain() -> None:
    read: list[int] = []

    def strips() -> Iterator[sieving.Strip]:
        for number in range(20):
            read.append(number)
            yield np.zeros((8, 9), np.uint8), np.zeros((8, 9), bool)

    next(sieved_strips(strips(), 4))
    assert len(read) == 1 + sieve_margin(4) // 8
