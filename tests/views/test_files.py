from __future__ import annotations

from events_by_hand import AT_FDCWD, O_CREAT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY, Script

from sentra_sandbox.trace.events import Event
from sentra_sandbox.views.files import FileUse, file_uses

PROT_READ, PROT_WRITE, MAP_SHARED, MAP_PRIVATE = 1, 2, 1, 2


def uses(*events: Event) -> dict[str, FileUse]:
    return {use.path: use for use in file_uses(events)}


def test_bytes_follow_the_descriptor_through_dup_and_fork() -> None:
    s = Script()
    found = uses(
        s.became(2, "/x", "x", cwd="/w"),
        s.call(2, "openat", AT_FDCWD, "log", O_WRONLY | O_CREAT, 0o644, result=3),
        s.call(2, "dup2", 3, 1, result=1),
        s.call(2, "write", 1, b"hello", 5, result=5),
        s.started(4, parent=2),
        s.call(4, "write", 3, b"world", 5, result=5),
        s.call(2, "close", 3),
        s.call(2, "openat", AT_FDCWD, "/etc/hosts", 0, 0, result=3),
        s.call(2, "read", 3, 0x1000, 100, result=42),
        s.call(2, "read", 3, 0x1000, 100, result=-4),
    )
    assert found["/w/log"].written_bytes == 10
    assert found["/w/log"].written and found["/w/log"].opened_for_writing
    assert found["/etc/hosts"].read_bytes == 42
    assert not found["/etc/hosts"].written
    assert set(found) == {"/w/log", "/etc/hosts"}


def test_changes_by_name() -> None:
    s = Script()
    found = uses(
        s.became(2, "/x", "x", cwd="/w"),
        s.call(2, "openat", AT_FDCWD, "new", O_RDWR | O_CREAT | O_EXCL, 0o644, result=3),
        s.call(2, "openat", AT_FDCWD, "old", O_WRONLY | O_TRUNC, 0, result=4),
        s.call(2, "mkdir", "dir", 0o755),
        s.call(2, "rename", "new", "dir/new"),
        s.call(2, "link", "/src", "/dst"),
        s.call(2, "unlink", "missing", result=-2),
        s.call(2, "chmod", "/mode", 0o600),
        s.call(2, "ftruncate", 4, 10),
        s.call(2, "mmap", 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0, result=0x7000),
    )
    assert {path: use.changes for path, use in found.items()} == {
        "/w/new": ("created", "renamed", "mapped for writing"),
        "/w/old": ("emptied", "resized"),
        "/w/dir": ("created",),
        "/w/dir/new": ("renamed",),
        "/dst": ("linked",),
        "/mode": ("attributes",),
    }
    assert not found["/mode"].written
    assert all(use.written for path, use in found.items() if path != "/mode")


def test_private_mappings_of_files_and_of_nothing() -> None:
    s = Script()
    found = uses(
        s.became(2, "/x", "x"),
        s.call(2, "openat", AT_FDCWD, "/lib/libc.so", 0, 0, result=3),
        s.call(2, "mmap", 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 3, 0, result=0x7000),
        s.call(2, "mmap", 0, 4096, PROT_READ, MAP_PRIVATE, 0xFFFFFFFF, 0, result=0x8000),
    )
    assert found["/lib/libc.so"].mapped and not found["/lib/libc.so"].written
    assert len(found) == 1


def test_sorted_by_path() -> None:
    s = Script()
    listed = file_uses([s.became(2, "/x", "x"), s.call(2, "mkdir", "/b", 0), s.call(2, "mkdir", "/a", 0)])
    assert [use.path for use in listed] == ["/a", "/b"]
