"""Killed without warning at any moment, a prediction goes on with what it had and ends with the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from killing import survives_kills
from prediction_world import files, predict, write_inputs

KILLS = 5


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    survives_kills(predict, write_inputs(tmp_path), tmp_path, files, KILLS, earliest=0.2)
