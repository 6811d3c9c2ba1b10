"""Encoder weights from files of other makers."""

from __future__ import annotations

import hashlib
import pickle
import random

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from geosynth.errors import ModelError
from geosynth.segmentation.encoderfile import load_encoder, read_encoder_file
from geosynth.segmentation.networks import build_network

RGB = ("red", "green", "blue")


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(1)
    return models.resnet18(weights=None).state_dict()


def encoder_of(bands, architecture="unet", name="resnet18"):
    return build_network(architecture, name, bands, 2).encoder


def loaded(path, bands, **options):
    encoder = encoder_of(len(bands), **options)
    said = load_encoder(encoder, read_encoder_file(path), bands)
    return encoder.state_dict(), said


def test_a_state_dict_of_torchvision(theirs, tmp_path):
    torch.save(theirs, tmp_path / "resnet18.pth")
    found, said = loaded(tmp_path / "resnet18.pth", RGB)
    assert all(
        torch.equal(found[name], value) for name, value in theirs.items() if "fc." not in name and "num" not in name
    )
    assert said == "100 of the encoder's 100 tensors are from resnet18.pth; not used: fc.weight, fc.bias"


def test_safetensors_for_farseg(theirs, tmp_path):
    save_file(theirs, tmp_path / "w.safetensors")
    found, _ = loaded(tmp_path / "w.safetensors", RGB, architecture="farseg")
    assert torch.equal(found["layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])
    data = (tmp_path / "w.safetensors").read_bytes()
    assert read_encoder_file(tmp_path / "w.safetensors").sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("prefix", ["module.", "encoder.", "model.encoder.", "backbone."])
def test_what_stands_before_the_names_does_not_matter(theirs, tmp_path, prefix):
    inner = {f"{prefix}{name}": value for name, value in theirs.items()} | {"head.weight": torch.zeros(3)}
    torch.save({"epoch": 3, "state_dict": inner, "optimizer": {"lr": 0.1}}, tmp_path / "checkpoint.ckpt")
    found, said = loaded(tmp_path / "checkpoint.ckpt", RGB)
    assert torch.equal(found["conv1.weight"], theirs["conv1.weight"]) and said.startswith("100 of the encoder's 100")


def test_timms_own_names(tmp_path):
    torch.manual_seed(2)
    model = timm.create_model("convnext_atto", pretrained=False).state_dict()
    save_file(model, tmp_path / "atto.safetensors")
    found, said = loaded(tmp_path / "atto.safetensors", RGB, architecture="fpn", name="tu-convnext_atto")
    assert torch.equal(found["model.stages_0.blocks.0.conv_dw.weight"], model["stages.0.blocks.0.conv_dw.weight"])
    assert "not in it" not in said


@pytest.mark.parametrize(
    ("bands", "sources", "words"),
    [
        (("blue", "green", "red"), (2, 1, 0), "from 3 to 3 bands"),
        (("B02", "B03", "B04", "B08"), (2, 1, 0, None), "(B02 is its 3., B03 is its 2., B04 is its 1., B08 the mean"),
        (("a", "b", "c", "d", "e"), (0, 1, 2, None, None), "from 3 to 5 bands"),
        (("pan",), (None,), "from 3 to 1 bands (pan the mean of all)"),
        (("pan", "nir"), (0, 1), "from 3 to 2 bands"),
    ],
)  # fmt: skip
def test_the_first_layer_is_adapted(theirs, tmp_path, bands, sources, words):
    torch.save(theirs, tmp_path / "w.pt")
    found, said = loaded(tmp_path / "w.pt", bands)
    weight = theirs["conv1.weight"]
    for band, source in enumerate(sources):
        expected = weight.mean(1) if source is None else weight[:, source]
        torch.testing.assert_close(found["conv1.weight"][:, band], expected * 3 / len(bands))
    assert words in said
    assert torch.equal(found["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"])


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("segformer", "mit_b0"),
        ("fpn", "densenet121"),
        ("fpn", "mobileone_s0"),  # two first layers side by side
        ("fpn", "tu-hiera_tiny_224"),  # its first weights are of positions
    ],
)
def test_encoders_of_all_kinds_are_adapted(tmp_path, architecture, name):
    """A grey image of five bands says to the adapted encoder what one of three says to the file's own."""
    side = 224 if name.endswith("224") else 64
    theirs, ours = build_network(architecture, name, 3, 2, seed=1).encoder, encoder_of(5, architecture, name)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    bands = ("blue", "green", "red", "nir", "swir")
    said = load_encoder(ours, read_encoder_file(tmp_path / "w.pt"), bands, side)
    assert "first layer from 3 to 5 bands" in said and "not in it" not in said and "not used" not in said
    assert ours.training
    grey = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = theirs.eval()(grey.expand(-1, 3, -1, -1)), ours.eval()(grey.expand(-1, 5, -1, -1))
    torch.testing.assert_close(found[-1], expected[-1], rtol=1e-3, atol=1e-4)


def test_what_is_missing_is_said(theirs, tmp_path):
    torch.save({name: value for name, value in theirs.items() if "layer4.1.bn" not in name}, tmp_path / "w.pt")
    found, said = loaded(tmp_path / "w.pt", RGB)
    assert "92 of the encoder's 100" in said and "not in it: layer4.1.bn1.weight, " in said and "and 5 more" in said
    assert torch.equal(found["layer4.1.bn1.weight"], encoder_of(3).state_dict()["layer4.1.bn1.weight"])


def test_files_damaged_anywhere_are_refused_in_one_line(tmp_path):
    """torch answers damage with all kinds of errors; a user gets one."""
    made, path, draws = [], tmp_path / "weights", random.Random(0)
    for zipped in (False, True):
        torch.save({"a": torch.randn(4, 4), "b": torch.arange(5)}, path, _use_new_zipfile_serialization=zipped)
        made.append(path.read_bytes())
    refused = 0
    for _ in range(400):
        data = bytearray(draws.choice(made))
        for _ in range(draws.randint(1, 4)):
            data[draws.randrange(min(300, len(data)))] = draws.randrange(256)
        path.write_bytes(data[: draws.choice([len(data), draws.randrange(len(data))])])
        try:
            read_encoder_file(path)
        except ModelError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 200


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a file was executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: path.write_bytes(b"no weights at all"), "no file of weights|not a file of weights"),
        (lambda path: path.write_bytes(b""), "not a file of weights|no file of weights"),
        (lambda path: path.write_bytes(b"\x10\0\0\0\0\0\0\0{ half a header"), "not a file of weights"),
        (lambda path: path.write_bytes(pickle.dumps(Evil())), "more than tensors"),
        (lambda path: torch.save({"model": Evil()}, path), "more than tensors"),
        (lambda path: torch.save({"step": 3}, path), "holds no weights"),
        (lambda path: torch.save([torch.zeros(3)], path), "holds no weights"),
        (lambda path: torch.save(models.resnet50(weights=None).state_dict(), path), "hold this encoder: its layer"),
        (lambda path: None, r"cannot be read \(No such file"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "weights"
    content(path)
    with pytest.raises(ModelError, match=message) as caught:
        loaded(path, RGB)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_half_of_an_encoder_is_not_it(theirs, tmp_path):
    torch.save({name: value for name, value in theirs.items() if "layer1" in name}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="20 of its 100 tensors are there"):
        loaded(tmp_path / "w.pt", RGB)
