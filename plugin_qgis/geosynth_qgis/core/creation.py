"""Makes an environment for geosynth: only when asked to, outside the plugin, and so that it can be gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .environment import MINIMUM, EnvironmentProblem, child_environment, environment_python, handshake
from .events import Event
from .interpreters import Interpreter
from .processes import WINDOWS
from .runner import Outcome, run
from .words import tr

ACCELERATORS = {"cpu": "CPU only (smaller)", "cuda": "NVIDIA GPU (CUDA)"}
REQUIREMENT = "geosynth-eo"
"""What is installed unless a wheel or a checkout is given."""

_TORCH_INDEX = "https://download.pytorch.org/whl/"
_STATE = "geosynth-environment.json"
_GIGABYTES = {("linux", "cuda"): 7.0, ("linux", "cpu"): 3.0, ("win32", "cuda"): 7.0, ("win32", "cpu"): 3.0}
_UV_PYTHON = "3.12"
_SCRATCH = "unfinished"
"""What installers unpack goes here, below the environment, where there is room for it, and goes away with each step."""
_WATCH = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    while os.read(0, 1):
        pass
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    child.kill()
    os._exit(130)
threading.Thread(target=watch, daemon=True).start()
code = child.wait()
os._exit(code if 0 <= code < 256 else 1)
"""
"""Runs an installer, and ends it with all it has started when our end of its standard input closes: it does not look
there itself, and would go on after a crash of QGIS, beside the one that is started next."""


@dataclass(frozen=True)
class Step:
    """One program to run."""

    title: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class CreationPlan:
    """What will be done, shown before it is done.

    Attributes:
        folder: the new environment.
        steps: programs, one after the other.
        size_gb: of the finished environment, about; while it is made about half as much again is downloaded.
        python: who makes it; None where uv brings a Python.
    """

    folder: Path
    steps: tuple[Step, ...]
    size_gb: float
    python: Interpreter | None
    source: str
    proxy: str = ""
    no_proxy: str = ""

    @property
    def python_path(self) -> str:
        """The interpreter of the new environment."""
        return _python_in(self.folder)

    @property
    def free_gb(self) -> float | None:
        """Free space where the folder goes; None when the system does not say."""
        try:
            return shutil.disk_usage(_existing_parent(self.folder)).free / 1e9
        except OSError:
            return None

    def problems(self) -> list[str]:
        """What keeps it from being made, in words."""
        found = []
        if not self.steps:
            found.append(no_python_words())
        if self.python is not None and self.python.version[:2] < MINIMUM:
            found.append(
                tr("{python} is too old: geosynth needs Python {version} or newer").format(
                    python=self.python.label, version=".".join(map(str, MINIMUM))
                )
            )
        plugin = Path(__file__).resolve().parents[1]
        if plugin == self.folder.resolve() or plugin in self.folder.resolve().parents:
            found.append(tr("the folder lies in the plugin, which updates replace; choose another"))
        if self.folder.exists() and not self.folder.is_dir():
            found.append(tr("{folder} is a file").format(folder=self.folder))
        elif self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / _STATE).is_file():
            found.append(
                tr("{folder} holds something else; choose an empty or a new folder").format(folder=self.folder)
            )
        elif not os.access(_existing_parent(self.folder), os.W_OK):
            found.append(tr("{folder} cannot be written").format(folder=self.folder))
        free = self.free_gb
        if free is not None and free < self.size_gb and not self.finished():
            found.append(
                tr("about {size} GB are needed, and {free} GB are free in {folder}").format(
                    size=f"{self.size_gb:g}", free=f"{free:.1f}", folder=self.folder
                )
            )
        if _is_path(self.source) and not os.path.exists(self.source):
            found.append(tr("{path} is not there").format(path=self.source))
        return found

    def finished(self) -> int:
        """How many of the steps an earlier attempt has done already."""
        done = _done(self.folder)
        count = 0
        while count < len(self.steps) and list(self.steps[count].argv) in done:
            count += 1
        return count

    def text(self) -> str:
        """All of it for people, before they say yes."""
        free = self.free_gb
        lines = [
            tr("Folder: {folder}").format(folder=self.folder),
            tr("Size: about {size} GB; free: {free} GB").format(
                size=f"{self.size_gb:g}", free="?" if free is None else f"{free:.1f}"
            ),
            tr("Python: {python}").format(
                python=self.python.label if self.python else tr("fetched by uv, version {v}").format(v=_UV_PYTHON)
            ),
            tr("geosynth from: {source}").format(source=self.source),
        ]
        if self.proxy:
            lines.append(tr("Proxy: as set in QGIS"))
        done = self.finished()
        for number, step in enumerate(self.steps, 1):
            mark = tr("done") if number <= done else ""
            lines.append(f"{number}. {step.title}" + (f" ({mark})" if mark else ""))
        lines.append(f"{len(self.steps) + 1}. {_last_words()}")
        return "\n".join(lines)


def plan_environment(
    folder: str | os.PathLike[str],
    python: Interpreter | None,
    uv: str | None = None,
    *,
    accelerator: str = "cpu",
    source: str = REQUIREMENT,
    proxy: str = "",
    no_proxy: str = "",
    platform: str = sys.platform,
) -> CreationPlan:
    """Plan an environment; nothing is done yet.

    Args:
        folder: where to make it.
        python: one of ``find_interpreters``; when None uv fetches a Python.
        uv: of ``find_uv``.
        accelerator: "cpu" or "cuda".
        source: a name on the package index, a wheel, or a checkout.
        proxy, no_proxy: as ``child_environment`` takes them.
        platform: of ``sys.platform``.
    """
    home = Path(folder).expanduser().absolute()
    target = _python_in(home)
    if python is not None:
        begin = (python.path, "-I", "-m", "venv", str(home))
        install: tuple[str, ...] = (
            target, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        )  # fmt: skip
    elif uv is not None:
        begin = (uv, "venv", "--allow-existing", "--python", _UV_PYTHON, str(home))
        install = (uv, "pip", "install", "--no-progress", "--python", target)
    else:
        return CreationPlan(home, (), _size_gb(platform, accelerator), None, source, proxy, no_proxy)
    steps = [Step(tr("make an empty environment"), begin)]
    index = _torch_index(platform, accelerator)
    if index:
        steps.append(Step(tr("install torch"), (*install, "--index-url", index, "torch", "torchvision")))
    wanted = os.path.abspath(os.path.expanduser(source)) if _is_path(source) else source
    steps.append(Step(tr("install geosynth and what it needs"), (*install, wanted)))
    return CreationPlan(home, tuple(steps), _size_gb(platform, accelerator), python, wanted, proxy, no_proxy)


def _torch_index(platform: str, accelerator: str) -> str:
    """Where torch comes from; empty where the usual index has the right one: CUDA on Linux, CPU elsewhere."""
    if platform.startswith("linux") and accelerator == "cpu":
        return _TORCH_INDEX + "cpu"
    if platform == "win32" and accelerator == "cuda":
        return _TORCH_INDEX + "cu128"
    return ""


def _size_gb(platform: str, accelerator: str) -> float:
    return _GIGABYTES.get((platform, accelerator), 3.0)


def create(
    plan: CreationPlan,
    on_event: Callable[[Event], None] | None = None,
    on_line: Callable[[str], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Carry a plan out; blocks for minutes, so call it in a thread. Steps that are done already are not done again.

    Ends with the handshake: "done" means that geosynth answered. What is not finished stays and is gone on with.
    """
    found = plan.problems()
    if found:
        return Outcome("failed", "\n".join(found))
    clean = child_environment(environment, plan.proxy, plan.no_proxy)
    try:  # from now on the folder is ours, so that an interrupted first step can be gone on with
        plan.folder.mkdir(parents=True, exist_ok=True)
        _write_down(plan.folder, _done(plan.folder))
    except OSError as error:
        return Outcome("failed", tr("{folder} cannot be written: {why}").format(folder=plan.folder, why=error))
    total = len(plan.steps) + 1
    for number in range(plan.finished(), len(plan.steps)):
        step = plan.steps[number]
        _tell(on_event, step.title, number, total)
        outcome = _carried_out(plan, step, clean, on_line, is_cancelled)
        if outcome.state != "done":
            return _explained(step, outcome)
        try:
            _write_down(plan.folder, [*_done(plan.folder), list(step.argv)])
        except OSError as error:
            return Outcome("failed", tr("{folder} cannot be written: {why}").format(folder=plan.folder, why=error))
    _tell(on_event, _last_words(), total - 1, total)
    try:
        answer = handshake(plan.python_path, is_cancelled=is_cancelled, environment=clean)
    except EnvironmentProblem as problem:
        return Outcome("cancelled" if is_cancelled and is_cancelled() else "failed", str(problem))
    _tell(on_event, tr("ready"), total, total)
    return Outcome("done", "\n".join(answer.summary()), 0)


def _carried_out(
    plan: CreationPlan,
    step: Step,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] | None,
    is_cancelled: Callable[[], bool] | None,
) -> Outcome:
    """Run one step; nothing of it is left but what it has installed or downloaded."""
    scratch = plan.folder / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that had no time to
    try:
        scratch.mkdir()
    except OSError as error:
        return Outcome("failed", tr("{folder} cannot be written: {why}").format(folder=plan.folder, why=error))
    watcher = plan.python_path if os.path.isfile(plan.python_path) else plan.python.path if plan.python else ""
    argv = (watcher, "-I", "-c", _WATCH, *step.argv) if watcher else step.argv  # uv fetches the first Python itself
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    try:
        return run(argv, environment={**environment, **temporary}, on_line=on_line, is_cancelled=is_cancelled)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _explained(step: Step, outcome: Outcome) -> Outcome:
    """The end of a step that did not succeed, with what helps."""
    if outcome.state == "cancelled":
        kept = tr("cancelled; what is there is kept, create it again to go on")
        return Outcome("cancelled", kept, outcome.code, tail=outcome.tail)
    said = "\n".join(outcome.tail).lower()
    hint = ""
    if "ensurepip" in said:
        hint = tr("this Python lacks its venv module: install it (on Debian and Ubuntu the package python3-venv)")
    elif "no space left" in said or "errno 28" in said:
        hint = tr("the disk is full")
    elif "proxy" in said:
        hint = tr("look at the proxy in QGIS's network options")
    elif "no matching distribution" in said or "no solution found" in said or "name or service not known" in said:
        hint = tr(
            "it was not found: is there a network, and is it on the package index? A wheel or a checkout does as well"
        )
    text = tr("{step}: {why}").format(step=step.title, why=outcome.message)
    return Outcome("failed", f"{text} — {hint}" if hint else text, outcome.code, tail=outcome.tail)


def _tell(on_event: Callable[[Event], None] | None, task: str, done: int, total: int) -> None:
    if on_event:
        on_event(Event("progress", task, 0, {"done": done, "total": total, "unit": tr("steps")}))


def _last_words() -> str:
    """The step after the installers': the handshake."""
    return tr("ask geosynth how it is")


def _done(folder: Path) -> list[list[str]]:
    try:
        found = json.loads((folder / _STATE).read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found if isinstance(found, list) else []


def _write_down(folder: Path, steps: list[list[str]]) -> None:
    temporary = folder / (_STATE + ".tmp")
    temporary.write_text(json.dumps({"steps": steps}, indent=1), encoding="utf-8")
    temporary.replace(folder / _STATE)


def _python_in(folder: Path) -> str:
    found = environment_python(folder)
    if os.path.isfile(found):
        return found
    return str(folder / "Scripts" / "python.exe" if WINDOWS else folder / "bin" / "python")


def _is_path(source: str) -> bool:
    return source.endswith(".whl") or os.sep in source or source.startswith((".", "~"))


def _existing_parent(folder: Path) -> Path:
    for candidate in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            if candidate.is_dir():
                return candidate
    return folder


def no_python_words() -> str:
    """What to do where neither a new enough Python nor uv is found."""
    return tr(
        "No Python {version} or newer was found on this computer, and QGIS's own is not used. Install one (python.org,"
        " conda, your system's packages), or uv (docs.astral.sh/uv), which fetches a Python by itself; then look again."
    ).format(version=".".join(map(str, MINIMUM)))
