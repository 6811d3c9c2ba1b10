"""The wheel, as a user gets it: built from a copy of the checkout, installed into a clean environment, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import required

CHECKOUT = Path(__file__).parents[1]


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Standard output of a command that must succeed, started in ``folder`` without a word about the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git tracks or would track."""
    required("git and a checkout", shutil.which("git") is not None and (CHECKOUT / ".git").exists())
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=CHECKOUT).split("\0")
    copy = tmp_path_factory.mktemp("source") / "copy"
    for name in filter(None, names):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one wheel that the checkout builds."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, folder=source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of a clean environment are: the wheel in it, its dependencies lent by this environment.

    The .pth file adds one folder and nothing else: a .pth file in that folder (an editable installation's) is not read.
    """
    environment = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=environment.parent)
    paths = {"base": str(environment), "platbase": str(environment)}
    scripts = Path(sysconfig.get_path("scripts", "venv", vars=paths))
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, folder=environment.parent)
    site_packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    lent = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site_packages / "dependencies.pth").write_text("\n".join(lent) + "\n", encoding="utf-8")
    return scripts


def geosynth(programs: Path) -> str:
    """The console script."""
    found = shutil.which("geosynth", path=programs)
    assert found is not None, sorted(programs.iterdir())
    return found


def test_the_wheel_holds_what_the_program_needs_and_no_more(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        contents = {name: archive.read(name) for name in names}
    assert wheel.name.startswith("geosynth_eo-") and wheel.name.endswith("-py3-none-any.whl")
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"geosynth", "geosynth_cli"}
    needed = {
        "geosynth/py.typed",
        "geosynth/evaluation/report.html",
        "geosynth/base/geosynth.json",
        "geosynth/base/lineage.json",
        "geosynth/base/model_index.json",
        "geosynth/base/denoiser/config.json",
        "geosynth_cli/main.py",
    }
    assert needed <= set(names)
    # Every module of the checkout, and no other.
    modules = {path.relative_to(source).as_posix() for path in (source / "geosynth").rglob("*.py")}
    modules |= {path.relative_to(source / "cli").as_posix() for path in (source / "cli").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert not [name for name in names if {"tests", "__pycache__", ".geosynth"} & set(name.split("/"))]
    # The generator is whole, small enough to ship, and stays what it was.
    base = json.loads(contents["geosynth/base/geosynth.json"])
    assert {f"geosynth/base/{name}" for name in base["files"]} <= set(names)
    assert sum(len(content) for name, content in contents.items() if name.startswith("geosynth/base/")) <= 12 << 20
    for name, content in contents.items():
        for place in (CHECKOUT, source):
            assert str(place).encode() not in content, f"{name} speaks of {place}"
    metadata = next(content for name, content in contents.items() if name.endswith(".dist-info/METADATA")).decode()
    assert "Name: geosynth-eo" in metadata and "Requires-Dist: torch" in metadata
    entry_points = next(content for name, content in contents.items() if name.endswith("entry_points.txt")).decode()
    assert "geosynth = geosynth_cli.main:run" in entry_points


def test_the_installed_program_runs_anywhere(programs: Path, tmp_path: Path) -> None:
    code = "import geosynth, geosynth_cli; print(geosynth.__file__); print(geosynth_cli.__file__)"
    for line in run(programs / "python", "-c", code, folder=tmp_path).splitlines():
        assert Path(line).is_relative_to(programs.parent), f"{line} is not the installed one"
    code = "import sys; print([path for path in sys.path if path in sys.argv[1:]])"
    ours = [str(CHECKOUT), str(CHECKOUT / "cli"), str(CHECKOUT / "tests")]
    assert run(programs / "python", "-c", code, *ours, folder=tmp_path).strip() == "[]"

    program = geosynth(programs)
    assert "Example" in run(program, "tile", "--help", folder=tmp_path)
    assert "demo" in run(program, "--help", folder=tmp_path)
    base = json.loads(run(program, "inspect", "base", "--json", folder=tmp_path))
    assert base["kind"] == "generator"
    facts = json.loads(run(program, "env", "--json", folder=tmp_path))
    assert facts["packages"]["torch"] and facts["protocol"] == 1
    assert Path(facts["executable"]).is_relative_to(programs)
    assert not list(tmp_path.iterdir())


def test_the_installed_base_makes_pairs_here(programs: Path, tmp_path: Path) -> None:
    """The weights are there and load; what it makes is a tileset, in the folder the program was started in."""
    program = geosynth(programs)
    arguments = ("generate", "base", "--count", "1", "--steps", "1", "--batch", "1", "--out", "pairs")
    assert "1 pairs in pairs" in run(program, *arguments, folder=tmp_path)
    assert json.loads(run(program, "inspect", "pairs", "--json", folder=tmp_path))["tiles"] == 1
