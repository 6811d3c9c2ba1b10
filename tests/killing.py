"""Commands killed without warning, and finished afterwards.

Each runs in a process forked from one that has the libraries loaded already, so that a kill hits the work and not the
imports. One such server serves all tests of a run, so it loads what all of them need.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOADED = [
    "geosynth.diffusion.train",
    "geosynth.diffusion.generate",
    "geosynth.diffusion.wholescene",
    "geosynth.segmentation.prediction",
    "geosynth.tiling",
    "geosynth.tilesetwriter",
    "segmentation_models_pytorch",
]


def survives_kills(
    command: Callable[[Path, Path], None],
    inputs: Path,
    folder: Path,
    content: Callable[[Path], Any],
    kills: int,
    earliest: float,
) -> int:
    """Kill ``command(inputs, out)`` at random moments, finish it, and compare ``content(out)`` with a whole run's.

    ``earliest`` is the share of a whole run's time before which nobody is killed. Returns how many kills found the work
    unfinished.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)

    def start(out: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=command, args=(inputs, out))
        process.start()
        return process

    def finish(out: Path) -> float:
        began = time.monotonic()
        process = start(out)
        process.join(timeout=120)
        assert process.exitcode == 0
        return time.monotonic() - began

    finish(folder / "warm-up")  # the first one waits for the fork server
    seconds = finish(folder / "whole")
    expected = content(folder / "whole")
    moments = random.Random(0)
    hit = 0
    for number in range(kills):
        out = folder / f"killed-{number}"
        process = start(out)
        process.join(timeout=moments.uniform(earliest, 1) * seconds)
        hit += process.exitcode is None
        process.kill()
        process.join()
        finish(out)
        assert content(out) == expected, f"kill {number}"
        shutil.rmtree(out)
    return hit
