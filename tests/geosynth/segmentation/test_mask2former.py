"""Mask2Former: its loss, its answers, and checkpoints of transformers to start from."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace

import pytest
import torch
from segment_world import SIDE, SPEC, write_squares
from test_segment_training import QUICK, files_of, interrupted, train
from torch import nn

from geosynth.errors import ModelError
from geosynth.rasters import Band
from geosynth.segmentation.checkpoint import load_checkpoint, read_checkpoint
from geosynth.segmentation.mask2former import CHECKPOINT, MASK2FORMER
from geosynth.segmentation.networks import build_network, own_loss, padded_logits
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.setloss import set_loss

transformers = pytest.importorskip("transformers")
FORMER = replace(QUICK, architecture=MASK2FORMER)


def said(seed=0, queries=6, classes=3, side=8, stages=2):
    draws = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(2, queries, classes + 1, generator=draws, requires_grad=True),
            torch.randn(2, queries, side, side, generator=draws, requires_grad=True),
        )
        for _ in range(stages)
    ]


def mask_of(seed=0, side=32, classes=3):
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, (2, side // 8, side // 8), generator=draws)
    return coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)


def test_the_loss_is_that_of_transformers_where_all_is_known():
    """Theirs draws points at random places; drawn evenly, many of them come to the same as all pixels."""
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    config = transformers.Mask2FormerConfig(
        num_labels=3, train_num_points=40_000, oversample_ratio=1.0, importance_sample_ratio=0.0
    )
    theirs = Mask2FormerLoss(config, {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0})
    mask, stages = mask_of(), said()
    mask[1][mask[1] == 2] = 0  # the second tile shows fewer classes
    labels = [one.unique() for one in mask]
    shapes = [(one == there[:, None, None]).float() for one, there in zip(mask, labels, strict=True)]
    torch.manual_seed(0)
    expected = 0.0
    for classes, masks in stages:
        terms = theirs(masks, classes, shapes, labels)
        expected += sum(theirs.weight_dict[name] * float(value) for name, value in terms.items())
    assert set_loss(stages, mask).item() == pytest.approx(expected, rel=0.01)


def test_unknown_pixels_have_no_say_in_shapes():
    mask, stages = mask_of(), said(side=32)
    mask[:, :10] = 255
    loss = set_loss(stages, mask)
    loss.backward()
    for classes, masks in stages:
        assert (masks.grad[:, :, :10] == 0).all() and (masks.grad[:, :, 10:] != 0).any(1).any(0).all()
        assert (classes.grad != 0).any()


def test_a_query_that_sees_an_unknown_place_is_not_told_that_nothing_is_there():
    mask = torch.zeros(1, 32, 32, dtype=torch.int64)
    mask[:, :16] = 255
    classes = torch.zeros(1, 3, 4, requires_grad=True)
    masks = torch.full((1, 3, 32, 32), -20.0)
    masks[0, 0, 16:] = 20  # draws the known half, and is matched with it
    masks[0, 1, :16] = 20  # draws the unknown half
    masks[0, 2, :, :16] = 20  # half of what it draws is known
    set_loss([(classes, masks)], mask).backward()
    known, unknown, both = classes.grad[0].abs().sum(1)
    assert unknown < 1e-6 * both and both < known


def test_tiles_without_a_known_pixel_are_left_out():
    mask, stages = mask_of(), said()
    mask[1] = 255
    loss = set_loss(stages, mask)
    alone = set_loss([(classes[:1], masks[:1]) for classes, masks in stages], mask[:1])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-5)
    loss.backward()
    assert all((part.grad[1] == 0).all() for stage in stages for part in stage)
    nothing = set_loss(stages, torch.full_like(mask, 255))
    for stage in stages:
        for part in stage:
            part.grad = None
    nothing.backward()
    assert nothing.item() == 0 and all((part.grad == 0).all() for stage in stages for part in stage)


def test_large_tiles_are_looked_at_in_points():
    mask, stages = mask_of(), said()
    torch.manual_seed(0)
    some, again = set_loss(stages, mask, points=700), set_loss(stages, mask, points=700)
    assert some.item() == pytest.approx(set_loss(stages, mask).item(), rel=0.1) and some.item() != again.item()
    torch.manual_seed(0)
    assert set_loss(stages, mask, points=700).item() == some.item(), "a function of torch's seed"


def test_following_it_downhill_finds_the_mask():
    mask, stages = mask_of(), said(side=32, stages=1)
    mask[:, :3] = 255
    optimiser = torch.optim.Adam([nn.Parameter(part) for part in stages[0]], lr=0.3)
    (group,) = optimiser.param_groups
    for _ in range(60):
        optimiser.zero_grad()
        set_loss([tuple(group["params"])], mask).backward()
        optimiser.step()
    classes, masks = (part.detach() for part in group["params"])
    shares = torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :-1], masks.sigmoid())
    assert (shares.argmax(1) == mask)[mask != 255].float().mean() > 0.99


def test_logits_are_such_that_softmax_gives_the_shares():
    network = build_network(MASK2FORMER, QUICK.encoder, 4, 3).eval()
    image = torch.randn(2, 4, 64, 96)
    with torch.no_grad():
        classes, masks = network.stages(image)[-1]
        large = nn.functional.interpolate(masks, size=(64, 96), mode="bilinear").sigmoid()
        shares = torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :-1], large)
        found = network(image).softmax(1)
    torch.testing.assert_close(found, shares / shares.sum(1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_what_lies_beyond_a_tile_is_unknown():
    """Tiles whose sides no encoder can halve are filled up: the loss does not look there."""
    network = build_network(MASK2FORMER, QUICK.encoder, 2, 2).eval()
    image, mask = torch.randn(2, 2, 40, 40), torch.randint(0, 2, (2, 40, 40))
    filled, known = torch.zeros(2, 2, 64, 64), torch.full((2, 64, 64), 255)
    filled[..., :40, :40], known[..., :40, :40] = image, mask
    assert own_loss(network, image, mask).item() == pytest.approx(set_loss(network.stages(filled), known).item())


def test_a_resumed_run_gives_the_same_bytes(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "tttttt", unknown=slice(0, 5))
    plan = replace(FORMER, steps=8, cutmix=0.5, colour=0.3)
    train(tiles, tmp_path / "whole", plan)
    interrupted(tiles, tmp_path / "parts", plan, 6, "killed")
    train(tiles, tmp_path / "parts", plan, rerun="resume")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")
    assert load_segmenter(tmp_path / "parts", "cpu").training["loss"] == "set"


def test_it_learns(tmp_path):
    tiles = write_squares(tmp_path / "tiles", "t" * 12 + "vvvv")
    summary = train(tiles, tmp_path / "out", replace(FORMER, steps=40, batch=8, learning_rate=3e-3, validate_every=20))
    assert summary.mean_iou > 0.85


@pytest.mark.parametrize("change", [{"loss": "ce"}, {"class_weights": "sqrt"}])
def test_it_has_a_loss_of_its_own(change):
    with pytest.raises(ModelError, match=r"loss of its own.*leave out"):
        replace(FORMER, **change)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "transformers" else find(name, *rest)
    )
    with pytest.raises(ModelError, match=r"needs transformers.*geosynth-eo\[stable-diffusion\]"):
        build_network(MASK2FORMER, QUICK.encoder, 3, 2)


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    """A tiny Mask2Former over Swin as transformers saves it, and the model itself."""
    torch.manual_seed(4)
    stages = [f"stage{number}" for number in (1, 2, 3, 4)]
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, image_size=64, out_features=stages
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=64, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=4, num_queries=10,
        id2label={0: "Building", 1: "tree", 2: "water"}, label2id={"Building": 0, "tree": 1, "water": 2},
    )  # fmt: skip
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    folder = tmp_path_factory.mktemp("checkpoint") / "swin"
    model.save_pretrained(folder)
    return folder, model


def started(folder, bands, names):
    checkpoint = read_checkpoint(folder)
    network = build_network(MASK2FORMER, CHECKPOINT, len(bands), len(names), settings=checkpoint.settings)
    return network.eval(), load_checkpoint(network, checkpoint, bands, names, 64)


def test_a_checkpoint_says_the_same_here_as_in_transformers(swin):
    folder, model = swin
    network, line = started(folder, ("red", "green", "blue"), ("building", "tree", "water"))
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, (classes, masks) = model(image), network.stages(image)[-1]
    torch.testing.assert_close(classes, expected.class_queries_logits)
    torch.testing.assert_close(masks, expected.masks_queries_logits)
    assert "3 of 3 classes are known by name" in line


def test_a_checkpoint_for_other_bands_and_classes(swin):
    folder, model = swin
    network, line = started(folder, ("nir", "red", "green", "blue"), ("road", "Water", "x", "y"))
    assert "first layer from 3 to 4 bands" in line and "red is its 1." in line and "1 of 4 classes" in line
    assert padded_logits(network, torch.randn(1, 4, 50, 70)).shape == (1, 4, 50, 70)
    assert torch.equal(network.head.weight[1], model.class_predictor.weight[2])
    assert torch.equal(network.head.weight[-1], model.class_predictor.weight[-1])
    own = network.encoder.inner.state_dict()
    theirs = model.model.pixel_level_module.encoder.state_dict()
    (first,) = [name for name, value in own.items() if value.shape != theirs[name].shape]
    torch.testing.assert_close(own[first][:, 1], theirs[first][:, 0] * 3 / 4)


def test_a_segmenter_from_a_checkpoint_needs_it_no_more(swin, tmp_path):
    folder = shutil.copytree(swin[0], tmp_path / "swin")
    spec = replace(SPEC, bands=tuple(Band(name, "uint8") for name in ("blue", "green", "red", "nir")))
    tiles = write_squares(tmp_path / "tiles", "ttttv", spec=spec)
    plan = replace(FORMER, encoder=CHECKPOINT, pretrained=folder, steps=3)
    train(tiles, tmp_path / "whole", plan)
    interrupted(tiles, tmp_path / "parts", plan, 2, "cancelled")
    train(tiles, tmp_path / "parts", plan, rerun="resume")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "parts")
    shutil.rmtree(folder)
    segmenter = load_segmenter(tmp_path / "whole", "cpu")
    text = (tmp_path / "whole/segmenter.json").read_text()
    assert str(tmp_path) not in text and json.loads(text)["network"]["backbone_config"]["embed_dim"] == 8
    assert len(segmenter.training["pretrained"]) == 64
    image = torch.randn(1, 4, SIDE, SIDE)
    assert padded_logits(segmenter.network, image).shape == (1, 2, SIDE, SIDE)


def rewritten(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
        (lambda f: (f / "config.json").write_text("{"), "not the configuration"),
        (lambda f: rewritten(f, model_type="bert"), "holds a bert"),
        (lambda f: rewritten(f, backbone_config={"model_type": "timm_backbone"}), "backbone timm_backbone.*swin"),
        (lambda f: rewritten(f, auto_map={"AutoModel": "evil.Model"}), "needs code of its own"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "would have to be run.*safetensors"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{"), "cannot be loaded"),
    ],
)  # fmt: skip
def test_folders_that_are_no_checkpoint(swin, tmp_path, damage, message):
    folder = shutil.copytree(swin[0], tmp_path / "swin")
    damage(folder)
    tiles = write_squares(tmp_path / "tiles", "tt")
    with pytest.raises(ModelError, match=message) as caught:
        train(tiles, tmp_path / "out", replace(FORMER, encoder=CHECKPOINT, pretrained=folder))
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", [{"architecture": "unet"}, {"encoder": "resnet18"}, {"encoder_weights": "w.pt"}, {"pretrained": None}]
)
def test_a_checkpoint_is_a_whole_network(change):
    with pytest.raises(ModelError, match="all of a mask2former"):
        replace(replace(FORMER, encoder=CHECKPOINT, pretrained="folder"), **change)
