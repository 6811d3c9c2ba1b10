"""Filtering: wrong masks are found, good ones stay, nothing is lost, and it can all be taken back."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from folder_bytes import folder_bytes
from geosynth_cli.main import cli
from square_pairs import flipped, square, write

from geosynth.descriptions import description_hash
from geosynth.errors import Cancelled, GeosynthError, LeakError, ModelError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.filtering import run as runs
from geosynth.filtering.rule import FilterPlan
from geosynth.filtering.run import filter_tileset, undo_filter
from geosynth.legend import UNKNOWN
from geosynth.lineage import Lineage, read_lineage
from geosynth.review import set_verdicts
from geosynth.samples import TilesetDataModule, pairs_of
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.subset import SubsetPlan, subset_tileset
from geosynth.tileset import COLUMNS, OPTIONAL, Tileset

GOOD, PARTLY, WRONG = range(8), range(8, 12), range(12, 20)
PLAN = SegmenterPlan(
    architecture="fpn", encoder="tu-mobilenetv3_small_050", steps=60, batch=8, learning_rate=3e-3, seed=1
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``real`` tiles, a ``segmenter`` of them, and ``synthetic`` pairs, of which some are wrong; do not change it."""
    root = tmp_path_factory.mktemp("filter")
    write(root / "real", [square(number) for number in range(28)], "t" * 20 + "v" * 4 + "x" * 4)
    train_segmenter(root / "real", [], PLAN, root / "segmenter", Events(), threads=1, device="cpu")
    made = [square(100 + number) for number in range(20)]
    made = [
        flipped(pair) if n in WRONG else flipped(pair, slice(12)) if n in PARTLY else pair
        for n, pair in enumerate(made)
    ]
    lineage = Lineage.of(Tileset(root / "real").select("train"), "EPSG:32633")
    write(root / "synthetic", made, lineage=Lineage(lineage.seen[:3]))
    return root


@pytest.fixture
def synthetic(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place / "synthetic", tmp_path / "synthetic")
    return tmp_path / "synthetic"


def run(place: Path, synthetic: Path, plan: FilterPlan | None = None, by: Path | None = None, **options):
    return filter_tileset(
        synthetic,
        by or place / "segmenter",
        place / "real",
        options.pop("events", Events()),
        plan,
        device="cpu",
        **options,
    )


def ids(numbers: range) -> set[str]:
    return {f"t{number:03}" for number in numbers}


def test_wrong_masks_are_found_and_good_ones_stay(place: Path, synthetic: Path) -> None:
    before = Tileset(synthetic)
    summary = run(place, synthetic)
    after = Tileset(synthetic)
    rows = {tile.id: tile for tile in after.tiles}
    assert {tile.id for tile in after.tiles if tile.filter == "rejected"} == ids(WRONG)
    assert summary.rejected == len(WRONG)
    assert {tile.id for tile in after.select()} == ids(GOOD) | ids(PARTLY)
    for tile in before.tiles:
        row = rows[tile.id]
        mask, was = after.read(row)[2], before.read(tile)[2]
        known = mask != UNKNOWN
        assert np.array_equal(mask[known], was[known])  # nothing gets another class
        assert row.unknown_fraction == pytest.approx(1 - known.mean())
        assert sum(row.class_fractions) == pytest.approx(known.mean())
        if tile.id in ids(GOOD):
            assert known.mean() > 0.8
        if tile.id in ids(PARTLY):
            assert known[:11].mean() < 0.1
            assert known[14:].mean() > 0.8


def test_rejected_pairs_are_not_trained_on(place: Path, synthetic: Path) -> None:
    run(place, synthetic)
    tileset = Tileset(synthetic)
    assert {pair.tile.id for pair in pairs_of(tileset, "train")} == ids(GOOD) | ids(PARTLY)
    module = TilesetDataModule(Tileset(place / "real"), [tileset])
    assert len(module.training_pairs) == 20 + 12
    module.setup("fit")
    assert module.train_dataset is not None
    masks = [module.train_dataset.raw(k)[2] for k, p in enumerate(module.training_pairs) if p.tile.id in ids(PARTLY)]
    assert any((mask == UNKNOWN).any() for mask in masks)  # the filtered masks, not those of before


def test_any_number_of_workers_gives_the_same_bytes(place: Path, synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic, tmp_path / "other")
    run(place, synthetic)
    run(place, tmp_path / "other", workers=2)
    assert folder_bytes(synthetic) == folder_bytes(tmp_path / "other")


def test_undoing_gives_every_byte_back(place: Path, synthetic: Path) -> None:
    before = folder_bytes(synthetic)
    run(place, synthetic)
    during = folder_bytes(synthetic)
    assert during != before
    assert all(during[name] == before[name] for name in before if name.startswith(("masks/", "images/")))
    undo_filter(synthetic)
    assert folder_bytes(synthetic) == before
    with pytest.raises(TilesetError, match="is not filtered"):
        undo_filter(synthetic)


def test_verdicts_of_people_outlive_a_filter(place: Path, synthetic: Path) -> None:
    run(place, synthetic)
    set_verdicts(synthetic, {"t000": "rejected"})
    assert "t000" not in {tile.id for tile in Tileset(synthetic).select()}
    assert {tile.review for tile in undo_filter(synthetic).tiles if tile.id == "t000"} == {"rejected"}


def test_the_index_says_what_was_done(place: Path, synthetic: Path) -> None:
    import geopandas

    assert set(geopandas.read_parquet(synthetic / "index.parquet").columns) == set(COLUMNS)
    was = {tile.id: tile for tile in Tileset(synthetic).tiles}
    summary = run(place, synthetic)
    assert set(geopandas.read_parquet(synthetic / "index.parquet").columns) == {*COLUMNS, *OPTIONAL}
    with (synthetic / "filter.csv").open() as stream:
        table = {row["id"]: row for row in csv.DictReader(stream)}
    for tile in Tileset(synthetic).tiles:
        row = table[tile.id]
        assert row["verdict"] == tile.filter
        assert row["mask_sha256"] == tile.original_mask_sha256 == was[tile.id].mask_sha256
        assert row["filtered_sha256"] == (tile.mask_sha256 if tile.filter == "cleaned" else "")
        assert (tile.filter == "cleaned") == bool(tile.unfiltered_sha256)
        assert float(row["loss"]) > 0
    pixels = sum(entry.pixels for entry in summary.classes)
    assert pixels == 20 * 32 * 32
    gone = sum(round(t.unknown_fraction * 1024) for t in Tileset(synthetic).tiles)
    assert sum(entry.unknown for entry in summary.classes) == gone
    report = json.loads((synthetic / "filter.json").read_text())
    assert report["rejected"] == len(WRONG) and report["request"]["factor"] == 1.25


def test_what_the_judge_saw_is_behind_the_tiles(place: Path, synthetic: Path) -> None:
    assert len(read_lineage(synthetic).seen) == 3
    run(place, synthetic)
    assert len(read_lineage(synthetic).seen) == 24  # the segmenter's val tiles, too


def test_an_interrupted_run_changes_nothing_and_goes_on(place: Path, synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic, tmp_path / "whole")
    run(place, tmp_path / "whole")
    index = (synthetic / "index.parquet").read_bytes()
    judged = 0

    def stop() -> str | None:
        nonlocal judged
        judged = len(list(synthetic.rglob("block-*.json")))
        return "enough" if judged == 2 else None

    with pytest.raises(Cancelled):
        run(place, synthetic, events=Events(stop=[stop]))
    assert (synthetic / "index.parquet").read_bytes() == index
    with pytest.raises(OutputError, match="unfinished filtering"):
        run(place, synthetic)
    with pytest.raises(OutputError, match="another request"):
        run(place, synthetic, FilterPlan(factor=2), rerun="resume")
    assert len(list(synthetic.rglob("block-*.json"))) == 2
    done: list[int] = []
    told = Events([lambda event: done.append(event["total"]) if event["event"] == "progress" else None])
    run(place, synthetic, rerun="resume", events=told)
    assert set(done) == {1}  # the one block of three that was not judged before
    assert folder_bytes(synthetic) == folder_bytes(tmp_path / "whole")
    assert run(place, synthetic).nothing_to_do
    with pytest.raises(OutputError, match="filtered already"):
        run(place, synthetic, FilterPlan(factor=2))
    again = run(place, synthetic, FilterPlan(factor=1e6), rerun="overwrite")
    assert (again.kept, again.cleaned, again.rejected) == (20, 0, 0)
    undo_filter(synthetic)
    assert (synthetic / "index.parquet").read_bytes() == index


def test_an_interrupted_run_can_be_undone(place: Path, synthetic: Path) -> None:
    before = folder_bytes(synthetic)
    with pytest.raises(Cancelled):
        run(place, synthetic, events=Events(stop=[lambda: "now" if list(synthetic.rglob("normal.json")) else None]))
    undo_filter(synthetic)
    assert folder_bytes(synthetic) == before


@pytest.mark.parametrize("last", ["filter.csv", "lineage.json", "index", "filter.json"])
def test_a_run_killed_while_it_publishes_can_be_finished_or_undone(
    place: Path, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    before = folder_bytes(synthetic)
    shutil.copytree(synthetic, tmp_path / "whole")
    run(place, tmp_path / "whole")

    def killed_at(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *rest: Any) -> Any:
            if (target.name if isinstance(target, Path) else "index") == last:
                raise KeyboardInterrupt
            return function(target, *rest)

        return call

    with monkeypatch.context() as patched:
        for name in ("write_whole", "rewrite_index"):
            patched.setattr(runs, name, killed_at(getattr(runs, name)))
        with pytest.raises(KeyboardInterrupt):
            run(place, synthetic)
    shutil.copytree(synthetic, tmp_path / "undone")
    undo_filter(tmp_path / "undone")
    assert folder_bytes(tmp_path / "undone") == before
    run(place, synthetic, rerun="resume")
    assert folder_bytes(synthetic) == folder_bytes(tmp_path / "whole")


def test_judges_that_know_too_much_are_refused(place: Path, synthetic: Path, tmp_path: Path) -> None:
    before = folder_bytes(synthetic)
    real = Tileset(place / "real")
    shutil.copytree(place / "segmenter", tmp_path / "peeked")
    saw = read_lineage(place / "segmenter") | Lineage.of(real.select("test"), real.spec.crs_name)
    (tmp_path / "peeked" / "lineage.json").write_text(json.dumps(saw.to_json()))
    with pytest.raises(LeakError, match="saw 4 test tiles"):
        run(place, synthetic, by=tmp_path / "peeked")
    subset_tileset(place / "real", SubsetPlan(0.25), tmp_path / "few", Events())
    with pytest.raises(LeakError, match="saw labels of 18 places"):
        filter_tileset(synthetic, place / "segmenter", tmp_path / "few", Events(), device="cpu")
    shutil.copytree(place / "segmenter", tmp_path / "mixed")
    meta = tmp_path / "mixed" / "segmenter.json"
    content = json.loads(meta.read_text())
    content["training"]["made_pairs"] = 9
    content["hash"] = description_hash(content)
    meta.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="trained on 9 synthetic pairs"):
        run(place, synthetic, by=tmp_path / "mixed")
    # Nor may one be taught by what it filters and call it real.
    train_segmenter(synthetic, [], replace(PLAN, steps=1), tmp_path / "taught", Events(), threads=1, device="cpu")
    with pytest.raises(ModelError, match="trained on 20 synthetic pairs"):
        run(place, synthetic, by=tmp_path / "taught")
    with pytest.raises(ModelError, match="neither a segmenter nor a generator"):
        run(place, synthetic, by=place / "real")
    with pytest.raises(TilesetError, match="no labelled synthetic pairs"):
        run(place, place / "real")
    with pytest.raises(GeosynthError, match="factor out of range"):
        FilterPlan(factor=0)
    assert folder_bytes(synthetic) == before


def test_a_flattened_copy_is_not_filtered_twice(place: Path, synthetic: Path, tmp_path: Path) -> None:
    run(place, synthetic)
    subset_tileset(synthetic, SubsetPlan(1.0), tmp_path / "copy", Events())
    copy, original = Tileset(tmp_path / "copy"), Tileset(synthetic)
    assert [tile.mask_sha256 for tile in copy.select()] == [tile.mask_sha256 for tile in original.select()]
    copy.verify(copy.tiles)
    with pytest.raises(TilesetError, match="filtered before it was copied"):
        run(place, tmp_path / "copy")


def test_the_command_tells_each_class(place: Path, synthetic: Path) -> None:
    asked = [
        "filter",
        str(synthetic),
        "--by",
        str(place / "segmenter"),
        "--real",
        str(place / "real"),
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    assert "8 rejected" in done.output and "building" in done.output and "made unknown" in done.output
    assert "nothing to do" in CliRunner().invoke(cli, asked).output
    assert "as it was before" in CliRunner().invoke(cli, ["filter", str(synthetic), "--undo"]).output
    assert CliRunner().invoke(cli, ["filter", str(synthetic)]).exit_code == 2
