from __future__ import annotations

from geosynth.diffusion.choosing import in_turn


class Donors:
    """Only their number counts."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


def test_few_donors_take_turns() -> None:
    assert in_turn(7, Donors(3), seed=0) == [0, 1, 2, 0, 1, 2, 0]  # type: ignore[arg-type]
    assert in_turn(3, Donors(3), seed=5) == [0, 1, 2]  # type: ignore[arg-type]


def test_of_many_donors_some_from_all_over_are_drawn() -> None:
    drawn = in_turn(100, Donors(1000), seed=0)  # type: ignore[arg-type]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 100
    assert all(sum(start <= number < start + 250 for number in drawn) > 10 for start in range(0, 1000, 250))
    assert drawn == in_turn(100, Donors(1000), seed=0)  # type: ignore[arg-type]
    assert drawn != in_turn(100, Donors(1000), seed=1)  # type: ignore[arg-type]
