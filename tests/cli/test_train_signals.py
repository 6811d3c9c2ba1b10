"""A signal that reaches every process of a training at once, as Ctrl-C does and as batch systems send SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import world_tiles

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups")

GEOSYNTH = [sys.executable, "-c", "from geosynth_cli.main import run; run()"]
CANCELLED = 130


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGTERM, ("--devices", "2", "--workers", "1")), (signal.SIGINT, ("--workers", "1"))],
)
def test_the_whole_group_hears_it_and_the_training_can_go_on(
    tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    tiles, out, events = world_tiles(tmp_path / "tiles", 1, 4, side=8), tmp_path / "out", tmp_path / "events"
    command = ["train", tiles, "--out", out, "--steps", "100000", "--batch", "2", "--device", "cpu", "--threads", "1"]
    process = subprocess.Popen(
        [*GEOSYNTH, *map(str, command), *options, "--events", str(events)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (events.is_file() and "loss_mask" in events.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == CANCELLED, said
    assert "Traceback" not in said
    assert json.loads(events.read_text().splitlines()[-1])["event"] == "cancelled"
    assert (out / ".geosynth" / "last.ckpt").is_file()
    deadline = time.monotonic() + 30  # a loader's process looks every five seconds whether its parent lives
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.2)
