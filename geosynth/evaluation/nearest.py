"""The real training tile nearest to each synthetic one, in a table beside the index: what was copied, and from where.

A table, not columns of the index: how near tiles are is about two tilesets, and measuring it must not make the measured
one another one (whatever was trained on it would count as out of date).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from geosynth.devices import choose_device, one_thread
from geosynth.errors import ModelError, TilesetError
from geosynth.evaluation.captioned import Captioned, captioned_sheet
from geosynth.evaluation.features import FeatureNetwork, Features, FeatureSpace, image_features
from geosynth.evaluation.fidelity import PERCENTILE, nearest, thumbnails
from geosynth.events import Events
from geosynth.folders import canonical_json, write_whole
from geosynth.revision import revise
from geosynth.samples import Pair, TilesetDataset, check_compatible
from geosynth.segmentation.segmenter import Segmenter, load_segmenter
from geosynth.tileset import Tile, Tileset

TABLE, REPORT, SHEET = "nearest.csv", "nearest.json", "nearest.png"
_TURNS = 8
_PIXELS = 1 << 17
_ROWS = 256


@dataclass(frozen=True)
class NearestSummary:
    """How near synthetic images come to real training tiles.

    ``median`` and ``held_out_median`` are distances to the nearest training tile, of synthetic and of real held-out
    tiles; ``suspect`` of ``tiles`` are nearer than the nearest hundredth of the held-out ones. The held-out numbers are
    None where there are no held-out tiles.
    """

    tiles: int
    median: float
    held_out_median: float | None
    suspect: int | None
    most: tuple[tuple[str, str, float], ...]
    nothing_to_do: bool = False


def find_nearest(
    tiles: str | PathLike[str],
    of: str | PathLike[str],
    events: Events,
    *,
    by: str | PathLike[str] | None = None,
    shown: int = 12,
    device: str = "auto",
) -> NearestSummary:
    """Write ``nearest.csv`` (``id``, ``nearest_id``, ``distance``, ``suspect``), ``nearest.json`` and ``nearest.png``
    into a synthetic tileset; the nearest pairs are on the page, side by side.

    Distances are smallest over the eight flips and turns, which training uses. Without ``by`` they are root mean square
    differences of 16 × 16 px thumbnails in standard deviations of the band; with it, Euclidean ones of a segmenter's
    features (``features.FeatureSpace``), which see what is there rather than how bright it is.

    Args:
        tiles: the synthetic tileset; all tiles with generated images are looked at, rejected ones too.
        of: the real tileset its generator was trained on; split=train is what may have been copied.
        events: progress in tiles, cancellation.
        by: a segmenter trained on real tiles.
        shown: pairs on the page.
        device: for the segmenter: auto, cpu, cuda or mps.

    Raises:
        TilesetError: the tilesets do not go together, or one has nothing to compare.
        ModelError: not a segmenter, or one of other bands.
        OutputError: another run writes there, or the disk refuses.
        Cancelled: stopped by the user; nothing is written then.
    """
    synthetic, real = Tileset(tiles), Tileset(of)
    check_compatible(real, synthetic)
    made = [tile for tile in synthetic.tiles if tile.image_origin == "generated"]
    train, held_out = real.select("train"), real.select("val") or real.select("test")
    for found, place, what in ((made, synthetic, "generated images"), (train, real, "training tiles")):
        if not found:
            raise TilesetError(f"has no {what}", where=place.path, remedy="give a tileset with some")
    segmenter = None if by is None else load_segmenter(by, choose_device(device))
    if segmenter is not None:
        _check_bands(segmenter, real)
    images = hashlib.sha256(canonical_json([tile.image_sha256 for tile in made]).encode()).hexdigest()
    request = {
        "command": "nearest",
        "tiles": {"id": synthetic.spec.id, "images": images},
        "of": real.identity(),
        "by": None if segmenter is None else segmenter.hash,
        "shown": shown,
    }
    with revise(tiles) as (opened, temporary):
        done = _earlier(opened.path, request)
        if done is not None:
            return done
        measure = _by_pixels if segmenter is None else _BySegmenter(segmenter)
        ours, theirs, where = measure(real, train, held_out, opened, made, events)
        threshold = float(np.percentile(theirs, PERCENTILE)) if len(theirs) else None
        suspects = np.zeros(len(ours), bool) if threshold is None else ours < threshold
        order = [int(position) for position in np.argsort(ours, kind="stable")]
        most = [(made[k].id, train[where[k]].id, float(ours[k])) for k in order[:shown]]
        summary = NearestSummary(
            len(made),
            float(np.median(ours)),
            float(np.median(theirs)) if len(theirs) else None,
            None if threshold is None else int(suspects.sum()),
            tuple(most),
        )
        pairs = [
            Captioned(((opened, made[k], made[k].id), (real, train[where[k]], f"{train[where[k]].id} · {ours[k]:.3f}")))
            for k in order[:shown]
        ]
        sheet = captioned_sheet(pairs, "Nearest to a training tile", _note(summary, len(pairs)), columns=2)
        rows = [
            (tile.id, train[place].id, repr(float(value)), "" if threshold is None else int(near))
            for tile, place, value, near in zip(made, where, ours, suspects, strict=True)
        ]
        write_whole(opened.path / SHEET, sheet, temporary)
        write_whole(opened.path / TABLE, _table(rows), temporary)
        content: dict[str, Any] = {"request": request, **asdict(summary)}
        del content["nothing_to_do"]
        write_whole(opened.path / REPORT, canonical_json(content), temporary)
    for name, kind in ((TABLE, "table"), (SHEET, "contact sheet")):
        events.artifact(Path(tiles) / name, kind)
    return summary


def _check_bands(segmenter: Segmenter, real: Tileset) -> None:
    known, asked = ([(band.name, band.dtype) for band in spec.bands] for spec in (segmenter.spec, real.spec))
    if known != asked:
        raise ModelError(
            "its bands are not those the segmenter was trained on", where=real.path, remedy="give another --by"
        )


def _earlier(folder: Path, request: Mapping[str, Any]) -> NearestSummary | None:
    """What was found by the same request before."""
    try:
        content = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if content.pop("request") != json.loads(canonical_json(request)):
            return None
        most = tuple((str(one), str(other), float(value)) for one, other, value in content.pop("most"))
        return NearestSummary(**content, most=most, nothing_to_do=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None


Found = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
"""Distances of synthetic (N,) and of held-out tiles (M,), and the training tile nearest to each of the first."""


def _by_pixels(
    real: Tileset, train: Sequence[Tile], held_out: Sequence[Tile], other: Tileset, made: Sequence[Tile], events: Events
) -> Found:
    bands = len(real.spec.bands)
    known = thumbnails(real, train, real.statistics, events)
    asked = thumbnails(other, made, real.statistics, events)
    others = thumbnails(real, held_out, real.statistics, events)
    ours, where = nearest(asked, known, bands)
    return ours, nearest(others, known, bands)[0], where


@dataclass(frozen=True)
class _BySegmenter:
    """Distances between features; the space is that of the training tiles, as they lie."""

    segmenter: Segmenter

    def __call__(
        self,
        real: Tileset,
        train: Sequence[Tile],
        held_out: Sequence[Tile],
        other: Tileset,
        made: Sequence[Tile],
        events: Events,
    ) -> Found:
        known = self._features(real, train, 0, events)
        space = FeatureSpace.fit(known)
        vectors = space.scaled(known)
        ours, where = self._nearest(space, vectors, other, made, events)
        return ours, self._nearest(space, vectors, real, held_out, events)[0], where

    def _nearest(
        self, space: FeatureSpace, known: NDArray[np.float64], tileset: Tileset, tiles: Sequence[Tile], events: Events
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        best, where = np.full(len(tiles), np.inf), np.zeros(len(tiles), np.int64)
        for which in range(_TURNS if tiles else 0):
            asked = space.scaled(self._features(tileset, tiles, which, events))
            for start in range(0, len(tiles), _ROWS):
                part = slice(start, start + _ROWS)
                apart = cdist(asked[part], known)
                position = apart.argmin(axis=1)
                value = apart[np.arange(len(position)), position]
                nearer = value < best[part]
                best[part] = np.where(nearer, value, best[part])
                where[part] = np.where(nearer, position, where[part])
        return best, where

    def _features(self, tileset: Tileset, tiles: Sequence[Tile], which: int, events: Events) -> Features:
        pairs = [Pair(tileset, tile) for tile in tiles]
        dataset = TilesetDataset(pairs, self.segmenter.spec.normalisation, in_memory=False)
        few, parts = max(1, _PIXELS // tileset.spec.tile_size**2), []
        for start in range(0, len(pairs), few):
            events.check()
            events.progress(start, len(pairs), "tiles described")
            indices = range(start, min(start + few, len(pairs)))
            with one_thread():  # the same bytes for any number of threads
                parts.append(
                    image_features(
                        FeatureNetwork.of(self.segmenter), dataset.gather(indices, [which] * len(indices))["image"]
                    )
                )
        return Features(np.concatenate([part.deep for part in parts]), np.concatenate([part.fine for part in parts]))


def _note(summary: NearestSummary, shown: int) -> str:
    held_out = "" if summary.held_out_median is None else f", held-out real tiles {summary.held_out_median:.3f}"
    what = f"the nearest {shown} of {summary.tiles} · left synthetic, right real"
    return f"{what} · median distance {summary.median:.3f}{held_out}"


def _table(rows: Sequence[tuple[Any, ...]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "nearest_id", "distance", "suspect"))
    writer.writerows(rows)
    return text.getvalue()
