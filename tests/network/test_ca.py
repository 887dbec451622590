"""Certificates of a run before strict readers, and where its keys are."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from needs import lacking

from sentra_sandbox.errors import HostError
from sentra_sandbox.network.ca import CertificateAuthority, canonical_name

LONG = "x" * 60 + "." + "y" * 60 + ".example.test"
CA = CertificateAuthority()

VERIFY = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
for name in sys.argv[3:]:
    with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as sock, context.wrap_socket(sock, server_hostname=name) as session:
        print(name, session.getpeercert()["subjectAltName"])
"""


def pythons() -> list[str]:
    """This Python, and the others from 3.10 on that are installed here; names that only stand for one (shims) may not work and are left out."""
    installed = Path(sys.base_prefix).parent.glob("3.*/bin/python3")
    named = [shutil.which(f"python3.{minor}") for minor in range(10, 16)]
    found = dict.fromkeys(os.path.realpath(path) for path in [*named, *installed] if path)
    check = "import sys, ssl; sys.exit(sys.version_info < (3, 10))"
    others = [path for path in found if subprocess.run([path, "-c", check], capture_output=True, timeout=20).returncode == 0]
    return list(dict.fromkeys([os.path.realpath(sys.executable), *others]))


def bundle(tmp_path: Path, ca: CertificateAuthority = CA) -> str:
    path = tmp_path / "ca.pem"
    path.write_text(ca.pem)
    return str(path)


@pytest.mark.parametrize("name", ["api.example.test", "*.example.test", "127.0.0.1", "::1", LONG, "bücher.example", "under_score.example"])
def test_openssl_finds_nothing_to_object_to(name: str, tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        lacking("openssl")
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(CA.leaf(name).public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", bundle(tmp_path), str(leaf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def test_extensions_and_dates() -> None:
    now = datetime.datetime(2031, 5, 1, tzinfo=datetime.timezone.utc)
    ca = CertificateAuthority(now)
    leaf = ca.leaf("API.Example.Test.")
    assert leaf.not_valid_before_utc == now - datetime.timedelta(days=1)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= datetime.timedelta(days=398)
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["api.example.test"]
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and not constraints.value.ca
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert authority == ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extensions.get_extension_for_class(x509.KeyUsage).critical
    assert extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
    assert not ca.leaf(LONG).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert ca.certificate.subject != CA.certificate.subject


def test_every_installed_python_accepts_it_strictly(tmp_path: Path) -> None:
    names = ["api.example.test", LONG, "127.0.0.1"]
    found = pythons()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            for name in names * len(found):
                sock, _ = listener.accept()
                # A client that does not read its tickets resets the connection when it closes.
                with contextlib.suppress(OSError), CA.context_for(name).wrap_socket(sock, server_side=True) as session:
                    session.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for python in found:
            port = str(listener.getsockname()[1])
            done = subprocess.run([python, "-c", VERIFY, bundle(tmp_path), port, *names], capture_output=True, text=True, timeout=20)
            assert done.returncode == 0, (python, done.stderr)
            assert done.stdout.count("\n") == len(names)
        thread.join(5)


def test_names() -> None:
    assert canonical_name("EXAMPLE.com.") == "example.com"
    assert canonical_name("*.Bücher.example") == "*.xn--bcher-kva.example"
    assert canonical_name("[::0:1]") == "::1"
    assert canonical_name("fe80::1%eth0") == "fe80::1"
    for bad in ("", ".", "a b", "a..b", "-a.b", "a\0.b", "*.*.b", "a.*.b", "x" * 64 + ".b", "a." * 130 + "b", "a/b", "é" * 80):
        with pytest.raises(ValueError, match="no certificate can name"):
            canonical_name(bad)


def test_contexts_are_kept_within_a_bound() -> None:
    ca = CertificateAuthority(max_contexts=2)
    first = ca.context_for("a.test")
    assert ca.context_for("A.test.") is first
    assert ca.context_for("a.test", ("h2",)) is not first
    ca.context_for("a.test")
    ca.context_for("b.test")
    assert ca.context_for("a.test") is first
    assert len(ca._contexts) == 2


def test_no_key_in_any_file_or_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, certfile: str) -> None:
        opened.append(os.readlink(certfile))
        real(self, certfile)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    before = os.listdir("/proc/self/fd")
    CA.context_for("fresh.example.test")
    assert opened == ["/memfd:certificate (deleted)"]
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_without_memory_files_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int = 0) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(HostError, match="memfd_create"):
        CA.context_for("other.example.test")
