"""Specks go to the class around them, by a rule that does not look further than it says."""

import numpy as np

from geosynth.legend import UNKNOWN
from geosynth.scenes.outlines import trace
from geosynth.scenes.sieving import sieve_margin, sieved


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
