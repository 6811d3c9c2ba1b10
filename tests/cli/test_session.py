"""What every command has around it, tried through ``inspect`` and ``generate`` in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GEOSYNTH = [sys.executable, "-c", "from geosynth_cli.main import run; run()"]


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GEOSYNTH, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_help_is_quick_and_every_command_has_an_example() -> None:
    from geosynth_cli.main import COMMANDS

    # The best of three: another process may have the processor for a while.
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = run("--help")
        times.append(time.perf_counter() - start)
    assert result.returncode == 0
    assert min(times) < 0.7
    for name in COMMANDS:
        assert name in result.stdout
        page = run(name, "--help")
        assert page.returncode == 0, page.stderr
        assert f"Example: geosynth {name}" in page.stdout


def test_help_does_not_import_the_heavy_libraries() -> None:
    code = (
        "import sys, geosynth, geosynth_cli.main as m; [m.cli.get_command(None, n) for n in m.COMMANDS];"
        "print([n for n in ('torch', 'rasterio', 'geopandas', 'diffusers') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_exit_codes_and_one_line_errors(tmp_path: Path) -> None:
    failed = run("inspect", tmp_path / "nothing.tif")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert len(failed.stderr.strip().splitlines()) == 1
    assert failed.stderr.startswith("Error: ")
    assert "nothing.tif" in failed.stderr and " — " in failed.stderr
    assert "Traceback" in run("inspect", tmp_path / "nothing.tif", "--debug").stderr
    assert run("inspect").returncode == 2
    assert run("generate", "base", "--out", tmp_path / "x").returncode == 2
    assert run("no-such-command").returncode == 2


def test_json_lines_own_standard_output(shared_world_tileset: Path, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    result = run("inspect", shared_world_tileset, "--progress", "jsonl", "--events", log)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["hello", "done"]
    assert lines[0]["command"] == "inspect"
    assert "tileset" in lines[1]["message"]
    assert log.read_text() == result.stdout
    failed = run("inspect", tmp_path, "--progress", "jsonl")
    assert failed.returncode == 1
    assert json.loads(failed.stdout.splitlines()[-1])["event"] == "error"


def generate_slowly(model: Path, out: Path, *options: str | Path) -> list[str]:
    arguments = ["generate", model, "--out", out, "--count", "4000", "--steps", "2", "--workers", "1", *options]
    return [*GEOSYNTH, *map(str, arguments)]


def wait_for(path: Path, pattern: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {path} after {seconds} s"
        time.sleep(0.05)


def test_a_cancel_file_ends_the_run_resumably(shared_generator: Path, tmp_path: Path) -> None:
    out, stop = tmp_path / "out", tmp_path / "stop"
    process = subprocess.Popen(generate_slowly(shared_generator, out, "--cancel-file", stop), stderr=subprocess.PIPE)
    wait_for(out, "images/*.tif")
    stop.touch()
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"--resume" in message
    assert list(out.glob(".geosynth/journal/*.json"))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_resumably(shared_generator: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(generate_slowly(shared_generator, out), stderr=subprocess.PIPE)
    wait_for(out, "images/*.tif")
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Cancelled" in message and b"Traceback" not in message


def test_the_child_stops_when_its_parent_goes_away(shared_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        generate_slowly(shared_generator, out, "--watch-stdin"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    wait_for(out, "images/*.tif")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == 130


def test_a_watched_run_ends_well_while_its_parent_lives(shared_world_tileset: Path) -> None:
    command = [*GEOSYNTH, "inspect", str(shared_world_tileset), "--watch-stdin"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.wait(timeout=60) == 0  # standard input is still open
    assert process.stdin is not None and process.stderr is not None
    process.stdin.close()
    assert process.stderr.read() == b""


def test_events_that_cannot_be_written_are_refused_before_the_run(tmp_path: Path) -> None:
    result = run("env", "--events", tmp_path / "nowhere" / "events.jsonl")
    assert result.returncode == 2
    assert "cannot be written" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_workers_end_with_their_parent(shared_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = generate_slowly(shared_generator, out)
    command[command.index("--workers") + 1] = "2"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(out, "images/*.tif")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end, "workers live on without their parent"
        time.sleep(0.1)


def test_a_reader_that_goes_away_is_no_traceback(shared_world_tileset: Path) -> None:
    process = subprocess.Popen(
        [*GEOSYNTH, "inspect", str(shared_world_tileset)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    _, message = process.communicate(timeout=60)
    assert "Traceback" not in message and "Exception" not in message


def test_env_tells_programs_what_they_need(tmp_path: Path) -> None:
    facts = json.loads(run("env", "--json").stdout)
    assert facts["protocol"] == 1
    assert facts["missing"] == [] or all("optional" in entry for entry in facts["missing"])
    assert facts["packages"]["torch"]
    assert Path(facts["executable"]).exists()


def test_inspect_knows_what_things_are(shared_world_tileset: Path, shared_generator: Path) -> None:
    def kind(path: Path) -> str:
        result = run("inspect", path, "--json")
        assert result.returncode == 0, result.stderr
        return str(json.loads(result.stdout)["kind"])

    assert kind(shared_world_tileset) == "tileset"
    assert kind(shared_generator) == "generator"
    assert kind(next(shared_world_tileset.glob("images/*.tif"))) == "raster"
