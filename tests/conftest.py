"""Shared fixtures: small made-up tilesets, a tiny generator, where real data and other programs are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.events import Events
from geosynth.folders import claim
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, load_legend
from geosynth.rasters import Band
from geosynth.tileset import Split, Tileset, TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles
from geosynth.world import Landscape

SIDE = 32
RGB = tuple(Band(name, "uint8") for name in ("red", "green", "blue"))


def pytest_configure() -> None:
    # One test a core: threads would only fight over them, and numbers would depend on how many there are.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what one process of a parallel run does, so that no fixture is made twice; begin with what takes longest."""
    items.sort(key=lambda item: item.path.name != "test_kill.py")
    for item in items:
        folder, name = item.path.parent.name, item.path.name
        group = "pretrained" if folder == "pretrained" else item.nodeid if name == "test_kill.py" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def required(what: str, found: bool) -> None:
    """Skip where something is missing on a user's machine; fail where continuous integration must have it."""
    if found:
        return
    if os.environ.get("GEOSYNTH_CI"):
        pytest.fail(f"{what} is missing, and continuous integration must have it")
    pytest.skip(f"{what} is not here")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scenes, where there is one (``GEOSYNTH_DATA``, or ../shared/data beside the checkout)."""
    given = os.environ.get("GEOSYNTH_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if given:
        required(f"the real data in {folder}", folder.is_dir())
    elif not folder.is_dir():
        pytest.skip("no real data here")
    return folder


def world_tiles(
    path: Path,
    rows: int = 4,
    cols: int = 6,
    seed: int = 0,
    side: int = SIDE,
    known: Callable[[int, int], int] | None = None,
) -> Path:
    """A tileset of the made-up world: the last two columns are val and test.

    ``known(row, col)`` is how many rows of pixels of a tile have labels; None: all.
    """
    spec = TileSpec(f"world{seed}", RGB, load_legend("world"), CRS.from_epsg(32633), (1.0, 1.0), 1.0, side)
    landscape = Landscape(seed)
    splits: dict[int, Split] = {cols - 2: "val", cols - 1: "test"}
    with claim(path, {"command": "test", "seed": seed, "rows": rows, "cols": cols, "side": side}) as out:
        for row in range(rows):
            records = []
            for col in range(cols):
                image, mask = landscape.render(row * side, col * side, side, side)
                if known is not None:
                    mask[known(row, col) :] = UNKNOWN
                grid = Grid(spec.crs, Affine(1, 0, 500_000 + col * side, 0, -1, 5_000_000 - row * side), side, side)
                records.append(
                    encode_tile(
                        spec,
                        f"scene_r{row:05d}_c{col:05d}",
                        grid,
                        image,
                        np.ones((side, side), bool),
                        mask,
                        {"GEOSYNTH_SYNTHETIC": "none"},
                        split=splits.get(col, "train"),
                        scene="scene",
                        row=row * side,
                        col=col * side,
                        image_origin="real",
                        mask_origin="human",
                        placement="real",
                    )
                )
            out.record(f"row-{row}", {"tiles": write_tiles(out.path, records)})
        compact(out, spec)
    return path


@pytest.fixture(scope="session")
def shared_world_tileset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tileset of 24 tiles of 32 px; do not change it."""
    return world_tiles(tmp_path_factory.mktemp("world") / "tiles")


@pytest.fixture
def world_tileset(shared_world_tileset: Path, tmp_path: Path) -> Path:
    """A copy of the tileset that a test may damage."""
    shutil.copytree(shared_world_tileset, tmp_path / "tiles")
    return tmp_path / "tiles"


@pytest.fixture(scope="session")
def shared_generator(shared_world_tileset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator trained for a few steps; do not change it."""
    from geosynth.diffusion.train import TrainRequest, train_generator

    out = tmp_path_factory.mktemp("generator") / "model"
    train_generator(shared_world_tileset, TrainRequest(steps=4, batch=2), out, Events(), threads=1, precision="32")
    return out


@pytest.fixture
def generator(shared_generator: Path, tmp_path: Path) -> Path:
    """A copy of the generator that a test may damage."""
    shutil.copytree(shared_generator, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def opened(world_tileset: Path) -> Tileset:
    return Tileset(world_tileset)


# The Stable Diffusion route; see tests/geosynth/pretrained/tiny_diffusion.py.


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of a million weights that was taught for seconds; do not change it."""
    from tiny_diffusion import build

    return build(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def patchworks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 tiles of 32 px; do not change them."""
    from tiny_diffusion import tiles

    return tiles(tmp_path_factory.mktemp("patchworks") / "tiles")


@pytest.fixture(scope="session")
def told() -> list[tuple[str, int, float]]:
    """What the training of ``painter`` told: name, step, value."""
    return []


@pytest.fixture(scope="session")
def painter(
    tiny: Path, patchworks: Path, told: list[tuple[str, int, float]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A generator of the Stable Diffusion route, trained for a minute; do not change it."""
    from tiny_diffusion import learnt

    return learnt(tiny, patchworks, tmp_path_factory.mktemp("painter") / "model", told)


@pytest.fixture(scope="session")
def painted(painter: Path, patchworks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for each mask of ``patchworks``; do not change them."""
    from tiny_diffusion import paint

    return paint(painter, patchworks, tmp_path_factory.mktemp("painted") / "tiles")
