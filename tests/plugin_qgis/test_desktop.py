"""The panel in the real QGIS desktop, by real clicks, with the real geosynth: what is made is loaded and rendered."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import required
from desktop.driving import Desktop, missing_programs
from numpy.typing import NDArray

from geosynth.world import Landscape
from geosynth.world.scene import write_scene

Screen = NDArray[np.uint8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = missing_programs()
    required(f"a desktop ({', '.join(missing)})", not missing)
    here = tmp_path_factory.mktemp("desktop")
    (here / "scenes").mkdir()
    for name, col, width in (("scene", 0, 256), ("next", 256, 128)):
        write_scene(Landscape(7, "temperate"), here / "scenes", name, 0, col, 256, width)
    return here


@pytest.fixture(scope="module")
def desktop(folder: Path) -> Iterator[Desktop]:
    with Desktop(folder, sys.executable) as here:
        open_panel(here)
        yield here


def open_panel(here: Desktop) -> None:
    """Show the panel by its button, and wait for the environment to answer."""
    here.ask(f"do(project().writeEntry('geosynth', 'folder', {str(here.folder / 'work')!r}))")
    here.click(here.wait("action_place('geosynthAction')", 60))
    here.wait("widget('GeosynthDock') is not None", 60)
    here.wait("dock()._handshake is not None", 200, "the handshake")


def turn_to(here: Desktop, step: str) -> None:
    here.click(here.ask(f"cell(dock().steps, 0, {step!r})"))
    here.wait(f"dock().steps.currentItem().text() == {step!r}", 60, f"the page {step}")


def enter(here: Desktop, name: str, text: str) -> None:
    """Type a value into a field of the panel."""
    here.click(name)
    here.key("ctrl+a")
    here.type(text)
    here.key("Tab")
    here.wait(f"widget({name!r}).text() == {text!r}", 60, f"{text} in {name}")


def choose(here: Desktop, **values: object) -> None:
    """Set fields of the page that is shown, other than by hand."""
    for name, value in values.items():
        here.ask(f"do(dock().pages[dock().steps.currentRow()].field({name!r}).setValue({value!r}))")


def run(here: Desktop, button: str, seconds: float = 400, ends: str = "done") -> None:
    """Click the button of a page and wait for the end of its run."""
    pressable = f"(lambda b: b is not None and b.isEnabled())(widget({button!r}))"
    here.wait(
        pressable, 60, f"{button} can be pressed: {here.ask('dock().pages[dock().steps.currentRow()]._words.text()')}"
    )
    here.click(button)
    here.wait("dock().view.run is not None and dock().view.busy", 60, "the run begins")
    here.wait("not dock().view.busy", seconds, "the run ends")
    state = here.ask("[dock().view.run.state, dock().view._message.text(), dock().view._log.toPlainText()[-1500:]]")
    assert state[0] == ends, state


def settle(here: Desktop) -> None:
    """Wait until the map is drawn, with nothing over it."""
    here.ask("do(iface.messageBar().clearWidgets())")
    here.wait("redrawn()", 60, "the map is drawn")  # again where the panel or a layer has begun another drawing


def pixels_on_screen(here: Desktop, raster: Path, screen: Screen, every: int = 5) -> tuple[Screen, Screen]:
    """Colours of a raster's pixels, in the file and on the screen, both (pixels, 3)."""
    with rasterio.open(raster) as dataset:
        bands = dataset.read([1, 2, 3])
        corner, far = dataset.transform @ (0.5, 0.5), dataset.transform @ (dataset.width - 0.5, dataset.height - 0.5)
    first, last = here.ask(f"[on_map({corner[0]}, {corner[1]}), on_map({far[0]}, {far[1]})]")
    rows, cols = np.mgrid[2 : bands.shape[1] - 2 : every, 2 : bands.shape[2] - 2 : every].reshape(2, -1)
    x = np.rint(first[0] + cols / (bands.shape[2] - 1) * (last[0] - first[0])).astype(int)
    y = np.rint(first[1] + rows / (bands.shape[1] - 1) * (last[1] - first[1])).astype(int)
    return bands[:, rows, cols].T, screen[y, x]


def assert_rendered(here: Desktop, raster: Path, screen: Screen) -> None:
    """The screen shows the raster: its pixels in their colours, where they lie. Each must be some pixels wide there."""
    wanted, seen = pixels_on_screen(here, raster, screen)
    apart = np.abs(wanted.astype(int) - seen.astype(int)).max(1)
    assert len(wanted) > 50
    assert np.mean(apart <= 12) > 0.99, f"only {np.mean(apart <= 12):.0%} of the pixels are there"


def processes_naming(word: str) -> list[int]:
    """Processes that have a word on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_generate_loads_and_draws_pairs_of_the_shipped_base(desktop: Desktop, folder: Path) -> None:
    turn_to(desktop, "Generate")
    enter(desktop, "geosynth_generate_new_COUNT", "4")
    assert desktop.ask("dock().generate.values()['COUNT']") == 4
    choose(desktop, STEPS=4)
    run(desktop, "geosynthRun_generate")
    names = desktop.ask("sorted(layer.name() for layer in project().mapLayers().values())")
    assert names == [
        "SYNTHETIC images · synthetic",
        "SYNTHETIC index of tiles · synthetic",
        "SYNTHETIC masks · synthetic",
    ]
    tile = folder / "work" / "synthetic" / "images" / "s0_0000001.tif"
    with rasterio.open(tile) as dataset:
        box = tuple(dataset.bounds)
    settle(desktop)  # the panel itself moves the map to what was made
    assert desktop.ask(f"iface.mapCanvas().extent().contains(QgsRectangle(*{box}))")
    desktop.ask(f"do(show_map(*{box}))")
    settle(desktop)
    assert_rendered(desktop, tile, desktop.shot(folder / "generated.png"))


def test_a_mask_drawn_with_the_mouse_is_painted_where_it_was_drawn(desktop: Desktop, folder: Path) -> None:
    scene = folder / "scenes" / "scene.tif"
    desktop.ask("do(project().removeAllMapLayers())")
    assert desktop.ask(f"iface.addRasterLayer({str(scene)!r}, 'scene').isValid()")
    with rasterio.open(scene) as dataset:
        west, south, east, north = dataset.bounds
    x, y = (west + east) / 2, (south + north) / 2
    desktop.ask("do(project().setCrs(next(iter(project().mapLayers().values())).crs()))")
    desktop.ask(f"do(show_map({x - 60}, {y - 60}, {x + 60}, {y + 60}))")
    turn_to(desktop, "Generate")
    desktop.ask("do(dock().generate.mode.setCurrentIndex(dock().generate.mode.findData('drawn')))")
    for name, corners in (
        ("field", [(-35, -35), (35, -35), (35, 35), (-35, 35)]),
        ("water", [(-20, -20), (15, -25), (10, 20), (-22, 18)]),
    ):
        desktop.click(f"geosynthClass_{name}")
        places = [desktop.ask(f"on_map({x + right}, {y + up})") for right, up in corners]
        for place in places:
            desktop.click(place)
        desktop.click(places[-1], button=3)
    desktop.wait("dock().generate._sketch.count() == 2", 10, "two polygons are drawn")
    desktop.shot(folder / "drawn.png")
    choose(desktop, STEPS=4)
    run(desktop, "geosynthRun_generate")
    settle(desktop)
    screen = desktop.shot(folder / "painted.png")
    image, mask = folder / "work" / "painted" / "image.tif", folder / "work" / "painted" / "mask.tif"
    assert_rendered(desktop, image, screen)
    with rasterio.open(mask) as dataset, rasterio.open(image) as painted:
        assert dataset.bounds.left == pytest.approx(x - 35, abs=1.5)
        assert dataset.bounds.top == pytest.approx(y + 35, abs=1.5)
        assert painted.tags()["GEOSYNTH_SYNTHETIC"] in ("image", "both")
        classes = dataset.read(1)
    middle = classes[classes.shape[0] // 2, classes.shape[1] // 2]
    assert (middle, classes[4, 4]) == (3, 5)  # water in the middle, field around it
    assert any("SYNTHETIC" in name for name in desktop.ask("[l.name() for l in project().mapLayers().values()]"))


def test_cancel_stops_all_processes_and_what_is_finished_is_kept(desktop: Desktop, folder: Path) -> None:
    turn_to(desktop, "Generate")
    desktop.ask("do(dock().generate.mode.setCurrentIndex(0))")
    enter(desktop, "geosynth_generate_new_COUNT", "4000")
    choose(desktop, STEPS=2)
    out = desktop.ask("dock().generate.output.value()")
    desktop.wait("widget('geosynthRun_generate').isEnabled()", 60)
    desktop.click("geosynthRun_generate")
    desktop.wait("(dock().view._tracker.fraction or 0) > 0", 400, "progress")
    assert processes_naming(out)
    began = time.monotonic()
    desktop.click("geosynthCancel")
    desktop.wait("not dock().view.busy", 10, "it is cancelled")
    while processes_naming(out):
        assert time.monotonic() - began < 5, "processes are left"
        time.sleep(0.02)
    assert time.monotonic() - began < 4  # two seconds of the panel, and what the mouse and the questions take
    assert desktop.ask("dock().view.run.state") == "cancelled"
    assert list(Path(out).glob("images/*.tif")), "nothing was kept"
    assert not (Path(out) / "tileset.json").exists()
    assert desktop.ask("dock().view._again.isVisible()")
    desktop.ask("do(dock().view._put_away())")


def test_from_a_scene_to_polygons(desktop: Desktop, folder: Path) -> None:
    work = folder / "work"
    desktop.ask("do(project().removeAllMapLayers())")
    for name in ("scene", "scene_mask", "next"):
        path = str(folder / "scenes" / f"{name}.tif")
        assert desktop.ask(f"iface.addRasterLayer({path!r}, {name!r}).isValid()")
    turn_to(desktop, "Tiles")
    desktop.wait("dock().tiles.field('SCENES')._list.count() == 3", 60)
    desktop.click(desktop.ask("tick(dock().tiles.field('SCENES')._list, 'scene')"))
    desktop.click(desktop.ask("tick(dock().tiles.field('LABELS')._list, 'scene_mask')"))
    choose(desktop, SIZE=32)
    run(desktop, "geosynthRun_tile")
    turn_to(desktop, "Generator")
    assert desktop.ask("dock().generator.values()['TILES']") == str(work / "tiles")
    choose(desktop, STEPS=2, BATCH=2, SAMPLES_EVERY=2, THREADS=1)
    run(desktop, "geosynthRun_train")
    assert desktop.ask("dock().view.run.detached")
    assert desktop.ask("str(dock().view._picture.path)").endswith(".png"), "no picture of samples is shown"
    desktop.shot(folder / "trained.png")
    turn_to(desktop, "Generate")
    enter(desktop, "geosynth_generate_new_COUNT", "4")
    choose(desktop, STEPS=2)
    assert desktop.ask("dock().generate.values()['MODEL']") == str(work / "generator")
    out = desktop.ask("dock().generate.output.value()")
    run(desktop, "geosynthRun_generate")
    turn_to(desktop, "Segment")
    assert desktop.ask("dock().segment.values()['SYNTHETIC']") == out
    choose(desktop, STEPS=4, BATCH=2, THREADS=1)
    run(desktop, "geosynthRun_segment")
    turn_to(desktop, "Predict")
    desktop.click(desktop.ask("tick(dock().predict.field('SCENES')._list, 'next')"))
    run(desktop, "geosynthRun_predict")
    assert desktop.ask("dock().view.run.command") == "vectorize"
    assert (work / "classes" / "next.tif").exists() and (work / "classes.gpkg").exists()
    polygons = desktop.ask(
        "[l.featureCount() for l in project().mapLayers().values() if l.name() == 'polygons · classes']"
    )
    assert polygons and polygons[0] > 0
    with rasterio.open(work / "classes" / "next.tif") as dataset:
        desktop.ask(f"do(show_map(*{tuple(dataset.bounds)}))")
    before = desktop.shot(folder / "before.png")
    desktop.ask("do(only_layer('polygons · classes'))")
    settle(desktop)
    screen = desktop.shot(folder / "polygons.png")
    assert_polygons_rendered(desktop, work / "classes" / "next.tif", screen)
    assert before.shape == screen.shape


def assert_polygons_rendered(here: Desktop, classes: Path, screen: Screen) -> None:
    """Polygons are filled with the colours of the classes they were made of."""
    with rasterio.open(classes) as dataset:
        ids, palette = dataset.read(1), dataset.colormap(1)
        corner, far = dataset.transform @ (0.5, 0.5), dataset.transform @ (dataset.width - 0.5, dataset.height - 0.5)
    first, last = here.ask(f"[on_map({corner[0]}, {corner[1]}), on_map({far[0]}, {far[1]})]")
    see_through = here.ask(
        "(lambda l: l.opacity() * l.renderer().categories()[0].symbol().opacity()"
        " * l.renderer().categories()[0].symbol().color().alphaF())(project().mapLayersByName('polygons · classes')[0])"
    )
    right = 0
    places = [(row, col) for row in range(4, ids.shape[0] - 4, 12) for col in range(4, ids.shape[1] - 4, 12)]
    for row, col in places:
        x = round(first[0] + col / (ids.shape[1] - 1) * (last[0] - first[0]))
        y = round(first[1] + row / (ids.shape[0] - 1) * (last[1] - first[1]))
        wanted = 255 + see_through * (np.array(palette[int(ids[row, col])][:3]) - 255)  # over white paper
        right += np.abs(screen[y, x] - wanted).max() <= 20
    assert right > 0.6 * len(places), f"{right} of {len(places)}"  # borders are drawn, too


def test_a_training_survives_qgis_and_is_found_again(desktop: Desktop, folder: Path) -> None:
    turn_to(desktop, "Generator")
    choose(desktop, STEPS=5000, BATCH=1, SIZE=16, CHECKPOINT_EVERY=5, THREADS=1)
    desktop.wait("widget('geosynthRun_train').isEnabled()", 60)
    out = desktop.ask("dock().generator.output.value()")
    desktop.click("geosynthRun_train")
    desktop.wait("(dock().view._tracker.fraction or 0) > 0", 400, "progress")
    desktop.close()
    assert processes_naming(out), "it ended with QGIS"
    with Desktop(folder, sys.executable) as again:
        open_panel(again)
        again.wait("dock().view.busy and dock().view.run.detached", 20, "it is found again")
        again.wait("'of 5000 steps' in dock().view._line.text()", 20, "its progress is shown")
        time.sleep(1.5)
        again.shot(folder / "found-again.png")
        again.click("geosynthCancel")
        again.wait("not dock().view.busy", 10, "it is cancelled")
        deadline = time.monotonic() + 3
        while processes_naming(out):
            assert time.monotonic() < deadline, "processes are left"
            time.sleep(0.05)
        assert again.ask("dock().view.run.state") == "cancelled"
    assert (Path(out) / ".geosynth" / "last.ckpt").exists(), "it cannot be gone on with"
