"""Signatures with SSH keys, by OpenSSH's own tool (``ssh-keygen -Y``, since 8.2): people have the keys, and no dependency is needed.

The namespace keeps a signature for a seal from being taken for one over anything else (PROTOCOL.sshsig in OpenSSH).
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass

from sentra_sandbox.errors import HostError, UsageError

NAMESPACE = "sentra-sandbox-seal"
_TIMEOUT_S = 300  # a person may have to touch a key or type a passphrase


@dataclass(frozen=True, slots=True)
class Signer:
    """``valid``: the signature is of these bytes. ``principal``: who it is by the file of allowed signers, ``""`` if nobody it names.
    ``details``: the tool's words.
    """

    valid: bool
    principal: str
    details: str


def sign(data: bytes, key: str) -> str:
    """An armoured signature. ``key``: a private key's file, or a public one whose private part the agent has. Raises ``UsageError``."""
    done = _run(["-Y", "sign", "-q", "-n", NAMESPACE, "-f", key], data)
    if done.returncode or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise UsageError(f"ssh-keygen could not sign with {key}: {_words(done)}.", "Name the file of a private SSH key.")
    return done.stdout.decode("ascii", "replace")


def check(data: bytes, signature: str, allowed_signers: str = "") -> Signer:
    """Check a signature, and with a file of allowed signers (ssh-keygen(1)) whose it is."""
    with tempfile.NamedTemporaryFile(prefix="sentra-seal-") as file:
        file.write(signature.encode("utf-8", "replace"))
        file.flush()
        if not allowed_signers:
            done = _run(["-Y", "check-novalidate", "-n", NAMESPACE, "-s", file.name], data)
            return Signer(not done.returncode, "", _words(done))
        with open(allowed_signers, "rb"):  # a clear error where it cannot be read
            pass
        found = _run(["-Y", "find-principals", "-s", file.name, "-f", allowed_signers], b"")
        words = ""
        for principal in found.stdout.decode("utf-8", "replace").splitlines()[:20]:
            done = _run(["-Y", "verify", "-n", NAMESPACE, "-s", file.name, "-f", allowed_signers, "-I", principal], data)
            words = _words(done)
            if not done.returncode:
                return Signer(True, principal, words)
        done = _run(["-Y", "check-novalidate", "-n", NAMESPACE, "-s", file.name], data)
        return Signer(not done.returncode, "", words or _words(done))


def _run(arguments: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", *arguments], input=data, capture_output=True, timeout=_TIMEOUT_S)
    except FileNotFoundError as error:
        raise HostError("ssh-keygen is not installed.", "Install OpenSSH's client (openssh-client).") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"ssh-keygen did not end within {_TIMEOUT_S} s.") from error


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return " ".join(text.split())[:300] or f"exit status {done.returncode}"
