"""Scenes to class rasters: exact where the answer is known, without seams, in place, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch
from rasterio import Affine
from segment_world import SPEC
from torch import nn

from geosynth.errors import Cancelled, GeosynthError, OutputError, SceneError
from geosynth.events import Events
from geosynth.samples import Normalisation
from geosynth.segmentation import pieces, prediction
from geosynth.segmentation.prediction import predict_scenes
from geosynth.segmentation.segmenter import Segmenter, SegmenterSpec
from geosynth.segmentation.windows import Windows

PLACE = Affine(0.5, 0, 500010, 0, -0.5, 5000020)
COMPRESSED = {
    "driver": "GTiff", "count": 2, "dtype": "uint8", "height": 600, "width": 600, "compress": "deflate", "tiled": True,
    "crs": "EPSG:32633", "transform": PLACE,
}  # fmt: skip


class Threshold(nn.Module):
    """Class 1 where the first band is above its mean: each pixel on its own, so the right answer is known."""

    encoder = type("Encoder", (), {"output_stride": 32})

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += len(image)
        return torch.stack([torch.zeros_like(image[:, 0]), 8 * image[:, 0]], 1)


class Moody(Threshold):
    """Every window gets another answer, the same all over it: the worst a network can do at a seam."""

    def forward(self, image):
        self.calls += 1
        return torch.full((1, 2, *image.shape[-2:]), float(self.calls % 2))


def segmenter_with(network):
    spec = SegmenterSpec(
        "unet", "resnet18", SPEC.bands, SPEC.legend, "EPSG:32633", (0.5, 0.5), 0.5, 32,
        Normalisation((100.0, 100.0), (50.0, 50.0)),
    )  # fmt: skip
    return Segmenter(spec, network, "cpu", {}, None, "abc123")


@pytest.fixture
def network(monkeypatch):
    stub = Threshold()
    monkeypatch.setattr(prediction, "load_segmenter", lambda *_: segmenter_with(stub))
    return stub


def write_scene(path, height=150, width=220, *, transform=PLACE, crs="EPSG:32633", hole=None, dtype="uint8", bands=2):
    """Blobs of a few pixels; ``hole`` (slices) is nodata. Returns path and the ids expected."""
    values = np.random.default_rng(height).integers(1, 200, (bands, -(-height // 5), -(-width // 5)))
    image = np.kron(values, np.ones((1, 5, 5))).astype(dtype)[:, :height, :width]
    ids = (image[0] > 100).astype(np.uint8)
    if hole:
        image[:, *hole] = 0
        ids[hole] = 255
    profile = {"driver": "GTiff", "count": bands, "dtype": dtype, "height": height, "width": width}
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=0, **profile) as dataset:
        dataset.write(image)
    return path, ids


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.profile, dataset.tags()


@pytest.mark.parametrize(("window", "overlap"), [(64, 16), (64, 0), (96, 80), (256, 64), (150, 10)])
def test_every_pixel_gets_its_own_class(tmp_path, network, window, overlap):
    hole = np.s_[20:70, 30:150]
    scene, expected = write_scene(tmp_path / "a.tif", hole=hole)
    (out,) = predict_scenes("s", [scene], tmp_path / "out", Events(), window=window, overlap=overlap)
    ids, profile, tags = read(out)
    assert out == tmp_path / "out/a.tif"
    assert (ids == expected).all() and (ids[hole] == 255).all()
    assert profile["transform"] == PLACE and profile["crs"].to_epsg() == 32633
    assert profile["nodata"] == 255 and profile["dtype"] == "uint8"
    assert tags["GEOSYNTH_SEGMENTER"] == "abc123" and tags["GEOSYNTH_SOURCE"] == "a"


def test_a_scene_smaller_than_a_window(tmp_path, network):
    scene, expected = write_scene(tmp_path / "a.tif", 20, 35)
    (out,) = predict_scenes("s", [scene], tmp_path / "out", Events())
    assert (read(out)[0] == expected).all()


def test_windows_without_data_are_not_predicted(tmp_path, network):
    scene, _ = write_scene(tmp_path / "a.tif", 128, 256, hole=np.s_[:, 64:])
    predict_scenes("s", [scene], tmp_path / "out", Events(), window=64, overlap=0)
    assert network.calls == 2


def blended(segmenter, height, width, window, overlap):
    """The blended logits of a featureless scene, put together from the pieces they come in."""

    class Reader:
        def read(self, row, col, height, width):
            return np.ones((2, height, width), np.uint8), np.ones((height, width), bool)

    rows, cols = Windows.over(height, window, overlap), Windows.over(width, window, overlap)
    whole = torch.full((2, height, width), torch.nan)
    for row, col, logits, _, _ in prediction._blended(segmenter, Reader(), rows, cols, Events()):
        whole[:, row : row + logits.shape[1], col : col + logits.shape[2]] = logits
    return whole[0].numpy()


def test_there_is_no_seam_where_a_window_ends():
    """Windows that differ by 1 everywhere: the blend may not jump at a border, only pass over within the overlap."""
    whole = blended(segmenter_with(Moody()), 200, 300, 96, 32)
    assert whole.min() < 0.01 and whole.max() > 0.99, "the windows do differ"
    steepest = np.pi / 2 / 32  # of half a Hann window over 32 px
    assert np.abs(np.diff(whole, axis=0)).max() <= 1.05 * steepest
    assert np.abs(np.diff(whole, axis=1)).max() <= 1.05 * steepest


def test_strips_of_a_wide_scene_fit_together(tmp_path, network, monkeypatch):
    monkeypatch.setattr(pieces, "_STRIP_BYTES", 1)  # 4 windows wide
    scene, expected = write_scene(tmp_path / "a.tif", 100, 605, hole=np.s_[:, 250:260])
    (out,) = predict_scenes("s", [scene], tmp_path / "out", Events(), window=64, overlap=16)
    assert (read(out)[0] == expected).all()
    assert network.calls > 2 * 13, "windows on the border of two strips are done for both"


@pytest.mark.parametrize(("length", "size", "overlap"), [(500, 96, 32), (97, 96, 32), (40, 96, 32), (300, 64, 0)])
def test_weights_add_up_to_one(length, size, overlap):
    windows = Windows.over(length, size, overlap)
    total = np.zeros(max(length, size))
    for start, weights in zip(windows.starts, windows.weights, strict=True):
        total[start : start + size] += weights
    np.testing.assert_allclose(total[:length], 1, rtol=1e-5)
    assert windows.starts[0] == 0 and windows.starts[-1] == max(0, length - size)
    assert all(b - a <= size - overlap for a, b in zip(windows.starts, windows.starts[1:], strict=False))


@pytest.mark.parametrize(("window", "overlap"), [(64, 64), (16, 0), (64, -1)])
def test_impossible_windows(tmp_path, network, window, overlap):
    scene, _ = write_scene(tmp_path / "a.tif")
    with pytest.raises(GeosynthError, match="overlap"):
        predict_scenes("s", [scene], tmp_path / "out", Events(), window=window, overlap=overlap)
    assert not (tmp_path / "out").exists()


def test_confidence_is_the_probability_in_percent(tmp_path, network):
    scene, expected = write_scene(tmp_path / "a.tif", hole=np.s_[:10, :10])
    predict_scenes("s", [scene], tmp_path / "out", Events(), window=64, overlap=16, confidence=True)
    percent, profile, _ = read(tmp_path / "out/confidence/a.tif")
    with rasterio.open(scene) as dataset:
        logit = 8 * (dataset.read(1).astype(float) - 100) / 50
    sure = 100 / (1 + np.exp(-np.abs(logit)))
    known = expected != 255
    assert (percent[~known] == 255).all() and profile["nodata"] == 255
    assert np.abs(percent[known] - sure[known]).max() <= 0.51
    assert profile["transform"] == PLACE
    assert [path.name for path in (tmp_path / "out").glob("*.tif")] == ["a.tif"], "only classes: classes/*.tif is safe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 3}, "has 3 bands of uint8, the segmenter takes 2 bands of uint8 \\(pan, nir\\)"),
        ({"dtype": "uint16"}, "has 2 bands of uint16"),
        ({"transform": Affine(1, 0, 500000, 0, -1, 5000000)}, "measure 1 m on the ground.*trained on 0.5.*--resample"),
        ({"crs": None}, None),
        ({"crs": None, "transform": Affine(1, 0, 0, 0, -1, 0)}, "measure 1 x 1 CRS units.*gdalwarp"),
    ],
)
def test_scenes_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, network, change, message):
    good, _ = write_scene(tmp_path / "good.tif")
    scene, _ = write_scene(tmp_path / "a.tif", **change)
    if message is None:  # no CRS, but pixels of the same size: taken at its word
        assert len(predict_scenes("s", [good, scene], tmp_path / "out", Events())) == 2
        return
    with pytest.raises(SceneError, match=message):
        predict_scenes("s", [good, scene], tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "refused"), [("nir pan", True), ("PAN nir", False), ("band_1 pan", False), ("red nir", False)]
)
def test_bands_in_another_order_are_refused(tmp_path, network, names, refused):
    scene, _ = write_scene(tmp_path / "a.tif")
    with rasterio.open(scene, "r+") as dataset:
        dataset.descriptions = names.split()
    if refused:
        with pytest.raises(SceneError, match=r"another order \(nir, pan\).*\(pan, nir\)"):
            predict_scenes("s", [scene], tmp_path / "out", Events())
    else:
        predict_scenes("s", [scene], tmp_path / "out", Events())
    assert (tmp_path / "out").exists() is not refused


def test_the_number_of_threads_is_as_before(tmp_path, network):
    scene, _ = write_scene(tmp_path / "a.tif")
    before = torch.get_num_threads()
    with pytest.raises(Cancelled):
        predict_scenes("s", [scene], tmp_path / "out", Events(stop=[lambda: "now"]))
    torch.set_num_threads(before + 1)
    try:
        predict_scenes("s", [scene], tmp_path / "out", Events(), rerun="resume")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_scene_that_moved_is_predicted_again(tmp_path, network):
    scene, _ = write_scene(tmp_path / "a.tif", crs=None, transform=None)
    for left in (10, 20):
        (tmp_path / "a.tfw").write_text(f"0.5\n0\n0\n-0.5\n{left}\n5\n")
        if left == 10:
            predict_scenes("s", [scene], tmp_path / "out", Events())
    with pytest.raises(OutputError, match="different scenes"):
        predict_scenes("s", [scene], tmp_path / "out", Events())


def test_resampling_gives_the_segmenters_pixels(tmp_path, network):
    scene, expected = write_scene(tmp_path / "a.tif", transform=Affine(0.25, 0, 500010, 0, -0.25, 5000020))
    (out,) = predict_scenes("s", [scene], tmp_path / "out", Events(), resample=True)
    ids, profile, _ = read(out)
    # Ground metres are not quite UTM metres.
    assert profile["transform"].a == pytest.approx(0.5, rel=2e-3) and profile["crs"].to_epsg() == 32633
    assert abs(ids.shape[0] - 75) <= 1 and abs(ids.shape[1] - 110) <= 1
    inner = ids[:74, :109]
    coarse = expected[1::2, 1::2][: inner.shape[0], : inner.shape[1]]
    assert (inner == coarse).mean() > 0.7, "the same ground"


def test_two_scenes_of_one_name_are_refused(tmp_path, network):
    (tmp_path / "x").mkdir()
    one, two = write_scene(tmp_path / "a.tif")[0], write_scene(tmp_path / "x/A.tif")[0]
    with pytest.raises(SceneError, match=r"two scenes are called 'a'.*rename"):
        predict_scenes("s", [one, two], tmp_path / "out", Events())


def test_cancelled_it_goes_on_with_the_scene_it_was_at(tmp_path, network):
    scenes = [write_scene(tmp_path / f"{name}.tif", height)[0] for name, height in (("a", 100), ("b", 150))]
    options = {"window": 64, "overlap": 16}
    predict_scenes("s", scenes, tmp_path / "whole", Events(), **options)
    per_scene = [2 * 5, 3 * 5]
    assert network.calls == sum(per_scene)
    network.calls = 0
    stop = Events(stop=[lambda: "now" if network.calls == 14 else None])
    with pytest.raises(Cancelled):
        predict_scenes("s", scenes, tmp_path / "out", stop, **options)
    assert (tmp_path / "out/a.tif").exists() and not (tmp_path / "out/b.tif").exists()
    with pytest.raises(OutputError, match="--resume"):
        predict_scenes("s", scenes, tmp_path / "out", Events(), **options)
    network.calls = 0
    done = []
    events = Events([lambda record: done.append(record["done"]) if record["event"] == "progress" else None])
    paths = predict_scenes("s", scenes, tmp_path / "out", events, rerun="resume", **options)
    assert network.calls == per_scene[1] and done == sorted(done) and done[-1] == sum(per_scene)
    for path in paths:
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    network.calls = 0
    assert predict_scenes("s", scenes, tmp_path / "out", Events(), **options) == paths and network.calls == 0


def test_a_scene_damaged_inside_leaves_nothing_half_written(tmp_path, network):
    scene, _ = write_scene(tmp_path / "a.tif", 600, 600)
    with rasterio.open(scene) as dataset, rasterio.open(tmp_path / "b.tif", "w", **COMPRESSED) as copy:
        copy.write(dataset.read())
    data = bytearray((tmp_path / "b.tif").read_bytes())
    # GDAL does not compare deflate's checksum: damage that happens to decode (zeros do) is read as wrong pixels without
    # an error, here as anywhere. Ones do not decode, and that is the case that can be reported.
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    (tmp_path / "b.tif").write_bytes(data)
    with pytest.raises(SceneError, match=r"b\.tif"):
        predict_scenes("s", [tmp_path / "b.tif"], tmp_path / "out", Events(), window=64, overlap=16)
    assert not list((tmp_path / "out").glob("*.tif"))
