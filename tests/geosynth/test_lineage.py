import json
from pathlib import Path

import pytest

from geosynth.errors import ModelError
from geosynth.lineage import Lineage, read_lineage
from geosynth.tileset import Tileset


def test_a_seen_tile_is_found_again_by_content_and_by_place(opened: Tileset) -> None:
    train, test = opened.select("train"), opened.select("test")
    lineage = Lineage.of(train, "EPSG:32633")
    assert lineage.overlap(test, "EPSG:32633") == []
    assert lineage.overlap(train[:3], "EPSG:32633") == [tile.id for tile in train[:3]]
    assert lineage.overlap(train[:3], "EPSG:3857") == [tile.id for tile in train[:3]]  # the same pixels
    assert lineage.label_keys == lineage.image_keys
    assert len(lineage.seen) == len(train)


def test_union_and_round_trip(opened: Tileset, tmp_path: Path) -> None:
    train = opened.select("train")
    both = Lineage.of(train[:4], "EPSG:32633") | Lineage.of(train[2:6], "EPSG:32633")
    assert both == Lineage.of(train[:6], "EPSG:32633")
    (tmp_path / "lineage.json").write_text(json.dumps(both.to_json()))
    assert read_lineage(tmp_path) == both


def test_nothing_recorded_and_damaged(tmp_path: Path) -> None:
    assert read_lineage(tmp_path) == Lineage()
    (tmp_path / "lineage.json").write_text('[["key"]]')
    with pytest.raises(ModelError, match=r"lineage.json"):
        read_lineage(tmp_path)
