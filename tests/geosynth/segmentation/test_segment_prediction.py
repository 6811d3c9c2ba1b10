"""Scenes to class rasters: exact where the answer is known, without seams, in place, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Lock

import numpy as np
import pytest
import rasterio
import torch
from rasterio import Affine
from rasterio.enums import ColorInterp
from segment_world import SPEC
from torch import nn

from geosynth.errors import Cancelled, GeosynthError, ModelError, OutputError, SceneError
from geosynth.events import Events
from geosynth.normalisation import Normalisation
from geosynth.segmentation import pieces, prediction
from geosynth.segmentation.networks import build_network
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
        self._lock = Lock()

    def forward(self, image):
        with self._lock:  # windows are computed side by side
            self.calls += len(image)
        return torch.stack([torch.zeros_like(image[:, 0]), 8 * image[:, 0]], 1)


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


def test_a_network_made_for_one_size_asks_for_windows_of_it(tmp_path, monkeypatch):
    encoder = "tu-efficientformerv2_s0"
    segmenter = segmenter_with(build_network("fpn", encoder, 2, 2).eval())
    segmenter = replace(segmenter, spec=replace(segmenter.spec, encoder=encoder, tile_size=224))
    monkeypatch.setattr(prediction, "load_segmenter", lambda *_: segmenter)
    scene, _ = write_scene(tmp_path / "a.tif")
    with pytest.raises(ModelError, match=r"cannot take tiles of 256 px .*give --window 224"):
        predict_scenes("s", [scene], tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()
    assert predict_scenes("s", [scene], tmp_path / "out", Events(), window=224)[0].is_file()


def test_mask2former_predicts_whole_scenes(tmp_path, monkeypatch):
    """Threads and pieces change no byte; what softmax says of its answers is what is written."""
    pytest.importorskip("transformers")
    segmenter = segmenter_with(build_network("mask2former", "tu-mobilenetv3_small_050", 2, 2, seed=1).eval())
    segmenter = replace(segmenter, spec=replace(segmenter.spec, architecture="mask2former"))
    monkeypatch.setattr(prediction, "load_segmenter", lambda *_: segmenter)
    scene, _ = write_scene(tmp_path / "a.tif", hole=np.s_[20:60, 30:90])
    options = {"window": 64, "confidence": True, "probabilities": True}
    for name, threads in (("one", 1), ("two", 2)):
        predict_scenes("s", [scene], tmp_path / name, Events(), threads=threads, **options)
    one, two = (files(tmp_path / name) for name in ("one", "two"))
    assert {name: data for name, data in one.items() if name.endswith(".tif")} == {
        name: data for name, data in two.items() if name.endswith(".tif")
    }
    with rasterio.open(tmp_path / "one/probabilities/a.tif") as dataset:
        shares = dataset.read().astype(int)
    known = read(tmp_path / "one/a.tif")[0] != 255
    assert (abs(shares.sum(0)[known] - 100) <= 1).all() and (shares[:, ~known] == 255).all()
    assert not known[20:60, 30:90].any() and known[:20].all()
    # Without --window it sees what it was trained on: images of its tiles' size.
    predict_scenes("s", [scene], tmp_path / "default", Events())
    assert json.loads((tmp_path / "default/.geosynth/request.json").read_text())["window"] == 32


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


def test_probabilities_are_percent_of_every_class(tmp_path, network):
    scene, expected = write_scene(tmp_path / "a.tif", hole=np.s_[:10, :10])
    predict_scenes("s", [scene], tmp_path / "out", Events(), window=64, overlap=16, probabilities=True)
    with rasterio.open(tmp_path / "out/probabilities/a.tif") as dataset:
        percent = dataset.read()
        assert dataset.descriptions == SPEC.legend.names and dataset.nodatavals == (255, 255)
        assert ColorInterp.alpha not in dataset.colorinterp
    known = expected != 255
    assert (percent[:, ~known] == 255).all()
    assert np.abs(percent[:, known].astype(int).sum(0) - 100).max() <= 1
    assert ((percent[1] > percent[0]) == (expected == 1))[known].all()


class Leaning(Threshold):
    """Sees things where they are not: a pixel to the right."""

    def forward(self, image):
        return super().forward(image.roll(1, -1))


def test_flips_take_out_what_depends_on_the_direction(tmp_path, network, monkeypatch):
    monkeypatch.setattr(prediction, "load_segmenter", lambda *_: segmenter_with(Leaning()))
    values = np.full((2, 64, 64), 60, np.uint8)
    values[:, 22:42, 22:42] = 140
    scene = tmp_path / "a.tif"
    with rasterio.open(scene, "w", **(COMPRESSED | {"height": 64, "width": 64})) as dataset:
        dataset.write(values)
    found = {}
    for flips in (1, 4, 8):
        (out,) = predict_scenes(
            "s", [scene], tmp_path / str(flips), Events(), window=64, flips=flips, probabilities=True
        )
        with rasterio.open(out.parent / "probabilities/a.tif") as dataset:
            found[flips] = dataset.read(2).astype(int)
    assert (found[1] != found[1][:, ::-1].T).any(), "it leans"
    assert (found[4] == found[4][::-1]).all() and (found[4] == found[4][:, ::-1]).all()
    assert (found[4] != found[4].T).any()
    assert (found[8] == found[8][::-1]).all() and (found[8] == found[8].T).all()


@pytest.mark.parametrize("options", [{"flips": 2}, {"precision": "16"}])
def test_settings_that_are_none(tmp_path, network, options):
    scene, _ = write_scene(tmp_path / "a.tif")
    with pytest.raises(ModelError, match="1, 4 or 8 flips; auto, 32 or bf16"):
        predict_scenes("s", [scene], tmp_path / "out", Events(), **options)
    assert not (tmp_path / "out").exists()


def test_bf16_is_close_and_kept_with_the_run(tmp_path, network, monkeypatch):
    net = build_network("unet", "resnet18", 2, 2).eval().requires_grad_(False)
    monkeypatch.setattr(prediction, "load_segmenter", lambda *_: segmenter_with(net))
    scene, _ = write_scene(tmp_path / "a.tif", 64, 64)
    percent = {}
    for precision in ("32", "bf16"):
        out = tmp_path / precision
        predict_scenes("s", [scene], out, Events(), window=64, precision=precision, probabilities=True, device="cpu")
        with rasterio.open(out / "probabilities/a.tif") as dataset:
            percent[precision] = dataset.read().astype(int)
        assert json.loads((out / ".geosynth/machine.json").read_text())["precision"] == precision
    assert 0 < np.abs(percent["bf16"] - percent["32"]).max() <= 10
    assert net.encoder.conv1.weight.dtype is torch.float32


def test_folders_and_patterns_of_scenes(tmp_path, network):
    (tmp_path / "in").mkdir()
    expected = {
        name: write_scene(tmp_path / "in" / f"{name}.tif", height)[1] for name, height in (("b", 90), ("a", 80))
    }
    for number, given in enumerate(
        ([tmp_path / "in"], [str(tmp_path / "in/*.tif")], [tmp_path / "in", tmp_path / "in/a.tif"])
    ):
        written = predict_scenes("s", given, tmp_path / str(number), Events())
        assert [path.name for path in written] == ["a.tif", "b.tif"]
        assert all((read(path)[0] == expected[path.stem]).all() for path in written)
    with pytest.raises(SceneError, match="no file is like this"):
        predict_scenes("s", [str(tmp_path / "in/*.jp2")], tmp_path / "none", Events())


@pytest.mark.parametrize("sign", ["value", "nan", "alpha", "mask"])
def test_nodata_stays_nodata_inside_windows_however_it_is_said(tmp_path, network, monkeypatch, sign):
    floats = sign == "nan"
    if floats:
        bands = tuple(replace(band, dtype="float32") for band in SPEC.bands)
        segmenter = segmenter_with(network)
        segmenter = replace(segmenter, spec=replace(segmenter.spec, bands=bands))
        monkeypatch.setattr(prediction, "load_segmenter", lambda *_: segmenter)
    values = np.random.default_rng(0).integers(1, 200, (2, 100, 150)).astype("float32" if floats else "uint8")
    holds = np.ones((100, 150), bool)
    holds[30:50, 40:90] = holds[70, 3] = False
    expected = np.where(holds, values[0] > 100, 255)
    values[:, ~holds] = np.nan if floats else 0 if sign == "value" else 180
    profile = COMPRESSED | {"height": 100, "width": 150, "dtype": values.dtype, "nodata": {"value": 0}.get(sign)}
    count = 3 if sign == "alpha" else 2
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "a.tif", "w", **(profile | {"count": count})) as dataset,
    ):
        dataset.write(values, [1, 2])
        if sign == "alpha":
            dataset.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
            dataset.write(holds.astype(np.uint8) * 255, 3)
        if sign == "mask":
            dataset.write_mask(holds)
    (out,) = predict_scenes("s", [tmp_path / "a.tif"], tmp_path / "out", Events(), window=64, overlap=16)
    assert (read(out)[0] == expected).all()


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
    ("names", "refused"), [("nir pan", True), ("PAN nir", False), ("band_1 pan", True), ("red nir", False)]
)
def test_bands_in_another_order_are_refused(tmp_path, network, names, refused):
    scene, _ = write_scene(tmp_path / "a.tif")
    with rasterio.open(scene, "r+") as dataset:
        dataset.descriptions = names.split()
    if refused:
        with pytest.raises(SceneError, match=rf"in other places \({names.replace(' ', ', ')}\).*\(pan, nir\)"):
            predict_scenes("s", [scene], tmp_path / "out", Events())
    else:
        predict_scenes("s", [scene], tmp_path / "out", Events())
    assert (tmp_path / "out").exists() is not refused


def test_a_scene_goes_on_with_the_piece_it_was_at(tmp_path, network):
    scene, expected = write_scene(tmp_path / "a.tif", 1000, 100, hole=np.s_[300:420, :50])
    options = {"window": 64, "overlap": 16, "threads": 1, "confidence": True, "probabilities": True}
    predict_scenes("s", [scene], tmp_path / "whole", Events(), **options)
    everything, network.calls = network.calls, 0
    with pytest.raises(Cancelled):
        stop = Events(stop=[lambda: "now" if network.calls >= everything // 2 else None])
        predict_scenes("s", [scene], tmp_path / "out", stop, **options)
    network.calls = 0
    predict_scenes("s", [scene], tmp_path / "out", Events(), rerun="resume", **options)
    assert network.calls < 0.8 * everything, "a third was done"
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert (read(tmp_path / "out/a.tif")[0] == expected).all()


def files(folder):
    """The bytes of everything but the log."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).is_relative_to(".geosynth/log")
    }


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
    stop = Events(stop=[lambda: "now" if network.calls >= 12 else None])
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
