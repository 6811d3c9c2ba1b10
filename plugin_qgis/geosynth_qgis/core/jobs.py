"""Detached jobs: runs that go on when QGIS is closed, and can be found again.

A job is a folder of its own: ``job.json`` says what was started, ``events.jsonl`` what it says, ``log.txt`` what else
it printed; the file ``stop`` asks it to stop. Nothing else is needed to watch it, so any QGIS can.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess  # starting geosynth is what the plugin is for; argument lists, no shell  # nosec B404
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .artefacts import inside
from .environment import child_environment, run_argv
from .events import LAST, Event, read_events
from .processes import WINDOWS, boot, identity, kill_group, start_options, terminate_group
from .runner import failure_words, working_folder
from .words import tr

_STARTED: list[subprocess.Popen[bytes]] = []
"""Children of this process: polled, so that the ended ones do not stay as zombies."""


class JobProblem(Exception):
    """Why a job could not be started, in words for people."""


@dataclass(frozen=True)
class Job:
    """A run that was started detached.

    Attributes:
        folder: where its files are.
        started: seconds since 1970.
        pid, born: its process and when that began, which tell it from a later process of the same number.
    """

    folder: Path
    title: str
    command: str
    argv: tuple[str, ...]
    output: str
    started: float
    values: Mapping[str, Any]
    pid: int = 0
    born: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def stop_file(self) -> Path:
        return self.folder / "stop"

    def read(self, offset: int = 0) -> tuple[list[Event], int]:
        """Its events from a byte on, and where to go on reading."""
        return read_events(self.events_file, offset)

    def last(self) -> Event | None:
        """The event it ended with, if it had time for one."""
        found, offset = None, max(0, _size(self.events_file) - 262_144)
        while True:
            events, after = self.read(offset)
            found = next((event for event in reversed(events) if event.kind in LAST), found)
            if after == offset:
                return found
            offset = after

    def alive(self) -> bool:
        """Whether its process is there: that one, not another that got its number."""
        for child in _STARTED:
            if child.pid == self.pid:
                child.poll()
        return bool(self.pid and self.born and identity(self.pid) == self.born)

    def state(self) -> str:
        """``starting``, ``running``, ``done``, ``failed``, ``cancelled``, or ``dead``: gone without a word."""
        alive = self.alive()  # before the events: it may end in between
        last = self.last()
        if last is not None:
            return {"done": "done", "cancelled": "cancelled"}.get(last.kind, "failed")
        if alive:
            return "running" if _size(self.events_file) else "starting"
        if not self.pid and time.time() - self.started < 30:
            return "starting"
        if self.stop_file.exists():
            return "cancelled"
        return "failed" if any(line.startswith(("Error:", "Usage:")) for line in self.tail()) else "dead"

    def message(self) -> str:
        """How it ended, in words; empty while it runs."""
        state, last = self.state(), self.last()
        if state in ("starting", "running"):
            return ""
        if state == "failed":
            return failure_words(None if last else 2, last, self.tail())
        if last is not None:
            return last.text("message")
        if state == "cancelled":
            return tr("cancelled; what is finished is kept, run it again to go on")
        return tr("it is gone without a word: the machine was switched off, or memory ran out; run it again to go on")

    def tail(self, lines: int = 40) -> tuple[str, ...]:
        """The last lines it printed, for diagnostics."""
        try:
            with (self.folder / "log.txt").open("rb") as stream:
                stream.seek(max(0, _size(self.folder / "log.txt") - 65_536))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return ()
        return tuple(line for line in text.splitlines() if line.strip())[-lines:]

    def cancel(self) -> None:
        """Ask it to stop, resumably. Returns at once."""
        with contextlib.suppress(OSError):
            self.stop_file.touch()
        if self.alive():
            terminate_group(self.pid)

    def kill(self) -> None:
        """Stop it and all it started, at once."""
        if WINDOWS:
            if self.alive():
                kill_group(self.pid)
            return
        # Its leader may be gone while workers are left. Another process with its number would be somebody else's, and
        # so would be a group of that number when the system was started again since.
        now, booted = identity(self.pid), boot()
        left_over = not now and booted and self.born.endswith(f"@{booted}")
        if self.pid and self.born and (now == self.born or left_over):
            kill_group(self.pid)

    def stop(self, seconds: float = 1.5) -> None:
        """Cancel it, and after so many seconds stop what is left. Blocks: call it in a thread."""
        self.cancel()
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()


class JobStore:
    """The folder with all jobs of a QGIS profile."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def start(
        self,
        python: str,
        arguments: Sequence[str],
        *,
        title: str,
        output: str,
        values: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Job:
        """Start ``geosynth ARGUMENTS`` so that it goes on without this program.

        Args:
            python: interpreter.
            arguments: of ``commands.arguments``; the first is the command.
            title: for people.
            output: folder it writes.
            values: the values the arguments were made from, kept to load the results later.
            environment: ``child_environment()`` when None.

        Raises:
            JobProblem: it could not be started; nothing is left.
        """
        folder = self.folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{arguments[0]}-{secrets.token_hex(2)}"
        job = Job(folder, title, arguments[0], (), output, time.time(), dict(values or {}))
        options = ("--progress", "none", "--events", str(job.events_file), "--cancel-file", str(job.stop_file))
        argv = run_argv(python, arguments, options)
        job = replace(job, argv=tuple(argv))
        try:
            folder.mkdir(parents=True)
            _write(job)
            process = _popen(
                argv, folder, working_folder(output), child_environment() if environment is None else environment
            )
        except (OSError, ValueError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise JobProblem(tr("the job cannot be started: {why}").format(why=error)) from error
        _STARTED.append(process)
        job = replace(job, pid=process.pid, born=identity(process.pid))
        try:
            _write(job)
        except OSError as error:  # a job that nobody could find again must not run on
            kill_group(process.pid)
            raise JobProblem(tr("the job cannot be written down: {why}").format(why=error)) from error
        return job

    def jobs(self) -> list[Job]:
        """All jobs, newest first. What cannot be read is no job."""
        found = [_read(path.parent) for path in self.folder.glob("*/job.json")]
        return sorted((job for job in found if job is not None), key=lambda job: job.started, reverse=True)

    def remove(self, job: Job) -> None:
        """Forget an ended job: its folder here, not what it made.

        Raises:
            JobProblem: it is running.
        """
        if job.state() in ("starting", "running"):
            raise JobProblem(tr("{title} is running; cancel it first").format(title=job.title))
        for folder in (job.folder, *self._inputs_of(job)):
            if self.folder in folder.parents or self.inputs in folder.parents:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def inputs(self) -> Path:
        """Where layers that are no files are written for jobs: QGIS's own temporary folder goes with QGIS."""
        return self.folder.parent / "inputs"

    def _inputs_of(self, job: Job) -> list[Path]:
        """The folders in ``inputs`` that were written for a job."""
        found = []
        for value in job.values.values():
            for entry in value if isinstance(value, (list, tuple)) else ():
                real = inside(str(entry).partition("|")[0], self.inputs)
                if real is not None:
                    found.append(self.inputs / real.relative_to(self.inputs.resolve()).parts[0])
        return found


def _popen(argv: Sequence[str], folder: Path, cwd: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    def start(options: dict[str, Any]) -> subprocess.Popen[bytes]:
        with (folder / "log.txt").open("ab") as log:
            return subprocess.Popen(  # an argument list, no shell  # nosec B603
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                **options,
            )

    try:
        return start(start_options(detached=True))
    except PermissionError:
        if not WINDOWS:
            raise
        return start(start_options())  # where QGIS itself runs in a job that nothing may leave


def _write(job: Job) -> None:
    facts = {**asdict(job), "folder": None}
    temporary = job.folder / f"job.{threading.get_ident()}.tmp"
    temporary.write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
    temporary.replace(job.folder / "job.json")


def _read(folder: Path) -> Job | None:
    try:
        facts = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        return Job(
            folder=folder,
            title=str(facts["title"]),
            command=str(facts["command"]),
            argv=tuple(map(str, facts["argv"])),
            output=str(facts["output"]),
            started=float(facts["started"]),
            values=dict(facts["values"]),
            pid=int(facts["pid"]),
            born=str(facts["born"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
