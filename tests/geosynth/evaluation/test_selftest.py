from __future__ import annotations

from pathlib import Path

import pytest

from geosynth.errors import GeosynthError
from geosynth.evaluation import selftest
from geosynth.evaluation.selftest import SelfTest, SelfTestSize, self_test
from geosynth.evaluation.statistics import Difference
from geosynth.events import Events


def test_a_perfect_generator_helps_and_a_bad_one_harms(tmp_path: Path) -> None:
    outcome = self_test(tmp_path / "test", Events(), threads=1, device="cpu")
    assert outcome.passed, outcome.in_words()


@pytest.mark.parametrize(
    ("good", "bad", "passes"),
    [
        ((0.05, 0.01), (-0.05, 0.01), True),
        ((0.05, 0.01), (-0.05, 0.04), False),  # a harm within noise is none
        ((0.05, 0.04), (-0.05, 0.01), False),
        ((0.05, 0.01), (0.05, 0.01), False),
        ((-0.05, 0.01), (-0.05, 0.01), False),
        ((-0.05, 0.01), (0.05, 0.01), False),
    ],
)
def test_both_must_be_beyond_noise_and_on_their_sides(
    good: tuple[float, float], bad: tuple[float, float], passes: bool
) -> None:
    found = [Difference(mean, error, mean - 4.3 * error, mean + 4.3 * error, 3) for mean, error in (good, bad)]
    assert SelfTest(*found).passed is passes
    assert not SelfTest(found[0], None).passed


def test_a_method_that_cannot_tell_them_apart_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both generators are the bad one: what must not happen is that this passes.
    write = selftest._write_synthetic
    monkeypatch.setattr(selftest, "_write_synthetic", lambda path, *rest: write(path, *rest[:3], 1, rest[-1]))
    size = SelfTestSize(train=4, val=2, test=4, synthetic=4, seeds=3, steps=2, batch=2)
    with pytest.raises(GeosynthError, match="does not tell"):
        self_test(tmp_path / "test", Events(), size=size, threads=1, device="cpu")
