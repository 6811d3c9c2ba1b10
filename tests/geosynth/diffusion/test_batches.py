import pickle
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from geosynth.diffusion import loading
from geosynth.diffusion.batches import Batch, Drawing
from geosynth.diffusion.loading import StepBatches, default_workers, step_loader
from geosynth.diffusion.process import RECIPES
from geosynth.legend import UNKNOWN
from geosynth.samples import turn

FLOW = RECIPES["flow"]


class Random:
    """Five pairs of 16 px whose mask follows from the image, pixel by pixel."""

    def __init__(self, dtype: str = "uint8") -> None:
        self.dtype = dtype

    def __len__(self) -> int:
        return 5

    def raw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = np.random.default_rng(index).integers(0, 256, (1, 16, 16)).astype(self.dtype)
        return image, np.ones((16, 16), bool), (image[0] // 64).astype(np.uint8)


class Numbered:
    """Pairs of one pixel that holds the number of the pair; ``labelled`` says which have a class there."""

    def __init__(self, labelled: list[bool]) -> None:
        self.labelled = np.array(labelled)

    def __len__(self) -> int:
        return len(self.labelled)

    def raw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mask = np.full((1, 1), 0 if self.labelled[index] else UNKNOWN, np.uint8)
        return np.full((1, 1, 1), index, np.uint8), np.ones((1, 1), bool), mask


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def drawing(size: int = 8, batch: int = 6) -> Drawing:
    return Drawing(Random(), FLOW, bits=2, size=size, batch=batch, seed=1)


def numbered(labelled: list[bool], batch: int, share: float | None = None) -> Drawing:
    pairs = Numbered(labelled)
    return Drawing(pairs, FLOW, 1, size=1, batch=batch, seed=0, labelled=pairs.labelled, labelled_share=share)


def test_a_batch_is_a_pure_function_of_seed_and_step() -> None:
    first = drawing().step(3)
    drawing().step(4)
    torch.randn(9)
    assert same(first, drawing().step(3))
    assert not same(first, drawing().step(4))
    assert not same(first, replace(drawing(), seed=2).step(3))
    assert not torch.equal(first.noise[0], first.noise[1])


@pytest.mark.parametrize("ranks", [1, 2, 4, 6])
def test_processes_share_a_batch(ranks: int) -> None:
    parts = [drawing().step(3, rank, ranks) for rank in range(ranks)]
    together = Batch(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))
    assert same(together, drawing().step(3))


def test_workers_that_are_not_forked_get_it_whole() -> None:
    batches = pickle.loads(pickle.dumps(StepBatches(drawing(), 2, 4)))
    assert all(same(batch, drawing().step(step)) for step, batch in enumerate(batches, start=2))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_number_of_workers_changes_no_batch(workers: int) -> None:
    loader = step_loader(StepBatches(drawing(), 2, 9), torch.device("cpu"), workers)
    batches = list(loader)
    assert len(batches) == 7
    assert all(same(Batch(*batch), drawing().step(step)) for step, batch in enumerate(batches, start=2))


def test_a_cpu_keeps_its_cores_and_a_gpu_is_fed() -> None:
    assert default_workers("cpu", in_memory=True) == 0
    assert default_workers("cpu", in_memory=False) == (1 if sys.platform == "linux" else 0)
    assert 1 <= default_workers("cuda", in_memory=True) <= 8


def test_only_linux_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform, start, workers in (("linux", "fork", 1), ("darwin", "spawn", 0), ("win32", "spawn", 0)):
        monkeypatch.setattr(sys, "platform", platform)
        module = runpy.run_path(str(loading.__file__))
        assert module["START"] == start
        assert module["default_workers"]("cpu", in_memory=False) == workers


@pytest.mark.parametrize("size", [8, 16])
def test_image_and_mask_are_cropped_and_turned_together(size: int) -> None:
    for step in range(4):
        batch = drawing(size).step(step)
        assert batch.image.shape == (6, 1, size, size)
        assert batch.image.dtype == torch.uint8  # integers, until they are on the device
        assert torch.equal(batch.mask, batch.image[:, 0] // 64)
        assert bool(batch.known.all())


def test_crops_come_from_everywhere() -> None:
    tiles = Random()
    corners = set()
    for step in range(60):
        for crop in replace(drawing(size=15), batch=8).step(step).image[:, 0].numpy():
            for index in range(len(tiles)):
                whole = tiles.raw(index)[0][0]
                for which in range(8):
                    for row in range(2):
                        for col in range(2):
                            if np.array_equal(turn(whole[row : row + 15, col : col + 15], which), crop):
                                corners.add((index, which, row, col))
    assert len(corners) > 100  # of 5 tiles x 8 turns x 4 places


def test_the_eight_turns_differ_and_keep_the_pixels() -> None:
    array = np.arange(9).reshape(3, 3)
    turned = {turn(array, which).tobytes() for which in range(8)}
    assert len(turned) == 8
    assert all(sorted(turn(array, which).ravel()) == list(range(9)) for which in range(8))


@pytest.mark.parametrize(("batch", "share"), [(8, 0.5), (8, 0.3), (1, 0.1), (16, 1 / 3), (3, 1.0)])
def test_the_labelled_share_is_kept_over_the_steps(batch: int, share: float) -> None:
    draw = numbered([True] * 3 + [False] * 50, batch, share)
    counts = [int(draw.step(step).known.sum()) for step in range(120)]
    assert sum(counts) == round(120 * batch * share)
    assert max(counts) - min(counts) <= 1


def test_both_kinds_of_tiles_are_all_drawn() -> None:
    draw = numbered([True] * 3 + [False] * 9, batch=8)
    seen = {int(index) for step in range(40) for index in draw.indices(step)}
    assert seen == set(range(12))


@pytest.mark.parametrize(
    ("labelled", "share", "expected"),
    [
        ([True] * 4, None, 1.0),
        ([True] * 4, 0.2, 1.0),  # there is nothing else to draw
        ([False] * 4, None, 0.0),
        ([True] + [False] * 9, None, 0.5),
        ([True] * 9 + [False], None, 0.9),
        ([True] * 9 + [False], 0.25, 0.25),
    ],
)
def test_the_share_that_is_taken(labelled: list[bool], share: float | None, expected: float) -> None:
    assert numbered(labelled, batch=4, share=share).share == pytest.approx(expected)


def test_an_unlabelled_tile_gets_a_mask_of_pure_noise_and_teaches_its_image() -> None:
    for step in range(20):
        batch = numbered([False] * 3, batch=8).step(step)
        assert not batch.known.any()
        assert bool((batch.mask_level == 1).all())
        assert bool((batch.image_level > 0).all())


def test_nodata_is_neither_valid_nor_known() -> None:
    class Edge(Random):
        def raw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            image, valid, mask = super().raw(index)
            valid[0] = False
            return image, valid, mask

    batch = Drawing(Edge(), FLOW, 2, size=16, batch=2, seed=0).fixed([0, 1])
    assert not batch.valid[:, 0].any()
    assert not batch.known[:, 0].any()
    assert batch.known[:, 1:].all()


def test_held_out_batches_are_the_same_at_every_call() -> None:
    assert same(drawing().fixed([1, 3]), drawing().fixed([1, 3]))
    assert torch.equal(drawing(size=16).fixed([2]).image[0], torch.from_numpy(Random().raw(2)[0]))


def test_any_dtype_reaches_the_device() -> None:
    for dtype, kept in (("uint16", torch.uint16), ("int16", torch.int16), ("float64", torch.float32)):
        assert Drawing(Random(dtype), FLOW, 2, 8, 2, 0).step(0).image.dtype == kept
