"""How a network is trained, not what: labels that are missing, gradients that are cut, layouts, several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import world_tiles
from safetensors.torch import load_file

from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.objective import mean_errors
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.diffusion.training import DiffusionTask, Means, Plan
from geosynth.events import Events
from geosynth.fitting import fit
from geosynth.legend import UNKNOWN
from geosynth.normalisation import Normalisation
from geosynth.samples import Pair, TilesetDataset
from geosynth.tileset import Tileset

SIDE = 16
SHORT = TrainRequest(steps=6, batch=3)


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "denoiser" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world_tiles(tmp_path_factory.mktemp("means") / "tiles", rows=3, cols=5, side=SIDE)


def trained(tiles: Path, out: Path, request: TrainRequest = SHORT, **how: Any) -> dict[str, torch.Tensor]:
    train_generator(tiles, request, out, Events(), threads=1, device="cpu", precision="32", **how)
    return weights(out)


PLAIN = Plan(3, batch=4, size=SIDE, decorrelation=0.0)


def scale_of(tileset: Tileset) -> BandScale:
    return BandScale(*(tuple(getattr(b, n) for b in tileset.statistics) for n in ("mean", "std", "min", "max")))


def small_network() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(image_channels=3, mask_channels=3, sample_size=SIDE, widths=(32, 32), attention=(False, False))


def small_task[T: DiffusionTask](tiles: Path, kind: type[T], means: Means | None = None) -> T:
    tileset = Tileset(tiles)
    scale = scale_of(tileset)
    pairs = TilesetDataset([Pair(tileset, tile) for tile in tileset.tiles], Normalisation.of(tileset.statistics))
    plan = Plan(3, batch=2, size=SIDE)
    return kind(small_network(), pairs, pairs, scale, len(tileset.spec.legend), plan, means=means)


def test_tiles_without_labels_and_partly_labelled_ones_train_the_network(tmp_path: Path) -> None:
    """Of three columns to train on, one has labels, one has half, one has none."""
    known = [SIDE, SIDE // 2, 0, SIDE, SIDE]
    partly = world_tiles(tmp_path / "partly", 3, 5, side=SIDE, known=lambda _, col: known[col])
    losses = []
    for name, request in (
        ("untrained", TrainRequest(steps=1, learning_rate=1e-9)),
        ("model", TrainRequest(steps=40, batch=6, learning_rate=2e-3)),
    ):
        out = tmp_path / name
        summary = train_generator(partly, request, out, Events(), threads=1, device="cpu", precision="32")
        assert summary.held_out_loss is not None
        losses.append(summary.held_out_loss)
    assert losses[1].image < 0.99 * losses[0].image  # masks are learnt by heart: they are few
    generator = load_generator(tmp_path / "model")
    assert (len(generator.lineage.image_keys), len(generator.lineage.label_keys)) == (9, 6)


def test_tiles_without_labels_are_learnt_from(tiles: Path, tmp_path: Path) -> None:
    """Nothing but their images differs, and nothing is fitted beforehand: what differs then was drawn and learnt."""
    tileset = Tileset(tiles)
    pairs = [Pair(tileset, tile) for tile in tileset.select("train")]
    labelled = np.arange(len(pairs)) < 3

    class Few(TilesetDataset):
        """Three tiles with labels; the images of the others as they are or with their bands in another order."""

        swapped = False

        def raw(self, index: int) -> tuple[Any, Any, Any]:
            image, valid, mask = super().raw(index)
            if labelled[index]:
                return image, valid, mask
            return image[::-1].copy() if self.swapped else image, valid, np.full_like(mask, UNKNOWN)

    found = []
    for swapped in (False, False, True):
        data = Few(pairs, Normalisation.of(tileset.statistics))
        data.swapped = swapped
        task = DiffusionTask(small_network(), data, data, scale_of(tileset), 6, PLAIN, labelled)
        (tmp_path / str(len(found))).mkdir()
        fit(task, {}, tmp_path / str(len(found)), Events(), [], steps=PLAIN.steps)
        found.append(task.denoiser.unet.conv_out.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-5)


def test_gradients_are_cut(tiles: Path, tmp_path: Path) -> None:
    norms: list[float] = []

    class Watched(DiffusionTask):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            optimizer = super().configure_optimizers()
            optimizer.register_step_post_hook(lambda *_: norms.append(self.norm()))
            return optimizer

        def norm(self) -> float:
            gradients = [weight.grad for weight in self.denoiser.parameters() if weight.grad is not None]
            return float(torch.nn.utils.get_total_norm(gradients))

    for clip in (1e-3, 1e9):
        (tmp_path / f"{clip}").mkdir()
        fit(small_task(tiles, Watched), {}, tmp_path / f"{clip}", Events(), [], steps=3, clip=clip)
    assert norms[:3] == pytest.approx([1e-3] * 3, rel=1e-2)
    assert min(norms[3:]) > 1e-2


def test_channels_last_gives_the_same_gradients(tiles: Path) -> None:
    gradients = []
    for last in (False, True):
        task = small_task(tiles, DiffusionTask, Means(0, last))
        assert task.denoiser.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last) is last
        sums, counts = task.errors(task.denoiser, task.drawing.step(0))
        mean_errors(sums, counts).sum().backward()
        gradients.append({name: weight.grad for name, weight in task.denoiser.named_parameters()})
    for name, one in gradients[0].items():
        torch.testing.assert_close(one, gradients[1][name], atol=1e-5, rtol=1e-3)


def test_a_compiled_network_is_saved_like_any_other(tiles: Path, tmp_path: Path) -> None:
    plain = trained(tiles, tmp_path / "plain")
    with torch.compiler.set_stance("force_eager"):  # the compiler itself takes minutes
        compiled = trained(tiles, tmp_path / "compiled", compiled=True)
    assert plain.keys() == compiled.keys()
    assert all(torch.equal(plain[name], compiled[name]) for name in plain)
    machine = json.loads((tmp_path / "compiled" / ".geosynth" / "machine.json").read_text())
    assert machine["compiled"]


def test_two_devices_make_the_generator_of_one(tiles: Path, tmp_path: Path) -> None:
    alone, shared = trained(tiles, tmp_path / "one"), trained(tiles, tmp_path / "two", devices=2)
    assert load_generator(tmp_path / "two").training["steps"] == SHORT.steps
    for name in alone:
        assert torch.allclose(alone[name], shared[name], atol=2e-4), name
