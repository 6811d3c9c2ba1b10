from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pytest
from evaluation_tiles import make_pair, make_tiles
from shapely.affinity import translate

from geosynth.errors import GeosynthError, LeakError, TilesetError
from geosynth.evaluation.arms import choose_arms, standard_arms
from geosynth.evaluation.checking import check
from geosynth.evaluation.experiment import ExperimentPlan, jobs
from geosynth.events import Events
from geosynth.filtering.rule import FilterPlan
from geosynth.filtering.run import filter_tileset
from geosynth.lineage import Lineage
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.subset import SubsetPlan, subset_tileset
from geosynth.tileset import Tileset


def few(real: Tileset, out: Path, seed: int = 0, labels: int = 4) -> Tileset:
    """A subset of the labels, in areas of one tile."""
    subset_tileset(real.path, SubsetPlan(labels, seed=seed, block=1, val_labels=1.0), out, Events())
    return Tileset(out)


def made_from(real: Tileset, out: Path) -> Tileset:
    """Synthetic tiles whose generator saw all training tiles of ``real``, with the labels they have there."""
    seen = Lineage.of(real.select("train"), real.spec.crs_name)
    return make_tiles(out, {"train": 10}, synthetic=True, lineage=seen, far=5000)


def test_a_generator_with_all_labels_is_no_match_for_an_arm_with_few(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    subset = few(real, tmp_path / "few")
    plan = ExperimentPlan(standard_arms({"made": made.path}))
    with pytest.raises(LeakError, match=r"arm 'made'.* more labels than it was given: those of 4 more places \(world"):
        check([subset], plan, Events())
    check([real], plan, Events())
    honest = made_from(subset, tmp_path / "honest")  # saw the images of all, and these labels only
    assert len([entry for entry in Lineage.of(subset.select("train"), "EPSG:32633").seen if not entry.labelled]) == 4
    check([subset], ExperimentPlan(standard_arms({"made": honest.path})), Events())


def test_labels_of_other_places_count_too(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    elsewhere = make_tiles(tmp_path / "elsewhere", {"train": 3}, far=9000)
    seen = Lineage.of([*real.select("train"), *elsewhere.select("train")], "EPSG:32633")
    made = make_tiles(tmp_path / "rich", {"train": 4}, synthetic=True, lineage=seen, far=5000)
    with pytest.raises(LeakError, match="those of 3 more places"):
        check([real], ExperimentPlan(standard_arms({"made": made.path})), Events())


def test_lineage_says_which_tiles_are_for_which_label_subset(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    subsets = [few(real, tmp_path / f"few{seed}", seed) for seed in (0, 1)]
    labelled = [{tile.id for tile in subset.select("train", labelled=True)} for subset in subsets]
    assert labelled[0] != labelled[1]
    made = [made_from(subsets[n % 2], tmp_path / f"made{n}") for n in range(4)]  # two generators a subset
    plan = ExperimentPlan(choose_arms({"made": [tiles.path for tiles in made]}, ["mixed"]), seeds=(0, 1, 2, 3))
    fitting = check(subsets, plan, Events())
    assert [fitting[tiles.path] for tiles in made] == [(0,), (1,), (0,), (1,)]
    planned = jobs(subsets, plan, fitting, tmp_path / "runs")
    mixed = [planned["real + made, R=1", number] for number in range(4)]
    assert [(job.seeds.subset, job.seeds.generator) for job in mixed] == [(0, 0), (1, 3), (0, 2), (1, 1)]
    assert [job.synthetic for job in mixed] == [made[n].path for n in (0, 3, 2, 1)]
    assert [job.real for job in mixed] == [subsets[n].path for n in (0, 1, 0, 1)]
    assert all(planned["real", n].real == mixed[n].real for n in range(4))  # paired
    assert planned["real", 1].seeds.generator == -1


def test_every_label_subset_needs_tiles_of_its_own(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    subsets = [few(real, tmp_path / f"few{seed}", seed) for seed in (0, 1)]
    made = made_from(subsets[0], tmp_path / "for_one")
    with pytest.raises(TilesetError, match="with the labels of this subset alone") as error:
        check(subsets, ExperimentPlan(standard_arms({"made": made.path})), Events())
    assert error.value.where == str(subsets[1].path)
    with pytest.raises(GeosynthError, match="2 label subsets, but 1 seeds"):
        check(subsets, ExperimentPlan(standard_arms({"made": made.path}), seeds=(0,)), Events())


def test_real_tilesets_must_share_their_test_tiles(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    other = make_tiles(tmp_path / "other", {"train": 8, "test": 4}, far=9000)
    with pytest.raises(TilesetError, match="does not have the test tiles"):
        check([real, other], ExperimentPlan(standard_arms({"made": made.path})), Events())


def test_test_ground_may_not_be_trained_on_under_another_name(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = ExperimentPlan(standard_arms({"made": made.path}))
    path = real.path / "index.parquet"
    frame = geopandas.read_parquet(path)
    test = frame.index[frame.split == "test"][0]
    moved = frame.copy()
    moved.loc[frame.index[0], "scene"] = "renamed"
    # Half a tile beside a test tile, as a second scene of the same ground gives it.
    moved.loc[frame.index[0], "geometry"] = translate(frame.geometry[test], 16, 0)
    moved.to_parquet(path)
    with pytest.raises(LeakError, match=r"1 of its 4 test tiles \(t_012\) show ground that its training"):
        check([Tileset(real.path)], plan, Events())
    check([Tileset(real.path)], ExperimentPlan(plan.arms, seeds=()), Events())  # nothing is scored


def test_what_a_model_made_is_no_real_tile(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = ExperimentPlan(standard_arms({"made": made.path}))
    path = real.path / "index.parquet"
    for column, value in (("mask_origin", "predicted"), ("image_origin", "generated")):
        frame = geopandas.read_parquet(path)
        before = frame.loc[frame.index[-1], column]
        frame.loc[frame.index[-1], column] = value  # a test tile
        frame.to_parquet(path)
        with pytest.raises(TilesetError, match=r"1 of its labelled tiles were made by a model \(t_015\)"):
            check([Tileset(real.path)], plan, Events())
        frame.loc[frame.index[-1], column] = before
        frame.to_parquet(path)
    check([Tileset(real.path)], plan, Events())


def test_filters_and_copies_carry_on_what_was_seen(tmp_path: Path) -> None:
    """A filter by a segmenter of all labels, and a subset of the filtered tiles, hide nothing."""
    real, _ = make_pair(tmp_path)
    subset = few(real, tmp_path / "few")
    honest = made_from(subset, tmp_path / "honest")
    settings = SegmenterPlan("fpn", "tu-test_resnet", steps=2, batch=2)
    train_segmenter(real.path, [], settings, tmp_path / "knows_all", Events(), threads=1, device="cpu")
    filter_tileset(honest.path, tmp_path / "knows_all", real.path, Events(), FilterPlan(min_known=0.0), device="cpu")
    subset_tileset(honest.path, SubsetPlan(3), tmp_path / "copy", Events())
    for path in (honest.path, tmp_path / "copy"):
        with pytest.raises(LeakError, match="those of 4 more places"):
            check([subset], ExperimentPlan(standard_arms({"made": path})), Events())


def test_one_generator_is_not_counted_as_several(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    made = [made_from(real, tmp_path / f"made{n}").path for n in range(3)]
    for path, generator in zip(made, ("aa", "bb", "aa"), strict=True):
        frame = geopandas.read_parquet(path / "index.parquet")
        frame.assign(generator=generator).to_parquet(path / "index.parquet")
    said: list[dict[str, Any]] = []
    check([real], ExperimentPlan(standard_arms({"made": made[:2]})), Events([said.append]))
    assert not said
    check([real], ExperimentPlan(standard_arms({"made": made})), Events([said.append]))
    assert ["arm 'made': 2 of its 3 tilesets come from one generator" in event["message"] for event in said] == [True]
