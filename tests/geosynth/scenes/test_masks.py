"""Masks coded by colour: whose colours are read, what is refused instead of guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from geosynth.errors import LabelError
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend, LegendClass, load_legend
from geosynth.scenes.burning import open_labels, placed
from geosynth.scenes.labels import MaskLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.source import inspect_scene

DUBAI = load_legend("dubai")
TABLE = DUBAI.color_table()
TRANSFORM = Affine(1.0, 0, 500_000, 0, -1.0, 5_000_000)
Write = Callable[..., Path]


def ids(seed: int = 0, side: int = 40) -> np.ndarray:
    """A mask of 8 px patches of the Dubai set's classes."""
    patches = np.random.default_rng(seed).integers(1, 6, (side // 8, side // 8), dtype=np.uint8)
    return np.kron(patches, np.ones((8, 8), np.uint8))


def colored(mask: np.ndarray) -> np.ndarray:
    return np.moveaxis(TABLE[mask], -1, 0)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(name: str, bands: np.ndarray, **profile: Any) -> Path:
        driver = {".png": "PNG", ".jpg": "JPEG"}.get(Path(name).suffix, "GTiff")
        place = {} if driver != "GTiff" else {"crs": CRS.from_epsg(32633), "transform": TRANSFORM}
        count, height, width = bands.shape
        shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
        palette = profile.pop("palette", None)
        with rasterio.open(tmp_path / name, "w", driver=driver, **shape, **place | profile) as dataset:
            dataset.write(bands)
            if palette is not None:
                dataset.write_colormap(1, palette)
        return tmp_path / name

    return file


def read(path: Path, legend: Legend, ignore: tuple[int | str, ...] = (), grid: Grid | None = None) -> np.ndarray:
    """The mask on its own pixels, or others."""
    (labels,) = inspect_labels(path)
    assert isinstance(labels, MaskLabels)
    grid = grid or labels.scene.grid
    with open_labels([labels], make_codes([labels], legend, None, ignore), grid) as reader:
        return reader.read(0, 0, grid.height, grid.width)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_colours_are_the_classes_of_the_legend(write: Write, name: str) -> None:
    assert (read(write(name, colored(ids())), DUBAI) == ids()).all()


def test_alpha_hides(write: Write) -> None:
    alpha = np.full((40, 40), 255, np.uint8)
    alpha[:, :10] = 0
    bands = np.vstack([colored(ids()), alpha[None]])
    bands[:3, :, :10] = 77  # a colour that is no class, where nothing shows it
    expected = np.where(alpha, ids(), UNKNOWN)
    assert (read(write("a.png", bands), DUBAI) == expected).all()
    assert (read(write("a.tif", bands, photometric="rgb", alpha="yes"), DUBAI) == expected).all()
    with pytest.raises(LabelError, match=r"4 bands.*-colorinterp_4 alpha"):
        inspect_labels(write("b.tif", bands, photometric="rgb"))
    gray = np.stack([ids(), alpha])
    gray[0, :, :10] = 99
    assert (read(write("b.png", gray), DUBAI) == expected).all()


def test_an_inner_mask_and_nodata_hide(write: Write) -> None:
    black = colored(ids())
    black[:, :5] = 0
    expected = ids()
    expected[:5] = UNKNOWN
    assert (read(write("a.tif", black, nodata=0), DUBAI) == expected).all()
    path = write("b.tif", black)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(expected != UNKNOWN)
    assert (read(path, DUBAI) == expected).all()


def test_a_colour_of_no_class_is_named_and_counted(write: Write) -> None:
    bands = colored(ids())
    bands[:, 3:5, :7] = np.array([9, 8, 7], np.uint8)[:, None, None]
    path = write("a.tif", bands)
    with pytest.raises(
        LabelError, match=r"colour #090807 \(14 pixels\) is no class.*#3c1098 building.*--ignore '#090807'"
    ):
        read(path, DUBAI)
    expected = ids()
    expected[3:5, :7] = UNKNOWN
    for ignored in ("#090807", "#090807 ".upper()):
        assert (read(path, DUBAI, (ignored,)) == expected).all()


def test_without_a_legend_the_colours_are_the_classes(write: Write) -> None:
    labels = inspect_labels(write("a.tif", colored(ids())))
    legend = infer_legend(labels, None, ("#E2A929",))
    assert legend.names == tuple(sorted(entry.color for entry in DUBAI.classes if entry.name != "water"))
    assert legend.ids == (1, 2, 3, 4)
    assert [entry.color for entry in legend.classes] == list(legend.names)
    mask = read(write("a.tif", colored(ids())), legend, ("#e2a929",))
    assert (TABLE[ids()][mask != UNKNOWN] == legend.color_table()[mask][mask != UNKNOWN]).all()
    assert ((mask == UNKNOWN) == (ids() == 5)).all()


def test_images_are_no_masks(write: Write) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8)
    with pytest.raises(LabelError, match="more than 256 different colours: an image"):
        inspect_labels(write("a.tif", noise))
    with pytest.raises(LabelError, match="3 bands of uint16"):
        inspect_labels(write("b.tif", noise.astype(np.uint16)))
    with pytest.raises(LabelError, match="5 bands"):
        inspect_labels(write("c.tif", np.vstack([noise, noise[:2]])))
    few = np.kron(noise[:, :10, :10], np.ones((4, 4), np.uint8))
    with pytest.raises(LabelError, match="100 different colours are too many"):
        infer_legend(inspect_labels(write("d.tif", few)), None)
    with pytest.raises(LabelError, match=r"different values: an image.*--legend"):
        infer_legend(inspect_labels(write("e.tif", few[:1])), None)


def test_blurred_colours_are_refused_not_guessed(write: Write) -> None:
    blurred = write("a.jpg", colored(ids(side=320)))
    with pytest.raises(LabelError, match=r"JPEG compression has blurred.*losslessly"):
        inspect_labels(blurred)
    small = write("b.jpg", colored(np.full((16, 16), 5, np.uint8)))
    with pytest.raises(LabelError, match=r"is no class.*near to.*JPEG compression has blurred"):
        read(small, DUBAI)
    shaded = colored(ids())
    for shade in range(1, 5):  # a few pixels between two classes, in a file that does not say why
        shaded[:, shade, :4] += np.uint8(shade)
    with pytest.raises(LabelError, match=r"is no class.*near to.*smoothing"):
        read(write("c.tif", shaded), DUBAI)
    numbers = write("d.jpg", ids(side=64)[None] * 40)
    with pytest.raises(LabelError, match="JPEG compression has blurred"):
        infer_legend(inspect_labels(numbers), None)
    with pytest.raises(LabelError, match=r"value \d+: JPEG compression has blurred"):
        read(numbers, DUBAI)


def palette_of(order: np.ndarray) -> dict[int, tuple[int, int, int, int]]:
    """A palette whose n-th colour is that of class order[n]."""
    return {number: (*TABLE[id_].tolist(), 255) for number, id_ in enumerate(order.tolist())}


def test_a_palette_goes_by_colour_when_its_numbers_are_no_classes(write: Write) -> None:
    order = np.array([4, 2, 5, 1, 3])
    numbers = np.argsort(order).astype(np.uint8)[ids() - 1]
    assert (order[numbers] == ids()).all()
    for name in ("a.png", "a.tif"):
        path = write(name, numbers[None], palette=palette_of(order), photometric="palette")
        assert (read(path, DUBAI) == ids()).all()


def test_a_palette_of_the_same_classes_goes_by_number(write: Write) -> None:
    path = write("a.tif", ids()[None], palette=DUBAI.colormap(), photometric="palette")
    assert (read(path, DUBAI) == ids()).all()
    unlabelled = ids()
    unlabelled[:3] = 0
    palette = DUBAI.colormap() | {0: (155, 155, 155, 255)}
    path = write("b.tif", unlabelled[None], palette=palette, photometric="palette")
    expected = np.where(unlabelled == 0, UNKNOWN, unlabelled)
    assert (read(path, DUBAI, (0,)) == expected).all()
    assert (read(path, DUBAI, ("#9b9b9b",)) == expected).all()


def test_numbers_and_colours_that_disagree_are_refused(write: Write) -> None:
    palette = {1: (*TABLE[2].tolist(), 255), 2: (*TABLE[1].tolist(), 255)}
    path = write("a.tif", ids().clip(1, 2)[None], palette=palette, photometric="palette")
    with pytest.raises(LabelError, match=r"value 1 is one class.*'land' by its palette's colour #8429f6.*expand rgb"):
        read(path, DUBAI)
    other = Legend((LegendClass(1, "a", "#010101"), LegendClass(2, "b", "#020202")))
    assert (read(path, other) == ids().clip(1, 2)).all()


def test_palettes_that_differ_make_no_legend(write: Write) -> None:
    paths = [
        write(
            f"{n}.tif",
            ids().clip(1, 2)[None],
            palette={n: (9, 9, 9, 255), 3 - n: (5, 5, 5, 255)},
            photometric="palette",
        )
        for n in (1, 2)
    ]
    labels = [entry for path in paths for entry in inspect_labels(path)]
    with pytest.raises(LabelError, match=r"value 1 the colour #050505, another mask's #090909.*--legend"):
        infer_legend(labels, None)


def test_transparent_colours_of_a_palette_are_unknown(write: Write) -> None:
    mask = ids()
    mask[:4] = 9
    palette = DUBAI.colormap() | {9: (1, 2, 3, 0)}
    path = write("a.png", mask[None], palette=palette)
    assert (read(path, DUBAI) == np.where(mask == 9, UNKNOWN, mask)).all()


def test_numbers_saved_in_three_bands_are_numbers(write: Write) -> None:
    assert (read(write("a.png", np.repeat(ids()[None], 3, axis=0)), DUBAI) == ids()).all()
    yes = np.where(ids() == 2, 255, 0).astype(np.uint8)
    path = write("b.png", np.repeat(yes[None], 3, axis=0))
    assert (read(path, infer_legend(inspect_labels(path), None)) == yes // 255).all()
    assert (read(path, load_legend("building")) == yes // 255).all()
    white = Legend((LegendClass(3, "paved", "#ffffff"), LegendClass(7, "clutter", "#000000")))
    assert (read(path, white) == np.where(yes, 3, 7)).all()


def test_two_classes_of_one_colour_cannot_be_told_apart(write: Write) -> None:
    legend = Legend((LegendClass(1, "a", "#3c1098"), LegendClass(2, "b", "#3c1098")))
    with pytest.raises(LabelError, match="several classes of the legend have the same"):
        read(write("a.tif", colored(np.ones((8, 8), np.uint8))), legend)


def test_isaid_is_read_by_its_own_colours(write: Write) -> None:
    legend = load_legend("isaid")
    mask = np.random.default_rng(0).integers(0, 16, (32, 32), dtype=np.uint8)
    bands = np.moveaxis(legend.color_table()[mask], -1, 0)
    assert (read(write("P0002_instance_color_RGB.png", bands), legend) == mask).all()


def test_coarser_pixels_take_the_class_most_of_them_have_and_colours_the_nearest(write: Write) -> None:
    fine = np.kron(ids(), np.ones((3, 3), np.uint8))
    fine[1::3, 1::3] = 1  # the pixel in the middle says another class than the eight around it
    grid = Grid(CRS.from_epsg(32633), TRANSFORM @ Affine.scale(3), 40, 40)
    assert (read(write("a.tif", fine[None]), DUBAI, grid=grid) == ids()).all()
    assert (read(write("b.tif", np.repeat(fine[None], 3, axis=0)), DUBAI, grid=grid) == ids()).all()
    (mask,) = inspect_labels(write("c.tif", colored(fine)))
    assert set(np.unique(read(write("c.tif", colored(fine)), DUBAI, grid=grid))) <= set(DUBAI.ids)
    shifted = Grid(grid.crs, TRANSFORM @ Affine.translation(1, 1), 117, 117)
    assert (read(mask.path, DUBAI, grid=shifted) == fine[1:118, 1:118]).all()  # type: ignore[arg-type]


def test_colour_masks_without_georeference_go_onto_their_scene(write: Write, tmp_path: Path) -> None:
    image = write("a.tif", np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8))
    (mask,) = inspect_labels(write("a.png", colored(ids())))
    info = inspect_scene(image)
    on_scene = placed(mask, info)
    with open_labels([on_scene], make_codes([on_scene], DUBAI, None), info.grid) as reader:
        assert (reader.read(0, 0, 40, 40) == ids()).all()


def test_a_large_mask_is_looked_at_in_parts(tmp_path: Path) -> None:
    """One strip for all rows is the worst case; what is found does not depend on the blocks."""
    mask = np.kron(ids(), np.ones((64, 64), np.uint8))
    bands = colored(mask)
    found = []
    for blocks in ({}, {"tiled": True, "blockxsize": 256, "blockysize": 256}, {"blockysize": 2560}):
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", count=3, height=2560, width=2560, dtype="uint8", **blocks) as dataset:
                dataset.write(bands)
            (tmp_path / "a.tif").write_bytes(memory.read())
        (labels,) = inspect_labels(tmp_path / "a.tif")
        assert isinstance(labels, MaskLabels)
        found.append(dict(zip(labels.values, labels.pixels, strict=True)))
    assert found[0] == found[1] == found[2]
    assert sum(found[0].values()) == mask.size
    colors = {int(DUBAI.classes[n - 1].color[1:], 16): int((mask == n).sum()) for n in np.unique(mask)}
    assert found[0] == colors
