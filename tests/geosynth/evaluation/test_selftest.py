from __future__ import annotations

from pathlib import Path

import pytest

from geosynth.errors import GeosynthError
from geosynth.evaluation import selftest
from geosynth.evaluation.selftest import SelfTestSize, self_test
from geosynth.events import Events


def test_a_perfect_generator_helps_and_a_bad_one_harms(tmp_path: Path) -> None:
    outcome = self_test(tmp_path / "test", Events(), threads=1, device="cpu")
    assert outcome.passed, outcome.in_words()


def test_a_method_that_cannot_tell_them_apart_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both generators are the bad one: what must not happen is that this passes.
    write = selftest._write_synthetic
    monkeypatch.setattr(selftest, "_write_synthetic", lambda path, *rest: write(path, *rest[:3], 1, rest[-1]))
    size = SelfTestSize(train=4, val=2, test=4, synthetic=4, seeds=3, steps=2, batch=2)
    with pytest.raises(GeosynthError, match="does not tell"):
        self_test(tmp_path / "test", Events(), size=size, threads=1, device="cpu")
