"""``export``: take a run out of the store."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from sentra_sandbox.cli.durations import format_count, format_size
from sentra_sandbox.cli.messages import printable, say
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.errors import HostError, UsageError
from sentra_sandbox.trace.reader import Trace

HELP = """Write RUN into a file: whole, to be imported elsewhere, or its network, for other tools.

A bundle holds everything that the program read and sent, secrets too. The other formats hold the network of a run with --net open;
keys, tokens and cookies in heads and URLs are masked in them, bodies are not. All files are readable by you alone; FILE may be - for
stdout, except for a bundle.

\b
Examples:
  sentra-sandbox export --bundle agent.sbundle last
  sentra-sandbox export --har agent.har last
  sentra-sandbox export --pcapng agent.pcapng last
  sentra-sandbox export --pcapng - last | tshark -r -
  sentra-sandbox export --otlp spans.json last
"""


@click.command("export", help=HELP, short_help="Write a run, or its network, into a file for other tools.")
@click.option("--bundle", metavar="FILE", help="The run with all that it needs, for import; a file that exists is replaced.")
@click.option("--har", metavar="FILE", help="HTTP exchanges as HAR 1.2, for the developer tools of browsers.")
@click.option("--pcapng", metavar="FILE", help="DNS, connections and decrypted HTTP as packets, for Wireshark.")
@click.option("--otlp", metavar="FILE", help="HTTP exchanges and calls of language models as OpenTelemetry spans (OTLP JSON).")
@click.option("--show-secrets", is_flag=True, help="Do not mask keys, tokens and cookies in heads and URLs (not for --bundle).")
@click.argument("run", metavar="RUN")
def command(bundle: str | None, har: str | None, pcapng: str | None, otlp: str | None, show_secrets: bool, run: str) -> None:
    wanted = {"bundle": bundle, "har": har, "pcapng": pcapng, "otlp": otlp}
    chosen = [(kind, target) for kind, target in wanted.items() if target is not None]
    if len(chosen) != 1:
        raise UsageError("Name one format to write.", "The formats are --bundle, --har, --pcapng and --otlp.")
    ((kind, target),) = chosen
    if target != "-" and Path(target).is_dir():
        raise UsageError(f"{target} is a directory.", "Name the file to write.")
    special = target != "-" and Path(target).exists() and not Path(target).is_file()
    if kind == "bundle" and special:  # renaming a file to its name would take the place of a device
        raise UsageError(f"{target} is no ordinary file.", "Name the file to write.")
    if kind == "bundle":
        if show_secrets or target == "-":
            raise UsageError("A bundle holds everything, and goes into a file.", "Leave out --show-secrets, and name a file.")
        _bundle(run, Path(target))
        return
    with open_run(run) as trace:
        written = _WRITERS[kind](trace, target, show_secrets)
        if target != "-":
            say(printable(f"wrote {written} of run {trace.meta.id} to {target} ({format_size(Path(target).stat().st_size)})"))


def _bundle(run: str, target: Path) -> None:
    from sentra_sandbox.export.bundle import export_bundle

    with open_run(run) as trace:
        written = export_bundle(trace, target)
    pieces = f"{format_count(written.blobs, 'piece')} of data, {format_count(written.files, 'file')}"
    size = f"{format_size(written.content_bytes)}, packed {format_size(target.stat().st_size)}"
    say(printable(f"wrote run {written.run_id} to {target}: {pieces}; {size}"))


def _har(trace: Trace, target: str, secrets: bool) -> str:
    from sentra_sandbox.export.har import write_har

    with _text(target) as file:
        return format_count(write_har(trace, file, secrets=secrets), "HTTP exchange")


def _pcapng(trace: Trace, target: str, secrets: bool) -> str:
    from sentra_sandbox.export.pcapng import write_pcapng

    with _opened(target) as file:
        return format_count(write_pcapng(trace, file, secrets=secrets), "packet")


def _otlp(trace: Trace, target: str, secrets: bool) -> str:
    from sentra_sandbox.export.otlp import write_otlp

    with _text(target) as file:
        return format_count(write_otlp(trace, file, secrets=secrets), "span")


_WRITERS: dict[str, Callable[[Trace, str, bool], str]] = {"har": _har, "pcapng": _pcapng, "otlp": _otlp}


@contextmanager
def _opened(target: str) -> Iterator[IO[bytes]]:
    """Stdout, or a file for the user alone that appears whole or not at all. Raises ``HostError``."""
    if target == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.exists(target) and not os.path.isfile(target):  # a pipe or a device is written to, not replaced
        try:
            with open(target, "wb", buffering=1 << 18) as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise HostError(f"{target} cannot be written: {error.strerror}.", "Name another file.") from error
        return
    partial = f"{target}.{os.getpid()}.partial"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb", buffering=1 << 18) as file:
                yield file
            os.replace(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise HostError(f"{target} cannot be written: {error.strerror}.", "Name another file, or make room.") from error


@contextmanager
def _text(target: str) -> Iterator[IO[str]]:
    with _opened(target) as file:
        wrapped = io.TextIOWrapper(file, encoding="ascii", write_through=False)
        yield wrapped
        wrapped.flush()
        wrapped.detach()
