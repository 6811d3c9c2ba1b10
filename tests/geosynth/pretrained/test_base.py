"""Which pretrained models are taken, and what is said of others. Nothing here reaches a network."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors as hub
from tiny_diffusion import build

from geosynth.errors import ModelError
from geosynth.pretrained.base import find_base, load_base


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("untaught") / "sd", steps=0)


@pytest.fixture
def copy(untaught: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untaught, tmp_path / "copy"))


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_is_named_by_its_content(untaught: Path, copy: Path) -> None:
    first, second = find_base(str(untaught)), find_base(str(copy))
    assert first.hash == second.hash
    assert (first.name, second.name, first.factor) == ("sd", "copy", 4)
    loaded = load_base(first)
    assert loaded.tokens(["road 10%", ""]).shape == (2, 77)
    assert not any(weight.requires_grad for weight in loaded.unet.parameters())
    assert "mid_block.attentions.0.transformer_blocks.0.attn1.to_q" in first.layers
    edit(copy / "unet" / "config.json", sample_size=99)
    assert find_base(str(copy)).hash != first.hash


def test_half_weights_are_loaded_in_full_precision(copy: Path) -> None:
    for part, name in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        (copy / part / f"{name}.safetensors").rename(copy / part / f"{name}.fp16.safetensors")
    found = find_base(str(copy))
    assert found.half
    assert load_base(found).unet.dtype == torch.float32


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (lambda at: (at / "vae" / "config.json").unlink(), r"it has no vae/config\.json"),
    (lambda at: edit(at / "unet" / "config.json", addition_embed_type="text_time"), "XL model"),
    (lambda at: edit(at / "unet" / "config.json", in_channels=9), r"9 channels \(is it for inpainting"),
    (lambda at: edit(at / "text_encoder" / "config.json", hidden_size=64), "texts of 32 numbers.*gives 64"),
    (lambda at: edit(at / "scheduler" / "scheduler_config.json", prediction_type="sample"), "predicts sample"),
    (lambda at: (at / "unet" / "config.json").write_text("{"), "is damaged"),
]


@pytest.mark.parametrize(("spoil", "what"), WRONG)
def test_other_models_are_refused_in_one_line(copy: Path, spoil: Callable[[Path], object], what: str) -> None:
    spoil(copy)
    with pytest.raises(ModelError, match=what) as error:
        find_base(str(copy))
    assert "\n" not in str(error.value) and " — " in str(error.value)


def test_pickled_weights_are_never_read(copy: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.bin: holds weights that could run code"):
        find_base(str(copy))


def test_damaged_weights_are_refused(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"unet: cannot be loaded"):
        load_base(find_base(str(copy)))


@pytest.mark.parametrize("name", ["nowhere", "../nowhere/at/all"])
def test_no_such_folder(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        find_base(name)


def test_a_single_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"one file.*from_single_file"):
        find_base(str(tmp_path / "model.ckpt"))


class _Response:
    headers: dict[str, str] = {}  # noqa: RUF012 (nobody writes into it)
    request = None
    status_code = 403


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (lambda: hub.GatedRepoError("gated", response=_Response()), "is gated"),
        (lambda: hub.RepositoryNotFoundError("none", response=_Response()), "hub has no such model"),
        (lambda: hub.LocalEntryNotFoundError("no network"), "hub cannot be reached"),
        (lambda: ConnectionError("no network"), "hub cannot be reached"),
    ],
)
def test_a_hub_that_does_not_give_says_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], what: str
) -> None:
    def give(*_: object, **__: object) -> str:
        raise error()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    with pytest.raises(ModelError, match=rf"owner/model: .*{what}.*--pretrained FOLDER"):
        find_base("owner/model")


def test_only_listed_files_are_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch, untaught: Path) -> None:
    asked: dict[str, object] = {}

    def give(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        return str(untaught)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    found = find_base("owner/model@main")
    assert (found.name, asked["repository"], asked["revision"]) == ("owner/model@main", "owner/model", "main")
    patterns = asked["allow_patterns"]
    assert isinstance(patterns, list)
    assert not any(name.endswith((".bin", ".ckpt", ".py")) or "*" in name for name in patterns)
