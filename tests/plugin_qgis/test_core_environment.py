"""Interpreters: what they are started with, what they answer, how one is made."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest
from geosynth_qgis.core import creation, interpreters
from geosynth_qgis.core.creation import CreationPlan, create, plan_environment
from geosynth_qgis.core.diagnostics import diagnostics, masked
from geosynth_qgis.core.environment import (
    EnvironmentProblem,
    checked_python,
    child_environment,
    environment_python,
    handshake,
    run_argv,
)
from geosynth_qgis.core.interpreters import Interpreter, find_interpreters, launcher_paths, probe
from geosynth_qgis.core.processes import identity
from geosynth_qgis.core.runner import Outcome

posix = pytest.mark.skipif(os.name == "nt", reason="scripts as programs")


def test_nothing_of_qgis_leaks_into_the_child() -> None:
    qgis = {
        "PROJ_LIB": "/q", "PROJ_DATA": "/q", "PYTHONPATH": "/q", "PYTHONHOME": "/q", "PYTHONEXECUTABLE": "/q",
        "GDAL_DATA": "/q", "GDAL_DRIVER_PATH": "/q", "LD_LIBRARY_PATH": "/q", "QT_PLUGIN_PATH": "/q",
        "QT_QPA_PLATFORM": "offscreen", "QGIS_PREFIX_PATH": "/q", "DYLD_LIBRARY_PATH": "/q", "VIRTUAL_ENV": "/q",
    }  # fmt: skip
    kept = {"PATH": "/usr/bin", "HOME": "/home/x", "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "LANG": "C"}
    assert child_environment({**qgis, **kept}) == kept


def test_the_folders_of_osgeo4w_are_no_longer_searched() -> None:
    given = {"OSGEO4W_ROOT": "/osgeo", "PATH": os.pathsep.join(["/osgeo/bin", "/osgeo4wx", "/usr/bin"])}
    assert child_environment(given) == {"PATH": os.pathsep.join(["/osgeo4wx", "/usr/bin"])}


def test_a_proxy_is_handed_on() -> None:
    found = child_environment({}, "http://u:p@proxy:3128", "localhost,.lan")
    assert (
        found["HTTPS_PROXY"] == found["http_proxy"] == "http://u:p@proxy:3128" and found["no_proxy"] == "localhost,.lan"
    )
    assert child_environment({"HTTPS_PROXY": "mine"})["HTTPS_PROXY"] == "mine"


def test_options_of_the_run_stand_after_the_command() -> None:
    assert run_argv("/p", ["tile", "a"], ["--watch-stdin"]) == [
        "/p", "-I", "-u", "-X", "utf8", "-m", "geosynth_cli", "tile", "--watch-stdin", "a",
    ]  # fmt: skip


def fake(folder: Path, code: str) -> str:
    """A program that is started like an interpreter, and answers as told."""
    path = folder / "fäke python"
    path.write_text(f"#!{sys.executable}\nimport json, sys, time\n" + textwrap.dedent(code), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def answer(protocol: int, hello: int = 1) -> str:
    facts = {"geosynth": "0.1.0", "protocol": protocol, "device": "cpu", "missing": ["torch", "x (optional: y)"]}
    return f"""
    print("a library chatters {{")
    print(json.dumps({{"v": {hello}, "seq": 1, "task": "", "event": "hello"}}), flush=True)
    print(json.dumps({{"v": 1, "seq": 2, "task": "", "event": "done", "message": {json.dumps(json.dumps(facts))}}}))
    """


def test_the_real_program_shakes_hands() -> None:
    found = handshake(sys.executable)
    assert found.geosynth and found.device and found.missing == () and "torch" in found.packages
    assert any("event protocol 1" in line for line in found.summary())


@posix
def test_chatter_around_the_answer_does_no_harm(tmp_path: Path) -> None:
    found = handshake(fake(tmp_path, answer(1)))
    assert (found.geosynth, found.missing) == ("0.1.0", ("torch",))


@posix
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (answer(2), "version 2 of the event protocol"),
        (answer(1, hello=7), "version 7 of the event protocol"),
        ("print('Hello world')", "not geosynth's"),
        ("sys.stdout.buffer.write(bytes(range(256)) * 1000)", "not geosynth's"),
        ("sys.exit('python: No module named geosynth_cli')", "no geosynth in this environment"),
        ("sys.exit(3)", "exit code 3"),
        ("time.sleep(60)", "did not answer"),
    ],
)
def test_whoever_does_not_answer_as_geosynth_is_refused_in_words(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(EnvironmentProblem, match=words):
        handshake(fake(tmp_path, code), timeout=2)


def test_an_interpreter_without_geosynth_says_so() -> None:
    base = environment_python(sys.base_prefix)
    if not Path(base).is_file():
        pytest.skip("the Python of this environment is elsewhere")
    with pytest.raises(EnvironmentProblem, match="no geosynth in this environment"):
        handshake(base)


@posix
def test_what_is_no_interpreter_is_refused_before_it_is_started(tmp_path: Path) -> None:
    plain = tmp_path / "python"
    plain.touch()
    for path, words in (
        ("", "no environment is chosen"),
        (str(tmp_path / "gone"), "not there any more"),
        (str(tmp_path), "no Python environment in this folder"),
        (str(plain), "no program that can be started"),
    ):
        with pytest.raises(EnvironmentProblem, match=words):
            checked_python(path)
    assert checked_python(sys.prefix) == environment_python(sys.prefix)  # its folder does as well


def test_the_python_of_this_toolkit_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = find_interpreters()
    assert sys.version_info[:3] in [entry.version for entry in found]
    assert all(entry.version >= (3, 12) for entry in found)
    assert find_interpreters(exclude=[sys.prefix]) != found


@posix
def test_what_does_not_answer_like_a_python_is_none(tmp_path: Path) -> None:
    for code in ("print('3.12')", "sys.exit(1)", 'print(\'[[3, 12, 1], "x", false, "i686"]\')'):
        assert probe(fake(tmp_path, code)) is None
    assert probe(str(tmp_path / "nothing")) is None


def test_the_list_of_the_windows_launcher_is_read() -> None:
    text = (
        " -V:3.13 *        C:\\Program Files\\Python313\\python.exe\r\n"
        " -V:Astral/3.12   C:\\Users\\Zoë B\\uv\\python.exe\r\n"
        " -3.9-64          C:\\Python39\\python.exe *\r\nInstalled Pythons found\r\n"
    )
    assert launcher_paths(text)[:2] == [r"C:\Program Files\Python313\python.exe", r"C:\Users\Zoë B\uv\python.exe"]


# -- a new environment

HERE = Interpreter(sys.executable, sys.version_info[:3], "PATH")


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """A package called like geosynth's that answers the handshake and needs nothing."""
    path = tmp_path / "wheels" / "geosynth_eo-9.9-py3-none-any.whl"
    path.parent.mkdir()
    info = "geosynth_eo-9.9.dist-info"
    main = "import json, sys, time\n" + textwrap.dedent(answer(1))
    files = {
        "geosynth_cli/__init__.py": "",
        "geosynth_cli/__main__.py": main,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: geosynth-eo\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")))
    return str(path)


def small(plan: CreationPlan) -> CreationPlan:
    return dataclasses.replace(plan, size_gb=0.01)


def test_an_environment_is_made_and_gone_on_with(tmp_path: Path, wheel: str) -> None:
    folder = tmp_path / "an envirönment"
    broken = small(plan_environment(folder, HERE, accelerator="cuda", source=str(tmp_path / "w.whl"), platform="linux"))
    (tmp_path / "w.whl").write_bytes(b"no wheel")
    first = create(broken)
    assert first.state == "failed" and "install geosynth" in first.message
    assert broken.finished() == 1  # the empty environment is there

    plan = small(plan_environment(folder, HERE, accelerator="cuda", source=wheel, platform="linux"))
    assert "(done)" in plan.text() and plan.problems() == []
    told: list[tuple[str, float]] = []
    made = create(plan, on_event=lambda event: told.append((event.task, event.get("done"))))
    assert made.state == "done", made
    assert "geosynth 0.1.0" in made.message
    assert [done for _, done in told] == [1, 2, 3]  # the first step was not done again
    assert handshake(plan.python_path).geosynth == "0.1.0"


def test_cancelling_keeps_what_is_there(tmp_path: Path, wheel: str) -> None:
    plan = small(plan_environment(tmp_path / "env", HERE, accelerator="cuda", source=wheel, platform="linux"))
    outcome = create(plan, is_cancelled=lambda: True)
    assert outcome.state == "cancelled" and "go on" in outcome.message
    assert plan.problems() == []  # what is half made is no foreign folder
    assert create(plan).state == "done"


def one_step(folder: Path, code: str) -> CreationPlan:
    step = creation.Step("a step", (sys.executable, "-c", textwrap.dedent(code)))
    return CreationPlan(folder, (step,), 0.01, HERE, "geosynth-eo")


def test_what_an_installer_unpacks_goes_away_with_it(tmp_path: Path) -> None:
    plan = one_step(tmp_path / "env", "import tempfile, time; print(tempfile.mkdtemp(), flush=True); time.sleep(60)")
    said: list[str] = []
    began = time.monotonic()
    outcome = create(plan, on_line=said.append, is_cancelled=lambda: bool(said))
    assert outcome.state == "cancelled"
    assert Path(said[0]).is_relative_to(plan.folder) and not Path(said[0]).parent.exists()
    assert time.monotonic() - began < 10


@posix
def test_an_installer_ends_when_qgis_crashes(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
        import os, pathlib, subprocess, time
        child = subprocess.Popen(["sleep", "60"])
        pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child.pid}}\\n")
        time.sleep(60)
    """
    program = f"""
        import pathlib, sys
        from geosynth_qgis.core.creation import CreationPlan, Step, create
        from geosynth_qgis.core.interpreters import Interpreter
        step = Step("a step", (sys.executable, "-c", {textwrap.dedent(code)!r}))
        here = Interpreter(sys.executable, (3, 12, 0))
        create(CreationPlan(pathlib.Path({str(tmp_path / "env")!r}), (step,), 0.01, here, "geosynth-eo"))
    """
    plugin = str(Path(creation.__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, "PYTHONPATH": plugin}
    )
    deadline = time.monotonic() + 60
    while not (pids.exists() and pids.read_text().endswith("\n")):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    installers = [int(number) for number in pids.read_text().split()]
    assert all(map(identity, installers))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(map(identity, installers)):
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


def test_the_plan_says_everything_before_anything_is_done(tmp_path: Path) -> None:
    plan = plan_environment(tmp_path / "env", HERE, accelerator="cpu", proxy="http://u:secret@p:1", platform="linux")
    text = plan.text()
    assert str(tmp_path / "env") in text and "GB" in text and "Proxy" in text and "secret" not in text
    assert [step.argv[-2:] for step in plan.steps][1] == ("torch", "torchvision")
    assert any(part.endswith("/whl/cpu") for part in plan.steps[1].argv)
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("platform", "accelerator", "index"),
    [
        ("linux", "cuda", ""),
        ("linux", "cpu", "cpu"),
        ("win32", "cuda", "cu128"),
        ("win32", "cpu", ""),
        ("darwin", "cpu", ""),
    ],
)
def test_torch_comes_from_where_the_right_one_is(platform: str, accelerator: str, index: str, tmp_path: Path) -> None:
    plan = plan_environment(tmp_path / "e", HERE, accelerator=accelerator, platform=platform)
    places = [part for step in plan.steps for part in step.argv if part.startswith("https://")]
    assert [place.rpartition("/")[2] for place in places] == ([index] if index else [])


def test_uv_fetches_a_python_where_there_is_none(tmp_path: Path) -> None:
    plan = plan_environment(tmp_path / "e", None, "/bin/uv")
    assert all(step.argv[0] == "/bin/uv" for step in plan.steps) and "3.12" in plan.steps[0].argv
    nothing = plan_environment(tmp_path / "e", None, None)
    assert nothing.steps == () and "python.org" in nothing.problems()[0]
    assert create(nothing).state == "failed"


def test_what_keeps_it_from_being_made_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    (tmp_path / "file").touch()

    def problems(folder: Path, python: Interpreter = HERE, source: str = "geosynth-eo") -> str:
        return "\n".join(small(plan_environment(folder, python, source=source)).problems())

    assert "something else" in problems(tmp_path / "full")
    assert "is a file" in problems(tmp_path / "file")
    assert "too old" in problems(tmp_path / "e", Interpreter("/p", (3, 11, 2), "PATH"))
    assert "the plugin" in problems(Path(creation.__file__).parent / "env")
    assert "not there" in problems(tmp_path / "e", source=str(tmp_path / "gone.whl"))
    assert problems(tmp_path / "e") == ""
    monkeypatch.setattr(
        creation.shutil, "disk_usage", lambda _: os.terminal_size((0, 0)) and type("U", (), {"free": 1e9})
    )
    assert "about 3 GB are needed, and 1.0 GB are free" in "\n".join(
        plan_environment(tmp_path / "e", HERE, platform="linux").problems()
    )


def test_errors_of_the_installer_get_a_hint() -> None:
    step = creation.Step("install torch", ("pip",))
    for said, hint in (("OSError: [Errno 28] No space left on device", "disk is full"), ("ProxyError", "proxy")):
        assert hint in creation._explained(step, Outcome("failed", "x", 1, tail=(said,))).message


def test_diagnostics_hold_no_secrets() -> None:
    last = Outcome("failed", "cannot reach https://me:secret@proxy:1/x", 1, tail=(f"{Path.home()}/data",))
    text = diagnostics(None, "/p/python", {"QGIS": "3.22"}, last, ["geosynth", "tile"], problem="no")
    assert "secret" not in text and "QGIS: 3.22" in text and "handshake: no" in text and "exit code 1" in text
    assert masked("http://a:b@c/d") == "http://***@c/d"
    assert interpreters.Interpreter("/p", (3, 12, 1), "conda").label == "Python 3.12.1 (conda): /p"
