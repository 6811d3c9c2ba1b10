"""The program ``geosynth``: one module a command, loaded when it is needed."""

from __future__ import annotations

import importlib
import sys

import click

from geosynth import __version__

COMMANDS = {
    "tile": "Cut scenes and labels into a tileset.",
    "train": "Train a generator of image-mask pairs on a tileset.",
    "generate": "Write synthetic image-mask pairs as a tileset.",
    "segment": "Train a segmentation model on real and synthetic tiles.",
    "predict": "Segment whole scenes with a segmenter.",
    "vectorize": "Turn class rasters into polygons.",
    "subset": "Hide labels: the same tiles with few of them labelled.",
    "filter": "Make doubtful pixels of synthetic masks unknown, reject doubtful pairs.",
    "review": "Accept or reject pairs by eye.",
    "nearest": "Find the real training tile nearest to each synthetic one.",
    "evaluate": "Measure whether synthetic tiles help.",
    "inspect": "Say what a folder or file is.",
    "env": "Show versions, device, memory and what is missing.",
    "demo": "Run the whole flow on a made-up scene, or on yours.",
}


class LazyGroup(click.Group):
    """Lists commands without importing them: ``--help`` must be quick, and torch is not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"geosynth_cli.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: geosynth demo --out demo",
)
@click.version_option(__version__, prog_name="geosynth")
def cli() -> None:
    """Few labels? Learn how places and their labels look together, and make more of both.

    Every command reads folders and files and writes one folder or file. Data goes to standard output, messages to
    standard error. Exit codes: 0 done, 1 failed (one line says why), 2 bad usage, 130 cancelled and resumable.
    """


def run() -> None:
    """Console script."""
    for stream in (sys.stdout, sys.stderr):
        # A console of another encoding must not turn a message into a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    cli()
