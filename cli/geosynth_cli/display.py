"""Progress bars and messages on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from geosynth.events import Sink


@contextmanager
def rich_sink() -> Iterator[Sink]:
    """A sink that draws one bar a task, with the latest metrics beside it, on standard error."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[metrics]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}
        metrics: dict[str, dict[str, float]] = {}

        def send(record: dict[str, Any]) -> None:
            name = record["task"]
            if record["event"] == "progress":
                if name not in bars or record["done"] == 0:
                    if name in bars:
                        progress.remove_task(bars[name])
                    bars[name] = progress.add_task(name or "working", total=record["total"], unit="", metrics="")
                progress.update(bars[name], completed=record["done"], total=record["total"], unit=record["unit"])
            elif record["event"] == "metric" and name in bars:
                shown = metrics.setdefault(name, {})
                shown[record["name"]] = record["value"]
                progress.update(bars[name], metrics="  ".join(f"{key} {value:.3f}" for key, value in shown.items()))
            elif record["event"] == "log":
                style = "yellow" if record["level"] == "warning" else None
                prefix = "Warning: " if record["level"] == "warning" else ""
                console.print(prefix + record["message"], style=style, markup=False, highlight=False)

        yield send
