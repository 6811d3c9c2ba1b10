from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from geosynth.evaluation.charts import distances_chart
from geosynth.evaluation.curves import ClassGain, Series, gain_chart, ratio_chart
from geosynth.evaluation.statistics import Difference, Estimate
from geosynth.evaluation.svg import SHAPES, WIDTH, labels, marker, ticks


def texts(svg: str) -> list[tuple[float, float, str]]:
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [(float(entry.attrib["x"]), float(entry.attrib["y"]), entry.text or "") for entry in found]


def test_ticks_are_round_and_enclose() -> None:
    assert ticks(0.483, 0.571) == pytest.approx([0.48, 0.5, 0.52, 0.54, 0.56, 0.58])
    for low, high in ((0.5, 0.5), (0.0, 1.0), (0.123, 0.1234), (-0.03, 0.01)):
        marks = ticks(low, high)
        assert marks[0] <= low
        assert marks[-1] >= high
        assert len(marks) >= 2
    assert labels(ticks(-0.1, 0.1))[0] == "−0.10"


def test_eight_markers_are_told_apart_without_colour() -> None:
    assert len({marker(number, 10, 10) for number in range(2 * SHAPES)}) == 2 * SHAPES


def test_the_curve_starts_at_real_only_and_goes_through_the_ratios() -> None:
    real = Estimate(0.44, 0.01, 5)
    one = Series("+ a & b", ((0.5, Estimate(0.46, 0.01, 3)), (1.0, Estimate(0.48, None, 1))))
    other = Series("+ c", ((1.0, Estimate(0.48, 0.02, 3)), (3.0, Estimate(0.45, 0.02, 3))))
    chart = ratio_chart([one, other], real)
    words = [word for _, _, word in texts(chart)]
    assert {"real only 0.440 ± 0.010", "+ a & b 0.480", "+ c 0.450"} <= set(words)
    assert "R=0.5 0.460 ± 0.010, R=1 0.480" in chart  # for those who do not see it
    lines = re.findall(r'<path d="M([^"]+)" fill="none" stroke="#0b5563" stroke-width="1.5"', chart)
    assert [line.count("L") for line in lines] == [2, 2]
    assert lines[0].split("L")[0] == lines[1].split("L")[0]  # both start at R = 0
    assert chart.count("stroke-dasharray") == 2  # the second series, and real only


def test_gains_are_placed_by_frequency_and_size() -> None:
    def gain(mean: float) -> Difference:
        return Difference(mean, 0.01, mean - 0.03, mean + 0.03, 3)

    chart = gain_chart([ClassGain("water", 0.01, gain(0.06)), ClassGain("grass", 0.5, gain(-0.02))], "Gain")
    found = {word.split()[0]: (x, y) for x, y, word in texts(chart) if word[:5] in ("water", "grass")}
    assert found["water"][0] < found["grass"][0]
    assert found["water"][1] < found["grass"][1]  # further up
    assert "water +0.060; grass −0.020" in chart


def test_labels_of_gains_do_not_lie_on_each_other() -> None:
    gain = Difference(0.05, 0.01, 0.02, 0.08, 3)
    chart = gain_chart([ClassGain(f"class {n}", 0.1 + 0.002 * n, gain) for n in range(9)], "Gain")
    places = [(x, y) for x, y, word in texts(chart) if word.startswith("class")]
    assert len(places) == 9
    for number, (x, y) in enumerate(places):
        assert all(abs(y - v) > 15.9 or abs(x - u) > 80 for u, v in places[:number])


def test_charts_are_as_wide_as_their_box() -> None:
    chart = distances_chart([("a" * 60, np.array([0.1, 0.5])), ("real", np.array([0.4]))], 0.2)
    assert all(0 <= x <= WIDTH for x, _, _ in texts(chart))
    assert "…" in chart
