"""Output folders: who may write into one, how, and how an interrupted run goes on.

Every command writes one folder. ``.geosynth/request.json`` holds what was asked for (canonical arguments and the hashes
of the inputs); ``.geosynth/complete`` appears when all of it is there. From the two follow the rules of a rerun:
complete and the same request: nothing to do; partial: go on with ``--resume``; another request: refused unless
``--overwrite``. Files appear whole or not at all. What may differ between two equal runs (times, hosts, process ids)
lives in ``.geosynth/log`` only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from filelock import FileLock, Timeout

from geosynth import __version__
from geosynth.errors import GeosynthError, OutputError

STATE = ".geosynth"
Rerun = Literal["refuse", "resume", "overwrite"]
_SYNCING = 8
"""Files that wait for the disk at the same time."""


@dataclass(frozen=True)
class OutputFolder:
    """A folder this process has the right to write into; see ``claim``."""

    path: Path
    complete: bool

    @property
    def state(self) -> Path:
        return self.path / STATE

    @property
    def temporary(self) -> Path:
        """Scratch space on the same file system, emptied by every claim."""
        return self.state / "tmp"

    @property
    def journal(self) -> Path:
        return self.state / "journal"

    def write(self, name: str, content: bytes | str) -> str:
        """Write a file whole or not at all; returns its sha256."""
        return write_whole(self.path / name, content, self.temporary)

    def record(self, task: str, content: Any) -> None:
        """Note in the journal that ``task`` is finished. Written after its files, so a record means they are there."""
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_whole(self.journal / f"{task}.json", text, self.temporary)

    def records(self) -> dict[str, Any]:
        """What finished tasks left in the journal, by task name, sorted."""
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.journal.glob("*.json"))}

    def finish(self) -> None:
        """Mark the folder complete."""
        write_whole(self.state / "complete", "", self.temporary)
        shutil.rmtree(self.temporary, ignore_errors=True)  # a kill before this leaves it for the next claim


def keep_apart(out: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """Raise OutputError when an output folder is, or holds, one of its inputs: overwriting would take it away."""
    place = Path(out).resolve()
    for path in inputs:
        if Path(path).resolve().is_relative_to(place):
            raise OutputError("is read, and would be overwritten", where=path, remedy="choose another --out")


@contextmanager
def claim(path: str | os.PathLike[str], request: Mapping[str, Any], rerun: Rerun = "refuse") -> Iterator[OutputFolder]:
    """Take a folder for writing, under the rules of a rerun. Check all inputs before: this may delete an old output.

    Args:
        path: the folder; made when it is not there.
        request: what is asked for, as JSON values; equal requests must mean equal bytes.
        rerun: what to do with an earlier run's output.

    Yields:
        An ``OutputFolder``; when its ``complete`` is true there is nothing to do.

    Raises:
        OutputError: not writable, in use, holds something else, or the rules refuse.
    """
    with _locked(Path(path)) as state:
        yield _take(Path(path), state, _asked(request), rerun)


@contextmanager
def extend(
    path: str | os.PathLike[str], addition: Mapping[str, Any], rerun: Rerun = "refuse"
) -> Iterator[OutputFolder]:
    """Take a complete folder to add to it; its request becomes the earlier one with ``addition`` among its "added".

    What is in the folder stays readable as it was until the addition is complete.

    Args:
        path: the folder.
        addition: what is to be added, as JSON values.
        rerun: "resume" goes on with this very addition.

    Yields:
        An ``OutputFolder``; when its ``complete`` is true the addition is there already.

    Raises:
        OutputError: as ``claim``; nothing to add to, or an earlier run is unfinished.
    """
    folder = Path(path)
    with _locked(folder) as state:
        earlier = earlier_request(folder)
        added = earlier.get("added", [])
        if added[-1:] != [addition]:
            if addition in added:
                yield OutputFolder(folder, complete=True)
                return
            if not (state / "complete").is_file():
                raise OutputError(
                    "holds an unfinished run", where=folder, remedy="finish that first: the same command with --resume"
                )
            # Interrupted after this, what is left is the earlier request, to be finished once more.
            (state / "complete").unlink()
            (state / "tmp").mkdir(exist_ok=True)
            earlier["added"] = [*added, addition]
            write_whole(state / "request.json", canonical_json(earlier), state / "tmp")
            rerun = "resume"
        yield _take(folder, state, canonical_json(earlier), rerun)


def earlier_request(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What was asked for in a folder. Raises OutputError where nothing was."""
    file = Path(path) / STATE / "request.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OutputError("was not made by geosynth, or is damaged", where=path, remedy="make it anew") from None
    return content


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the only right to write into a folder; gives its state folder."""
    state = folder / STATE
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError("is a file, not a folder", where=folder, remedy="choose another --out")
        foreign = folder.is_dir() and any(entry.name != STATE for entry in folder.iterdir())
        if foreign and not (state / "request.json").is_file():
            raise OutputError(
                "is not empty and was not made by geosynth", where=folder, remedy="choose an empty or new folder"
            )
        state.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            yield state
    except PermissionError as error:
        raise OutputError("cannot be written", where=error.filename or folder, remedy="check its permissions") from None
    except OSError as error:
        if isinstance(error, OutputError) or error.errno is None or error.filename is None:
            raise
        if not Path(os.fsdecode(error.filename)).is_relative_to(folder) and Path(error.filename) != folder.parent:
            raise
        raise OutputError(
            f"cannot be written ({error.strerror})", where=error.filename, remedy="choose another --out"
        ) from None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep all other runs from writing into a folder that has a state. Raises OutputError when one does, or OSError."""
    lock = FileLock(folder / STATE / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError("another run is writing here", where=folder, remedy="wait for it or cancel it") from None
    try:
        yield
    finally:
        lock.release()


def is_done(path: str | os.PathLike[str], request: Mapping[str, Any], rerun: Rerun) -> bool:
    """Whether ``claim`` would find that there is nothing to do; costly checks of inputs can be left out then."""
    state = Path(path) / STATE
    try:
        earlier = (state / "request.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return rerun != "overwrite" and earlier == _asked(request) and (state / "complete").is_file()


def _asked(request: Mapping[str, Any]) -> str:
    return canonical_json({"format": 1, **request})


def _take(folder: Path, state: Path, asked: str, rerun: Rerun) -> OutputFolder:
    request = state / "request.json"
    earlier = request.read_text(encoding="utf-8") if request.is_file() else None
    complete = (state / "complete").is_file()
    same = earlier == asked
    if earlier is not None and rerun == "overwrite":
        _empty(folder)
        earlier, complete = None, False
    elif earlier is not None and not same:
        raise OutputError(
            f"holds the result of another request ({_difference(earlier, asked)})",
            where=folder,
            remedy="choose another --out, or give --overwrite to replace it",
        )
    elif earlier is not None and not complete and rerun != "resume":
        raise OutputError(
            "holds an unfinished run of this command",
            where=folder,
            remedy="give --resume to go on or --overwrite to start again",
        )
    done = earlier is not None and complete
    shutil.rmtree(state / "tmp", ignore_errors=True)
    if not done:
        for name in ("tmp", "journal", "log"):
            (state / name).mkdir(exist_ok=True)
        if earlier is None:
            write_whole(request, asked, state / "tmp")
        _note_run(state / "log" / "runs.jsonl")
    return OutputFolder(folder, complete=done)


def _note_run(log: Path) -> None:
    """Who wrote here, when and where: the only place for what may differ between equal runs."""
    run = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "pid": os.getpid(),
        "version": __version__,
        "command": sys.argv,
    }
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(run, ensure_ascii=False) + "\n")


def _empty(folder: Path) -> None:
    """Remove an earlier output: first what says that it is complete, last what says that it is geosynth's.

    Interrupted anywhere, what is left is an unfinished run of the earlier request with nothing done.
    """
    state = folder / STATE
    (state / "complete").unlink(missing_ok=True)
    keep = {state / "lock", state / "request.json"}
    for entry in [*state.iterdir(), *folder.iterdir()]:
        if entry in keep or entry == state:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (state / "request.json").unlink(missing_ok=True)


def _difference(earlier: str, asked: str) -> str:
    """Which entries of two requests differ, in a few words."""
    try:
        before, now = json.loads(earlier), json.loads(asked)
    except ValueError:
        return "its record is damaged"
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "different " + ", ".join(names)


def write_whole(target: Path, content: bytes | str, temporary: Path) -> str:
    """Write a file through a temporary one on the same file system: it appears whole or not at all.

    Returns:
        sha256 of the content, hex.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    write_together([(target, data)], temporary)
    return hashlib.sha256(data).hexdigest()


def write_together(files: Iterable[tuple[Path, bytes]], temporary: Path) -> None:
    """Write files as ``write_whole`` does; none appears before all are on the disk.

    While the disk is waited for, the next files are taken from ``files``: they may be made as they are asked for.

    Raises:
        OutputError: the disk is full, or a place cannot be written.
    """
    targets: dict[Path, Path] = {}

    def to_disk(path: Path, data: bytes) -> None:
        with _blamed_on(targets[path]), path.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    try:
        with ThreadPoolExecutor(_SYNCING) as pool:
            writing = []
            for target, data in files:
                path = temporary / f"{target.name}.{uuid4().hex}.part"  # several hosts may share the folder
                targets[path] = target
                writing.append(pool.submit(to_disk, path, data))
            for future in writing:
                future.result()
        for parent in {target.parent for target in targets.values()}:
            parent.mkdir(parents=True, exist_ok=True)
        for path, target in targets.items():
            with _blamed_on(target):
                path.replace(target)
    except OSError as error:
        if isinstance(error, GeosynthError):  # of whoever makes the files
            raise
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=error.filename or temporary,
            remedy="check free space and permissions",
        ) from None
    finally:
        for path in targets:
            path.unlink(missing_ok=True)


@contextmanager
def _blamed_on(target: Path) -> Iterator[None]:
    """A failure names the file that was to be written, not the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(target)
        raise


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes, hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(content: Any) -> str:
    """JSON that is equal for equal content: sorted keys, no NaN, one trailing newline."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
