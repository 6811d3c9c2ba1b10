"""The plugin is packed as its publisher packs it, and holds what the repository of plugins asks for."""

from __future__ import annotations

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest
from conftest import required

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugin_qgis"
PLUGIN = PLUGINS / "geosynth_qgis"
TOOLS = ("qgis-plugin-ci", "bandit", "detect-secrets")
NEEDED = [
    "name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository",
    "homepage",
]  # fmt: skip
HEAVY = {"torch", "rasterio", "geosynth", "geosynth_cli", "geopandas", "pandas", "scipy", "matplotlib", "click"}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The publisher's programs, in an environment of their own: the folder of its programs."""
    required("continuous integration (packing needs the package index)", bool(os.environ.get("GEOSYNTH_CI")))
    folder = tmp_path_factory.mktemp("tools") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *TOOLS], check=True, capture_output=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def package(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, made in a repository of its own."""
    home = tmp_path_factory.mktemp("clone") / "plugin"
    shutil.copytree(PLUGINS, home, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "packed"]):
        subprocess.run([*git, *arguments], cwd=home, check=True, capture_output=True)
    packed = subprocess.run(
        [tools / "qgis-plugin-ci", "package", "0.1.0"], cwd=home, capture_output=True, text=True, check=False
    )
    assert packed.returncode == 0, packed.stdout + packed.stderr
    (made,) = home.glob("*.zip")
    return made


def test_the_package_holds_the_plugin_and_nothing_else(package: Path) -> None:
    assert package.stat().st_size < 25e6
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        text = archive.read("geosynth_qgis/metadata.txt").decode()
    assert all(name.startswith("geosynth_qgis/") for name in names)
    for name in ("__init__.py", "metadata.txt", "LICENSE", "icon.svg", "core/runner.py", "processing/provider.py",
                 "gui/dock.py", "i18n/geosynth.ts"):  # fmt: skip
        assert f"geosynth_qgis/{name}" in names
    assert not [name for name in names if name.endswith(".pyc") or "/." in name or "__pycache__" in name]
    assert "version=0.1.0" in text


def test_the_scanners_of_the_repository_find_nothing(tools: Path) -> None:
    bandit = subprocess.run(
        [tools / "bandit", "-q", "-r", PLUGIN, "-f", "json"], capture_output=True, text=True, check=False
    )
    assert json.loads(bandit.stdout)["results"] == []
    secrets = subprocess.run(
        [tools / "detect-secrets", "scan", "--all-files", PLUGIN], capture_output=True, text=True, check=True
    )
    assert json.loads(secrets.stdout)["results"] == {}


def test_the_metadata_says_what_qgis_asks_for() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(PLUGIN / "metadata.txt", encoding="utf-8")
    facts = parser["general"]
    assert [name for name in NEEDED if not facts.get(name, "").strip()] == []
    assert (facts["qgisMinimumVersion"], facts["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert facts["hasProcessingProvider"] == "yes" and "supportsQt6" not in facts
    assert (PLUGIN / facts["icon"]).is_file()
    assert (PLUGIN / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    from geosynth import __version__

    assert facts["version"] == __version__


def modules() -> list[Path]:
    return sorted(PLUGIN.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PLUGIN)))
def test_every_module_is_for_the_python_of_qgis_and_thin(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    # What is annotated is not evaluated: newer ways to write types do no harm.
    assert "from __future__ import annotations" in text or not any(
        isinstance(n, ast.FunctionDef) for n in ast.walk(tree)
    )
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported.add(node.module.partition(".")[0])
        if isinstance(node, ast.Call):
            assert not any(word.arg == "shell" for word in node.keywords), "no shell"
    assert not imported & (HEAVY | {"PyQt5", "PyQt6", "pickle"})
    if path.is_relative_to(PLUGIN / "core"):
        assert not imported & {"qgis", "processing", "osgeo", "numpy"}, "the core knows no QGIS"


def test_the_core_can_be_imported_without_qgis() -> None:
    names = [f"geosynth_qgis.core.{path.stem}" for path in (PLUGIN / "core").glob("*.py") if path.stem != "__init__"]
    code = f"import sys; sys.path.insert(0, {str(PLUGINS)!r})\nfor name in {names!r}: __import__(name)\n"
    code += "print([name for name in sys.modules if name.split('.')[0] in ('qgis', 'numpy', 'PyQt5')])"
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_text_is_there_for_translators() -> None:
    code = "import json, update_translations as u; print(json.dumps(u.texts()))"
    made = subprocess.run([sys.executable, "-c", code], cwd=PLUGINS, capture_output=True, text=True, check=True)
    texts = json.loads(made.stdout)
    listed = {entry.text for entry in ET.parse(PLUGIN / "i18n" / "geosynth.ts").iter("source")}
    assert len(texts) > 500
    assert [text for text in texts if text not in listed] == [], "run: python plugin_qgis/update_translations.py"
