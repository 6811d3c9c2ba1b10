"""Pairs out of a generator: new ones, images for masks (given or drawn), masks for images, whole scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import QgsProject
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QLineEdit, QVBoxLayout, QWidget

from ...core.words import tr
from ..choosers import FolderChooser, LayerList, is_label, is_raster
from ..descriptions import Description, describe
from ..folders import is_real
from ..sketch import Sketch, too_large
from ..sketchbox import SketchBox
from .page import Page, choice, decimal, new_form, notice, number, reader

NEW, OF, DRAWN, MASKS, IMAGES, SCENE = "new", "of", "drawn", "masks", "images", "scene"
_LARGEST = 8192


class GeneratePage(Page):
    command, title, verb, result_name = "generate", tr("Generate"), tr("Generate"), "synthetic"
    says = tr("Makes pairs of image and mask. They show no real place, and every file says so.")
    can_detach = True

    def __init__(self, sketch: Sketch, parent: QWidget | None = None) -> None:
        self._sketch = sketch
        self._base: Path | None = None
        self._parts: dict[str, dict[str, tuple[QWidget, Callable[[], Any]]]] = {}
        self._shown: dict[str, QWidget] = {}
        super().__init__(parent)

    def build(self) -> None:
        words = [("base", tr("base, of geosynth"))]
        self.add("MODEL", tr("Generator"), FolderChooser(["generator"], tr("Generator"), words))
        self.mode = choice(
            (NEW, tr("new pairs")),
            (OF, tr("new pairs by ratio")),
            (DRAWN, tr("image for a drawn mask")),
            (MASKS, tr("images for given masks")),
            (IMAGES, tr("masks for given images")),
            (SCENE, tr("one seamless scene")),
        )
        self.mode.setObjectName("geosynthMode")
        self.form.addRow(tr("Make"), self.mode)
        below = QVBoxLayout()
        self.form.addRow(below)
        for name, lay_out in (
            (NEW, self._new),
            (OF, self._of),
            (DRAWN, self._drawn),
            (MASKS, self._masks),
            (IMAGES, self._images),
            (SCENE, self._scene),
        ):
            part = QWidget()
            form = new_form(part)
            form.setContentsMargins(0, 0, 0, 0)
            self._parts[name] = {}
            for parameter, label, widget in lay_out():
                widget.setObjectName(f"geosynth_generate_{name}_{parameter}")
                widget.setMinimumWidth(60)
                if parameter:
                    self._parts[name][parameter] = (widget, reader(widget))
                form.addRow(label, widget) if label else form.addRow(widget)
                notice(widget, self.touched)
            below.addWidget(part)
            self._shown[name] = part
        self.add("SEED", tr("Seed"), number(0, 0, 2**31 - 1), tr("Same seed, same result"))
        self.add_output(tr("Write to"))
        tip = tr("More is finer and slower")
        self.add("STEPS", tr("Sampling steps"), number(None, 1, 1000, tr("what suits it")), tip, more=True)
        guidance = decimal(None, 0.0, 20, tr("what suits it"))
        tip = tr("Above 1, image and mask follow each other more strictly, at a multiple of the time")
        self.add("GUIDANCE", tr("Guidance"), guidance, tip, more=True)
        self.add("SIEVE", tr("No specks below"), number(4, 0, 100), more=True).setSuffix(" px")
        self.add("WORKERS", tr("Processes"), number(None, 1, 256, tr("one a core")), more=True)
        self.add("DEVICE", tr("Device"), choice((None, "auto"), ("cpu", "cpu"), ("cuda", "cuda")), more=True)
        self.mode.currentIndexChanged.connect(self._mode_changed)
        self.field("MODEL").changed.connect(self._model_changed)
        self._mode_changed()

    def know_base(self, folder: str) -> None:
        """Where the shipped generator lies, as the environment says."""
        self._base = Path(folder) if folder else None
        self._model_changed()

    def refresh(self, project: QgsProject) -> None:
        for part in self._parts.values():
            for widget, _ in part.values():
                if isinstance(widget, (LayerList, FolderChooser)):
                    widget.refresh(project)
        super().refresh(project)

    def values(self) -> dict[str, Any]:
        found = super().values()
        mode = self.mode.currentData()
        for name, (_, read) in self._parts[mode].items():
            value = read()
            if value not in (None, "", []):
                found[name] = value
        if mode == DRAWN:
            found["FROM_MASKS"] = [str(self.drawing_path())]
            found["CLASS_FIELD"] = "class"
            found["WHOLE"] = True
        if mode == SCENE:
            found["SIZE"] = f"{found.pop('WIDTH', 0)}x{found.pop('HEIGHT', 0)}"
        return found

    def values_to_check(self) -> dict[str, Any]:
        found = self.values()
        if self.mode.currentData() == DRAWN and self._sketch.layer is not None:
            found["FROM_MASKS"] = [self._sketch.layer.id()]
        return found

    def after(self, state: str) -> None:
        if state == "done" and self.mode.currentData() == DRAWN:
            self._sketch.put_aside()

    def drawing_path(self) -> Path:
        """Where the drawn mask is written, beside the result."""
        out = Path(self.output.value() if self.output is not None else "")
        return out.with_name(f"{out.name}-drawn.gpkg")

    def prepare(self) -> None:
        """Write the drawing, just before the run.

        Raises:
            OSError: it cannot be written.
        """
        if self.mode.currentData() == DRAWN:
            self._sketch.save(self.drawing_path())

    def problems(self) -> list[str]:
        mode = self.mode.currentData()
        values = self.values()
        if not values.get("MODEL"):
            return [tr("Generator: choose one, or train one on the page Generator.")]
        if mode == DRAWN:
            problem = self._drawing_problem()
            return [] if problem is None else [problem]
        masks, images = bool(values.get("FROM_MASKS")), bool(values.get("FROM_IMAGES"))
        complaints = {
            OF: [(not values.get("OF"), tr("Real tiles: choose the tileset to count."))],
            MASKS: [
                (not masks and not values.get("FROM_MASKS_TILES"), tr("Masks: tick a layer or choose a tileset.")),
                (masks and bool(values.get("FROM_MASKS_TILES")), tr("Masks: layers or a tileset, not both.")),
            ],
            IMAGES: [
                (not images and not values.get("FROM_IMAGES_TILES"), tr("Images: tick a layer or choose a tileset.")),
                (images and bool(values.get("FROM_IMAGES_TILES")), tr("Images: layers or a tileset, not both.")),
            ],
        }
        return [words for wrong, words in complaints.get(mode, []) if wrong]

    def hint(self) -> str:
        described = self._described()
        if described is None or self.mode.currentData() not in (NEW, OF):
            return ""
        ground = "" if described.ground is None else tr(" of {ground:g} m").format(ground=described.ground)
        return tr("Pairs of {side} × {side} px{ground}.").format(side=described.side, ground=ground)

    def _drawing_problem(self) -> str | None:
        if not self._box.classes():
            return tr("The classes of this generator are not known yet: see the page Setup.")
        if self._sketch.count() == 0:
            return tr("Draw at least one polygon.")
        pixels = self._box.pixels()
        if pixels is not None and too_large(pixels):
            text = tr(
                "The drawing is {width} × {height} pixels of this generator: too large. Zoom in and draw smaller."
            )
            return text.format(width=pixels[0], height=pixels[1])
        if pixels is not None and min(pixels) < 8:
            return tr("The drawing is smaller than 8 pixels of this generator. Zoom out and draw larger.")
        return None

    def _new(self) -> list[tuple[str, str, QWidget]]:
        return [("COUNT", tr("Number"), number(8, 1, 10_000_000))]

    def _of(self) -> list[tuple[str, str, QWidget]]:
        return [
            ("RATIO", tr("Pairs for each"), decimal(1, 0.01, 1000)),
            ("OF", tr("Real tiles"), FolderChooser(["tileset"], tr("Tileset"), only=is_real)),
        ]

    def _drawn(self) -> list[tuple[str, str, QWidget]]:
        self._box = SketchBox(self._sketch)
        self._outside = QComboBox()
        self._outside.addItem(tr("generator decides"), "unknown")
        return [("", "", self._box), ("OUTSIDE", tr("Elsewhere"), self._outside)]

    def _masks(self) -> list[tuple[str, str, QWidget]]:
        outside = QLineEdit()
        outside.setPlaceholderText(tr("a class, or unknown"))
        whole = QCheckBox(tr("as one seamless scene"))
        return [
            ("FROM_MASKS", tr("Masks"), LayerList(is_label, tr("Masks"))),
            ("FROM_MASKS_TILES", tr("or of a tileset"), FolderChooser(["tileset"], tr("Tileset"), [("", tr("none"))])),
            ("CLASS_FIELD", tr("Class attribute"), QLineEdit()),
            ("OUTSIDE", tr("Outside of polygons"), outside),
            ("WHOLE", "", whole),
        ]

    def _images(self) -> list[tuple[str, str, QWidget]]:
        return [
            ("FROM_IMAGES", tr("Images"), LayerList(is_raster, tr("Images"))),
            ("FROM_IMAGES_TILES", tr("or of a tileset"), FolderChooser(["tileset"], tr("Tileset"), [("", tr("none"))])),
        ]

    def _scene(self) -> list[tuple[str, str, QWidget]]:
        return [
            ("WIDTH", tr("Width"), _pixels(256)),
            ("HEIGHT", tr("Height"), _pixels(256)),
        ]

    def _described(self) -> Description | None:
        model = self.field("MODEL").value()
        folder = self._base if model == "base" else Path(model) if model else None
        return None if folder is None else describe(folder)

    def _model_changed(self) -> None:
        described = self._described()
        self._box.offer(described)
        chosen = self._outside.currentData()
        self._outside.clear()
        self._outside.addItem(tr("generator decides"), "unknown")
        for entry in () if described is None else described.classes:
            self._outside.addItem(entry.name, entry.name)
        self._outside.setCurrentIndex(max(0, self._outside.findData(chosen)))
        self.touched()

    def _mode_changed(self) -> None:
        for name, part in self._shown.items():
            part.setVisible(name == self.mode.currentData())
        self.result_name = {DRAWN: "painted", SCENE: "scene"}.get(self.mode.currentData(), "synthetic")
        if self.run_button is not None:
            self.run_button.setText(tr("Paint it") if self.mode.currentData() == DRAWN else self.verb)
        self.suggest(anew=True)


def _pixels(value: int) -> QWidget:
    box = number(value, 16, _LARGEST, step=64)
    box.setSuffix(" px")
    return box
