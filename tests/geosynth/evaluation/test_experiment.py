from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_tiles import make_pair, make_tiles

from geosynth.errors import Cancelled, GeosynthError, LeakError, ModelError, OutputError, TilesetError
from geosynth.evaluation import study
from geosynth.evaluation.arms import Arm, slug, standard_arms
from geosynth.evaluation.checking import check, check_training
from geosynth.evaluation.experiment import ExperimentPlan, Job, RunResult, Trial, jobs
from geosynth.evaluation.fairness import seen_by
from geosynth.evaluation.seeds import Seeds
from geosynth.evaluation.study import evaluate, synthetic_tilesets
from geosynth.events import Events
from geosynth.legend import Legend
from geosynth.lineage import Lineage
from geosynth.rasters import Band
from geosynth.tileset import Tileset

QUALITY = {"real": 60, "made": 50, "real + made": 70}


class Trainer:
    """Trains nothing: an arm's score is a known number, a little different for every seed."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.ran: list[tuple[str, int]] = []
        self.stop_after = stop_after

    def __call__(self, job: Job, events: Events) -> Trial:
        arm, seed, folder = job.arm, job.seeds.number, job.folder
        if len(self.ran) == self.stop_after:
            raise Cancelled("cancelled (test)")
        self.ran.append((arm.name, seed))
        folder.mkdir(parents=True)
        (folder / "weights").write_text("large")
        hit = QUALITY[arm.name] + seed
        confusion = np.full((6, 6), 100 - hit, np.int64)
        confusion[np.diag_indices(6)] = 5 * hit
        return Trial(("world/0/0",), confusion[None], 8 * arm.real, 10 * bool(arm.synthetic))


def plan_for(made: Tileset, **changes: Any) -> ExperimentPlan:
    return replace(ExperimentPlan(standard_arms({"made": made.path}), steps=10, batch=2), **changes)


def heard(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def test_standard_arms() -> None:
    arms = standard_arms({"made": Path("a"), "drawn": Path("b")}, 2.0)
    assert [arm.name for arm in arms] == ["real", "made", "real + made", "drawn", "real + drawn"]
    assert [arm.real for arm in arms] == [True, False, True, False, True]
    assert [arm.ratio for arm in arms] == [None, None, 2.0, None, 2.0]


def test_means_are_over_the_classes_the_test_tiles_show() -> None:
    confusion = np.array([[8, 2, 0], [0, 9, 1], [0, 0, 0]])  # class 2 is predicted once, but is not there
    halves = np.stack([confusion // 2, confusion - confusion // 2])
    result = RunResult.of("real", Seeds(0), Trial(("a/0/0", "a/0/1"), halves, 1, 0))
    assert (result.confusion == confusion).all()
    assert result.iou == pytest.approx((8 / 10, 9 / 12, None))
    assert result.mean_iou == pytest.approx((0.8 + 0.75) / 2)
    assert result.mean_f1 == pytest.approx((16 / 18 + 18 / 21) / 2)


def test_every_arm_runs_with_every_seed_and_segmenters_go(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    trainer = Trainer()
    events: list[dict[str, Any]] = []
    words = evaluate(real.path, plan_for(made), tmp_path / "out", Events([events.append]), run=trainer)
    pairs = [(name, seed) for seed in (0, 1, 2) for name in ("real", "real + made")]
    assert trainer.ran == [*pairs, *(("made", seed) for seed in (0, 1, 2))]  # what is asked for first comes first
    rows = (tmp_path / "out" / "runs.csv").read_text(encoding="utf-8").splitlines()[1:]
    table = [(name, str(seed)) for name in ("real", "made", "real + made") for seed in (0, 1, 2)]
    assert [tuple(row.split(",")[:2]) for row in rows] == table
    assert not (tmp_path / "out" / "runs").exists()
    assert len(heard(events, "metric")) == 9
    assert not heard(events, "log")
    assert "“real + made”" in words


def test_segmenters_stay_when_asked(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    evaluate(real.path, plan_for(made, seeds=(0,)), tmp_path / "out", Events(), run=Trainer(), keep=True)
    assert (tmp_path / "out" / "runs" / "real-made-s0" / "weights").is_file()


def test_an_interrupted_experiment_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = plan_for(made)
    evaluate(real.path, plan, tmp_path / "whole", Events(), run=Trainer())
    out = tmp_path / "parts"
    with pytest.raises(Cancelled):
        evaluate(real.path, plan, out, Events(), run=Trainer(stop_after=4))
    with pytest.raises(OutputError, match="unfinished"):
        evaluate(real.path, plan, out, Events(), run=Trainer())
    rest = Trainer()
    evaluate(real.path, plan, out, Events(), run=rest, rerun="resume")
    assert len(rest.ran) == 5
    for name in ("report.html", "report.md", "runs.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    nothing = Trainer()
    words = evaluate(real.path, plan, out, Events(), run=nothing)
    assert nothing.ran == []
    assert "“real + made”" in words
    with pytest.raises(OutputError, match="another request"):
        evaluate(real.path, replace(plan, steps=11), out, Events(), run=Trainer())


def test_a_generator_that_saw_a_test_tile_is_refused_before_training(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    seen = Lineage.of([*real.select("train"), real.select("test")[2]], real.spec.crs_name)
    leaky = make_tiles(tmp_path / "leaky", {"train": 4}, synthetic=True, lineage=seen)
    trainer = Trainer()
    with pytest.raises(LeakError, match=r"arm 'made' is not a fair comparison.* saw 1 of the 4 test tiles \(t_014\)"):
        evaluate(real.path, plan_for(leaky), tmp_path / "out", Events(), run=trainer)
    assert trainer.ran == []
    assert not (tmp_path / "out").exists()
    evaluate(real.path, plan_for(leaky, seeds=()), tmp_path / "out", Events())  # looking at the tiles is no comparison
    assert "saw 1 of the real tiles in split=test" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_pseudo_labelled_test_tiles_are_a_leak_too(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    assert seen_by(real, real, "test") == [tile.id for tile in real.select("test")]


def test_repainted_test_masks_are_a_leak_too(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    seen = Lineage.of(real.select("train"), real.spec.crs_name)
    repainted = make_tiles(tmp_path / "repainted", {"train": 13}, repainted=True, lineage=seen)
    assert seen_by(repainted, real, "test") == [real.select("test")[0].id]  # the thirteenth place


def test_another_scene_name_hides_no_leak(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    test = real.select("test")[1]
    seen = Lineage(
        tuple(replace(entry, key="other", scene="renamed") for entry in Lineage.of([test], "EPSG:32633").seen)
    )
    leaky = make_tiles(tmp_path / "leaky", {"train": 4}, synthetic=True, lineage=seen)
    assert seen_by(leaky, real, "test") == [test.id]


def test_a_resumed_experiment_computes_as_it_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = make_pair(tmp_path)
    used: list[tuple[int, str]] = []

    def trainer(plan: ExperimentPlan, *, threads: int, device: str) -> Trainer:
        used.append((threads, device))
        return Trainer(stop_after=None if used[1:] else 1)

    monkeypatch.setattr(study, "SegmenterRuns", trainer)
    with pytest.raises(Cancelled):
        evaluate(real.path, plan_for(made), tmp_path / "out", Events(), threads=3, device="cpu")
    evaluate(real.path, plan_for(made), tmp_path / "out", Events(), threads=1, device="cpu", rerun="resume")
    assert used == [(3, "cpu"), (3, "cpu")]


def test_validation_tiles_and_unknown_pasts_are_warned_of_once(tmp_path: Path) -> None:
    real, _ = make_pair(tmp_path)
    events: list[dict[str, Any]] = []
    seen = Lineage.of(real.select("val"), real.spec.crs_name)
    tuned = make_tiles(tmp_path / "tuned", {"train": 4}, synthetic=True, lineage=seen)
    check([real], plan_for(tuned), Events([events.append]))
    silent = make_tiles(tmp_path / "silent", {"train": 4}, synthetic=True)
    check([real], plan_for(silent), Events([events.append]))
    messages = [event["message"] for event in heard(events, "log") if event["level"] == "warning"]
    assert ["saw 4 validation tiles" in messages[0], "cannot be ruled out" in messages[1], len(messages)] == [1, 1, 2]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    other_bands = make_tiles(tmp_path / "bands", {"train": 2}, synthetic=True, bands=(Band("nir", "uint8"),))
    legend = Legend.from_names(["a", "b", "c", "d", "e", "f"])
    other_legend = make_tiles(tmp_path / "legend", {"train": 2}, synthetic=True, legend=legend)
    for wrong, word in ((other_bands, "bands"), (other_legend, "legend")):
        with pytest.raises(TilesetError, match=word):
            check([real], plan_for(wrong), Events())
    untested = make_tiles(tmp_path / "untested", {"train": 4})
    with pytest.raises(TilesetError, match="split=test"):
        check([untested], plan_for(made), Events())


def test_plans_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    for arms, seeds in (
        ((), (0,)),
        ((Arm("real"), Arm("Real")), (0,)),
        ((Arm("real"),), (1, 1)),
        ((Arm("none", real=False),), (0,)),
        ((Arm("real"),), ()),
    ):
        with pytest.raises(GeosynthError):
            evaluate(real.path, ExperimentPlan(arms, seeds), tmp_path / "out", Events(), run=Trainer())
    for plan, error, words in (
        (plan_for(made, arms=standard_arms({"made": made.path}, 2.0)), TilesetError, "ratio"),
        (plan_for(made, architecture="nonet"), ModelError, "no architecture"),
    ):
        every = jobs([real], plan, check([real], plan, Events()), tmp_path / "runs")
        with pytest.raises(error, match=words):
            check_training(every.values(), plan)


def test_names_of_runs_and_tilesets(tmp_path: Path) -> None:
    _, made = make_pair(tmp_path)
    assert slug("real + My tiles (v2)") == "real-my-tiles-v2"
    assert list(synthetic_tilesets(standard_arms({"mine": made.path}))) == ["mine"]
    assert list(synthetic_tilesets([Arm("both", (made.path,), source="synthetic")])) == [made.spec.id]


def test_a_real_experiment_trains_and_scores(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = plan_for(made, arms=standard_arms({"made": made.path}, 1.0)[2:], seeds=(0,), steps=2)
    out = tmp_path / "out"
    words = evaluate(real.path, plan, out, Events(), threads=1, device="cpu")
    assert words.startswith("No arm learned from real tiles only")
    lines = (out / "runs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["arm", "real + made"]
    assert 0 < float(lines[1].split(",")[7]) < 1
    assert "| real + made | 8 | 8 | 1 |" in (out / "report.md").read_text()


def test_the_report_is_drawn_with_the_segmenters_of_the_runs(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = plan_for(made, arms=standard_arms({"made": made.path}, 1.0), seeds=(0, 1), steps=2)
    out = tmp_path / "out"
    evaluate(real.path, plan, out, Events(), threads=1, device="cpu")
    assert not (out / "runs").exists()
    words, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert "none is at hand" not in words
    assert "KID" in words
    assert "The same test tiles, as the arms see them" in page
