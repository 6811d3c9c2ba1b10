"""The environment in the panel, its dialog and QGIS's options. Run by test_gui.py in a Python that has QGIS."""

import threading
import time

from panel_fixtures import wait_for, words
from qgis.PyQt.QtWidgets import QApplication


def test_without_an_environment_nothing_can_be_run(make_dock, monkeypatch):
    monkeypatch.delenv("GEOSYNTH_PYTHON")
    from geosynth_qgis import settings

    monkeypatch.setattr(settings, "python_path", lambda: "")
    dock = make_dock()
    assert "No environment is chosen yet" in dock.setup._state.text()
    assert dock.steps.currentRow() == 0
    assert not dock.generate.run_button.isEnabled()
    assert "page Setup" in words(dock.generate)


def test_an_environment_that_speaks_another_protocol_is_refused_in_words(make_dock, fake):
    (fake / "protocol").write_text("2")
    dock = make_dock()
    wait_for(lambda: bool(dock._refusal))
    assert "protocol" in dock.setup._state.text()
    assert not dock.generate.run_button.isEnabled()
    dock.copy_diagnostics()
    assert "protocol" in QApplication.clipboard().text()
    (fake / "protocol").write_text("1")
    dock.ask_environment()
    wait_for(lambda: dock._handshake is not None)
    dock.generate.check()
    assert dock.generate.run_button.isEnabled()


def test_the_environment_dialog_keeps_what_answers_and_says_why_the_rest_does_not(dock, fake, monkeypatch):
    from geosynth_qgis import settings
    from geosynth_qgis.gui.environmentdialog import EnvironmentDialog

    kept = []
    monkeypatch.setattr(settings, "set_python_path", kept.append)
    dialog = EnvironmentDialog()
    dialog.python.setFilePath("/usr/bin/python3")
    dialog.ask()
    wait_for(dialog.ask_button.isEnabled)
    assert "geosynth" in dialog._answer.text() and kept == []
    dialog.python.setFilePath(str(fake / "python"))
    dialog.ask()
    wait_for(lambda: bool(kept))
    assert kept == [str(fake / "python")]
    assert "0.1.0" in dialog._answer.text()
    dialog.close()


def test_the_options_page_keeps_the_interpreter(monkeypatch):
    from geosynth_qgis import settings
    from geosynth_qgis.gui.optionspage import OptionsFactory

    kept = []
    monkeypatch.setattr(settings, "set_python_path", kept.append)
    monkeypatch.setattr(settings, "python_path", lambda: "/before/python")
    page = OptionsFactory().createWidget(None)
    assert page.python.filePath() == "/before/python"
    page.apply()
    assert kept == []
    page.python.setFilePath("/usr/bin/python3")
    page.apply()
    assert kept == ["/usr/bin/python3"]


def test_creating_an_environment_is_explained_before_it_is_done(dock, tmp_path):
    from geosynth_qgis.gui.creationbox import CreationBox

    box = CreationBox()
    box.folder.setFilePath(str(tmp_path / "new"))
    box.show()
    box.setCollapsed(False)
    wait_for(lambda: box._plan is not None, 60)
    text = box._words.text()
    if box._plan.steps:
        assert "GB" in text and str(tmp_path / "new") in text
    else:
        assert "Python" in text and not box.create_button.isEnabled()
    assert not (tmp_path / "new").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    box.folder.setFilePath(str(tmp_path / "taken"))
    assert not box.create_button.isEnabled()
    box.stop()


def test_the_next_installer_waits_for_the_end_of_a_cancelled_one(dock, tmp_path, monkeypatch):
    from geosynth_qgis.core.creation import CreationPlan
    from geosynth_qgis.core.runner import Outcome
    from geosynth_qgis.gui import creationbox

    asked, over = threading.Event(), threading.Event()

    def slow(plan, on_event, on_line, is_cancelled):
        while not is_cancelled():
            time.sleep(0.01)
        asked.set()
        over.wait(60)
        return Outcome("cancelled", "it is over", 130)

    monkeypatch.setattr(creationbox, "create", slow)
    box = creationbox.CreationBox()
    box._plan = CreationPlan(tmp_path / "new", (), 1.0, None, "geosynth-eo")
    box.create_button.click()
    box._cancel_button.click()
    wait_for(asked.is_set, 20)
    assert box._making and not box.create_button.isEnabled() and not box._cancel_button.isEnabled()
    over.set()
    wait_for(lambda: box._words.text() == "it is over", 20)
    assert not box._making and box.create_button.isEnabled()


def test_the_environment_dialog_is_as_high_as_what_is_in_it(dock):
    from geosynth_qgis.gui.environmentdialog import EnvironmentDialog

    def fits():
        return dialog.height() == dialog.layout().totalHeightForWidth(dialog.width())

    dialog = EnvironmentDialog()
    dialog.show()
    wait_for(fits, 10)
    closed = dialog.height()
    dialog.creation.setCollapsed(False)
    wait_for(lambda: fits() and dialog.height() > closed + 100, 10)
    opened = dialog.height()
    dialog.creation._busy(True)
    wait_for(lambda: fits() and dialog.height() > opened + 100, 10)
    dialog._say("\n".join(["an answer of many lines"] * 12))
    high = dialog.height()
    wait_for(lambda: fits() and dialog.height() > high + 100, 10)
    dialog._say("")
    dialog.creation._busy(False)
    dialog.creation._say("")
    dialog.creation.setCollapsed(True)
    wait_for(lambda: fits() and dialog.height() < closed + 10, 10)
    dialog.close()
