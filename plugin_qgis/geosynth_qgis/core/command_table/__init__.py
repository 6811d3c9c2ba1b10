"""Every command of geosynth and its options: what algorithm parameters and command lines are made from.

A test compares it with the program's own options, so that the two cannot drift apart. Only ``--json`` and the options
of a run (``--progress``, ``--events``, ``--cancel-file``, ``--watch-stdin``, ``--debug``) are not here: the plugin
gives those itself.
"""

from __future__ import annotations

from ..options import Command
from .checking import FILTER, NEAREST, REVIEW
from .data import SUBSET, TILE
from .generator import GENERATE, TRAIN
from .segmentation import PREDICT, SEGMENT, VECTORIZE
from .tools import DEMO, ENV, EVALUATE, INSPECT

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        TILE, TRAIN, GENERATE, REVIEW, NEAREST, FILTER, SUBSET, SEGMENT, PREDICT, VECTORIZE, EVALUATE, INSPECT, ENV,
        DEMO,
    )
}  # fmt: skip
"""By name, in the order of the flow."""

GROUPS = {"data": "Data", "generator": "Generator", "segmentation": "Segmentation", "tools": "Tools"}
