import pytest

from geosynth.colourbands import colour_bands


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["nir", "Blue", "green", "RED "], (3, 2, 1)),
        ([f"B{number:02}" for number in range(1, 9)], (3, 2, 1)),  # Sentinel-2
        (["B1", "B2", "B3", "B4", "B5"], (3, 2, 1)),
        (["b4", "b3", "b2"], (0, 1, 2)),
        (["B04", "B03", "red", "green", "blue"], (2, 3, 4)),
        (["B1", "B2", "B3"], (0, 1, 2)),
        (["red edge", "green", "blue", "nir"], (0, 1, 2)),
        (["a", "b"], (0,)),
    ],
)
def test_red_green_and_blue_go_by_name(names: list[str], expected: tuple[int, ...]) -> None:
    assert colour_bands(names) == expected
