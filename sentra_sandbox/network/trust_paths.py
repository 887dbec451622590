"""Where certificate bundles are on a machine, and the variables that name one. Loaded at every ``exec``: only ``os`` may be imported.

What writes a bundle is in ``trust``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/tls/cacert.pem",  # OpenELEC
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL 7 and later
    "/etc/ssl/cert.pem",  # Alpine, OpenSSL's own default
    "/usr/lib/ssl/cert.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",  # Arch
    "/etc/ssl/certs/ca-bundle.crt",  # NixOS
)
"""Files with the roots of the system, in the order in which they are looked for (a superset of what Go and OpenSSL look at)."""

JAVA_STORES = (
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
)

ADDED = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
"""Always set: Node and Deno read no bundle of the system, rustls and grpcio only by these."""

REPLACED = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "CARGO_HTTP_CAINFO")
"""Not needed, but pointed at our bundle where the user set them, or they would name one without the run's CA."""


def environment(bundle: str, present: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that make programs look at ``bundle``. ``present`` is the environment they are added to.

    ``SSL_CERT_DIR`` of the user is left: OpenSSL takes certificates from both.
    """
    names = (*ADDED, *(name for name in REPLACED if present and present.get(name)))
    return dict.fromkeys(names, bundle)


def named_bundles(present: Mapping[str, str]) -> list[str]:
    """Bundles that the user's own environment names. What they hold must stay trusted when the variables point at ours."""
    return [present[name] for name in (*ADDED, *REPLACED) if present.get(name)]


def system_bundles() -> list[str]:
    """The bundle files that exist here, links resolved, each once: what ours is bind-mounted over."""
    return _existing(BUNDLES)


def java_stores(present: Mapping[str, str] | None = None) -> list[str]:
    """Trust stores of Java that exist here, links resolved, each once."""
    home = present.get("JAVA_HOME", "") if present else ""
    return _existing((*JAVA_STORES, *((f"{home}/lib/security/cacerts",) if home.startswith("/") else ())))


def java_store_of(bundle: str) -> str:
    """Where the broker writes the same certificates as ``bundle`` for Java."""
    return bundle + ".p12"


def _existing(paths: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    for path in paths:
        real = os.path.realpath(path)
        if os.path.isfile(real):
            found[real] = None
    return list(found)
