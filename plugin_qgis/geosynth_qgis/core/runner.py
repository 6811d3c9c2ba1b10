"""The one loop that runs a geosynth command and can stop all of it."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess  # starting geosynth is what the plugin is for; argument lists, no shell  # nosec B404
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from .events import PROTOCOL, Event, parse_line
from .processes import WINDOWS, kill_group, start_options, terminate_group
from .words import tr

CANCELLED = 130
TERMINATE_AFTER = 0.4
"""Seconds between closing the child's standard input and the signal to its group."""
KILL_AFTER = 1.5
"""Seconds between the wish to cancel and the end of the whole group."""
_POLL = 0.05
_LONGEST_LINE = 1 << 16
_TAIL = 40


@dataclass(frozen=True)
class Artifact:
    """Something the run says it made. The path is the child's word: see ``artefacts.inside`` before opening it."""

    path: str
    kind: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: "done", "failed" or "cancelled".
        message: in words for people: the result, or what went wrong and what to do.
        code: exit code; None when it could not be started, negative when a signal ended it.
        error: the run's own error event, when it had time for one.
        artifacts: what it says it made.
        tail: the last lines that were no events, for diagnostics.
    """

    state: str
    message: str
    code: int | None = None
    error: Event | None = None
    artifacts: tuple[Artifact, ...] = ()
    tail: tuple[str, ...] = ()


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_line: Callable[[str], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Outcome:
    """Run a command to its end; blocks, so call it in a worker thread.

    The child has a process group of its own. When it ends, or is cancelled, no process of the group is left. The end
    of the child is what counts, not that of its pipes: workers inherit those and may keep them open.

    Args:
        argv: program and arguments.
        environment: the child's whole environment; this process's when None.
        cwd: folder to run in; the system's temporary folder when None.
        on_event: called with every event, in this thread.
        on_line: called with every other line, of both streams, in this thread.
        is_cancelled: asked several times a second.
    """
    transcript = _Transcript(on_event, on_line)
    try:
        process = subprocess.Popen(  # an argument list, no shell  # nosec B603
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or tempfile.gettempdir(),
            env=None if environment is None else dict(environment),
            **start_options(),
        )
    except (OSError, ValueError) as error:
        return Outcome("failed", tr("{program} cannot be started: {why}").format(program=argv[0], why=error))
    lines: queue.Queue[tuple[str, bytes]] = queue.Queue(maxsize=2000)  # a child that floods us waits
    readers = [_reader(process.stdout, "out", lines), _reader(process.stderr, "err", lines)]
    cancelled = False
    try:
        cancelled = _watch(process, lines, transcript, is_cancelled or (lambda: False))
    finally:
        _end(process)
        _drain(readers, lines, transcript)
    return transcript.outcome(process.returncode, cancelled)


def _watch(
    process: subprocess.Popen[bytes],
    lines: queue.Queue[tuple[str, bytes]],
    transcript: _Transcript,
    is_cancelled: Callable[[], bool],
) -> bool:
    """Until the leader has ended, by itself or cancelled; says whether it was cancelled."""
    asked: float | None = None
    terminated = False
    while True:
        transcript.take(lines, _POLL)
        ended = process.poll() is not None
        now = time.monotonic()
        if ended:
            return asked is not None
        if asked is None and (transcript.mismatch or is_cancelled()):
            asked = now
            with contextlib.suppress(OSError):
                if process.stdin:
                    process.stdin.close()
        if asked is not None and not terminated and now - asked >= TERMINATE_AFTER:
            terminated = True
            terminate_group(process.pid)
        if asked is not None and now - asked >= KILL_AFTER:
            return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the group may be left, whatever happened. The leader's number stays its own while members live."""
    if not (WINDOWS and process.poll() is not None):
        kill_group(process.pid)
    if process.poll() is None:
        process.kill()
    with contextlib.suppress(OSError):
        if process.stdin:
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def _reader(stream: IO[bytes] | None, name: str, lines: queue.Queue[tuple[str, bytes]]) -> threading.Thread:
    def read() -> None:
        if stream is None:
            return
        with contextlib.suppress(OSError, ValueError), stream:
            for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
                lines.put((name, line))

    thread = threading.Thread(target=read, name=f"geosynth-{name}", daemon=True)
    thread.start()
    return thread


def _drain(readers: list[threading.Thread], lines: queue.Queue[tuple[str, bytes]], transcript: _Transcript) -> None:
    """What the pipes still hold. They close with the group; should a stranger hold one, we do not wait for it."""
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline and (any(reader.is_alive() for reader in readers) or not lines.empty()):
        transcript.take(lines, 0.01)


class _Transcript:
    """What the child has said."""

    def __init__(self, on_event: Callable[[Event], None] | None, on_line: Callable[[str], None] | None) -> None:
        self._on_event, self._on_line = on_event, on_line
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._artifacts: list[Artifact] = []
        self._last: Event | None = None
        self.mismatch = ""

    def take(self, lines: queue.Queue[tuple[str, bytes]], wait: float) -> None:
        """Handle what is there, at most a good handful, so that a flood does not keep us from cancelling."""
        try:
            source, line = lines.get(timeout=wait)
            for _ in range(500):
                self._handle(source, line)
                source, line = lines.get_nowait()
            self._handle(source, line)
        except queue.Empty:
            return

    def _handle(self, source: str, line: bytes) -> None:
        event = parse_line(line) if source == "out" else None
        if event is None:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self._tail.append(text)
                if self._on_line:
                    self._on_line(text)
            return
        if event.kind == "hello" and event.get("v") != PROTOCOL:
            self.mismatch = mismatch_words(event.get("v"))
        elif event.kind == "artifact":
            self._artifacts.append(Artifact(event.text("path"), event.text("kind")))
        elif event.kind in ("done", "error", "cancelled"):
            self._last = event
        if self._on_event:
            self._on_event(event)

    def outcome(self, code: int | None, cancelled: bool) -> Outcome:
        last, tail = self._last, tuple(self._tail)
        error = last if last and last.kind == "error" else None
        made: dict[str, Any] = {"code": code, "error": error, "artifacts": tuple(self._artifacts), "tail": tail}
        if self.mismatch:
            return Outcome("failed", self.mismatch, **made)
        if code == 0:
            return Outcome("done", last.text("message") if last else "\n".join(tail), **made)
        if cancelled or code == CANCELLED:
            told = last.text("message") if last and last.kind == "cancelled" else ""
            return Outcome(
                "cancelled", told or tr("cancelled; what is finished is kept, run it again to go on"), **made
            )
        return Outcome("failed", failure_words(code, error, tail), **made)


def mismatch_words(theirs: Any) -> str:
    """The interpreter's geosynth and this plugin do not understand each other."""
    newer = isinstance(theirs, int) and theirs > PROTOCOL
    remedy = (
        tr("update the plugin") if newer else tr("update geosynth in that environment, or choose another environment")
    )
    return tr(
        "this geosynth speaks version {theirs} of the event protocol, and the plugin understands version {ours}:"
        " {remedy}"
    ).format(theirs=theirs, ours=PROTOCOL, remedy=remedy)


def failure_words(code: int | None, error: Event | None, tail: Sequence[str]) -> str:
    """One or two lines that say what went wrong: the run's own words, else its last ones."""
    if error is not None:
        where, remedy = error.text("where"), error.text("remedy")
        text = f"{where}: {error.text('message')}" if where else error.text("message")
        return f"{text} — {remedy}" if remedy else text
    if code is not None and code < 0 and not WINDOWS:
        return tr("stopped by signal {number}; the system may have run out of memory").format(number=-code)
    said = [line for line in tail if line.startswith("Error:")]
    if said:
        return said[-1][len("Error:") :].strip()
    if any("No module named geosynth_cli" in line or "No module named 'geosynth_cli'" in line for line in tail):
        return tr("there is no geosynth in this environment; choose another one or create one")
    if tail:
        return tr("failed with exit code {code}: {line}").format(code=code, line=tail[-1])
    return tr("failed with exit code {code} and said nothing").format(code=code)


def working_folder(output: str) -> str:
    """A folder that is there to run in: that which holds the output, else the temporary one."""
    parent = os.path.dirname(os.path.abspath(output)) if output else ""
    return parent if parent and os.path.isdir(parent) else tempfile.gettempdir()
