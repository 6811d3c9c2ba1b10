"""What a running job says, and how it is told to stop.

A job calls methods of ``Events``; sinks decide where the events go (a progress bar, JSON lines, a file). An event is a
flat JSON object: ``v`` (protocol version), ``seq`` (1, 2, 3 …), ``task``, ``event`` and the fields of its kind:

========== ==========================================================================
hello      ``command``, ``version``, ``pid``: first event of a run
progress   ``done``, ``total`` (or null), ``unit``
metric     ``name``, ``value``, ``step``
artifact   ``path``, ``kind``: something finished that a user may open
log        ``level`` (info, warning), ``message``
error      ``message``, ``where``, ``remedy``, ``kind``: last event of a failed run
cancelled  ``message``: last event of a cancelled run
done       ``message``: last event of a finished run
========== ==========================================================================
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from geosynth.errors import Cancelled, GeosynthError

PROTOCOL = 1
"""Version of the event protocol. It changes only when a reader of the old one would misunderstand the new one."""

Sink = Callable[[dict[str, Any]], None]


class Events:
    """Sends events to sinks and answers whether the user wants to stop.

    Args:
        sinks: each is called with every event.
        stop: each is asked, at ``check``, whether to stop; a non-empty answer is the reason.
    """

    def __init__(self, sinks: Iterable[Sink] = (), stop: Iterable[Callable[[], str | None]] = ()) -> None:
        self._sinks = tuple(sinks)
        self._stop = tuple(stop)
        self._seq = 0
        self._task = ""
        self._lock = threading.Lock()

    @contextmanager
    def task(self, name: str) -> Iterator[Events]:
        """Within it, events belong to the step ``name``."""
        before, self._task = self._task, name
        try:
            yield self
        finally:
            self._task = before

    def check(self) -> None:
        """Raise ``Cancelled`` when the user wants to stop. Jobs call this between units of work."""
        for ask in self._stop:
            reason = ask()
            if reason:
                raise Cancelled(f"cancelled ({reason})", remedy="run the same command with --resume to go on")

    def hello(self, command: str, version: str) -> None:
        self._send("hello", command=command, version=version, pid=os.getpid())

    def progress(self, done: int, total: int | None, unit: str) -> None:
        self._send("progress", done=done, total=total, unit=unit)

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self._send("metric", name=name, value=value, step=step)

    def artifact(self, path: str | os.PathLike[str], kind: str) -> None:
        self._send("artifact", path=os.fspath(path), kind=kind)

    def log(self, message: str, level: str = "info") -> None:
        self._send("log", level=level, message=message)

    def warn(self, message: str) -> None:
        self.log(message, "warning")

    def error(self, error: GeosynthError) -> None:
        self._send("error", message=error.what, where=error.where, remedy=error.remedy, kind=type(error).__name__)

    def cancelled(self, message: str) -> None:
        self._send("cancelled", message=message)

    def done(self, message: str) -> None:
        self._send("done", message=message)

    def _send(self, event: str, **fields: Any) -> None:
        with self._lock:
            self._seq += 1
            record = {"v": PROTOCOL, "seq": self._seq, "task": self._task, "event": event, **fields}
            for sink in self._sinks:
                sink(record)


def json_line(record: dict[str, Any]) -> str:
    """An event as one line of JSON. A value that is not finite becomes null: NaN is not JSON."""
    clean = {key: None if isinstance(value, float) and value - value != 0 else value for key, value in record.items()}
    return json.dumps(clean) + "\n"  # ASCII, whatever the encoding of the console


def stream_sink(stream: IO[str]) -> Sink:
    """Writes each event as one JSON line, flushed at once, so that a reader on a pipe sees it as it happens."""

    def send(record: dict[str, Any]) -> None:
        stream.write(json_line(record))
        stream.flush()

    return send


def file_sink(path: str | os.PathLike[str]) -> Sink:
    """Appends each event to a file; each line is one write, so a reader never sees half an event.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    target.open("ab").close()

    def send(record: dict[str, Any]) -> None:
        with target.open("ab") as stream:
            stream.write(json_line(record).encode())

    return send


def stop_when_file(path: str | os.PathLike[str]) -> Callable[[], str | None]:
    """Stop when a file appears."""
    target = Path(path)
    return lambda: f"{target} appeared" if target.exists() else None


def stop_when_closed(stream: IO[Any]) -> Callable[[], str | None]:
    """Stop when ``stream`` (standard input) ends: the process that started this one has gone away."""
    closed = threading.Event()

    def watch() -> None:
        # Not stream.read: a daemon thread that holds the stream's lock while Python ends aborts the process.
        with suppress(OSError, ValueError):
            while os.read(stream.fileno(), 4096):
                pass
        closed.set()

    threading.Thread(target=watch, name="watch-stdin", daemon=True).start()
    return lambda: "the parent process went away" if closed.is_set() else None
