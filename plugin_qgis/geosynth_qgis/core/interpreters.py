"""Which Pythons this machine has."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess  # asks interpreters for their version; argument lists, no shell  # nosec B404
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .environment import MINIMUM, child_environment, probe_folder
from .processes import WINDOWS
from .words import tr

_QUESTION = (
    "import json, sys, platform; print(json.dumps([list(sys.version_info[:3]), sys.executable, sys.maxsize > 2**32,"
    " platform.machine()]))"
)
_TIMEOUT = 15
_PY_LINE = re.compile(r"^\s*-(?:V:)?\S+\s+(?:\*\s+)?(.+\.exe)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Interpreter:
    """A Python that was started and said what it is.

    Attributes:
        origin: where it was found, for people: "PATH", "conda" …
    """

    path: str
    version: tuple[int, int, int]
    origin: str = ""

    @property
    def label(self) -> str:
        number = ".".join(map(str, self.version))
        return tr("Python {version} ({origin}): {path}").format(version=number, origin=self.origin, path=self.path)


def find_interpreters(minimum: tuple[int, int] = MINIMUM, exclude: Iterable[str] = ()) -> list[Interpreter]:
    """The Pythons of at least a version, newest first. Starts each once: takes seconds, so call it in a thread.

    Args:
        minimum: oldest version to list.
        exclude: folders whose Pythons are not wanted. QGIS's own are left out always where QGIS brings one.
    """
    unwanted = [*exclude, *_bundled()]
    found: dict[str, Interpreter] = {}
    for path, origin in _candidates():
        # By its real path, so that a link and its target are one. A virtual environment is itself, though.
        real = os.path.normcase(path if _is_virtual(path) else os.path.realpath(path))
        if real in found or any(_below(real, folder) for folder in unwanted):
            continue
        interpreter = probe(path, origin)
        if interpreter and interpreter.version >= minimum:
            found[real] = interpreter
    return sorted(found.values(), key=lambda entry: entry.version, reverse=True)


def probe(path: str, origin: str = "") -> Interpreter | None:
    """Start a Python and ask for its version; None when it is none, or one of 32 bits, for which there is no torch."""
    try:
        if WINDOWS and "windowsapps" in path.lower() and not os.path.getsize(path):
            return None  # opens the shop instead of answering
        answer = subprocess.run(  # an argument list, no shell  # nosec B603
            [path, "-I", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
            cwd=probe_folder(),
            env=child_environment(),
            **({"creationflags": 0x08000000} if WINDOWS else {}),
        )
        version, executable, wide, _ = json.loads(answer.stdout.strip().splitlines()[-1])
        number = (int(version[0]), int(version[1]), int(version[2]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, TypeError):
        return None
    return Interpreter(str(executable) or path, number, origin) if wide else None


def find_uv() -> str | None:
    """The program uv, which can fetch a Python of its own."""
    name = "uv.exe" if WINDOWS else "uv"
    homes = [Path.home() / ".local" / "bin", Path.home() / ".cargo" / "bin", Path("/opt/homebrew/bin")]
    found = shutil.which("uv") or next((str(home / name) for home in homes if (home / name).is_file()), None)
    return found


def _bundled() -> list[str]:
    """Where QGIS brings a Python of its own, that belongs to QGIS and changes with it."""
    own = [sys.prefix, sys.base_prefix] if WINDOWS or sys.platform == "darwin" else []
    return [
        os.path.normcase(os.path.realpath(folder)) for folder in (*own, os.environ.get("OSGEO4W_ROOT", "")) if folder
    ]


def _below(path: str, folder: str) -> bool:
    return path.startswith(os.path.normcase(folder).rstrip(os.sep) + os.sep)


def _is_virtual(path: str) -> bool:
    return os.path.isfile(os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg"))


def _candidates() -> Iterator[tuple[str, str]]:
    """Paths that may be Pythons, and where they are from."""
    if WINDOWS:
        yield from ((path, "py") for path in _py_launcher())
    # PATH first by exact version, because plain "python3" is often older.
    names = [f"python3.{minor}" for minor in range(19, 11, -1)] + ["python3", "python"]
    for name in names:
        found = shutil.which(name)
        if found:
            yield found, "PATH"
    for pattern, origin in _places():
        for path in sorted(glob.glob(os.path.expanduser(pattern)), reverse=True):
            yield path, origin
    for environment in _conda_environments():
        yield os.path.join(environment, "python.exe" if WINDOWS else "bin/python"), "conda"


def _places() -> list[tuple[str, str]]:
    pyenv = os.environ.get("PYENV_ROOT") or "~/.pyenv"
    if WINDOWS:
        local, roaming = os.environ.get("LOCALAPPDATA", "~"), os.environ.get("APPDATA", "~")
        return [
            (os.path.join(local, "Programs", "Python", "Python3*", "python.exe"), "python.org"),
            (r"C:\Program Files\Python3*\python.exe", "python.org"),
            (os.path.join(pyenv, "pyenv-win", "versions", "3*", "python.exe"), "pyenv"),
            (os.path.join(roaming, "uv", "python", "cpython-3*", "python.exe"), "uv"),
        ]
    return [
        ("/usr/local/bin/python3.1[2-9]", "system"),
        ("/opt/homebrew/bin/python3.1[2-9]", "Homebrew"),
        ("/Library/Frameworks/Python.framework/Versions/3.1[2-9]/bin/python3", "python.org"),
        ("/opt/python3.1[2-9]/bin/python3", "system"),
        (os.path.join(pyenv, "versions", "3.1[2-9]*", "bin", "python"), "pyenv"),
        ("~/.local/share/uv/python/cpython-3.1[2-9]*/bin/python3", "uv"),
    ]


def _py_launcher() -> list[str]:
    """Windows: what ``py -0p`` lists."""
    launcher = shutil.which("py")
    if launcher is None:
        return []
    try:
        answer = subprocess.run(  # an argument list, no shell  # nosec B603
            [launcher, "-0p"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
            env=child_environment(),
            **({"creationflags": 0x08000000} if WINDOWS else {}),
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return launcher_paths(answer.stdout)


def launcher_paths(text: str) -> list[str]:
    """The paths in the answer of ``py -0p``: lines such as `` -V:3.12 *        C:\\…\\python.exe``."""
    return [found[1].strip() for found in map(_PY_LINE.match, text.splitlines()) if found]


def _conda_environments() -> list[str]:
    """Environments conda has written down, and its usual places."""
    listed: list[str] = []
    try:
        text = (Path.home() / ".conda" / "environments.txt").read_text(encoding="utf-8", errors="replace")
        listed += [line.strip() for line in text.splitlines() if line.strip()]
    except OSError:
        pass
    for name in ("miniforge3", "mambaforge", "miniconda3", "anaconda3"):
        base = Path.home() / name
        listed += [str(base), *map(str, sorted(base.glob("envs/*")))]
    return [folder for folder in dict.fromkeys(listed) if os.path.isdir(folder)]
