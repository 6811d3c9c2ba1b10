"""A real training, run, cancelled and gone on with as the plugin does it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from geosynth_qgis.core.artefacts import kind_of
from geosynth_qgis.core.command_table import COMMANDS
from geosynth_qgis.core.commands import arguments
from geosynth_qgis.core.environment import child_environment, run_argv
from geosynth_qgis.core.events import Event
from geosynth_qgis.core.runner import run


def members(group: int) -> list[int]:
    """Processes of a group that are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_cancelled_training_leaves_no_process_and_is_gone_on_with(shared_world_tileset: Path, tmp_path: Path) -> None:
    values = {
        "TILES": str(shared_world_tileset), "OUTPUT": str(tmp_path / "model é"), "STEPS": 60, "BATCH": 2, "THREADS": 1,
        "WORKERS": 1, "EVALUATE_EVERY": 60, "PRECISION": "32",
    }  # fmt: skip
    argv = run_argv(sys.executable, arguments(COMMANDS["train"], values), ["--progress", "jsonl", "--watch-stdin"])
    # What QGIS would hand down must not reach the child.
    environment = child_environment({**os.environ, "PROJ_LIB": "/nowhere", "PYTHONPATH": "/nowhere"})
    seen: list[Event] = []
    asked: list[float] = []

    def is_cancelled() -> bool:
        begun = any(event.kind == "progress" and (event.number("done") or 0) > 0 for event in seen)
        if begun and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    first = run(argv, environment=environment, on_event=seen.append, is_cancelled=is_cancelled)
    assert time.monotonic() - asked[0] < 2.0
    assert first.state == "cancelled", first
    group = int(next(event for event in seen if event.kind == "hello").get("pid"))
    assert members(group) == []
    assert kind_of(tmp_path / "model é") == "unfinished"

    seen.clear()
    second = run(argv, environment=environment, on_event=seen.append)
    assert second.state == "done", second
    assert kind_of(tmp_path / "model é") == "generator"
    assert [artifact.kind for artifact in second.artifacts] == ["generator"]
