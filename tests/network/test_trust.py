"""What the sandbox is shown as its roots."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from tls_peers import world

from sentra_sandbox.errors import HostError
from sentra_sandbox.network import trust, trust_paths
from sentra_sandbox.network.ca import CertificateAuthority

CA = CertificateAuthority()


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system whose one root is the test world's, in a file without a final newline and with other text."""
    path = tmp_path / "system.crt"
    path.write_bytes(b"# World\n" + world().certificate.public_bytes(serialization.Encoding.PEM).replace(b"\n", b"\r\n").rstrip())
    monkeypatch.setattr(trust, "BUNDLES", (str(tmp_path / "none"), str(path)))
    return path


def loaded(path: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return len(context.get_ca_certs())


def test_roots_and_the_runs_ca_each_once(tmp_path: Path, roots: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    own = tmp_path / "own.pem"
    own.write_text(Path(world().pem).read_text() + CertificateAuthority().pem)
    trust.write_bundle(str(bundle), CA, {"REQUESTS_CA_BUNDLE": str(own), "NODE_EXTRA_CA_CERTS": "/none"})
    assert loaded(bundle) == 3
    text = bundle.read_bytes()
    assert text.startswith(CA.pem.encode()) and text.count(b"BEGIN") == 3 and text.endswith(b"-----\n") and b"\r" not in text


def test_written_in_place(tmp_path: Path, roots: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"x" * 100_000)
    inode = bundle.stat().st_ino
    with bundle.open("rb") as reader:
        trust.write_bundle(str(bundle), CA, {})
        assert reader.read().count(b"BEGIN") == 2
    assert bundle.stat().st_ino == inode


def test_a_place_that_cannot_be_written_or_is_a_link(tmp_path: Path, roots: Path) -> None:
    target = tmp_path / "target"
    target.write_text("keep")
    (tmp_path / "link").symlink_to(target)
    for path in (tmp_path / "link", tmp_path / "none" / "bundle"):
        with pytest.raises(HostError, match="cannot be written"):
            trust.write_bundle(str(path), CA, {})
    assert target.read_text() == "keep"


def test_certifi_where_the_system_has_no_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "certifi"
    package.mkdir()
    (package / "__init__.py").write_text("def where():\n    return __file__.replace('__init__.py', 'cacert.pem')\n")
    (package / "cacert.pem").write_text(Path(world().pem).read_text())
    monkeypatch.setattr(trust, "BUNDLES", ())
    monkeypatch.delitem(sys.modules, "certifi", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert trust.root_files({}) == [str(package / "cacert.pem")]
    monkeypatch.delitem(sys.modules, "certifi")


def test_java_store(tmp_path: Path, roots: Path) -> None:
    if not hasattr(pkcs12, "serialize_java_truststore"):
        with pytest.raises(HostError, match="version 45"):
            trust.write_java_store(str(tmp_path / "store"), CA, {})
        return
    store = tmp_path / "store"
    trust.write_java_store(str(store), CA, {})
    assert len(pkcs12.load_pkcs12(store.read_bytes(), None).additional_certs) == 2
    if not shutil.which("keytool"):
        pytest.skip("no Java here")
    listed = subprocess.run(["keytool", "-list", "-keystore", store], input="\n", capture_output=True, text=True, timeout=60)
    assert listed.stdout.count("trustedCertEntry") == 2, listed.stdout + listed.stderr


def test_variables() -> None:
    assert set(trust_paths.environment("/b")) == {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"}
    added = trust_paths.environment("/b", {"CURL_CA_BUNDLE": "/mine", "PIP_CERT": ""})
    assert added["CURL_CA_BUNDLE"] == "/b" and "PIP_CERT" not in added
    assert trust_paths.named_bundles({"CURL_CA_BUNDLE": "/mine", "SSL_CERT_FILE": "/other", "HOME": "/"}) == ["/other", "/mine"]


def test_system_bundles_are_real_files_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setattr(trust_paths, "BUNDLES", (str(tmp_path / "link"), str(tmp_path / "real"), str(tmp_path / "none"), str(tmp_path)))
    assert trust_paths.system_bundles() == [os.path.realpath(tmp_path / "real")]
    monkeypatch.setattr(trust_paths, "JAVA_STORES", ())
    (tmp_path / "lib" / "security").mkdir(parents=True)
    (tmp_path / "lib" / "security" / "cacerts").write_text("")
    assert trust_paths.java_stores({"JAVA_HOME": str(tmp_path)}) == [str(tmp_path / "lib" / "security" / "cacerts")]
    assert trust_paths.java_stores({"JAVA_HOME": "relative"}) == []


def test_paths_load_without_anything_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); import sentra_sandbox.network.trust_paths; "
        "new = set(sys.modules) - before; print(sorted(n for n in new if not n.startswith(('sentra_sandbox', '__future__'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, cwd=Path(trust.__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
