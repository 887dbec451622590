"""Program for test_recovery.py: record into a small file system until it is full, end the run, read it, make room,
recover it.

usage: full_disk.py DIRECTORY BYTES_TO_FILL. Prints one JSON object about what happened.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from recordings import begin, made_up_events

from sentra_sandbox.errors import RecordingError
from sentra_sandbox.trace.catalogue import prepare_home
from sentra_sandbox.trace.reader import Trace
from sentra_sandbox.trace.recovery import recover


def main() -> None:
    place = Path(sys.argv[1])
    home = prepare_home(place / "home")
    recording = begin(home, ring_bytes=512 * 1024)
    filler = place / "filler"
    space = os.statvfs(place)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - int(sys.argv[2])))
    said = ""
    try:
        while True:
            recording.record(made_up_events(1000, seed=len(recording.expected)))
    except RecordingError as error:
        said = str(error)
    recording.sealer.abandon(recording.metadata, "disk full")
    recording.release()
    with Trace(recording.directory) as trace:
        readable = list(trace.events()) == recording.expected
        state, note = trace.meta.state, trace.meta.note
        trace.verify()
    filler.unlink()
    metadata = recover(recording.directory)
    with Trace(recording.directory) as trace:
        trace.verify()
        recovered = list(trace.events())[: len(recording.expected)] == recording.expected
    print(
        json.dumps(
            {
                "said": said, "readable": readable, "state": state, "note": note, "recovered": recovered,
                "recovered_state": metadata.state, "events": len(recording.expected),
            }
        )
    )  # fmt: skip


main()
