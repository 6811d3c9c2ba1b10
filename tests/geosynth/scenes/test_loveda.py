"""LoveDA in its own layout: the same files that torchgeo reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geosynth.errors import SceneError
from geosynth.legend import load_legend
from geosynth.scenes.labels import MaskLabels, inspect_labels, make_codes
from geosynth.scenes.loveda import find_loveda
from geosynth.scenes.source import inspect_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
NUMBERS = {("Train", "Rural"): (2, 10), ("Train", "Urban"): (1366,), ("Val", "Rural"): (2,), ("Val", "Urban"): (3514,),
           ("Test", "Rural"): (4191,), ("Test", "Urban"): (5167, 5168)}  # fmt: skip


def png(path: Path, bands: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    with rasterio.open(path, "w", driver="PNG", count=count, height=height, width=width, dtype="uint8") as dataset:
        dataset.write(bands)


@pytest.fixture
def loveda(tmp_path: Path) -> Path:
    """A LoveDA of eight small scenes; one number is in two parts."""
    random = np.random.default_rng(0)
    for (part, area), numbers in NUMBERS.items():
        for number in numbers:
            folder = tmp_path / "LoveDA" / part / area
            png(folder / "images_png" / f"{number}.png", random.integers(0, 256, (3, 32, 32), dtype=np.uint8))
            if part != "Test":
                png(folder / "masks_png" / f"{number}.png", random.integers(0, 8, (1, 32, 32), dtype=np.uint8))
    (tmp_path / "LoveDA" / "Train" / "Rural" / "images_png" / "._2.png").write_bytes(b"macOS")
    return tmp_path / "LoveDA"


def test_every_scene_has_a_name_a_split_and_its_mask(loveda: Path) -> None:
    layout = find_loveda(loveda)
    names = [name for name, _ in layout.scenes]
    assert names == ["Train_Rural_2", "Train_Rural_10", "Train_Urban_1366", "Val_Rural_2", "Val_Urban_3514",
                     "Test_Rural_4191", "Test_Urban_5167", "Test_Urban_5168"]  # fmt: skip
    assert dict(layout.assign) == {name: name.split("_")[0].lower() for name in names}
    files = dict(layout.scenes)
    for name, mask in layout.labels:
        part, area, number = name.split("_")
        assert Path(mask) == loveda / part / area / "masks_png" / f"{number}.png"
        assert Path(files[name]) == loveda / part / area / "images_png" / f"{number}.png"
    assert {name for name, _ in layout.labels} == {name for name in names if not name.startswith("Test")}
    assert (layout.legend, layout.ignore, layout.gsd_m) == (load_legend("loveda"), (0,), 0.3)


def test_a_part_alone_is_enough(loveda: Path) -> None:
    for part in ("Train", "Test"):
        (loveda / part).rename(loveda / f"no {part}")
    layout = find_loveda(loveda)
    assert dict(layout.assign) == {"Val_Rural_2": "val", "Val_Urban_3514": "val"}


def test_torchgeo_reads_the_same_pixels(loveda: Path) -> None:
    datasets = pytest.importorskip("torchgeo.datasets")
    (loveda / "Train" / "Rural" / "images_png" / "._2.png").unlink()  # torchgeo takes it for an image
    layout = find_loveda(loveda)
    masks = dict(layout.labels)
    entries = [inspect_labels(mask)[0] for mask in masks.values()]
    codes = make_codes(entries, layout.legend, None, layout.ignore)
    for split in ("train", "val", "test"):
        theirs = datasets.LoveDA(loveda, split=split)
        ours = {file: name for name, file in layout.scenes if dict(layout.assign)[name] == split}
        assert {str(Path(entry["image"])) for entry in theirs.files} == set(ours)
        for position, entry in enumerate(theirs.files):
            name = ours[str(Path(entry["image"]))]
            sample = theirs[position]
            with rasterio.open(entry["image"]) as dataset:
                assert (dataset.read() == sample["image"].numpy()).all()
            if split == "test":
                assert name not in masks and "mask" not in sample
                continue
            (mask,) = inspect_labels(masks[name])
            assert isinstance(mask, MaskLabels)
            with rasterio.open(mask.path) as dataset:
                ids = codes.of_mask(mask, dataset.read())
            assert (ids == np.where(sample["mask"] == 0, 255, sample["mask"])).all()
            # torchgeo counts the classes from 0 in its list of names, and the numbers in its files from 1.
            assert layout.legend.names == theirs.classes[:7]


def test_a_scene_of_it_can_be_used(loveda: Path) -> None:
    info = inspect_scene(find_loveda(loveda).scenes[0][1])
    assert [band.name for band in info.bands] == ["red", "green", "blue"]


def test_an_incomplete_download_is_found(loveda: Path) -> None:
    (loveda / "Val" / "Rural" / "masks_png" / "2.png").unlink()
    with pytest.raises(SceneError, match=r"images_png.2\.png: has no mask of its number — unpack"):
        find_loveda(loveda)
    (loveda / "Val" / "Rural" / "images_png" / "2.png").unlink()
    for number in (7, 8):
        png(loveda / "Val" / "Urban" / "masks_png" / f"{number}.png", np.ones((1, 8, 8), np.uint8))
    with pytest.raises(SceneError, match=r"masks_png.7\.png: has no image of its number, like 1 more"):
        find_loveda(loveda)


@pytest.mark.parametrize("give", [lambda root: root / "Train", lambda root: root / "nowhere"])
def test_another_folder_is_refused(loveda: Path, give: Callable[[Path], Path]) -> None:
    with pytest.raises(SceneError, match=r"holds no LoveDA images.*Train, Val or Test"):
        find_loveda(give(loveda))
