from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from evaluation_tiles import make_pair

from geosynth.errors import Cancelled
from geosynth.evaluation import running
from geosynth.evaluation.arms import Arm, choose_arms, standard_arms
from geosynth.evaluation.experiment import ExperimentPlan, Job, Trial
from geosynth.evaluation.places import by_scene
from geosynth.evaluation.study import evaluate, read_results
from geosynth.events import Events
from geosynth.tileset import Tileset

ARMS = [Arm("real"), Arm("x", source="own", ratio=1.0), Arm("y", training=(("cutmix", 0.5),))]


@dataclass
class Clock:
    """A clock that every run moves on."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass(frozen=True)
class Fake:
    """Trains nothing; scores and times are known. Picklable, so that other processes can do it."""

    clock: Clock | None = None
    stop_at: str = ""

    def __call__(self, job: Job, events: Events) -> Trial:
        if self.clock is not None:
            self.clock.now += 10
        if job.name == self.stop_at:
            raise Cancelled("cancelled (test)")
        if job.teacher is not None:
            assert (job.teacher / "weights").is_file()
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "weights").write_text("large")
        hit = 40 + job.seeds.number + 5 * len(job.arm.name)
        confusion = np.full((2, 6, 6), 100 - hit, np.int64)
        confusion[:, range(6), range(6)] = 5 * hit
        confusion[1] += job.seeds.number
        return Trial(("world/0/0", "world/0/1"), confusion, 8, 0)


def plan_of(arms: list[Arm] | tuple[Arm, ...], **changes: Any) -> ExperimentPlan:
    return replace(ExperimentPlan(tuple(arms), steps=10, batch=2), **changes)


def heard(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_processes_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = plan_of(choose_arms({"made": made.path}, ["mixed", "filtered", "duplicated"]), other_seeds=1)
    evaluate(real.path, plan, tmp_path / "here", Events(), run=Fake())
    events: list[dict[str, Any]] = []
    evaluate(real.path, plan, tmp_path / "there", Events([events.append]), run=Fake(), workers=2)
    assert written(tmp_path / "here") == written(tmp_path / "there")
    assert [event["done"] for event in heard(events, "progress") if event["unit"] == "runs"][-1] == 3 + 3 + 1 + 1
    assert not (tmp_path / "there" / "runs").exists()


def test_a_teacher_is_kept_until_it_has_taught_and_made_again_when_it_is_lost(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = plan_of(choose_arms({"made": made.path}, ["filtered"]), seeds=(0, 1))
    out = tmp_path / "out"
    with pytest.raises(Cancelled):
        evaluate(real.path, plan, out, Events(), run=Fake(stop_at="real-filtered-made-r-1-s1"))
    # The first runs are kept for the report, the other one for the run it is to teach.
    assert {path.name for path in (out / "runs").iterdir()} == {"real-s0", "real-filtered-made-r-1-s0", "real-s1"}
    (out / "runs" / "real-s1" / "weights").unlink()
    (out / "runs" / "real-s1").rmdir()
    evaluate(real.path, plan, out, Events(), run=Fake(), rerun="resume")
    assert len(read_results(out)) == 4
    assert not (out / "runs").exists()


def test_a_budget_is_planned_once_and_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = make_pair(tmp_path)
    clock = Clock()
    monkeypatch.setattr(running, "time", clock)
    plan = plan_of([*standard_arms({"made": made.path}), ARMS[2]], seeds=(0, 1, 2))
    events: list[dict[str, Any]] = []
    out = tmp_path / "out"
    settings: dict[str, Any] = {"budget": 100.0}
    with pytest.raises(Cancelled):
        evaluate(real.path, plan, out, Events([events.append]), run=Fake(clock, "real-s2"), **settings)
    said = [event["message"] for event in heard(events, "log")]
    assert "left out, not within 2 min: 3 of 3 runs of 'y'" in said  # 6 headline runs and 3 of the first other arm fit
    again: list[dict[str, Any]] = []
    words = evaluate(real.path, plan, out, Events([again.append]), run=Fake(Clock(1e6)), rerun="resume", **settings)
    assert "timing" in str(events) and "timing" not in str(again)
    assert "Left out for want of time: 3 runs of “y”." in words
    layout = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    assert layout["left_out"] == [{"arm": "y", "seed": number, "why": "budget"} for number in range(3)]
    assert {run.arm for run in read_results(out)} == {"real", "made", "real + made"}
    complete = evaluate(real.path, plan, out, Events(), run=Fake(), **settings)
    assert complete == words


def test_results_are_kept_block_by_block(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = plan_of(standard_arms({"made": made.path}))
    evaluate(real.path, plan, tmp_path / "out", Events(), run=Fake())
    table = pandas.read_parquet(tmp_path / "out" / "results.parquet")
    results = read_results(tmp_path / "out")
    run = next(run for run in results if run.arm == "real" and run.seed == 2)
    rows = table[(table.arm == "real") & (table.seed == 2)]
    names = real.spec.legend.names
    for number, group in enumerate(run.groups):
        part = rows[rows.group == group].pivot(index="truth", columns="predicted", values="pixels")
        assert (part.loc[list(names), list(names)].to_numpy() == run.counts[number]).all()
    assert by_scene(run.groups, run.counts)[0] == ("world",)
    assert (by_scene(run.groups, run.counts)[1][0] == run.confusion).all()
    layout = json.loads((tmp_path / "out" / "experiment.json").read_text(encoding="utf-8"))
    assert (layout["reference"], layout["headline"], layout["groups"]) == ("real", "real + made", list(run.groups))
    assert [row["initialisation"] for row in layout["seeds"]] == [0, 1, 2]
    assert str(tmp_path) not in (tmp_path / "out" / "experiment.json").read_text(encoding="utf-8")


def test_each_worker_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for number in (1, 2, 3):
        monkeypatch.delenv("GEOSYNTH_GPU", raising=False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        monkeypatch.setattr(running, "current_process", lambda number=number: type("P", (), {"_identity": (number,)}))
        running._take_gpu(2)
        taken.append(running.os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["4", "6", "4"]


def test_tiles_given_are_left_as_they_are(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    before = made.identity()
    evaluate(real.path, plan_of(choose_arms({"made": made.path}, ["mixed"])), tmp_path / "out", Events(), run=Fake())
    assert Tileset(made.path).identity() == before
