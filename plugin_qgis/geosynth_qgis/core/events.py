"""The event protocol of geosynth: flat JSON objects, one a line (docs/events.md of geosynth)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOL = 1
"""Version of the protocol this plugin understands."""

LAST = ("done", "error", "cancelled")
"""Kinds after which a run says nothing more."""


@dataclass(frozen=True)
class Event:
    """One event. ``fields`` holds what its kind brings; a reader must expect any of them to be missing."""

    kind: str
    task: str = ""
    seq: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields.get(name, default)

    def text(self, name: str) -> str:
        """A field as text; empty when it is missing or null."""
        value = self.fields.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> float | None:
        """A field as a number; None when it is missing, null or something else."""
        value = self.fields.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def parse_line(line: str | bytes) -> Event | None:
    """The event in a line, or None: libraries print what they like, and that is no reason to fail."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    text = text.strip()
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("event"), str) or "v" not in record:
        return None
    seq, task = record.get("seq"), record.get("task")
    return Event(
        record["event"],
        task if isinstance(task, str) else "",
        seq if isinstance(seq, int) else 0,
        {key: value for key, value in record.items() if key not in ("event", "task", "seq")},
    )


def read_events(path: str | os.PathLike[str], offset: int = 0, limit: int = 4_000_000) -> tuple[list[Event], int]:
    """The events of a file from a byte on, and where to go on reading.

    Only whole lines are taken: the last one may still be written. A file that is not there has no events.

    Args:
        path: file that a run was given as ``--events``.
        offset: bytes to skip; what an earlier call returned.
        limit: bytes to read at most; call again until the offset stays.
    """
    try:
        with Path(path).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(limit)
    except OSError:
        return [], offset
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == limit:
        return [], offset + limit  # no event is as long as this
    events = (parse_line(line) for line in data[:end].splitlines())
    return [event for event in events if event is not None], offset + end
