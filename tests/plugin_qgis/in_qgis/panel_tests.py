"""The panel in QGIS without a screen. Run by test_gui.py in a Python that has QGIS."""

import csv
import json
import time
from pathlib import Path

import pytest
from panel_fixtures import TILES, alive, polygons, scene_layers, wait_for, words
from qgis.core import QgsGeometry, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle, QgsVectorLayer


def square(x, y, side=100.0):
    return QgsGeometry.fromRect(QgsRectangle(x, y, x + side, y + side))


def draw(dock, name, geometry):
    """A polygon as QGIS's digitizing tool adds it: with the layer's default values."""
    from qgis.core import QgsVectorLayerUtils

    entry = next(entry for entry in dock.generate._box.classes() if entry.name == name)
    dock.generate._sketch.draw(entry, dock.generate._box.classes())
    layer = dock.generate._sketch.layer
    feature = QgsVectorLayerUtils.createFeature(layer, geometry)
    assert layer.addFeature(feature)


# -- what is missing is said in words


def test_scenes_and_labels_of_the_project_are_offered_and_what_is_missing_is_said(dock, project):
    assert "Scenes" in words(dock.tiles) and not dock.tiles.run_button.isEnabled()
    scene, mask = scene_layers(project)
    dock.refresh()
    dock.tiles.field("SCENES").tick([scene.id()])
    assert "No labels" in words(dock.tiles)
    dock.tiles.field("LABELS").tick([mask.id()])
    assert words(dock.tiles) == "About 16 tiles of 64 px."
    assert dock.tiles.run_button.isEnabled()
    dock.tiles.field("LABELS").tick([scene.id()])
    assert "scene and label at once" in words(dock.tiles)


def test_polygons_ask_for_what_lies_outside_and_their_class_is_guessed(dock, project):
    scene, _ = scene_layers(project)
    labels = polygons(project, "name:string&field=Class:string")
    dock.refresh()
    dock.tiles.field("SCENES").tick([scene.id()])
    dock.tiles.field("LABELS").tick([labels.id()])
    assert "say whether every object is drawn" in words(dock.tiles)
    dock.tiles.field("OUTSIDE").setCurrentIndex(1)
    assert dock.tiles.check()
    assert dock.tiles.values()["CLASS_FIELD"] == "Class"
    assert dock.tiles.values()["OUTSIDE"] == "background"
    dock.tiles.field("LABELS").tick([])
    assert {"OUTSIDE", "CLASS_FIELD"}.isdisjoint(dock.tiles.values())


def test_every_way_to_generate_gives_parameters_the_algorithm_takes(dock, project):
    from geosynth_qgis.processing.running import check

    scene, mask = scene_layers(project)
    project.addMapLayer(QgsRasterLayer(str(TILES / "images.vrt"), "tiles"))
    dock.refresh()
    page = dock.generate
    wanted = {
        "new": {"COUNT": 8},
        "of": {"RATIO": 1.0, "OF": str(TILES)},
        "masks": {"FROM_MASKS": [mask.id()]},
        "images": {"FROM_IMAGES": [scene.id()]},
        "scene": {"SIZE": "256x256"},
    }
    for mode, expected in wanted.items():
        page.mode.setCurrentIndex(page.mode.findData(mode))
        for name, (widget, _) in page._parts[mode].items():
            if isinstance(expected.get(name), list):
                widget.tick(expected[name])
        values = page.values()
        assert expected.items() <= values.items(), mode
        assert check("generate", values) == [], mode
        assert page.check(), (mode, words(page))


def test_folders_are_found_through_layers_and_the_working_folder(project, tmp_path):
    from geosynth_qgis.gui.folders import free_name, known_folders, working_folder

    assert known_folders(["tileset"], project) == []
    project.addMapLayer(QgsRasterLayer(str(TILES / "images.vrt"), "tiles"))
    assert known_folders(["tileset"], project) == [TILES]
    assert known_folders(["generator"], project) == []
    work = working_folder(project)
    assert work == tmp_path / "work"
    assert free_name(work, "tiles") == work / "tiles"
    (work / "tiles").mkdir()
    assert free_name(work, "tiles").name == "tiles"
    (work / "tiles" / "tileset.json").write_text("{}")
    assert free_name(work, "tiles").name == "tiles-2"
    assert free_name(work, "classes.gpkg").name == "classes.gpkg"


# -- running


def run_tiles(dock, project):
    scene, mask = scene_layers(project)
    dock.refresh()
    dock.tiles.field("SCENES").tick([scene.id()])
    dock.tiles.field("LABELS").tick([mask.id()])
    dock.start(dock.tiles)
    return dock.view.run


def test_a_run_shows_its_progress_and_is_the_processing_algorithm(dock, project):
    run = run_tiles(dock, project)
    said = []
    run.received.connect(lambda event: said.append((event.kind, dock.view._line.text())))
    wait_for(lambda: run.state != "running")
    assert run.state == "done"
    assert any("of 10 steps" in line for _, line in said)
    assert dock.view._curves.curves()["loss_image"][-1] == (9.0, 0.1)
    assert run.outcome.state == "done" and run.results["MESSAGE"].startswith("made")
    assert dock.tiles.run_button.isEnabled()


def test_cancel_ends_all_processes_within_two_seconds(dock, project, fake):
    (fake / "steps").write_text("1000")
    run = run_tiles(dock, project)
    wait_for((fake / "grandchild").exists)
    wait_for(lambda: "of 1000" in dock.view._line.text())
    assert not dock.generator.run_button.isEnabled()
    grandchild = int((fake / "grandchild").read_text())
    assert alive(grandchild)
    began = time.monotonic()
    dock.view.cancel_button.click()
    wait_for(lambda: run.state != "running", 5)
    wait_for(lambda: not alive(grandchild), 5)
    assert time.monotonic() - began < 2
    assert run.state == "cancelled"
    assert "is kept" in dock.view._line.text()
    (fake / "steps").write_text("3")
    assert dock.view._again.isVisibleTo(dock.view)
    dock.view._again.click()
    wait_for(lambda: not dock.view.busy)
    assert dock.view.run.state == "done" and dock.view.run is not run


def train(dock, project, fake, steps):
    (fake / "steps").write_text(str(steps))
    project.addMapLayer(QgsRasterLayer(str(TILES / "images.vrt"), "tiles"))
    dock.refresh()
    dock.generator.field("TILES").choose(str(TILES))
    assert dock.generator.check(), words(dock.generator)
    assert dock.generator.detach.isChecked()
    dock.start(dock.generator)
    wait_for(lambda: "of" in dock.view._line.text())


def test_a_training_survives_the_panel_and_is_found_again_and_cancelled(make_dock, dock, project, fake):
    train(dock, project, fake, 1000)
    job = dock.view.run.job
    dock.stop()
    time.sleep(0.3)
    assert job.state() == "running"
    again = make_dock()
    assert again.view.busy and again.view.run.job.id == job.id
    wait_for(lambda: "of 1000 steps" in again.view._line.text())
    assert [entry.id for entry in again.setup.jobs.live()] == [job.id]
    grandchild = int((fake / "grandchild").read_text())
    began = time.monotonic()
    again.view.cancel_button.click()
    wait_for(lambda: not again.view.busy, 5)
    assert time.monotonic() - began < 2
    wait_for(lambda: not alive(grandchild) and not job.alive(), 3)
    assert again.view.run.state == "cancelled"
    again.setup.jobs.refresh()
    assert again.setup.jobs.tree.topLevelItem(0).text(1) == "cancelled"
    (fake / "steps").write_text("3")
    again.view._again.click()
    wait_for(lambda: not again.view.busy, 10)
    assert again.view.run.state == "done"
    assert len(again.setup.jobs.jobs()) == 2


def test_a_job_can_be_cancelled_and_forgotten_from_the_list(dock, project, fake):
    train(dock, project, fake, 1000)
    jobs = dock.setup.jobs
    dock.view._put_away()
    assert dock.view.isHidden()
    jobs.refresh()
    jobs.tree.setCurrentItem(jobs.tree.topLevelItem(0))
    assert jobs._cancel_button.isEnabled() and not jobs._forget_button.isEnabled()
    jobs._cancel_button.click()
    wait_for(lambda: not jobs.live() and not jobs.jobs()[0].alive(), 5)
    jobs.refresh()
    jobs._forget_button.click()
    assert jobs.jobs() == [] and jobs.tree.topLevelItemCount() == 0


# -- a drawn mask


def test_a_drawing_is_written_in_the_order_it_was_drawn(dock, project):
    page = dock.generate
    page.mode.setCurrentIndex(page.mode.findData("drawn"))
    assert list(page._box.buttons) == ["building", "water"]
    assert "Draw at least one polygon" in words(page)
    dock._iface.mapCanvas().setDestinationCrs(project.crs().fromEpsgId(32633))
    draw(dock, "water", square(500_000, 5_000_000))
    draw(dock, "building", square(500_010, 5_000_010, 20))
    draw(dock, "water", square(500_020, 5_000_020, 5))
    assert page.check(), words(page)
    assert page._box.pixels() == (100, 100)
    page.prepare()
    written = QgsVectorLayer(str(page.drawing_path()), "", "ogr")
    assert [feature["class"] for feature in written.getFeatures()] == ["water", "building", "water"]
    assert written.crs().authid() == "EPSG:32633"
    values = page.values()
    assert values["FROM_MASKS"] == [str(page.drawing_path())]
    assert values["WHOLE"] is True and values["OUTSIDE"] == "unknown" and values["CLASS_FIELD"] == "class"
    page._sketch.undo()
    page._sketch.clear()
    assert page._sketch.count() == 0
    project.removeMapLayer(page._sketch.layer.id())
    assert page._sketch.layer is None and "Draw at least one polygon" in words(page)


def test_a_drawing_too_large_for_the_generator_is_refused_in_words(dock, project):
    page = dock.generate
    page.mode.setCurrentIndex(page.mode.findData("drawn"))
    dock._iface.mapCanvas().setDestinationCrs(project.crs().fromEpsgId(3857))
    draw(dock, "water", square(1_000_000, 6_000_000, 50_000))
    assert "too large" in words(page)
    width, _ = page._box.pixels()
    assert 30_000 < width < 38_000  # web-mercator metres are not ground metres: at 47° north about two thirds
    page._sketch.clear()
    draw(dock, "water", square(1_000_000, 6_000_000, 3))
    assert "smaller than 8 pixels" in words(page)


# -- looking at what was made


def test_polygons_are_loaded_styled_and_named(dock, project, monkeypatch, tmp_path):
    import shutil

    from panel_fixtures import PYTHON, SCENES

    monkeypatch.setenv("GEOSYNTH_PYTHON", PYTHON)
    (tmp_path / "classes").mkdir()
    for path in SCENES.glob("scene_mask.*"):
        shutil.copy(path, tmp_path / "classes")
    values = {"MASKS_FOLDER": str(tmp_path / "classes"), "OUTPUT": str(tmp_path / "classes.gpkg")}
    dock.run("vectorize", values, "Polygons")
    wait_for(lambda: not dock.view.busy, 90)
    assert dock.view.run.state == "done", dock.view._message.text()
    (layer,) = project.mapLayersByName("polygons · classes")
    assert layer.renderer().type() == "categorizedSymbol" and layer.featureCount() > 10
    assert project.layerTreeRoot().children()[0].name() == "geosynth"


def test_a_tileset_without_a_place_on_earth_is_drawn_as_it_is(dock, project, tmp_path):
    import shutil

    tiles = tmp_path / "plain"
    shutil.copytree(TILES, tiles)
    local = 'LOCAL_CS["Unknown engineering CRS",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    for name in ("images", "masks"):
        vrt = tiles / f"{name}.vrt"
        text = vrt.read_text()
        begin, end = text.index("<SRS"), text.index("</SRS>")
        vrt.write_text(text[:begin] + "<SRS>" + local.replace('"', "&quot;") + text[end:])
    dock.load(str(tiles))
    layers = [layer for layer in project.mapLayers().values() if layer.name().startswith(("images", "masks"))]
    assert len(layers) == 2 and not any(layer.crs().isValid() for layer in layers)


def test_verdicts_are_given_on_the_sheet_and_written_by_the_command(dock, monkeypatch, tmp_path):
    import shutil

    from panel_fixtures import PYTHON

    monkeypatch.setenv("GEOSYNTH_PYTHON", PYTHON)
    tiles = tmp_path / "copy"
    shutil.copytree(TILES, tiles)
    from geosynth_qgis.gui.review import ReviewDialog

    dialog = ReviewDialog(str(tiles), dock.run)
    dialog.show()
    wait_for(lambda: not dialog._drawing.isActive())
    assert dialog.list.count() == 24
    assert not dialog.list.item(0).icon().isNull()
    first, second, third = (dialog.list.item(row).text() for row in range(3))
    dialog.list.setCurrentRow(0)
    dialog.buttons["rejected"].click()
    assert dialog.list.currentRow() == 1
    dialog.buttons["accepted"].click()
    dialog.buttons["rejected"].click()
    dialog.list.setCurrentRow(2)
    dialog.buttons["unseen"].click()
    assert "1 accepted · 1 rejected · 22 not yet seen" in dialog._counts.text()
    dialog.save_button.click()
    wait_for(lambda: not dock.view.busy, 60)
    assert dock.view.run.state == "done", dock.view._message.text()
    rows = {row["id"]: row["review"] for row in QgsVectorLayer(str(tiles / "index.gpkg"), "", "ogr").getFeatures()}
    assert (rows[first], rows[second], rows[third]) == ("rejected", "accepted", "unseen")
    assert dialog._given == {}
    dialog.shown.setCurrentIndex(dialog.shown.findData("rejected"))
    assert [dialog.list.item(row).text() for row in range(dialog.list.count())] == [first]
    dialog.close()


def test_the_nearest_real_tile_stands_beside_the_synthetic_one(dock, tmp_path):
    import shutil

    from geosynth_qgis.gui.nearest import NearestDialog

    made = tmp_path / "made"
    shutil.copytree(TILES, made)
    ids = sorted(path.stem for path in (TILES / "images").glob("*.tif"))
    with (made / "nearest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "nearest_id", "distance", "suspect"])
        writer.writerows([[ids[0], ids[5], "0.5", "0"], [ids[1], ids[6], "0.1", "1"]])
    project = QgsProject.instance()
    project.addMapLayer(QgsRasterLayer(str(TILES / "images.vrt"), "tiles"))
    dialog = NearestDialog(str(made), dock._iface, dock.run)
    dialog.real.choose(str(TILES))
    dialog.read()
    assert [dialog.tree.topLevelItem(row).text(0) for row in range(2)] == [ids[1], ids[0]]
    assert "very near" in dialog.tree.topLevelItem(0).text(1)
    assert dialog._names[1].text() == f"real: {ids[6]}"
    assert not dialog._pictures[1].pixmap().isNull()
    dialog._zoom()
    canvas = dock._iface.mapCanvas()
    real = dialog._real.by_id()[ids[6]].outline.boundingBox()
    canvas.setDestinationCrs(dialog._real.layer.crs())
    dialog._zoom()
    assert canvas.extent().contains(QgsPointXY(real.center()))
    dialog.close()


def test_scores_of_a_report_say_what_they_show_and_no_more(tmp_path):
    from geosynth_qgis.gui.scores import ScoresDialog, read_arms, read_classes, verdict

    head = "arm,runs,mean_iou,mean_iou_se,difference,seeds_low,seeds_high\n"
    lines = ["real,5,0.458,0.006,,,", "mixed,5,0.481,0.004,0.023,0.008,0.038", "synthetic,5,0.35,0.01,-0.1,-0.12,-0.08"]
    lines += ["cutmix,3,0.46,0.01,0.002,-0.01,0.014", "filtered,2,0.5,0.01,0.05,0.01,0.09"]
    (tmp_path / "arms.csv").write_text(head + "\n".join(lines) + "\n")
    (tmp_path / "classes.csv").write_text(
        "arm,class,iou,iou_se,gain,gain_se\nreal,water,0.7,0.02,,\nmixed,water,0.72,0.01,0.02,0.01\nmixed,tree,,,,\n"
    )
    said = {score.arm: verdict(score) for score in read_arms(tmp_path)}
    assert said == {
        "real": "",
        "mixed": "better",
        "synthetic": "worse",
        "cutmix": "no difference beyond noise",
        "filtered": "too few runs to say",
    }
    assert [score.iou for score in read_classes(tmp_path)] == [0.7, 0.72, None]
    dialog = ScoresDialog(str(tmp_path))
    assert dialog.arm.currentText() == "mixed"
    image = dialog.bars.grab().toImage()
    assert len({image.pixel(x, 10) for x in range(image.width())}) > 2
    assert read_arms(tmp_path / "nothing") == []


def test_long_curves_are_thinned_and_held_out_ones_share_a_row():
    from geosynth_qgis.gui.sparkline import Sparkline

    line = Sparkline()
    curves = {"loss_image": [(step, 1.0 / (step + 1)) for step in range(5000)], "val_loss_image": [(10, float("nan"))]}
    line.show_curves(curves)
    shown = line.curves()
    assert len(shown["loss_image"]) <= 601 and shown["loss_image"][-1] == (4999.0, 1 / 5000)
    assert "val_loss_image" not in shown
    line.show_curves({"loss_image": [(0, 1.0)], "val_loss_image": [(0, 1.1)], "val_mean_iou": [(0, 0.2)]})
    assert line.rows() == [("loss_image", ["loss_image", "val_loss_image"]), ("val_mean_iou", ["val_mean_iou"])]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"spec": {"legend": [{"id": "x"}]}})])
def test_a_damaged_description_is_no_description(tmp_path, text):
    from geosynth_qgis.gui.descriptions import describe

    (tmp_path / "geosynth.json").write_text(text)
    assert describe(tmp_path) is None
    assert describe(Path("/nonexistent")) is None


def test_pictures_of_pairs_are_drawn_even_where_files_are_gone():
    from geosynth_qgis.gui.pairs import PairRow, pair_picture, read_pairs

    table = read_pairs(TILES)
    whole = pair_picture(table.rows[0], 64, "rejected")
    assert (whole.width(), whole.height()) == (137, 70)
    gone = pair_picture(PairRow("x", "", "unseen", "", None, None, QgsGeometry()), 64)
    assert gone.size() == whole.size() and gone != whole
    with pytest.raises(OSError, match="cannot be read"):
        read_pairs(Path("/nonexistent"))
