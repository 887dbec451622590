"""The certificate bundle that a sandbox with its own network sees: a file in the run's directory, shown in place of the system's bundles.

It begins as a copy of the system's; the broker adds the run's CA when it starts, and the engine lets nobody read it before that. The
files are bound by inode, so they are only ever written in place.
Rule of this file: no module that costs time to load.
"""

from __future__ import annotations

import os

from sentra_sandbox.dataclass import dataclass
from sentra_sandbox.network import trust_paths
from sentra_sandbox.sandbox.setup_op import MS_BIND, MS_RDONLY, MS_REMOUNT, SetupOp, bind, mount

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = "trust"
_BUNDLE = "ca-bundle.pem"
# What a remount must keep of the mount that the files are on (statvfs(2) → mount(2)): elsewhere it is refused.
_KEPT = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """``bundle`` is the host's path of the file, ``shown`` where the program sees it, ``java`` and ``shown_java`` the same of Java's store;
    ``ops`` put both in place.
    """

    bundle: str
    shown: str
    java: str
    shown_java: str
    ops: tuple[SetupOp, ...]
    variables: Mapping[str, str]


def make_trust(run_directory: str, env: Mapping[str, str]) -> TrustFiles:
    """Make the files of a run. Raises ``OSError``."""
    directory = f"{run_directory}/{DIRECTORY}"
    os.mkdir(directory, 0o755)
    bundle = f"{directory}/{_BUNDLE}"
    systems = trust_paths.system_bundles()
    _copy(systems[0] if systems else "", bundle)
    places = [(bundle, path) for path in systems]
    stores = trust_paths.java_stores(env)
    store = trust_paths.java_store_of(bundle)  # there in any case: a JDK may be anywhere, and come later
    _copy(stores[0] if stores else "", store)
    places += [(store, path) for path in stores]
    flags = mount_flags(directory)
    ops: list[SetupOp] = []
    for source, target in places:
        ops += [bind(source, target), mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)]
    shown = systems[0] if systems else bundle
    environment = trust_paths.environment(shown, env)
    return TrustFiles(bundle, shown, store, stores[0] if stores else store, tuple(ops), environment)


def remove_trust(run_directory: str) -> None:
    """The run has ended: nobody reads them any more."""
    directory = f"{run_directory}/{DIRECTORY}"
    try:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    except OSError:
        pass  # it is in nobody's way


def _copy(source: str, target: str) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        if source:
            with open(source, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                while size > 0 and (sent := os.sendfile(fd, file.fileno(), None, size)):
                    size -= sent
    finally:
        os.close(fd)


def mount_flags(directory: str) -> int:
    """What a remount of something below ``directory`` must keep."""
    found = os.statvfs(directory).f_flag
    return sum(ours for theirs, ours in _KEPT if found & theirs)
