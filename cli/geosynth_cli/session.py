"""What every command has around it: events, cancellation, one-line errors, exit codes."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from geosynth import __version__
from geosynth.errors import Cancelled, GeosynthError
from geosynth.events import Events, Sink, file_sink, stop_when_closed, stop_when_file, stream_sink

FAILED = 1
CANCELLED = 130
_TELL_EVERY = 10.0
"""Seconds between two lines that say how far it is, where there is no bar."""

_SESSION_OPTIONS = (
    click.option(
        "--progress",
        type=click.Choice(["auto", "rich", "jsonl", "none"]),
        default="auto",
        show_default=True,
        help="How to show progress. jsonl: events as JSON lines on standard output.",
    ),
    click.option("--events", type=click.Path(dir_okay=False), help="Append the events to this file as well."),
    click.option("--cancel-file", type=click.Path(), help="Stop, resumably, when this file appears."),
    click.option("--watch-stdin", is_flag=True, help="Stop when standard input closes (the parent went away)."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


def session(function: Callable[..., str | None]) -> Callable[..., None]:
    """Give a command its shared options and run it under them.

    The function gets ``events`` as its first argument and returns what to print on standard output (or nothing).
    """

    @functools.wraps(function)
    def wrapped(
        *, progress: str, events: str | None, cancel_file: str | None, watch_stdin: bool, debug: bool, **arguments: Any
    ) -> None:
        context = click.get_current_context()
        with _interrupts() as interrupted, _display(progress) as shown:
            stops = [interrupted]
            if cancel_file:
                stops.append(stop_when_file(cancel_file))
            if watch_stdin:
                stops.append(stop_when_closed(sys.stdin.buffer))
            sinks = shown
            if events:
                try:
                    sinks = (*shown, file_sink(events))
                except OSError as error:
                    raise click.UsageError(f"--events {events}: cannot be written ({error.strerror})") from None
            reporter = Events(sinks, stops)
            code = _run(context.info_name or "", function, reporter, arguments, debug, quiet=progress == "jsonl")
        context.exit(code)

    for option in reversed(_SESSION_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _run(
    name: str,
    function: Callable[..., str | None],
    events: Events,
    arguments: dict[str, Any],
    debug: bool,
    quiet: bool,
) -> int:
    try:
        events.hello(name, __version__)
        message = function(events, **arguments) or ""
        events.done(message)
        if message and not quiet:
            click.echo(message)
        return 0
    except Cancelled as error:
        events.cancelled(str(error))
        click.echo(f"Cancelled: {error}", err=True)
        return CANCELLED
    except KeyboardInterrupt:
        events.cancelled("interrupted")
        click.echo("Cancelled: interrupted — run the same command with --resume to go on", err=True)
        return CANCELLED
    except GeosynthError as error:
        return _fail(events, error, error, debug)
    except click.ClickException as error:
        events.error(GeosynthError(error.format_message()))
        raise
    except BrokenPipeError:
        # The reader went away; there is nobody left to tell. Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        what = f"unexpected {type(error).__name__}: {str(error).strip() or 'no message'}"
        told = GeosynthError(what, remedy="run again with --debug and report what it prints")
        return _fail(events, told, error, debug)


def _fail(events: Events, told: GeosynthError, cause: Exception, debug: bool) -> int:
    with contextlib.suppress(OSError):  # the reader of the events may be what went away
        events.error(told)
    click.echo(f"Error: {told}", err=True)
    if debug:
        traceback.print_exception(cause)
    return FAILED


@contextmanager
def _interrupts() -> Iterator[Callable[[], str | None]]:
    """Ctrl-C and SIGTERM ask the job to stop at the next safe moment; a second Ctrl-C stops it at once."""
    seen: list[str] = []

    def ask(number: int, _: Any) -> None:
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.append(signal.Signals(number).name)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), ask) for name in names}
    try:
        yield lambda: seen[0] if seen else None
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextmanager
def _display(progress: str) -> Iterator[tuple[Sink, ...]]:
    """The sink for ``--progress``."""
    if progress == "jsonl":
        yield (stream_sink(sys.stdout),)
    elif progress == "none":
        yield (_warnings_only,)
    elif progress == "rich" or sys.stderr.isatty():
        from geosynth_cli.display import rich_sink

        with rich_sink() as sink:
            yield (sink,)
    else:
        yield (_plain_sink(),)


def _warnings_only(record: dict[str, Any]) -> None:
    if record["event"] == "log" and record["level"] == "warning":
        click.echo(f"Warning: {record['message']}", err=True)


def _plain_sink() -> Sink:
    """Messages, the name of each step of a command that has several, and every so often how far it is: for logs."""
    step, told = "", time.monotonic()

    def send(record: dict[str, Any]) -> None:
        nonlocal step, told
        if record["event"] == "hello":
            step = record["command"]  # what the user has just typed need not be said
        elif record["event"] == "progress" and record["task"] != step:
            step = record["task"]
            click.echo(f"{step} ...", err=True)
        elif record["event"] == "progress" and time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            total = "" if record["total"] is None else f" of {record['total']}"
            click.echo(f"{step}: {record['done']}{total} {record['unit']}", err=True)
        _warnings_only(record)
        if record["event"] == "log" and record["level"] == "info":
            click.echo(record["message"], err=True)

    return send
