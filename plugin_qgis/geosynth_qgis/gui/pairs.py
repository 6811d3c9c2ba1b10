"""The pairs of a tileset as the panel shows them: rows of its index, and small pictures of image and mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsGeometry, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen

from ..core.artefacts import inside
from ..core.words import tr

UNSEEN, ACCEPTED, REJECTED = "unseen", "accepted", "rejected"
INKS = {ACCEPTED: QColor("#2d8a4f"), REJECTED: QColor("#c1272d")}
_MARKS = {ACCEPTED: "✓", REJECTED: "✗"}
_GAP = 3


@dataclass(frozen=True)
class PairRow:
    """A row of the index; files are None where they are gone, or lie outside the tileset."""

    id: str
    split: str
    review: str
    filter: str
    image: Path | None
    mask: Path | None
    outline: QgsGeometry


@dataclass(frozen=True)
class PairTable:
    """The index of a tileset, with the CRS its outlines are in."""

    rows: tuple[PairRow, ...]
    layer: QgsVectorLayer

    def by_id(self) -> dict[str, PairRow]:
        return {row.id: row for row in self.rows}


def read_pairs(folder: Path) -> PairTable:
    """The index, through its view for QGIS.

    Raises:
        OSError: it cannot be read.
    """
    layer = QgsVectorLayer(str(folder / "index.gpkg"), "index", "ogr")
    names = layer.fields().names() if layer.isValid() else []
    if not {"id", "image", "mask", "review"} <= set(names):
        raise OSError(tr("{folder}: its index cannot be read").format(folder=folder))
    rows = [
        PairRow(
            str(feature["id"]),
            str(feature["split"]) if "split" in names else "",
            str(feature["review"] or UNSEEN),
            str(feature["filter"] or "") if "filter" in names else "",
            inside(folder / str(feature["image"]), folder),
            inside(folder / str(feature["mask"]), folder),
            QgsGeometry(feature.geometry()),
        )
        for feature in layer.getFeatures()
    ]
    return PairTable(tuple(rows), layer)


def raster_picture(path: Path | None, side: int) -> QImage:
    """A raster as QGIS draws it by default, ``side`` pixels square; grey where there is none."""
    layer = None if path is None else QgsRasterLayer(str(path), "")
    if layer is None or not layer.isValid():
        image = QImage(side, side, QImage.Format.Format_RGB32)
        image.fill(QColor("#b0b0b0"))
        return image
    return layer.previewAsImage(QSize(side, side), QColor("white"))


def pair_picture(row: PairRow, side: int, verdict: str = UNSEEN) -> QImage:
    """Image and mask side by side, in a frame that tells the verdict."""
    whole = QImage(2 * side + 3 * _GAP, side + 2 * _GAP, QImage.Format.Format_RGB32)
    whole.fill(QColor("white"))
    painter = QPainter(whole)
    for place, path in enumerate((row.image, row.mask)):
        painter.drawImage(_GAP + place * (side + _GAP), _GAP, raster_picture(path, side))
    painter.end()
    return with_verdict(whole, verdict)


def with_verdict(picture: QImage, verdict: str) -> QImage:
    """A copy with a frame and a mark, green or red; as it is where nobody has said anything."""
    copy = QImage(picture)
    if verdict not in INKS:
        return copy
    painter = QPainter(copy)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(INKS[verdict], 5))
    painter.drawRect(copy.rect().adjusted(2, 2, -3, -3))
    badge = QRectF(copy.width() - 26, 4, 22, 22)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(INKS[verdict])
    painter.drawEllipse(badge)
    painter.setPen(QColor("white"))
    font = painter.font()
    font.setBold(True)
    font.setPixelSize(15)
    painter.setFont(font)
    painter.drawText(badge, int(Qt.AlignmentFlag.AlignCenter), _MARKS[verdict])
    painter.end()
    return copy
