"""The panel without a screen: in QGIS's own Python with pytest-qgis, and under Qt 6 with a hollow QGIS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import required
from qgispython import has_bindings, offscreen, shared_qgis_python

from geosynth.world import Landscape
from geosynth.world.scene import write_scene

HERE = Path(__file__).parent
PLUGINS = HERE.parents[1] / "plugin_qgis"


@pytest.fixture(scope="module")
def qgis_python() -> Path:
    required("QGIS", has_bindings())
    return shared_qgis_python()


def test_the_panel_in_qgis(qgis_python: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    write_scene(Landscape(3), scenes, "scene", 0, 0, 256, 256)
    environment = offscreen(tmp_path) | {
        "PYTHONPATH": f"{PLUGINS}:{HERE / 'in_qgis'}:/usr/share/qgis/python/plugins",
        "GEOSYNTH_TEST_TILES": str(shared_world_tileset),
        "GEOSYNTH_TEST_SCENES": str(scenes),
        "GEOSYNTH_TEST_PYTHON": sys.executable,
    }
    command = [qgis_python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "panel_fixtures"]
    command += ["--confcutdir", HERE / "in_qgis"]
    result = subprocess.run(
        [*command, *(HERE / "in_qgis" / f"{name}_tests.py" for name in ("panel", "environment"))],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]


def test_the_panel_under_qt_6(qgis_python: Path, tmp_path: Path) -> None:
    (tmp_path / "arms.csv").write_text(
        "arm,runs,mean_iou,mean_iou_se,difference,seeds_low,seeds_high\nreal,3,0.4,0.1,,,\nmixed,3,0.5,0.1,0.1,0,0.2\n"
    )
    (tmp_path / "classes.csv").write_text("arm,class,iou,iou_se,gain\nreal,water,0.4,0.1,\nmixed,water,0.5,0.1,0.1\n")
    result = subprocess.run(
        [qgis_python, HERE / "qt6" / "build_panel.py", PLUGINS, tmp_path, tmp_path / "panel.png"],
        capture_output=True,
        text=True,
        check=False,
        env=offscreen(tmp_path),
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "built under Qt 6" in result.stdout
    assert (tmp_path / "panel.png").stat().st_size > 5000
