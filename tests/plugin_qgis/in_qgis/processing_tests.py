"""The provider in QGIS: parameters of every algorithm, a model, cancelling, what is loaded. Runs in QGIS's Python."""

import shlex
import sys

import pytest
from geosynth_qgis.core.command_table import COMMANDS
from processing_fixtures import PYTHON, SCENES, Spoken, polygons, run, wait_for
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterMultipleLayers,
    QgsRasterLayer,
    QgsVectorLayer,
)

# -- what there is


def test_the_provider_has_one_algorithm_per_command(provider):
    assert {algorithm.name() for algorithm in provider.algorithms()} == set(COMMANDS)
    assert not provider.icon().isNull() and provider.defaultVectorFileExtension() == "gpkg"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_algorithm_has_its_parameters_with_help(name):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"geosynth:{name}")
    command = COMMANDS[name]
    for option in command.options:
        parameter = algorithm.parameterDefinition(option.name)
        assert parameter is not None and parameter.description() == option.label
        advanced = bool(parameter.flags() & QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        assert advanced == option.advanced and parameter.help() == option.help
        optional = bool(parameter.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional)
        needed = option.required or option.default is not None
        assert optional != (needed and option.default != "" and option.kind not in ("text",)) or option.kind == "text"
        if option.default is not None and option.kind in ("integer", "number", "choice", "rerun", "flag", "unflag"):
            assert parameter.defaultValue() == option.default
    outputs = {output.name() for output in algorithm.outputDefinitions()}
    assert {output.name for output in command.outputs} | {"MESSAGE"} <= outputs
    assert command.summary.split(".")[0] in algorithm.shortHelpString()
    assert algorithm.displayName() == command.title and algorithm.group() and algorithm.helpUrl().startswith("https://")
    assert algorithm.flags() & algorithm.Flag.FlagCanCancel and not algorithm.icon().isNull()
    assert algorithm.asPythonCommand({}, QgsProcessingContext()).startswith("processing.run")


def test_parameters_are_checked_in_words_before_anything_is_started(tmp_path):
    def complaint(name, **parameters):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"geosynth:{name}")
        fine, words = algorithm.checkParameterValues(parameters, QgsProcessingContext())
        assert not fine
        return words

    out = str(tmp_path / "o")
    assert "how many pairs" in complaint("generate", MODEL="base", OUTPUT=out)
    assert "no folder" in complaint("train", TILES=str(tmp_path / "gone"), OUTPUT=out)
    assert "choose scenes" in complaint("tile", OUTPUT=out)
    with pytest.raises(QgsProcessingException, match="how many pairs"):
        run("generate", MODEL="base", OUTPUT=out)
    assert not (tmp_path / "o").exists()


def test_checking_does_not_make_qgis_wait_for_a_layer(project, tmp_path):
    """The dialog checks with the context that it loads results with."""
    from qgis.core import QgsProcessingOutputLayerDefinition

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geosynth:vectorize")
    context = QgsProcessingContext()
    context.setProject(project)
    output = QgsProcessingOutputLayerDefinition("TEMPORARY_OUTPUT", project)
    parameters = {"MASKS": [str(SCENES / "scene_mask.tif")], "SIEVE": 20, "OUTPUT": output}
    assert algorithm.checkParameterValues(parameters, context) == (True, "")
    assert context.layersToLoadOnCompletion() == {}
    results, fine = algorithm.run(parameters, context, Spoken())
    assert fine and list(context.layersToLoadOnCompletion()) == [results["OUTPUT"]]
    from processing.gui.Postprocessing import handleAlgorithmResults

    assert handleAlgorithmResults(algorithm, context, Spoken(), False, parameters)
    (layer,) = project.mapLayers().values()
    assert layer.name() == "polygons · OUTPUT" and layer.renderer().type() == "categorizedSymbol"


def test_without_an_environment_it_says_what_to_do(monkeypatch, tmp_path):
    for path, words in (("", "no environment is chosen"), (str(tmp_path / "gone"), "not there any more")):
        monkeypatch.setenv("GEOSYNTH_PYTHON", path)
        with pytest.raises(QgsProcessingException, match=words):
            run("env")
    monkeypatch.setenv("GEOSYNTH_PYTHON", "/usr/bin/python3")
    with pytest.raises(QgsProcessingException, match="no geosynth in this environment"):
        run("env")


# -- layers become files


def plain(name, project, **parameters):
    from geosynth_qgis.processing.running import algorithm, context_of
    from geosynth_qgis.processing.values import Exports, plain_values

    made = algorithm(name)
    return plain_values(made, made.command, parameters, context_of(project), Exports())


def test_layers_names_ids_and_paths_are_all_taken(project):
    raster = QgsRasterLayer(str(SCENES / "scene.tif"), "my scene")
    project.addMapLayer(raster)
    expected = [str(SCENES / "scene.tif")]
    for given in (raster, [raster], raster.id(), [raster.id()], "my scene", expected[0], expected):
        assert plain("tile", project, SCENES=given)["SCENES"] == expected
    mask = str(SCENES / "scene_mask.tif")
    assert plain("tile", project, SCENES=f"{expected[0]};{mask}")["SCENES"] == [*expected, mask]


def test_what_is_drawn_and_what_is_filtered_becomes_a_file_that_is_read_as_it_is_shown(project, tmp_path):
    drawn = polygons(project)
    (path,) = plain("tile", project, LABELS=[drawn])["LABELS"]
    assert path.endswith(".gpkg") and QgsVectorLayer(path, "x", "ogr").featureCount() == 1
    saved = QgsVectorLayer(path, "saved", "ogr")
    project.addMapLayer(saved)
    (same,) = plain("tile", project, LABELS=[saved])["LABELS"]
    assert same.partition("|")[0] == path  # a file that is as it is shown is not copied
    saved.startEditing()
    saved.addFeature(QgsFeature(next(saved.getFeatures())))
    (edited,) = plain("tile", project, LABELS=[saved])["LABELS"]
    assert edited != path and QgsVectorLayer(edited, "x", "ogr").featureCount() == 2
    saved.rollBack()
    saved.setSubsetString("class = 'nothing'")
    with pytest.raises(QgsProcessingException, match="is empty"):
        plain("tile", project, LABELS=[saved])


def test_layers_that_are_no_files_are_refused_in_words(project):
    web = QgsRasterLayer("type=xyz&url=file:///nowhere/{z}/{x}/{y}.png", "a web map", "wms")
    project.addMapLayer(web)
    with pytest.raises(QgsProcessingException, match="a web map does not come from a file"):
        plain("tile", project, SCENES=[web])
    with pytest.raises(QgsProcessingException, match="can be used here"):
        plain("tile", project, SCENES=[polygons(project)])


def test_a_command_is_copied_with_files_and_without_options_of_the_run(project):
    from geosynth_qgis.processing.running import command_line_text

    raster = QgsRasterLayer(str(SCENES / "scene.tif"), "my scene")
    project.addMapLayer(raster)
    text = command_line_text("tile", {"SCENES": [raster.id()], "OUTPUT": "/o", "SIZE": 64})
    scene = shlex.quote(str(SCENES / "scene.tif"))
    assert f"-m geosynth_cli tile --size 64 --out /o --resume {scene}" in text
    assert "--progress" not in text and text.startswith(PYTHON)


# -- runs with the real program


def test_tile_loads_its_layers_named_styled_and_grouped(project, tmp_path):
    from geosynth_qgis.processing.running import RunningAlgorithm

    ended, events = [], []
    running = RunningAlgorithm()
    running.finished.connect(lambda *told: ended.append(told))
    running.received.connect(events.append)
    out = str(tmp_path / "tilés 1")
    running.start(
        "tile",
        {"SCENES": [str(SCENES / "scene.tif")], "LABELS": [str(SCENES / "scene_mask.tif")], "LEGEND": "world",
         "SIZE": 64, "OUTPUT": out},
        project,
    )  # fmt: skip
    assert running.running
    wait_for(lambda: ended, 60)
    state, results, outcome = ended[0]
    assert state == "done", outcome
    assert results["OUTPUT"] == out and results["IMAGES"].endswith("images.vrt")
    assert {"hello", "progress", "done"} <= {event.kind for event in events}
    group = project.layerTreeRoot().findGroup("geosynth").findGroup("tilés 1")
    names = [node.name() for node in group.findLayers()]
    assert names == ["index of tiles · tilés 1", "masks · tilés 1", "images · tilés 1"]
    assert [node.isVisible() for node in group.findLayers()] == [True, False, True]
    masks = group.findLayers()[1].layer()
    assert masks.renderer().type() == "paletted" and "building" in [entry.label for entry in masks.renderer().classes()]
    assert len(project.mapLayers()) == 3 and not running.running
    # Again: nothing to do, and no layer twice.
    ended.clear()
    running.start("tile", {"SCENES": [str(SCENES / "scene.tif")], "LABELS": [str(SCENES / "scene_mask.tif")],
                           "LEGEND": "world", "SIZE": 64, "OUTPUT": out}, project)  # fmt: skip
    wait_for(lambda: ended, 60)
    assert "nothing to do" in ended[0][2].message and len(project.mapLayers()) == 3


def test_generated_pairs_are_marked_synthetic_with_their_provenance(project, tmp_path):
    from processing.gui.Postprocessing import handleAlgorithmResults

    context = QgsProcessingContext()
    context.setProject(project)
    feedback = Spoken()
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geosynth:generate")
    out = str(tmp_path / "synthetic")
    parameters = {"MODEL": "base", "COUNT": 2, "STEPS": 2, "WORKERS": 1, "OUTPUT": out}
    results, fine = algorithm.run(parameters, context, feedback)
    assert fine and results["MESSAGE"].startswith("2 pairs")
    # As the dialog of the toolbox loads them.
    assert handleAlgorithmResults(algorithm, context, feedback, False, parameters)
    layers = {layer.name(): layer for layer in project.mapLayers().values()}
    assert set(layers) == {f"SYNTHETIC {what} · synthetic" for what in ("images", "masks", "index of tiles")}
    images = layers["SYNTHETIC images · synthetic"]
    assert images.isValid() and "show no real place" in images.metadata().abstract()
    assert images.metadata().keywords()["geosynth"] == ["SYNTHETIC"]
    assert any(line.startswith("generator: ") for line in images.metadata().history())
    assert project.layerTreeRoot().findGroup("geosynth").findGroup("synthetic") is not None
    assert feedback.shares[-1] == 100


def test_a_model_goes_from_tiles_to_polygons(project, tmp_path):
    """Tile, train a segmenter, predict, vectorize, chained by their outputs as in the Model Designer."""
    model = QgsProcessingModelAlgorithm("flow", "tests")
    scenes = QgsProcessingParameterMultipleLayers("scenes", "scenes", QgsProcessing.SourceType.TypeRaster)
    from qgis.core import QgsProcessingModelParameter

    model.addModelParameter(scenes, QgsProcessingModelParameter("scenes"))
    source = QgsProcessingModelChildParameterSource

    def child(name, **parameters):
        made = QgsProcessingModelChildAlgorithm(f"geosynth:{name}")
        made.setChildId(name)
        made.setDescription(name)
        for key, value in {"LOAD": source.fromStaticValue(False), **parameters}.items():
            if made.algorithm().parameterDefinition(key) is not None:
                made.addParameterSources(key, [value])
        return made

    static = source.fromStaticValue
    tile = child(
        "tile", SCENES=source.fromModelParameter("scenes"), LABELS=static([str(SCENES / "scene_mask.tif")]),
        LEGEND=static("world"), SIZE=static(64), VAL=static(0.25), TEST=static(0.25),
    )  # fmt: skip
    segment = child("segment", TILES=source.fromChildOutput("tile", "OUTPUT"), STEPS=static(2), BATCH=static(2))
    predict = child(
        "predict", SEGMENTER=source.fromChildOutput("segment", "OUTPUT"), SCENES=source.fromModelParameter("scenes")
    )
    vectorize = child("vectorize", MASKS=source.fromChildOutput("predict", "LAYERS"), SIEVE=static(20))
    output = QgsProcessingModelOutput("polygons")
    output.setChildId("vectorize")
    output.setChildOutputName("OUTPUT")
    vectorize.setModelOutputs({"polygons": output})
    for entry in (tile, segment, predict, vectorize):
        model.addChildAlgorithm(entry)
    assert model.canExecute()[0], model.canExecute()
    path = str(tmp_path / "polygons.gpkg")
    context = QgsProcessingContext()
    context.setProject(project)
    parameters = {"scenes": [str(SCENES / "scene.tif")]}
    names = [definition.name() for definition in model.destinationParameterDefinitions()]
    assert len(names) == 1
    results, fine = model.run({**parameters, names[0]: path}, context, Spoken())
    assert fine, results
    layer = QgsVectorLayer(path, "polygons", "ogr")
    assert layer.isValid() and layer.featureCount() > 0 and layer.renderer().type() == "categorizedSymbol"
    assert context.layersToLoadOnCompletion() == {}


def test_the_designer_offers_outputs_for_what_comes_next():
    from qgis.gui import QgsGui
    from qgis.PyQt.QtWidgets import QComboBox

    model = QgsProcessingModelAlgorithm("flow", "tests")
    for name in ("tile", "generate", "segment", "predict", "vectorize", "evaluate"):
        entry = QgsProcessingModelChildAlgorithm(f"geosynth:{name}")
        entry.setChildId(name)
        entry.setDescription(name)
        model.addChildAlgorithm(entry)

    def offered(child, parameter):
        algorithm = QgsApplication.processingRegistry().algorithmById(f"geosynth:{child}")
        widget = QgsGui.processingGuiRegistry().createModelerParameterWidget(
            model, child, algorithm.parameterDefinition(parameter), QgsProcessingContext()
        )
        widget.setWidgetValue(QgsProcessingModelChildParameterSource.fromChildOutput("tile", "OUTPUT"))
        return " ".join(box.itemText(at) for box in widget.findChildren(QComboBox) for at in range(box.count()))

    for child, parameter in (("segment", "TILES"), ("evaluate", "TILES"), ("generate", "OF")):
        assert "“Tileset folder” from algorithm “tile”" in offered(child, parameter)
    assert "“Synthetic tileset folder” from algorithm “generate”" in offered("evaluate", "SYNTHETIC")
    assert "“Segmenter folder” from algorithm “segment”" in offered("predict", "SEGMENTER")
    assert "“Folder of class rasters” from algorithm “predict”" in offered("vectorize", "MASKS_FOLDER")
    predict = QgsApplication.processingRegistry().algorithmById("geosynth:predict")
    assert predict.outputDefinition("LAYERS").type() == "outputMultilayer"  # lists are chosen in a dialog of their own
    assert predict.outputDefinition("CLASSES").type() == "outputRaster"


def test_the_program_s_own_words_come_back_when_it_fails(project, tmp_path):
    with pytest.raises(QgsProcessingException, match="no-such-legend"):
        run("tile", SCENES=[str(SCENES / "scene.tif")], LEGEND="no-such-legend", OUTPUT=str(tmp_path / "o"))


def test_another_protocol_is_refused_with_words(fake):
    (fake / "protocol").write_text("2")
    with pytest.raises(QgsProcessingException, match="version 2 of the event protocol"):
        run("env")


def test_the_plugin_brings_nothing_heavy_into_qgis():
    assert not {"torch", "rasterio", "geosynth", "geosynth_cli", "click"} & set(sys.modules)
