from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import LightningModule

from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.fitting import CHECKPOINT, fit


@pytest.mark.parametrize("damage", ["cut", "zeros", "text"])
def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path, damage: str) -> None:
    last = tmp_path / CHECKPOINT
    torch.save({"weights": torch.ones(10_000)}, last)
    content = bytearray(last.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "zeros":
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(64)
    else:
        content = bytearray(b"no checkpoint")
    last.write_bytes(content)
    with pytest.raises(ModelError, match="damaged checkpoint"):
        fit(LightningModule(), {}, tmp_path, Events(), [], steps=1)
