import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import adapt, load_generator, resolve
from geosynth.errors import ModelError
from geosynth.legend import Legend
from geosynth.rasters import Band
from geosynth.tileset import TileSpec

WEIGHTS = Path("denoiser") / "diffusion_pytorch_model.safetensors"


def test_a_generator_describes_itself(shared_generator: Path) -> None:
    generator = load_generator(shared_generator)
    assert generator.spec.legend.names == ("building", "road", "water", "tree", "field", "grass")
    assert generator.bands == 3
    assert generator.spec.gsd_m == 1.0
    card = (shared_generator / "README.md").read_text()
    assert generator.hash in card
    assert "building, road, water" in card
    assert not list(shared_generator.rglob("*.bin")) + list(shared_generator.rglob("*.pkl"))


def test_it_reloads_in_a_fresh_process_to_the_same_answer(shared_generator: Path) -> None:
    code = (
        "import sys, torch; from geosynth.diffusion.generator import load_generator;"
        "torch.set_num_threads(1); g = load_generator(sys.argv[1]);"
        "from geosynth.noise import sample_noise;"
        "im, m = g.pipeline(sample_noise(0, 0, (6, 32, 32))[None], steps=2); print(float(im.double().sum()))"
    )
    from geosynth.noise import sample_noise

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    image, _ = load_generator(shared_generator).pipeline(sample_noise(0, 0, (6, 32, 32))[None], steps=2)
    torch.set_num_threads(threads)
    result = subprocess.run(
        [sys.executable, "-c", code, str(shared_generator)], capture_output=True, text=True, check=True
    )
    assert float(result.stdout.split()[-1]) == float(image.double().sum())


def test_the_folder_is_a_diffusers_folder(shared_generator: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    from geosynth.diffusion.denoiser import Denoiser

    Denoiser.from_pretrained(shared_generator / "denoiser", low_cpu_mem_usage=False)
    FlowMatchEulerDiscreteScheduler.from_pretrained(shared_generator / "scheduler")
    assert json.loads((shared_generator / "model_index.json").read_text())["_class_name"] == "PairPipeline"


@pytest.mark.parametrize("name", [str(WEIGHTS), "lineage.json", "scheduler/scheduler_config.json"])
def test_a_changed_or_missing_file_is_named(generator: Path, name: str) -> None:
    path = generator / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{Path(name).name}: is damaged"):
        load_generator(generator)
    path.unlink()
    with pytest.raises(ModelError, match=rf"{Path(name).name}: is missing"):
        load_generator(generator)


def test_a_changed_description_is_noticed(generator: Path) -> None:
    meta = generator / "geosynth.json"
    content = json.loads(meta.read_text())
    content["spec"]["gsd_m"] = 0.5
    meta.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="was changed"):
        load_generator(generator)
    meta.write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        load_generator(generator)


def test_folders_of_another_kind(tmp_path: Path, shared_world_tileset: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_generator(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="not a generator"):
        load_generator(tmp_path)
    with pytest.raises(ModelError, match="is a tileset"):
        load_generator(shared_world_tileset)


def test_base_is_the_shipped_one_wherever_you_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    shipped = load_generator("base")
    assert shipped.spec.tile_size == 64
    assert shipped.spec.legend.names == ("building", "road", "water", "tree", "field", "grass")
    assert sum(path.stat().st_size for path in resolve("base").rglob("*") if path.is_file()) < 12e6
    with pytest.raises(ModelError, match="not a generator"):
        load_generator("./base")


def test_adapting_to_other_bands_and_classes(shared_generator: Path) -> None:
    source = load_generator(shared_generator)
    spec = source.spec
    bands = tuple(Band(name, "uint16", 0) for name in ("blue", "green", "red", "nir"))
    target = TileSpec("t", bands, Legend.from_names(["a", "b", "c"]), spec.crs, spec.pixel_size, 10.0, 48)
    network = adapt(source, target, 48)
    old, new = source.pipeline.denoiser.state_dict(), network.state_dict()
    patch = 4  # 2 x 2 pixels a channel
    first, before = new["unet.conv_in.weight"], old["unet.conv_in.weight"]
    assert torch.equal(first[:, :patch], before[:, 2 * patch : 3 * patch])  # blue from blue, by name
    assert torch.equal(first[:, 2 * patch : 3 * patch], before[:, :patch])  # red from red
    nir = first[:, 3 * patch : 4 * patch]
    assert nir.std() > 0 and not torch.allclose(nir, before[:, : 3 * patch].unflatten(1, (3, patch)).mean(1))
    assert torch.equal(new["unet.mid_block.resnets.0.conv1.weight"], old["unet.mid_block.resnets.0.conv1.weight"])
    with torch.no_grad():
        assert network(torch.randn(1, 6, 48, 48), torch.ones(1), torch.ones(1)).shape == (1, 6, 48, 48)


def test_adapting_to_a_shortcut_starts_the_last_layer_anew(shared_generator: Path) -> None:
    source = load_generator(shared_generator)
    plain = Denoiser(**source.pipeline.denoiser.settings | {"shortcut": False})
    source.pipeline.register_modules(denoiser=plain)
    network = adapt(source, source.spec, 32, shortcut=True)
    old, new = source.pipeline.denoiser.state_dict(), network.state_dict()
    assert network.shortcut
    assert not new["unet.conv_out.weight"].any()
    assert torch.equal(new["unet.conv_in.weight"], old["unet.conv_in.weight"])
    assert not adapt(source, source.spec, 32).shortcut


def test_no_band_of_the_old_network_serves_two_of_the_new(shared_generator: Path) -> None:
    source = load_generator(shared_generator)
    bands = tuple(replace(source.spec.bands[0], name=name) for name in ("nir", "red", "green"))
    weights = adapt(source, replace(source.spec, bands=bands), 32).state_dict()["unet.conv_in.weight"]
    patch = source.pipeline.denoiser.patch**2
    nir, red, green = (weights[:, band * patch : (band + 1) * patch] for band in range(3))
    assert not torch.equal(nir, red) and not torch.equal(nir, green) and not torch.equal(red, green)
    assert torch.equal(red, source.pipeline.denoiser.state_dict()["unet.conv_in.weight"][:, :patch])
