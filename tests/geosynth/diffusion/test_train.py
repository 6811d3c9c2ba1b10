from pathlib import Path

import pytest
import torch
from conftest import world_tiles
from safetensors.torch import load_file

from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.diffusion.training import Plan, ema_decay_at, learning_rate_at
from geosynth.errors import Cancelled, ModelError, TilesetError
from geosynth.events import Events
from geosynth.folders import file_hash

WEIGHTS = Path("denoiser") / "diffusion_pytorch_model.safetensors"
TINY = TrainRequest(steps=6, batch=2)


def cancel_after(checks: int) -> Events:
    answers = iter([None] * checks)
    return Events(stop=[lambda: next(answers, "enough")])


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_cancelled_run_goes_on_to_the_same_bytes(shared_world_tileset: Path, tmp_path: Path, precision: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_generator(shared_world_tileset, TINY, whole, Events(), threads=1, precision=precision)
    for checks in (2, 1):
        with pytest.raises(Cancelled):
            train_generator(
                shared_world_tileset, TINY, parts, cancel_after(checks), rerun="resume", threads=1, precision=precision
            )
    train_generator(shared_world_tileset, TINY, parts, Events(), rerun="resume", threads=2)  # keeps 1 thread
    for path in sorted(whole.rglob("*")):
        name = path.relative_to(whole)
        if path.is_file() and not name.is_relative_to(".geosynth/log"):
            assert file_hash(path) == file_hash(parts / name), name


def test_training_lowers_the_held_out_loss(tmp_path: Path) -> None:
    tiles = world_tiles(tmp_path / "tiles", rows=3, cols=5, side=16)
    seen: dict[str, list[float]] = {}

    def keep(record: dict[str, object]) -> None:
        if record["event"] == "metric":
            seen.setdefault(str(record["name"]), []).append(float(str(record["value"])))

    request = TrainRequest(steps=60, batch=8, learning_rate=2e-3)
    summary = train_generator(tiles, request, tmp_path / "model", Events([keep]), threads=1, precision="32")
    assert seen["loss_mask"][-1] < 0.85 * seen["loss_mask"][0]
    assert summary.held_out_loss == (seen["val_loss_image"][-1], seen["val_loss_mask"][-1])
    generator = load_generator(tmp_path / "model")
    assert generator.training["steps"] == 60
    assert len(generator.lineage.image_keys) == 9  # 3 x 5 tiles, two columns held out


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
    network = Denoiser(2, 3, 16, patch=2, widths=(16, 32), attention=(False, True), layers=1).eval()
    sample, zero, one = torch.randn(1, 5, 24, 16), torch.zeros(1), torch.ones(1)
    with torch.no_grad():
        both = network(sample, one, one)
        assert both.shape == sample.shape
        assert both.dtype == torch.float32
        assert not torch.allclose(both, network(sample, zero, one))
        assert not torch.allclose(both, network(sample, one, zero))
