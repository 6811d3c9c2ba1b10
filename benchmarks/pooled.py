"""The difference of an arm to real tiles over the runs of several reports, and over the means of their label subsets.

    python benchmarks/pooled.py docs/results/buildings-10-filtered docs/results/buildings-10-longer \\
        --arm "real + filtered generated, R=3"

Label subsets are the same where their tilesets are. Rows share labels and test tiles: intervals are likely too narrow.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import pandas

from geosynth.evaluation.statistics import paired_difference, signed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--arm", required=True)
    given = parser.parse_args()
    found = {report.name: _gains(report, given.arm) for report in given.reports}
    shared = set.intersection(*({subset for subset, _ in gains} for gains in found.values()))
    for name, gains in found.items():
        print(f"{name}, subsets that all have: {_spoken([gain for subset, gain in gains if subset in shared])}")
    subsets: dict[str, list[float]] = defaultdict(list)
    for gains in found.values():
        for subset, gain in gains:
            subsets[subset].append(gain)
    print(f"all rows: {_spoken([gain for gains in subsets.values() for gain in gains])}")
    print(f"means of the subsets: {_spoken([sum(gains) / len(gains) for gains in subsets.values()])}")


def _gains(report: Path, name: str) -> list[tuple[str, float]]:
    """Label subset and difference in mean IoU of every row of ``report`` with both arms."""
    ids = [subset["id"] for subset in json.loads((report / "experiment.json").read_text("utf-8"))["subsets"]]
    runs = pandas.read_csv(report / "runs.csv")
    arm, real = (runs[runs.arm == one].set_index("seed") for one in (name, "real"))
    if arm.empty:
        raise SystemExit(f"{report} has no arm '{name}': give one of {sorted(set(runs.arm))}")
    return [(ids[arm.subset[seed]], gain) for seed, gain in (arm.mean_iou - real.mean_iou).dropna().items()]


def _spoken(gains: list[float]) -> str:
    """Mean, standard error and t-interval of differences."""
    found = paired_difference(dict(enumerate(gains)), dict.fromkeys(range(len(gains)), 0.0))
    if found is None or found.standard_error is None or found.low is None or found.high is None:
        return f"{len(gains)}, too few"
    interval = f"{signed(found.low)} to {signed(found.high)}"
    return f"{signed(found.mean)} ± {found.standard_error:.3f} mean IoU (95 % interval {interval}, {found.count})"


if __name__ == "__main__":
    main()
