"""``seal``: state what a run is, sign that if wanted; or prove that it has an event."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sentra_sandbox.cli.messages import say
from sentra_sandbox.cli.runs import open_run
from sentra_sandbox.errors import HostError, UsageError
from sentra_sandbox.trace.seal import NAME, Seal, prove, read_seal, signed_bytes, state

HELP = """Seal RUN: check all of it, and write a statement of what it is, signed with an SSH key if you name one.

The statement has the run's id, the Merkle root over its blocks, and the digest of each of its files. Whoever keeps the seal elsewhere, or
trusts the signature, sees later changes with 'verify-seal'. That is tamper-evident, not tamper-proof.

With --prove SEQ a proof is written that the run has this event: it can be checked without the run, and holds the other events near it
too (not their large content).

\b
Examples:
  sentra-sandbox seal last
  sentra-sandbox seal last --sign ~/.ssh/id_ed25519 -o run.seal
  sentra-sandbox seal last --prove 977 -o event-977.proof
"""


@click.command("seal", help=HELP, short_help="Seal a run, sign the seal, prove an event.")
@click.option("--sign", "key", default="", metavar="KEY", help="Sign with this SSH key (a file; a public one if the agent has the key).")
@click.option("--prove", "seq", type=click.IntRange(min=1), default=None, metavar="SEQ", help="Write a proof of this event instead.")
@click.option("-o", "--output", default="", metavar="FILE", help="Write to FILE instead of into the run's directory.")
@click.argument("run", metavar="RUN")
def command(key: str, seq: int | None, output: str, run: str) -> None:
    with open_run(run) as trace:
        path = Path(output) if output else trace.path / NAME
        if seq is None:
            seal = _sealed(state(trace), key)
            write(path, seal.to_json())
            say(f"sealed run {trace.meta.id}: {path}{' (signed)' if seal.signature else ''}")
            return
        if not output:
            raise UsageError("A proof needs a file to go to.", "Name it with -o FILE.")
        kept = trace.path / NAME
        seal = read_seal(kept) if kept.exists() and not key else _sealed(state(trace), key)
        write(path, prove(trace, seal, seq))
        say(f"proof that run {trace.meta.id} has event {seq}: {path}{'' if seal.signature else ' (its seal is not signed)'}")


def _sealed(statement: dict[str, object], key: str) -> Seal:
    if not key:
        return Seal(statement)
    from sentra_sandbox.cli.ssh_signature import sign

    return Seal(statement, sign(signed_bytes(statement), os.path.expanduser(key)))


def write(path: Path, data: bytes) -> None:
    """Replace a file whole. Raises ``HostError``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}.", "Name another file with -o FILE.") from error
