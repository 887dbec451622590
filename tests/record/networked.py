"""Records a program with the engine's network options set, as the supervisor of a sandbox with its own network would; run by tests.

    python networked.py RUN-DIRECTORY OPTIONS-JSON REPORT-FILE COMMAND...

Options: ``network``, ``ask_ports``, ``unix_allow`` [path...], ``trust`` (path of the bundle), ``java`` (path of Java's store), ``answer``
(seconds until a request is answered; null: never; -1: the other end is closed), ``append`` (text that is appended to the bundle before
the answer to a TRUST request), ``chroot`` (the program may call it).
The report is the list of requests as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sentra_sandbox.native import ffi, lib
from sentra_sandbox.record import session
from sentra_sandbox.record.options import RecordOptions

TRUST, PORT, START = 1, 2, 3


class Supervisor:
    """The other end of ``request_fd``."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.requests: list[tuple[int, int]] = []
        self.ours, self.engines = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if options.get("answer", 0) == -1:
            self.ours.close()
        else:
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while packet := self.ours.recv(64):
            kind, value = struct.unpack("=II", packet)
            self.requests.append((kind, value))
            wait = self.options.get("answer", 0)
            if kind == START or wait is None:
                continue
            time.sleep(wait)
            if kind == TRUST and "append" in self.options:
                with open(self.options["trust"], "a", encoding="ascii") as bundle:
                    bundle.write(self.options["append"])
            self.ours.send(b"\0")


class Library:
    """The native library, with the network's options added when a run is made."""

    def __init__(self, options: dict[str, Any], supervisor: Supervisor) -> None:
        self._options, self._supervisor = options, supervisor
        self._memory: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)

    def _text(self, value: str) -> Any:
        self._memory.append(ffi.new("char[]", os.fsencode(value)))
        return self._memory[-1]

    def sentra_run_new(self, native: Any, error: Any) -> Any:
        options = self._options
        native.network = options.get("network", 1)
        native.ask_ports = options.get("ask_ports", 0)
        native.request_fd = self._supervisor.engines.fileno()
        allowed = [self._text(path) for path in options.get("unix_allow", ())]
        self._memory.append(ffi.new("char *[]", [*allowed, ffi.NULL]))
        native.unix_allow = self._memory[-1]
        if "trust" in options:
            native.trust_path = self._text(options["trust"])
            about = os.stat(options["trust"])
            native.trust_dev, native.trust_ino = about.st_dev, about.st_ino
        if "java" in options:
            native.java_path = self._text(options["java"])
            about = os.stat(options["java"])
            native.java_dev, native.java_ino = about.st_dev, about.st_ino
        return lib.sentra_run_new(native, error)


def allow_chroot(profile: Path) -> None:
    """The program keeps the capability for chroot; ``profile`` becomes the usual filter without its refusal."""
    from sentra_sandbox.dataclass import replace
    from sentra_sandbox.policy.profiles import profile_file
    from sentra_sandbox.sandbox import plan

    made = plan.default_plan

    def with_chroot(*arguments: Any, **options: Any) -> plan.SandboxPlan:
        usual = made(*arguments, **options)
        return replace(usual, capabilities=usual.capabilities | {"SYS_CHROOT"})

    plan.default_plan = with_chroot
    rules = json.loads(Path(profile_file("default")).read_text())
    for rule in rules["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "chroot"]
    rules["syscalls"].append({"names": ["chroot"], "action": "SCMP_ACT_ALLOW"})
    profile.write_text(json.dumps(rules))


def main(directory: str, options_text: str, report: str, *command: str) -> int:
    options = json.loads(options_text)
    supervisor = Supervisor(options)
    session.lib = Library(options, supervisor)  # type: ignore[assignment]
    profile = "default"
    if options.get("chroot"):
        profile = f"{report}-profile.json"
        allow_chroot(Path(profile))
    chosen = RecordOptions(
        command=command, output=directory, net=options.get("net", "none"), timeout_s=options.get("timeout"), profile=profile
    )
    result = session.record(chosen)
    Path(report).write_text(json.dumps(supervisor.requests))
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
