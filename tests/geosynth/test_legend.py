import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import required

from geosynth.errors import LegendError
from geosynth.legend import (
    READY_MADE,
    Legend,
    LegendClass,
    category_names,
    ignored_values,
    load_legend,
    polygon_style,
    raster_style,
)

GAPPY = Legend((LegendClass(7, "sea & shore", "#0000ff"), LegendClass(2, 'the "old" town', "#ff0000")))


def test_network_index_is_the_position_not_the_id() -> None:
    mask = np.array([[7, 2, 255, 3]], np.uint8)
    index = GAPPY.to_index(mask)
    assert index.tolist() == [[0, 1, 255, 255]]  # 3 is no class: unknown
    assert GAPPY.to_id(index).tolist() == [[7, 2, 255, 255]]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"id": 255, "name": "a", "color": "#000000"}, "outside 0..254"),
        ({"id": 1, "name": "", "color": "#000000"}, "no name"),
        ({"id": 1, "name": "a", "color": "red"}, "colour 'red'"),
        ({"name": "a"}, "not a class"),
    ],
)
def test_bad_classes_are_named(entry: dict[str, object], fault: str) -> None:
    with pytest.raises(LegendError, match=fault):
        Legend.from_json([entry])


def test_ids_and_names_are_used_once() -> None:
    with pytest.raises(LegendError, match="once"):
        Legend.from_json([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])
    with pytest.raises(LegendError, match="at least one"):
        Legend(())


def test_round_trip_through_json(tmp_path: Path) -> None:
    (tmp_path / "legend.json").write_text(json.dumps(GAPPY.to_json()))
    assert load_legend(tmp_path / "legend.json") == GAPPY


def test_a_legend_with_an_ignored_id(tmp_path: Path) -> None:
    classes = [{"id": 0, "name": "unlabeled", "rgb": [1, 2, 3]}, {"id": 1, "name": "house", "rgb": [255, 0, 16]}]
    (tmp_path / "classes.json").write_text(json.dumps({"ignore_index": 0, "classes": classes}))
    legend = load_legend(tmp_path / "classes.json")
    assert legend.names == ("house",)
    assert legend.classes[0].color == "#ff0010"


@pytest.mark.parametrize("value", ["unlabeled", 1.5, True, [0]])
def test_an_ignored_id_is_a_whole_number(tmp_path: Path, value: object) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"ignore_index": value, "classes": [{"id": 1, "name": "house"}]}))
    for read in (ignored_values, load_legend):
        with pytest.raises(LegendError, match=r"classes\.json.*ignore_index.*whole number"):
            read(path)


def test_ignored_values(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"ignore_index": 0, "classes": [{"id": 1, "name": "house"}]}))
    assert ignored_values(path) == (0,)
    path.write_text(json.dumps([{"id": 1, "name": "house"}]))
    assert ignored_values(path) == ()
    path.write_text("{")
    with pytest.raises(LegendError, match="not a JSON"):
        ignored_values(path)


@pytest.mark.parametrize("color", [{"color": "#9B9B9B"}, {"rgb": [155, 155, 155]}])
def test_the_colour_of_an_ignored_class_is_ignored_too(tmp_path: Path, color: dict[str, object]) -> None:
    path = tmp_path / "classes.json"
    classes = [{"id": 0, "name": "unlabeled", **color}, {"id": 1, "name": "house", "color": "#112233"}]
    path.write_text(json.dumps({"ignore_index": 0, "classes": classes}))
    assert ignored_values(path) == (0, "#9b9b9b")


def test_ready_made_legends() -> None:
    for name in READY_MADE:
        assert load_legend(name) is READY_MADE[name]
        colors = [entry.color for entry in READY_MADE[name].classes]
        assert len(set(colors)) == len(colors), "masks coded by colour need colours of their own"
        assert not set(colors) & set(ignored_values(name))
    with pytest.raises(LegendError, match="world"):
        load_legend("no-such-legend")


def test_legends_of_label_sets_are_those_of_their_authors() -> None:
    """Ids, order and colours as published; the sources are named in geosynth/legends.py."""
    loveda = load_legend("loveda")
    assert loveda.names == ("background", "building", "road", "water", "barren", "forest", "agriculture")
    assert loveda.ids == tuple(range(1, 8))
    assert loveda.named("barren").rgb == (159, 129, 183)
    openearthmap = load_legend("openearthmap")
    assert openearthmap.names == ("bareland", "rangeland", "developed_space", "road", "tree", "water",
                                  "agriculture_land", "building")  # fmt: skip
    assert openearthmap.ids == tuple(range(1, 9))
    assert openearthmap.named("rangeland").rgb == (0, 255, 36)
    isaid = load_legend("isaid")
    assert isaid.names == ("background", "ship", "storage_tank", "baseball_diamond", "tennis_court", "basketball_court",
                           "ground_track_field", "bridge", "large_vehicle", "small_vehicle", "helicopter",
                           "swimming_pool", "roundabout", "soccer_ball_field", "plane", "harbor")  # fmt: skip
    assert isaid.ids == tuple(range(16))
    assert isaid.named("harbor").rgb == (0, 100, 155)
    ignored = {name: ignored_values(name) for name in READY_MADE}
    assert ignored == {"world": (), "building": (), "loveda": (0,), "openearthmap": (0, "#000000"), "isaid": (),
                       "dubai": (0, "#9b9b9b", "#000000")}  # fmt: skip


def test_the_dubai_legend_is_that_of_the_data(real_data: Path) -> None:
    path = real_data / "landcover_dubai" / "classes.json"
    required("the legend of the Dubai set", path.is_file())
    assert load_legend(path) == load_legend("dubai")
    assert set(ignored_values(path)) <= set(ignored_values("dubai"))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"x": 1}')
    with pytest.raises(LegendError, match=r"a.json.*not a JSON"):
        load_legend(tmp_path / "a.json")
    with pytest.raises(LegendError, match=r"b.json.*no list"):
        load_legend(tmp_path / "b.json")


def test_styles_hold_every_name_and_colour_as_valid_xml() -> None:
    raster = ElementTree.fromstring(raster_style(GAPPY).split("\n", 1)[1])
    entries = {e.get("value"): (e.get("label"), e.get("color")) for e in raster.iter("paletteEntry")}
    assert entries == {"7": ("sea & shore", "#0000ff"), "2": ('the "old" town', "#ff0000")}
    polygons = ElementTree.fromstring(polygon_style(GAPPY).split("\n", 1)[1])
    assert [c.get("value") for c in polygons.iter("category")] == list(GAPPY.names)
    names = [e.text or "" for e in ElementTree.fromstring(category_names(GAPPY)).iter("Category")]
    assert names == ["", "", 'the "old" town', "", "", "", "", "sea & shore"]
