"""The interpreter that geosynth runs in: its environment variables, and what it says about itself."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .events import PROTOCOL
from .runner import mismatch_words, run
from .words import tr

MINIMUM = (3, 12)
"""The oldest Python that geosynth runs on."""

_LEAKING = (
    "PYTHON", "PROJ_", "GDAL_", "OGR_", "CPL_", "GEOTIFF_", "QT_", "QML", "QGIS_", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "DYLD_", "OSGEO4W_", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__",
)  # fmt: skip
"""Beginnings of the names of variables that QGIS sets for itself. PROJ's leak even through ``python -I`` and break the
child's own PROJ; the others would bring in QGIS's libraries."""


class EnvironmentProblem(Exception):
    """Why an interpreter cannot be used, in words for people."""


def child_environment(base: Mapping[str, str] | None = None, proxy: str = "", no_proxy: str = "") -> dict[str, str]:
    """The environment variables geosynth is run with: this process's without what QGIS set for itself.

    Args:
        base: this process's when None.
        proxy: address such as ``http://host:3128``, with the login where it wants one; empty leaves what is there.
        no_proxy: hosts reached without it, separated by commas.
    """
    given = os.environ if base is None else base
    clean = {name: value for name, value in given.items() if not name.upper().startswith(_LEAKING)}
    osgeo = given.get("OSGEO4W_ROOT", "")
    for name, value in clean.items():
        if osgeo and name.upper() == "PATH":
            clean[name] = os.pathsep.join(part for part in value.split(os.pathsep) if not _within(part, osgeo))
    for names, value in ((("HTTP_PROXY", "HTTPS_PROXY"), proxy), (("NO_PROXY",), no_proxy)):
        for name in names if value else ():
            clean[name] = clean[name.lower()] = value
    return clean


def _within(path: str, folder: str) -> bool:
    path, folder = (os.path.normcase(os.path.normpath(entry)) for entry in (path, folder))
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def interpreter_argv(python: str) -> list[str]:
    """How geosynth is started: isolated from the user's site and variables, unbuffered, in UTF-8."""
    return [python, "-I", "-u", "-X", "utf8", "-m", "geosynth_cli"]


@dataclass(frozen=True)
class Handshake:
    """What the geosynth of an interpreter says about itself.

    Attributes:
        missing: packages it needs and does not find; optional ones are not among them.
        facts: all that ``geosynth env --json`` printed.
    """

    python: str
    geosynth: str
    protocol: int
    device: str
    cores: int | None = None
    memory_gb: float | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """A few lines for people."""
        memory = "?" if self.memory_gb is None else f"{self.memory_gb:g}"
        lines = [
            tr("geosynth {version}, event protocol {protocol}").format(version=self.geosynth, protocol=self.protocol),
            tr("Python {version} in {python}").format(version=self.facts.get("python", "?"), python=self.python),
            tr("device: {device}").format(device=self.device),
            tr("{cores} cores, {memory} GB of memory").format(cores=self.cores or "?", memory=memory),
        ]
        if "torch" in self.packages:
            lines.append(f"torch {self.packages['torch']}")
        lines += [tr("missing: {package}").format(package=package) for package in self.missing]
        return lines


def handshake(
    python: str,
    timeout: float = 180,
    is_cancelled: Callable[[], bool] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Handshake:
    """Ask the interpreter for its geosynth: blocks for some seconds (it loads torch), so call it in a thread.

    Raises:
        EnvironmentProblem: it cannot be used; the message says why and what to do.
    """
    path = checked_python(python)
    deadline = time.monotonic() + timeout
    printed: list[str] = []
    stopped = is_cancelled or (lambda: False)
    outcome = run(
        [*interpreter_argv(path), "env", "--json", "--progress", "jsonl", "--watch-stdin"],
        environment=child_environment() if environment is None else environment,
        on_line=printed.append,
        is_cancelled=lambda: stopped() or time.monotonic() > deadline,
    )
    if outcome.state == "cancelled":
        if stopped():
            raise EnvironmentProblem(tr("cancelled"))
        raise EnvironmentProblem(
            tr("{python} did not answer within {seconds} s; try again, or choose another environment").format(
                python=path, seconds=round(timeout)
            )
        )
    if outcome.state == "failed":
        raise EnvironmentProblem(f"{path}: {outcome.message}")
    facts = _facts(outcome.message) or _facts("\n".join(printed))
    if facts is None or not isinstance(facts.get("geosynth"), str):
        raise EnvironmentProblem(
            tr("{python} answered something that is not geosynth's; choose another environment").format(python=path)
        )
    if facts.get("protocol") != PROTOCOL:
        raise EnvironmentProblem(f"{path}: {mismatch_words(facts.get('protocol'))}")
    return _understood(path, facts)


def run_argv(python: str, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """The whole command line: ``arguments`` begin with the command, after which the options of the run go."""
    return [*interpreter_argv(python), *arguments[:1], *options, *arguments[1:]]


def checked_python(python: str) -> str:
    """The interpreter's absolute path; a folder may be given for the environment in it. Starts nothing.

    Links are not followed: a link into another Python is what makes a virtual environment.

    Raises:
        EnvironmentProblem: there is none, in words.
    """
    if not python.strip():
        raise EnvironmentProblem(tr("no environment is chosen yet; choose one, or create one"))
    path = os.path.abspath(os.path.expanduser(python.strip()))
    if os.path.isdir(path):
        inside = environment_python(path)
        if not os.path.isfile(inside):
            raise EnvironmentProblem(tr("{path}: no Python environment in this folder").format(path=path))
        path = inside
    if not os.path.isfile(path):
        raise EnvironmentProblem(
            tr("{path} is not there any more; choose another environment, or create one").format(path=path)
        )
    if not os.access(path, os.X_OK):
        raise EnvironmentProblem(tr("{path} is no program that can be started").format(path=path))
    return path


def environment_python(folder: str | os.PathLike[str]) -> str:
    """The interpreter of a virtual or conda environment in a folder."""
    inside = (
        [("Scripts", "python.exe"), ("python.exe",)] if os.name == "nt" else [("bin", "python"), ("bin", "python3")]
    )
    candidates = [os.path.join(os.fspath(folder), *parts) for parts in inside]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])


def _facts(text: str) -> dict[str, Any] | None:
    """The JSON object in a text that may have chatter around it."""
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _understood(python: str, facts: Mapping[str, Any]) -> Handshake:
    packages, missing = facts.get("packages"), facts.get("missing")
    cores, memory = facts.get("cores"), facts.get("memory_gb")
    return Handshake(
        python=python,
        geosynth=str(facts["geosynth"]),
        protocol=PROTOCOL,
        device=str(facts.get("device", "?")),
        cores=cores if isinstance(cores, int) else None,
        memory_gb=float(memory) if isinstance(memory, (int, float)) else None,
        packages={str(name): str(number) for name, number in packages.items() if number}
        if isinstance(packages, dict)
        else {},
        missing=tuple(str(entry) for entry in missing if "optional" not in str(entry))
        if isinstance(missing, list)
        else (),
        facts=dict(facts),
    )


def probe_folder() -> str:
    """Where short questions to interpreters are asked from: not QGIS's folder, which holds libraries on Windows."""
    return tempfile.gettempdir()


def default_folder() -> Path:
    """Where a new environment goes unless the user says otherwise: outside the plugin, which updates replace."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif os.uname().sysname == "Darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "geosynth" / "environment"
