"""The Processing provider: in QGIS's own Python with pytest-qgis, and in qgis_process as on a server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import required
from qgispython import has_bindings, offscreen, shared_qgis_python

from geosynth.world import Landscape
from geosynth.world.scene import write_scene

HERE = Path(__file__).parent
PLUGINS = HERE.parents[1] / "plugin_qgis"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scénes of mine")
    write_scene(Landscape(3), folder, "scene", 0, 0, 256, 256)
    return folder


def test_the_provider_in_qgis(scenes: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    required("QGIS", has_bindings())
    environment = offscreen(tmp_path) | {
        "PYTHONPATH": f"{PLUGINS}:{HERE / 'in_qgis'}:/usr/share/qgis/python/plugins",
        "GEOSYNTH_TEST_TILES": str(shared_world_tileset),
        "GEOSYNTH_TEST_SCENES": str(scenes),
        "GEOSYNTH_TEST_PYTHON": sys.executable,
        "OMP_NUM_THREADS": "2",
    }
    command = [shared_qgis_python(), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "processing_fixtures"]
    result = subprocess.run(
        [
            *(*command, "--rootdir", tmp_path, "--confcutdir", HERE / "in_qgis"),
            *(HERE / "in_qgis" / f"{name}_tests.py" for name in ("processing", "running")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=900,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-8000:]
    assert "skipped" not in result.stdout.splitlines()[-1], result.stdout


@pytest.fixture
def qgis_process(tmp_path: Path) -> Any:
    """Runs an algorithm in a profile of its own, where the plugin was put as users put it, and is enabled."""
    # The wrapper of 3.22 passes an option that it does not know itself.
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    required("qgis_process", program is not None)
    shutil.copytree(PLUGINS / "geosynth_qgis", tmp_path / "plugins" / "geosynth_qgis")
    environment = offscreen(tmp_path) | {
        "QGIS_PLUGINPATH": str(tmp_path / "plugins"),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
        "GEOSYNTH_PYTHON": sys.executable,
        # QGIS sets such things on other systems, and they must not reach the child.
        "PYTHONPATH": "/usr/share/qgis/python",
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *arguments], capture_output=True, text=True, check=False, env=environment, timeout=400
        )

    enabled = call("plugins", "enable", "geosynth_qgis")
    assert enabled.returncode == 0, enabled.stderr
    return call


def test_scene_to_polygons_without_a_desktop(qgis_process: Any, scenes: Path, tmp_path: Path) -> None:
    def run(name: str, **parameters: str | int) -> dict[str, Any]:
        given = [f"--{key}={value}" for key, value in parameters.items()]
        result = qgis_process("--json", "run", f"geosynth:{name}", *given)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
        results: dict[str, Any] = json.loads(result.stdout)["results"]
        return results

    listed = qgis_process("list").stdout
    assert "geosynth:tile" in listed and "geosynth:evaluate" in listed
    assert "Side of a tile" in qgis_process("help", "geosynth:tile").stdout
    scene = str(scenes / "scene.tif")
    tiles = run("tile", SCENES=scene, LABELS=str(scenes / "scene_mask.tif"), LEGEND="world", SIZE=64,
                OUTPUT=str(tmp_path / "tiles"))  # fmt: skip
    made = run("generate", MODEL="base", COUNT=2, STEPS=2, WORKERS=1, OUTPUT=str(tmp_path / "synthetic"))
    segmenter = run("segment", TILES=tiles["OUTPUT"], SYNTHETIC=made["OUTPUT"], STEPS=2, BATCH=2,
                    OUTPUT=str(tmp_path / "segmenter"))  # fmt: skip
    classes = run("predict", SEGMENTER=segmenter["OUTPUT"], SCENES=scene, OUTPUT=str(tmp_path / "classes"))
    polygons = run("vectorize", MASKS=classes["CLASSES"], SIEVE=20, OUTPUT=str(tmp_path / "polygons.gpkg"))
    assert Path(polygons["OUTPUT"]).stat().st_size > 10_000
    assert "polygons in" in polygons["MESSAGE"]
    # What it cannot do it says, and the exit code says it, too.
    wrong = qgis_process("run", "geosynth:generate", "--MODEL=base", f"--OUTPUT={tmp_path / 'x'}")
    assert wrong.returncode != 0 and "how many pairs" in wrong.stdout + wrong.stderr
