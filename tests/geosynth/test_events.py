import io
import json
import os
from pathlib import Path

import pytest

from geosynth.errors import Cancelled, SceneError
from geosynth.events import PROTOCOL, Events, file_sink, stop_when_closed, stop_when_file, stream_sink


def test_events_are_numbered_json_lines_with_their_task() -> None:
    stream = io.StringIO()
    events = Events([stream_sink(stream)])
    events.hello("tile", "1.0")
    with events.task("cut"):
        events.progress(1, None, "tiles")
        events.metric("loss", float("nan"), 3)
    events.error(SceneError("is cut off", where="a.tif", remedy="copy it"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert {line["v"] for line in lines} == {PROTOCOL}
    assert [line["task"] for line in lines] == ["", "cut", "cut", ""]
    assert lines[1] | {"done": 1, "total": None, "unit": "tiles"} == lines[1]
    assert lines[2]["value"] is None  # NaN is not JSON
    assert (lines[3]["message"], lines[3]["where"], lines[3]["kind"]) == ("is cut off", "a.tif", "SceneError")


def test_events_are_appended_to_a_file(tmp_path: Path) -> None:
    for _ in range(2):
        Events([file_sink(tmp_path / "events.jsonl")]).done("ready")
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2


def test_a_cancel_file_stops_at_the_next_check(tmp_path: Path) -> None:
    events = Events(stop=[stop_when_file(tmp_path / "stop")])
    events.check()
    (tmp_path / "stop").touch()
    with pytest.raises(Cancelled, match="stop appeared"):
        events.check()


def test_closing_the_watched_stream_stops() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        events = Events(stop=[ask := stop_when_closed(stream)])
        events.check()
        os.close(writer)
        for _ in range(200):
            if ask():
                break
            import time

            time.sleep(0.01)
        with pytest.raises(Cancelled, match="parent"):
            events.check()
