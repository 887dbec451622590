"""What TLS needs once for a run: the CA, the trust towards servers, and what was learnt about hosts."""

from __future__ import annotations

from collections.abc import Mapping

from sentra_sandbox.network.ca import CertificateAuthority
from sentra_sandbox.network.decision import NetworkPolicy
from sentra_sandbox.network.tls_outcome import TlsMemory
from sentra_sandbox.network.upstream_trust import UpstreamTrust


class TlsServices:
    """Makes the CA."""

    def __init__(self, policy: NetworkPolicy, variables: Mapping[str, str]) -> None:
        self.authority = CertificateAuthority()
        self.trust = UpstreamTrust(variables)
        self.memory = TlsMemory(policy.tls_refused)
