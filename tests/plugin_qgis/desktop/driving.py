"""A real QGIS desktop on a screen of its own, driven by mouse and keys."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PROGRAMS = ("qgis", "Xvfb", "xdotool", "import")
PLUGINS = Path(__file__).parents[3] / "plugin_qgis"
BRIDGE = Path(__file__).with_name("bridge.py")
SCREEN = "1400x900x24"


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Desktop:
    """QGIS under Xvfb with the plugin enabled, in a profile of its own.

    Args:
        folder: for the profile and what is exchanged with QGIS; a second desktop there finds the first one's profile.
        python: interpreter that geosynth runs in.
    """

    def __init__(self, folder: Path, python: Path | str) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        self._exchange = folder / f"exchange-{time.monotonic_ns()}"
        self._exchange.mkdir(parents=True)
        runtime = folder / "runtime"
        runtime.mkdir(exist_ok=True, mode=0o700)
        profile = folder / "profiles" / "profiles" / "default" / "QGIS"
        profile.mkdir(parents=True, exist_ok=True)
        settings = profile / "QGIS3.ini"
        if not settings.exists():
            settings.write_text(
                "[PythonPlugins]\ngeosynth_qgis=true\nprocessing=true\n[qgis]\ncheckVersion=false\naskToSaveProjectChanges=false\n"
                "askToDeleteMemoryLayers=false\n",
                encoding="utf-8",
            )
        reading, writing = os.pipe()
        self._screen = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", SCREEN, "-nolisten", "tcp"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as stream:
            display = ":" + stream.readline().strip()
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "DISPLAY": display,
            "XDG_RUNTIME_DIR": str(runtime),
            "QGIS_PLUGINPATH": str(PLUGINS),
            "GEOSYNTH_DESKTOP": str(self._exchange),
            "GEOSYNTH_PYTHON": str(python),
            "OMP_NUM_THREADS": "1",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        self._log = (folder / "qgis.log").open("ab")
        self._qgis = subprocess.Popen(
            [
                "qgis", "--nologo", "--noversioncheck", "--nocustomization", "--profiles-path",
                str(folder / "profiles"), "--profile", "default", "--code", str(BRIDGE),
            ],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )  # fmt: skip
        self.ask("True", seconds=90)

    # -- asking

    def ask(self, expression: str, seconds: float = 60) -> Any:
        """The value of an expression inside QGIS (the names of ``bridge.py``).

        Raises:
            AssertionError: it raised there, or QGIS is gone, or does not answer.
        """
        question = self._exchange / f"{next(self._numbers):05d}.ask"
        temporary = question.with_suffix(".new")
        temporary.write_text(expression, encoding="utf-8")
        temporary.rename(question)
        answer = question.with_suffix(".answer")
        deadline = time.monotonic() + seconds
        while not answer.exists():
            assert self._qgis.poll() is None, f"QGIS ended: {self.log()}"
            assert time.monotonic() < deadline, f"QGIS does not answer: {expression}\n{self.log()}"
            time.sleep(0.02)
        told = json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink()
        assert "error" not in told, told.get("error")
        return told["value"]

    def wait(self, expression: str, seconds: float, what: str = "") -> Any:
        """Ask again until the value is true; it."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.ask(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"not within {seconds} s: {what or expression}\n{self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        return (self.folder / "qgis.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    # -- mouse, keys, eyes

    def click(self, where: Any, button: int = 1) -> None:
        """A click of the mouse: on a widget by its object name, or at a place on the screen.

        QGIS answers questions also before it has come to the click: wait for what it brings about.
        """
        if isinstance(where, str):
            self.wait(f"widget({where!r}) is not None", 60, f"{where} is there")
            self.ask(f"into_view({where!r})")
            where = self.ask(f"place({where!r})")
        self._do("mousemove", where[0], where[1], "sleep", "0.08", "click", button, "sleep", "0.08")

    def type(self, text: str) -> None:
        self._do("type", "--delay", "15", text)

    def key(self, *names: str) -> None:
        self._do("key", *names)

    def shot(self, path: Path) -> NDArray[np.uint8]:
        """What is on the screen, (height, width, 3); also written to a file."""
        subprocess.run(["import", "-window", "root", path], env=self._environment, check=True, timeout=30)
        return np.asarray(Image.open(path).convert("RGB"))

    def _do(self, *words: object) -> None:
        command = ["xdotool", *map(str, words)]
        subprocess.run(command, env=self._environment, check=True, timeout=30, capture_output=True)

    # -- the end

    def close(self) -> None:
        """Quit QGIS as its window would, and take the screen away."""
        with contextlib.suppress(AssertionError):
            self.ask("do(QTimer.singleShot(50, QApplication.quit))", seconds=5)
        try:
            self._qgis.wait(15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._qgis.pid, signal.SIGKILL)
            self._qgis.wait(10)
        self._screen.terminate()
        self._screen.wait(10)
        self._log.close()

    def __enter__(self) -> Desktop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
