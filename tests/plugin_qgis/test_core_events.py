"""The plugin reads what geosynth says, and passes over what it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from geosynth_qgis.core.events import PROTOCOL, Event, parse_line, read_events
from geosynth_qgis.core.progress import ProgressTracker, duration

import geosynth.events


def line(**fields: object) -> str:
    return json.dumps({"v": 1, "seq": 1, "task": "train", **fields}) + "\n"


def test_the_plugin_understands_this_geosynth() -> None:
    assert geosynth.events.PROTOCOL == PROTOCOL


def test_an_event_of_geosynth_is_read_back() -> None:
    said: list[str] = []
    events = geosynth.events.Events([lambda record: said.append(geosynth.events.json_line(record))])
    with events.task("train"):
        events.progress(3, None, "steps")
        events.metric("loss", float("nan"), 3)
    progress, metric = (parse_line(text) for text in said)
    assert progress is not None and metric is not None
    assert (progress.kind, progress.task, progress.seq, progress.number("done"), progress.get("total")) == (
        "progress", "train", 1, 3.0, None,
    )  # fmt: skip
    assert metric.number("value") is None and metric.text("name") == "loss"


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "Epoch 1: 100%", "{", "{}", '{"a": 1}', "[1]", '{"event": 3, "v": 1}', "null", "[" * 100_000,
        '{"v":' * 50_000, b"\xff\xfe{", '{"event": "done"}',
    ],
)  # fmt: skip
def test_what_is_no_event_is_passed_over(text: str | bytes) -> None:
    assert parse_line(text) is None


def test_fields_of_the_wrong_kind_do_no_harm() -> None:
    event = parse_line('{"v": 1, "seq": "x", "task": 7, "event": "progress", "done": "many", "total": true}')
    assert event is not None
    assert (event.seq, event.task, event.number("done"), event.number("total")) == (0, "", None, None)
    tracker = ProgressTracker()
    tracker.update(event)
    assert tracker.fraction is None


def test_a_file_is_read_as_it_grows_and_never_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    whole, half = line(event="hello"), line(event="done")
    path.write_text(whole + half[:10], encoding="utf-8")
    events, offset = read_events(path)
    assert [event.kind for event in events] == ["hello"] and offset == len(whole)
    path.write_text(whole + half + "garbage\n" + line(event="artifact"), encoding="utf-8")
    events, offset = read_events(path, offset)
    assert [event.kind for event in events] == ["done", "artifact"] and offset == path.stat().st_size


def test_a_line_without_end_does_not_stop_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("x" * 5000 + "\n" + line(event="done"), encoding="utf-8")
    offset, kinds = 0, []
    for _ in range(30):
        events, offset = read_events(path, offset, limit=1000)
        kinds += [event.kind for event in events]
    assert kinds == ["done"]


def progress(done: float, total: float | None = 100, task: str = "train", unit: str = "steps") -> Event:
    return Event("progress", task, 1, {"done": done, "total": total, "unit": unit})


def test_time_left_comes_from_the_rate_since_it_was_first_seen() -> None:
    now = [0.0]
    tracker = ProgressTracker(lambda: now[0])
    tracker.update(progress(50))  # resumed in the middle
    now[0] = 10.0
    tracker.update(progress(60))
    assert tracker.fraction == pytest.approx(0.6)
    assert tracker.seconds_left == pytest.approx(40)
    assert tracker.line() == "train: 60 of 100 steps, about 40 s left"
    now[0] = 15.0
    assert tracker.seconds_left == pytest.approx(35)


def test_steps_of_a_whole_flow_share_the_bar() -> None:
    tracker = ProgressTracker()
    tracker.update(progress(50, task="3/7 train"))
    assert tracker.fraction == pytest.approx((2 + 0.5) / 7)
    tracker.update(progress(0, 10, task="4/7 generate", unit="pairs"))
    assert tracker.fraction == pytest.approx(3 / 7)
    assert tracker.seconds_left is None


def test_without_a_total_nothing_is_promised() -> None:
    tracker = ProgressTracker()
    assert tracker.line() == ""
    tracker.update(progress(7, None))
    assert tracker.fraction is None and tracker.line() == "train: 7 steps"


def test_metrics_become_curves_without_what_is_not_finite() -> None:
    tracker = ProgressTracker()
    for step, value in ((10, 2.0), (20, None), (30, 1.0)):
        tracker.update(Event("metric", "train", 1, {"name": "loss", "value": value, "step": step}))
    assert tracker.metrics == {"loss": [(10, 2.0), (30, 1.0)]}


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (80, "80 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_durations_are_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words
