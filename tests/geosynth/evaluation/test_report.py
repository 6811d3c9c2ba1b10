from __future__ import annotations

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import required
from evaluation_tiles import make_pair
from judged_tiles import world_pairs, write_pairs
from PIL import Image

from geosynth.evaluation.arms import choose_arms, standard_arms
from geosynth.evaluation.experiment import ExperimentPlan, Job, Trial
from geosynth.evaluation.study import evaluate
from geosynth.evaluation.trials import SEGMENTER
from geosynth.evaluation.wording import percent
from geosynth.events import Events
from geosynth.segmentation.training import SegmenterPlan, train_segmenter

NAME = "<b>a & b</b>"


def run(job: Job, events: Events) -> Trial:
    arm = job.arm
    hit = 60 + 8 * len(arm.synthetic) * arm.real + job.seeds.number
    confusion = np.full((6, 6), 100 - hit, np.int64)
    confusion[np.diag_indices(6)] = 5 * hit
    confusion[:, 5], confusion[5] = 0, 0  # a class that never comes up
    return Trial(("world/0/0",), confusion[None], 8 * arm.real, 10 * bool(arm.synthetic))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    real, made = make_pair(folder)
    plan = ExperimentPlan(standard_arms({NAME: made.path}), steps=1234, batch=2)
    evaluate(real.path, plan, folder / "out", Events(), run=run)
    return folder / "out"


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained")
    real, made = make_pair(folder)
    evaluate(real.path, ExperimentPlan(standard_arms({"made": made.path}), ()), folder / "out", Events())
    return folder / "out"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all its parts: three ratios, segmenters that describe tiles and predict."""
    folder = tmp_path_factory.mktemp("full")
    real = write_pairs(folder / "real", world_pairs(24), held_out=12, split="test", generated=False)
    made = write_pairs(folder / "made", world_pairs(12, seed=1))
    how = SegmenterPlan(architecture="fpn", encoder="tu-test_resnet", steps=4, batch=4)
    train_segmenter(real.path, [], how, folder / "segmenter", Events(), threads=1, device="cpu")

    def keep(job: Job, events: Events) -> Trial:
        shutil.copytree(folder / "segmenter", job.folder / SEGMENTER)
        return run(job, events)

    arms = choose_arms({"made": made.path}, ["mixed", "synthetic"], ratios=(0.5, 1.0))
    evaluate(
        real.path, ExperimentPlan(arms, tuple(range(4)), other_seeds=3), folder / "out", Events(), run=keep, keep=True
    )
    return folder / "out"


class Page(HTMLParser):
    """Collects tags, the addresses they point to, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_from_outside(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import", text)
    assert set(re.findall(r"https?://[^\"' <]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_page_says_what_was_found(report: Path) -> None:
    words = " ".join(" ".join(Page((report / "report.html").read_text(encoding="utf-8")).words).split())
    for said in (
        "Labelled real tiles: 8 for training, 4 for validation, 4 for testing",
        "3 seeds, for the same 1,234 optimiser steps of 2 tiles",
        f"“real + {NAME}” scored better than “real” by",
        "The encoders start from scratch",
        "What this does not show",
        "tileset made, sha256 of its index",
    ):
        assert said in words
    assert NAME not in (report / "report.html").read_text(encoding="utf-8")  # escaped


def test_the_sections_of_a_comparison_are_there(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    words = " ".join(" ".join(Page(text).words).split())
    for said in (
        "Gen. + Ori.",
        "Do rare classes gain most?",
        "What is taken for what",
        "The segmenters of the runs were not kept",
        "none is at hand. Nothing is downloaded for it",
        "The test tiles lie in 1 block, too few for an interval over places",
        "stays when the 2 comparisons are judged together",
        "Where the spread comes from",
        "Which tiles have labels and which generator did not vary in these runs",
    ):
        assert said in words
    assert "How many synthetic pairs?" not in words  # one ratio is no curve
    assert text.count('<table class="matrix"') == 3


def test_markdown_says_the_same(report: Path) -> None:
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "| Class | Training pixels | Test pixels | Gen. (<b>a & b</b>, 3 runs) | Ori. (real, 3 runs) |" in text
    assert "95 % interval over places" in text
    assert "## How real do the synthetic tiles look to a network?" in text


def test_every_picture_and_chart_has_words(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    assert all('alt="' in tag and 'alt=""' not in tag for tag in re.findall("<img [^>]*>", text))
    charts = re.findall("<svg [^>]*>", text)
    assert charts
    assert all('role="img"' in tag and re.search('aria-label="[^"]{20,}"', tag) for tag in charts)


def test_what_the_budget_left_out_is_said(tmp_path: Path) -> None:
    real, made = make_pair(tmp_path)
    plan = ExperimentPlan(standard_arms({"made": made.path}), steps=5)
    evaluate(real.path, plan, tmp_path / "out", Events(), run=run, budget=1e-9)
    for name in ("report.html", "report.md"):
        assert "Left out for want of time: 3 runs of “made”." in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_the_runs_are_in_the_table(report: Path) -> None:
    with (report / "runs.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["arm"], row["seed"]) for row in rows[:4]] == [*(("real", str(s)) for s in range(3)), (NAME, "0")]
    assert rows[0]["iou_grass"] == ""
    hit, wrong = 300, 40
    assert float(rows[0]["iou_road"]) == pytest.approx(hit / (hit + 2 * 4 * wrong), abs=1e-6)


def test_no_place_time_or_host_is_written(report: Path) -> None:
    for path in report.glob("report.*"):
        assert str(report.parent) not in path.read_text(encoding="utf-8")


def test_without_training_the_tiles_are_shown_and_nothing_is_claimed(untrained: Path) -> None:
    text = (untrained / "report.html").read_text(encoding="utf-8")
    assert "whether the tiles help was not measured" in text
    assert "Scores on the real test tiles" not in text
    assert "Are they copies of training tiles?" in text
    assert not (untrained / "runs.csv").exists()


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    required("Chromium", found is not None)
    assert found is not None
    return found


def browse(chromium: str, page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    return subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *quiet,
            "--enable-logging=stderr", f"--user-data-dir={profile}", *options, page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120, text=True, errors="replace",
    )  # fmt: skip


@pytest.mark.parametrize("which", ["report", "untrained", "full"])
def test_a_browser_draws_it(which: str, chromium: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    picture, page = tmp_path / "page.png", request.getfixturevalue(which) / "report.html"
    said = browse(chromium, page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1200,2400")
    assert "CONSOLE" not in said.stderr  # nothing that was not found or not allowed
    pixels = np.array(Image.open(picture).convert("RGB"))
    assert pixels.shape == (2400, 1200, 3)
    for part in np.split(pixels, 4):  # something is drawn in every quarter, and paper stays white
        assert 0.01 < (part != 255).any(axis=2).mean() < 0.9
    assert (pixels == (0x0B, 0x55, 0x63)).all(axis=2).sum() > 1000  # the rule at the top: styles were applied


MEASURE = """<script>
const wide = [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll")
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName);
const lost = [...document.images].filter(e => !e.complete || !e.naturalWidth).length;
const page = document.documentElement;
document.title = `wide ${page.scrollWidth > page.clientWidth} [${wide}] lost ${lost}`;
</script></body>"""


def test_a_full_page_has_curve_distances_predictions_and_nearest_tiles(full: Path) -> None:
    text = (full / "report.html").read_text(encoding="utf-8")
    words = " ".join(" ".join(Page(text).words).split())
    for title in (
        "How many synthetic pairs?",
        "Every point is over the same 3 rows of seeds",
        "The same test tiles, as the arms see them",
        "the real training image that its image comes nearest to",
        "masks fit images",
    ):
        assert title in words
    assert text.count("Classes that") == 12  # six test tiles, two arms


@pytest.mark.parametrize("which", ["report", "full"])
@pytest.mark.parametrize("width", [1200, 600])
def test_nothing_sticks_out_of_the_page(
    which: str, width: int, chromium: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    text = (request.getfixturevalue(which) / "report.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</body>", MEASURE), encoding="utf-8")  # measured in a copy
    said = browse(chromium, tmp_path / "page.html", tmp_path / "profile", "--dump-dom", f"--window-size={width},900")
    assert re.findall("<title>(.*?)</title>", said.stdout) == ["wide false [] lost 0"]


def test_percent() -> None:
    shown = [percent(share).replace("\u00a0", " ") for share in (0.0, 0.0001, 0.034, 0.0996, 0.5)]
    assert shown == ["0 %", "< 0.1 %", "3.4 %", "10 %", "50 %"]
