"""``verify-seal``: whether a run is what its seal says, and whose the seal is; or whether a proof holds."""

from __future__ import annotations

from pathlib import Path

import click

from sentra_sandbox.cli.messages import printable, say
from sentra_sandbox.cli.terminal import write_line
from sentra_sandbox.errors import HostError, UsageError
from sentra_sandbox.trace.opening import find_run
from sentra_sandbox.trace.seal import NAME, Seal, check_proof, differences, read_seal, signed_bytes

DIFFERENT = 1

HELP = """Check that RUN is what was sealed: everything is computed again from its blocks and files, and what differs is named.

Without --allowed-signers a signature is only shown to be one of this seal, by a key that nobody vouches for.

\b
Examples:
  sentra-sandbox verify-seal last
  sentra-sandbox verify-seal last --seal run.seal --allowed-signers signers
  sentra-sandbox verify-seal --proof event-977.proof --allowed-signers signers

Exit status: 0 as sealed, 1 not.
"""


@click.command("verify-seal", help=HELP, short_help="Check a run against its seal, or a proof.")
@click.option("--seal", "seal_file", default="", metavar="FILE", help="The seal, if it is not in the run's directory.")
@click.option("--allowed-signers", default="", metavar="FILE", help="Whose signatures count: a file as ssh-keygen(1) describes.")
@click.option("--proof", default="", metavar="FILE", help="Check this proof of one event; no run is needed.")
@click.argument("run", required=False, metavar="[RUN]")
def command(seal_file: str, allowed_signers: str, proof: str, run: str | None) -> int:
    if bool(run) == bool(proof):
        raise UsageError("Name a run to check against its seal, or a proof.", "One of RUN and --proof FILE.")
    if proof:
        return _check_proof(Path(proof), allowed_signers)
    assert run
    directory = find_run(run)
    seal = read_seal(Path(seal_file) if seal_file else directory / NAME)
    wrong = [*differences(seal.statement, directory), *_signature(seal, allowed_signers)]
    for line in wrong:
        write_line(f"DIFFERENT: {printable(line)}")
    if not wrong:
        write_line(f"run {printable(str(seal.statement['run']))} is what was sealed: {seal.statement['events']:,} events, Merkle root"
                   f" {seal.statement['merkle_root']}")  # fmt: skip
    return DIFFERENT if wrong else 0


def _check_proof(path: Path, allowed_signers: str) -> int:
    from sentra_sandbox.views.lines import event_text

    proven = check_proof(path)
    wrong = _signature(proven.seal, allowed_signers)
    for line in wrong:
        write_line(f"DIFFERENT: {printable(line)}")
    if not wrong:
        event = proven.event
        write_line(f"the sealed run {printable(str(proven.seal.statement['run']))} has event {event.seq}, at {event.time_ns / 1e9:.6f} s by"
                   f" task {event.task}:")  # fmt: skip
        write_line(printable(event_text(event, max_string=200)))
    return DIFFERENT if wrong else 0


def _signature(seal: Seal, allowed_signers: str) -> list[str]:
    """What is wrong with the signature; says whose it is."""
    if not seal.signature:
        if allowed_signers:
            return ["the seal is not signed"]
        say("the seal is not signed: it shows changes since it was made, not who made it")
        return []
    from sentra_sandbox.cli.ssh_signature import check

    try:
        signer = check(signed_bytes(seal.statement), seal.signature, allowed_signers)
    except OSError as error:
        raise HostError(f"{allowed_signers} cannot be read: {error.strerror}.") from error
    if not signer.valid:
        return [f"the signature is not one of this seal: {signer.details}"]
    if allowed_signers and not signer.principal:
        return [f"the seal is signed by nobody in {allowed_signers}: {signer.details}"]
    say(f"signed by {signer.principal}" if signer.principal else f"signed, by a key that nobody vouches for here: {signer.details}")
    return []
