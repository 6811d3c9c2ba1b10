import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import world_tiles
from safetensors.torch import load_file

from geosynth.diffusion import progress, train
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.diffusion.training import Plan, ema_decay_at, learning_rate_at
from geosynth.errors import Cancelled, ModelError, OutputError, TilesetError
from geosynth.events import Events
from geosynth.folders import file_hash
from geosynth.tileset import Tileset

WEIGHTS = Path("denoiser") / "diffusion_pytorch_model.safetensors"
TINY = TrainRequest(steps=6, batch=2)


def cancel_after(checks: int) -> Events:
    answers = iter([None] * checks)
    return Events(stop=[lambda: next(answers, "enough")])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tileset of 16 px."""
    return world_tiles(tmp_path_factory.mktemp("small") / "tiles", rows=3, cols=5, side=16)


def cancelled_twice(tiles: Path, request: TrainRequest, parts: Path, precision: str) -> None:
    """A run in three parts: the checks of cancellation are one a tile that is read, and one a step."""
    reading = len(Tileset(tiles).select("train")) + len(Tileset(tiles).select("val"))
    for checks in (reading + 2, reading + 1):
        with pytest.raises(Cancelled):
            train_generator(tiles, request, parts, cancel_after(checks), rerun="resume", threads=1, precision=precision)
        assert (parts / ".geosynth" / "last.ckpt").is_file()
    train_generator(tiles, request, parts, Events(), rerun="resume", threads=2)  # keeps 1 thread


@pytest.mark.parametrize(
    ("request_", "precision"),
    [
        (TINY, "bf16"),
        (replace(TINY, patience=2, evaluate_every=2, samples_every=3, dropout=0.2, size=8, recipe="v"), "32"),
    ],
)
def test_a_cancelled_run_goes_on_to_the_same_bytes(
    small: Path, tmp_path: Path, request_: TrainRequest, precision: str
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_generator(small, request_, whole, Events(), threads=1, precision=precision)
    cancelled_twice(small, request_, parts, precision)
    for path in sorted(whole.rglob("*")):
        name = path.relative_to(whole)
        if path.is_file() and not name.is_relative_to(".geosynth/log"):
            assert file_hash(path) == file_hash(parts / name), name


@pytest.mark.parametrize("devices", [1, 2])
def test_a_rehearsal_tells_the_time_and_changes_no_byte(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    request, said = replace(TINY, dropout=0.2), []

    def keep(record: dict[str, object]) -> None:
        said.append((record["event"], str(record.get("message", ""))))

    how = {"threads": 1, "precision": "bf16", "devices": devices, "device": "cpu"}
    train_generator(small, request, tmp_path / "plain", Events([keep]), **how)
    assert not any("for the 6 steps left" in message for _, message in said)  # of the last ones, on a slow machine
    said.clear()
    monkeypatch.setattr(progress, "REHEARSED", 1)
    train_generator(small, request, tmp_path / "rehearsed", Events([keep]), **how)
    kinds = [event for event, _ in said]
    told = next(at for at, (_, message) in enumerate(said) if "for the 6 steps left, on cpu" in message)
    assert told < kinds.index("metric")
    assert file_hash(tmp_path / "plain" / WEIGHTS) == file_hash(tmp_path / "rehearsed" / WEIGHTS)


def test_training_lowers_the_held_out_loss_and_keeps_its_metrics(small: Path, tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {}

    def keep(record: dict[str, object]) -> None:
        if record["event"] == "metric":
            seen.setdefault(str(record["name"]), []).append(float(str(record["value"])))

    request = TrainRequest(steps=40, batch=4, learning_rate=2e-3, evaluate_every=20)
    summary = train_generator(small, request, tmp_path / "model", Events([keep]), threads=1, precision="32")
    untrained = train_generator(
        small, TrainRequest(steps=1, learning_rate=1e-9), tmp_path / "line", Events(), threads=1
    )
    assert untrained.held_out_loss is not None
    assert seen["val_loss_image"][-1] < 0.99 * untrained.held_out_loss[0]
    assert seen["val_loss_mask"][-1] < 0.99 * untrained.held_out_loss[1]
    assert summary.held_out_loss == (seen["val_loss_image"][-1], seen["val_loss_mask"][-1])
    generator = load_generator(tmp_path / "model")
    assert generator.training["steps"] == generator.training["weights_of_step"] == 40
    assert len(generator.lineage.image_keys) == 9  # 3 x 5 tiles, two columns held out
    with (tmp_path / "model" / ".geosynth" / "log" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for name, values in seen.items():
        assert [float(row["value"]) for row in rows if row["name"] == name] == pytest.approx(values, rel=1e-5)


def test_early_stop_keeps_the_best_weights(small: Path, tmp_path: Path) -> None:
    # So high a rate makes things worse after the first steps.
    request = TrainRequest(steps=40, batch=2, learning_rate=0.3, evaluate_every=1, patience=2)
    told: list[tuple[int, float]] = []

    def keep(record: dict[str, object]) -> None:
        if record["event"] == "metric" and str(record["name"]).startswith("val_loss"):
            told.append((int(str(record["step"])), float(str(record["value"]))))

    summary = train_generator(small, request, tmp_path / "model", Events([keep]), threads=1, precision="32")
    losses = {step: sum(value for at, value in told if at == step) for step, _ in told}
    assert summary.step == min(losses, key=lambda step: losses[step])
    assert max(losses) == (summary.step or 0) + 2 < 40
    assert summary.held_out_loss is not None
    assert sum(summary.held_out_loss) == pytest.approx(losses[summary.step or 0])
    generator = load_generator(tmp_path / "model")
    assert generator.training["weights_of_step"] == summary.step
    assert len(generator.lineage.image_keys) == 12  # the held-out tiles chose


def test_crops_dropout_and_pictures(small: Path, tmp_path: Path) -> None:
    request = TrainRequest(steps=2, batch=2, size=8, dropout=0.3, samples_every=1)
    train_generator(small, request, tmp_path / "model", Events(), threads=1, precision="32")
    generator = load_generator(tmp_path / "model")
    assert generator.spec.tile_size == 8
    assert generator.pipeline.denoiser.config.dropout == 0.3
    assert not generator.pipeline.denoiser.training
    pictures = sorted(path.name for path in (tmp_path / "model" / "samples").iterdir())
    assert pictures == ["step-000001.png", "step-000002.png"]
    again = replace(request, start=str(tmp_path / "model"), samples_every=None)
    for dropout, expected in ((None, 0.3), (0.0, 0.0)):
        out = tmp_path / f"warm-{expected}"
        train_generator(small, replace(again, dropout=dropout), out, Events(), threads=1, precision="32")
        assert load_generator(out).pipeline.denoiser.config.dropout == expected


def test_the_same_result_is_the_same_request(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = TrainRequest(steps=1, batch=1)
    train_generator(small, request, tmp_path / "model", Events(), threads=1, precision="32")
    for other in (
        replace(request, evaluate_every=7),
        replace(request, samples_every=1),
        replace(request, labelled_share=0.3),  # all tiles have labels
        replace(request, learning_rate=Plan.learning_rate, dropout=0.0, recipe="flow", size=16),
    ):
        assert train_generator(small, other, tmp_path / "model", Events(), devices=9).nothing_to_do
    for other in (replace(request, patience=1), replace(request, learning_rate=3e-4), replace(request, dropout=0.1)):
        with pytest.raises(OutputError, match="another request"):
            train_generator(small, other, tmp_path / "model", Events())


def test_devices_are_those_the_run_was_begun_on(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(Cancelled):
        train_generator(small, TINY, out, cancel_after(14), threads=1, precision="32")
    # So many cannot share a batch of two; but it was begun on one, and goes on there.
    train_generator(small, TINY, out, Events(), rerun="resume", device="cpu", devices=3)
    with pytest.raises(ModelError, match="too small for 3 devices"):
        train_generator(small, TINY, out, Events(), rerun="overwrite", device="cpu", devices=3)
    assert load_generator(out)


def test_a_run_begun_on_more_devices_than_there_are(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    with pytest.raises(Cancelled):
        train_generator(small, TINY, out, cancel_after(14), threads=1, precision="32")
    file = out / ".geosynth" / "machine.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"device": "cuda", "devices": 2}))
    monkeypatch.setattr(train, "choose_device", lambda _: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ModelError, match="2 devices are wanted, and there is 1"):
        train_generator(small, TINY, out, Events(), rerun="resume")


def test_how_it_computes_is_kept(small: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        train_generator(small, TINY, tmp_path / "model", cancel_after(14), threads=1, precision="32")
    machine = json.loads((tmp_path / "model" / ".geosynth" / "machine.json").read_text())
    assert machine == {
        "device": "cpu",
        "devices": 1,
        "threads": 1,
        "precision": "32",
        "channels_last": False,
        "compiled": False,
    }


@pytest.mark.parametrize(
    "numbers",
    [{"steps": 0}, {"dropout": 1.0}, {"labelled_share": 0.0}, {"patience": 0}, {"size": 0}, {"learning_rate": 0.0}],
)
def test_numbers_out_of_range(numbers: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="out of range"):
        TrainRequest(**numbers)


def test_requests_that_cannot_be_met(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "model"
    with pytest.raises(TilesetError, match=r"tiles of 16 px, and crops of 32 px"):
        train_generator(small, replace(TINY, size=32), out, Events())
    with pytest.raises(ModelError, match="batch of 2 is too small for 3 devices"):
        train_generator(small, TINY, out, Events(), device="cpu", devices=3)
    monkeypatch.setattr(Tileset, "select", lambda tileset, split, **_: tileset.tiles[:2] if split == "train" else ())
    with pytest.raises(TilesetError, match="no val tiles"):
        train_generator(small, replace(TINY, patience=1), out, Events())
    assert not out.exists()


def test_a_warm_start_keeps_what_fits(shared_generator: Path, tmp_path: Path, shared_world_tileset: Path) -> None:
    request = TrainRequest(steps=1, batch=1, learning_rate=1e-12, start=str(shared_generator))
    train_generator(shared_world_tileset, request, tmp_path / "warm", Events(), threads=1, precision="32")
    before, after = load_file(shared_generator / WEIGHTS), load_file(tmp_path / "warm" / WEIGHTS)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert load_generator(tmp_path / "warm").training["started_from"] == load_generator(shared_generator).hash


def test_tilesets_that_cannot_be_trained_on(tmp_path: Path, shared_world_tileset: Path, generator: Path) -> None:
    odd = world_tiles(tmp_path / "odd", rows=1, cols=3, side=20)
    with pytest.raises(TilesetError, match=r"20 px do not fit.*8 divides"):
        train_generator(odd, TINY, tmp_path / "a", Events())
    with pytest.raises(TilesetError, match="no training tiles"):
        train_generator(world_tiles(tmp_path / "two", rows=1, cols=2), TINY, tmp_path / "a", Events())
    with pytest.raises(ModelError, match="is a tileset, not a generator"):
        train_generator(shared_world_tileset, TrainRequest(start=str(shared_world_tileset)), tmp_path / "a", Events())
    with pytest.raises(TilesetError, match="not a tileset"):
        train_generator(generator, TINY, tmp_path / "a", Events())
    assert not (tmp_path / "a").exists()  # nothing half-written


def test_schedules() -> None:
    plan = Plan(steps=1000, learning_rate=1.0, warmup=100)
    assert learning_rate_at(0, plan) == pytest.approx(0.01)
    assert learning_rate_at(400, plan) == 1.0
    assert learning_rate_at(1000, plan) == pytest.approx(0.05)
    assert ema_decay_at(0) < 0.2 < ema_decay_at(100) < ema_decay_at(10**6) < 1


def test_the_network_takes_other_sides_and_tells_the_levels_apart() -> None:
    network = Denoiser(
        image_channels=2, mask_channels=3, sample_size=16, patch=2, widths=(16, 32), attention=(False, True), layers=1
    ).eval()
    sample, zero, one = torch.randn(1, 5, 24, 16), torch.zeros(1), torch.ones(1)
    with torch.no_grad():
        both = network(sample, one, one)
        assert both.shape == sample.shape
        assert both.dtype == torch.float32
        assert not torch.allclose(both, network(sample, zero, one))
        assert not torch.allclose(both, network(sample, one, zero))
