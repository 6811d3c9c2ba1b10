"""The panel: pages on the left, the step chosen beside them, and below whatever is running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsApplication, QgsProcessingException, QgsProject
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import QT_VERSION_STR, Qt, QTimer
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QListWidget,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from .. import settings
from ..core.artefacts import results_in
from ..core.diagnostics import diagnostics
from ..core.environment import Handshake, handshake
from ..core.jobs import Job, JobProblem, JobStore
from ..core.words import tr
from ..processing.running import command_line_text, detached
from ..styling import add_results
from .background import Background
from .environmentdialog import EnvironmentDialog
from .folders import remember
from .nearest import NearestDialog
from .onmap import in_view, layers_of, show
from .pages.generate import GeneratePage
from .pages.generator import GeneratorPage
from .pages.page import Page
from .pages.predict import PredictPage
from .pages.results import ResultsPage
from .pages.segment import SegmentPage
from .pages.setup import SetupPage
from .pages.tiles import TilesPage
from .review import ReviewDialog
from .runs import AttachedRun, DetachedRun, Run
from .runview import RunView
from .scores import ScoresDialog
from .sketch import Sketch

_SETTLE_MS = 300


class GeosynthDock(QgsDockWidget):
    """Fills in Processing algorithms, runs them, and shows how far they are."""

    def __init__(self, iface, parent: QWidget | None = None) -> None:  # type: ignore[no-untyped-def]
        super().__init__(tr("geosynth"), parent)
        self.setObjectName("GeosynthDock")
        self._iface = iface
        self._handshake: Handshake | None = None
        self._last: object | None = None
        self._refusal = ""
        self._stopped = False
        self._page_of_run: Page | None = None
        self._asker = Background(self)
        self._asker.answered.connect(self._answered)
        self._asker.failed.connect(self._refused)
        self._dialogs: list[QWidget] = []
        store = JobStore(settings.jobs_folder())
        sketch = Sketch(iface, self)
        self.setup = SetupPage(store)
        self.tiles, self.generator, self.generate = TilesPage(), GeneratorPage(), GeneratePage(sketch)
        self.segment, self.predict, self.results = SegmentPage(), PredictPage(), ResultsPage()
        self.pages: list[Page] = [
            self.setup,
            self.tiles,
            self.generator,
            self.generate,
            self.segment,
            self.predict,
            self.results,
        ]
        self.view = RunView()
        self.steps = QListWidget()
        self._stack = QStackedWidget()
        self._lay_out()
        self._connect()
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.timeout.connect(self.refresh)
        project = QgsProject.instance()
        for signal in (project.layersAdded, project.layersRemoved, project.readProject, project.cleared):
            signal.connect(self._project_changed)
        self.refresh()
        self.ask_environment()
        live = self.setup.jobs.live()
        if live:
            self.show_job(live[0])
        self.steps.setCurrentRow(self.pages.index(self.generate) if settings.python_path() else 0)

    # -- laying out

    def _lay_out(self) -> None:
        self.steps.setObjectName("geosynthSteps")
        self.steps.setFrameShape(QFrame.Shape.NoFrame)
        self.steps.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for page in self.pages:
            self.steps.addItem(page.title.split(" & ")[0])
            scroll = QScrollArea()
            scroll.setWidgetResizable(True)
            scroll.setFrameShape(QFrame.Shape.NoFrame)
            scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            scroll.setWidget(page)
            self._stack.addWidget(scroll)
        self.steps.setFixedWidth(self.steps.sizeHintForColumn(0) + 16)
        self.steps.setSpacing(2)
        self.steps.currentRowChanged.connect(self._turn_to)
        upper = QHBoxLayout()
        upper.setSpacing(0)
        upper.addWidget(self.steps)
        upper.addWidget(self._stack, 1)
        whole = QWidget()
        layout = QVBoxLayout(whole)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(upper, 1)
        layout.addWidget(self.view)
        whole.setMinimumWidth(430)
        self.setWidget(whole)

    def _connect(self) -> None:
        for page in self.pages:
            page.wanted.connect(self.start)
            page.copy_wanted.connect(self.copy_command)
        self.setup.environment_wanted.connect(self.open_environment)
        self.setup.check_wanted.connect(self.ask_environment)
        self.setup.diagnostics_wanted.connect(self.copy_diagnostics)
        self.setup.folder_changed.connect(self.refresh)
        self.setup.jobs.show_wanted.connect(self.show_job)
        self.view.go_on.connect(self.go_on)
        self.view.ask_diagnostics.connect(self.copy_diagnostics)
        self.results.load_wanted.connect(self.load)
        self.results.review_wanted.connect(lambda folder: self._open(ReviewDialog(folder, self.run, self)))
        self.results.nearest_wanted.connect(
            lambda folder: self._open(NearestDialog(folder, self._iface, self.run, self))
        )
        self.results.scores_wanted.connect(lambda folder: self._open(ScoresDialog(folder, self)))

    def _turn_to(self, row: int) -> None:
        self._stack.setCurrentIndex(row)
        self.pages[row].refresh(QgsProject.instance())

    def _project_changed(self, *_: object) -> None:
        self._settle.start(_SETTLE_MS)

    def refresh(self) -> None:
        """Layers or folders have come or gone."""
        for page in self.pages:
            page.refresh(QgsProject.instance())

    def page_called(self, command: str) -> Page | None:
        return next((page for page in self.pages if page.command == command), None)

    # -- the environment

    def ask_environment(self) -> None:
        """The handshake, in a thread."""
        python = settings.python_path()
        self._handshake, self._refusal = None, ""
        self.generate.know_base("")
        self._hold()
        if not python:
            self.setup.refused(tr("No environment is chosen yet. Press Environment … to choose or create one."))
            return
        self.setup.asking()
        environment = settings.run_environment()
        self._asker.ask(lambda is_cancelled: handshake(python, is_cancelled=is_cancelled, environment=environment))

    def _answered(self, answer: Handshake) -> None:
        self._handshake, self._refusal = answer, ""
        self.setup.ready(answer)
        self.generate.know_base(str(answer.facts.get("base") or ""))
        self._hold()

    def _refused(self, words: str) -> None:
        self._refusal = words
        self.setup.refused(words)
        self._hold()

    def open_environment(self) -> None:
        dialog = EnvironmentDialog(self)
        dialog.chosen.connect(self.ask_environment)
        self._open(dialog)

    def _open(self, dialog: QWidget) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.destroyed.connect(lambda *_: self._dialogs.remove(dialog) if dialog in self._dialogs else None)
        self._dialogs.append(dialog)
        dialog.show()

    # -- running

    def start(self, page: Page) -> None:
        """Run the page's algorithm with what is filled in."""
        if not page.check() or self.view.busy:
            return
        try:
            page.prepare()
        except OSError as error:
            QMessageBox.warning(self, tr("geosynth"), str(error))
            return
        self._page_of_run = page
        alone = page.can_detach and page.detach.isChecked()
        self.run(page.command, page.values(), page.run_title(), alone=alone)

    def run(self, command: str, values: dict[str, Any], title: str, alone: bool = False) -> Run | None:
        """Run an algorithm and show it; None while another is going on, or where a job cannot be started."""
        if self.view.busy:
            self._iface.messageBar().pushInfo(tr("geosynth"), tr("Another run is going on."))
            return None
        if alone:
            try:
                run: Run = DetachedRun(detached(command, values, title), values, self)
            except JobProblem as error:
                QMessageBox.warning(self, tr("geosynth"), str(error))
                return None
            self.setup.jobs.refresh()
        else:
            run = AttachedRun(title, command, values, self)
        self._show(run)
        return run

    def show_job(self, job: Job) -> None:
        """Attach to a job that was started before, perhaps by an earlier QGIS."""
        if self.view.busy and not (self.view.run and self.view.run.detached):
            self._iface.messageBar().pushInfo(tr("geosynth"), tr("Another run is going on."))
            return
        self._page_of_run = None
        self._show(DetachedRun(job, dict(job.values), self))

    def go_on(self, run: Run) -> None:
        if not self.view.busy:
            self.run(run.command, run.parameters, run.title, alone=run.detached)

    def _show(self, run: Run) -> None:
        self.view.watch(run)
        run.ended.connect(lambda state, message, run=run: self._ended(run, state, message))
        self._hold()
        run.start()

    def _ended(self, run: Run, state: str, message: str) -> None:
        self._last = run.outcome
        self.setup.jobs.refresh()
        self._hold()
        page, self._page_of_run = self._page_of_run, None
        if page is not None:
            page.after(state)
        if state == "done":
            if run.output:
                remember(run.output)
            self.refresh()
            if page is not None:
                page.suggest(anew=True)
            self._choose_made(run)
            self._offer_to_show(run.output)
            if run.command == "predict" and isinstance(page, PredictPage):
                values = page.then(run.results or {"OUTPUT": run.output})
                if values is not None:
                    self.run("vectorize", values, tr("Polygons: {name}").format(name=run.title.split(": ")[-1]))
        elif state in ("failed", "dead"):
            self._iface.messageBar().pushWarning(tr("geosynth"), message.splitlines()[0] if message else state)

    def _choose_made(self, run: Run) -> None:
        """What has just been made is what the next page starts from."""
        made = run.output
        if not made:
            return
        if run.command == "tile":
            for page in (self.generator, self.segment, self.results):
                page.field("TILES").choose(made)
        elif run.command == "train":
            self.generate.field("MODEL").choose(made)
        elif run.command == "generate" and "SIZE" not in run.parameters and not run.parameters.get("WHOLE"):
            for page in (self.segment, self.results):
                page.field("SYNTHETIC").choose(made)
        elif run.command == "segment":
            self.predict.field("SEGMENTER").choose(made)
        if run.command in ("tile", "generate", "evaluate", "train", "segment", "predict"):
            self.results.made.choose(made)

    def _offer_to_show(self, output: str) -> None:
        """Made-up places are hard to find by hand. Where there is nothing else on the map, it moves there by itself."""
        project, canvas = QgsProject.instance(), self._iface.mapCanvas()
        layers = layers_of(output, project)
        if layers and len(layers) == len(project.mapLayers()):
            # QGIS first makes room for the map, where its welcome page has been until now.
            QTimer.singleShot(_SETTLE_MS, lambda: show(layers_of(output, project), canvas))
            return
        if not layers or in_view(layers, canvas):
            return
        bar = self._iface.messageBar()
        words = bar.createMessage(tr("geosynth"), tr("{name} lies elsewhere.").format(name=Path(output).name))
        button = QPushButton(tr("Go there"))
        button.setObjectName("geosynthGoThere")
        button.clicked.connect(lambda: (show(layers_of(output, project), canvas), bar.popWidget(words)))
        words.layout().addWidget(button)
        bar.pushWidget(words, Qgis.MessageLevel.Info, 20)

    def _hold(self) -> None:
        for page in self.pages:
            page.hold_back(self.view.busy, bool(settings.python_path()) and not self._refusal)

    # -- what is made

    def load(self, folder: str) -> None:
        """Add what lies in a folder to the map, as a run of it would."""
        add_results(results_in(folder), QgsProject.instance(), folder)
        self._offer_to_show(folder)

    def copy_command(self, page: Page) -> None:
        try:
            page.prepare()
            text = command_line_text(page.command, page.values())
        except (OSError, QgsProcessingException) as problem:
            self._iface.messageBar().pushWarning(tr("geosynth"), str(problem))
            return
        QgsApplication.clipboard().setText(text)
        self._iface.messageBar().pushInfo(tr("geosynth"), tr("The command is on the clipboard."))

    def copy_diagnostics(self) -> None:
        versions = {"QGIS": Qgis.QGIS_VERSION, "Qt": QT_VERSION_STR}
        text = diagnostics(self._handshake, settings.python_path(), versions, self._last, problem=self._refusal)
        QgsApplication.clipboard().setText(text)
        self._iface.messageBar().pushInfo(tr("geosynth"), tr("The diagnostics are on the clipboard."))

    # -- the end

    def stop(self) -> None:
        """QGIS or the plugin goes away: what is attached is cancelled, what is detached is left alone."""
        if self._stopped:
            return
        self._stopped = True
        self._asker.give_up()
        self.setup.jobs.stop()
        self._settle.stop()
        project = QgsProject.instance()
        for signal in (project.layersAdded, project.layersRemoved, project.readProject, project.cleared):
            signal.disconnect(self._project_changed)
        if self.view.run is not None:
            self.view.run.leave()
        for dialog in list(self._dialogs):
            dialog.close()
