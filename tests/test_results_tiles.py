"""The splits of the experiments on real imagery: ground that scenes share is never in two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAME_GROUND = ({"tile4", "tile7", "tile8"}, {"tile1", "tile3"}, {"tile6"})


@pytest.mark.parametrize("scene", sorted(set().union(*SAME_GROUND)))
def test_scenes_of_one_ground_are_in_one_split(scene: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from ablation_data import splits_to_test

    splits = splits_to_test(scene)
    assert splits[scene] == "test"
    assert splits.keys() == set().union(*SAME_GROUND)
    of_groups = [{splits[name] for name in group} for group in SAME_GROUND]
    assert all(len(found) == 1 for found in of_groups)
    assert set().union(*of_groups) == {"train", "val", "test"}
    with pytest.raises(SystemExit, match="tile9 is no scene"):
        splits_to_test("tile9")
