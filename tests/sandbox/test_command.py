"""How the program to run is found, and what is said when it cannot be run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentra_sandbox.errors import CommandNotExecutable, CommandNotFound
from sentra_sandbox.sandbox.command import needs_shell, resolve_command


def make(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def path_dirs(tmp_path: Path) -> dict[str, str]:
    make(tmp_path / "one/tool", mode=0o644)
    make(tmp_path / "two/tool")
    make(tmp_path / "one/only-plain", mode=0o644)
    make(tmp_path / "here")
    return {"PATH": f"{tmp_path}/missing:{tmp_path}/one:{tmp_path}/two"}


def test_search_passes_over_what_cannot_be_executed(path_dirs: dict[str, str], tmp_path: Path) -> None:
    assert resolve_command("tool", path_dirs, "/") == f"{tmp_path}/two/tool"
    with pytest.raises(CommandNotExecutable, match="not executable") as caught:
        resolve_command("only-plain", path_dirs, "/")
    assert caught.value.exit_status == 126
    assert "chmod +x" in caught.value.remedy


def test_nothing_found(path_dirs: dict[str, str]) -> None:
    with pytest.raises(CommandNotFound, match="'nosuch' was not found") as caught:
        resolve_command("nosuch", path_dirs, "/")
    assert caught.value.exit_status == 127


def test_file_beside_us_is_hinted_at(path_dirs: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound) as caught:
        resolve_command("here", path_dirs, str(tmp_path))
    assert "'./here'" in caught.value.remedy


@pytest.mark.parametrize("search", ["", "/nowhere:", ":/nowhere", "/nowhere::/usr/bin"])
def test_empty_path_entries_mean_here(search: str, tmp_path: Path) -> None:
    make(tmp_path / "here")
    assert resolve_command("here", {"PATH": search}, str(tmp_path)) == "./here"


def test_no_path_at_all() -> None:
    assert resolve_command("sh", {}, "/") == "/bin/sh"


def test_paths_stay_as_typed(tmp_path: Path) -> None:
    make(tmp_path / "sub/tool")
    assert resolve_command("sub/tool", {}, str(tmp_path)) == "sub/tool"
    assert resolve_command("./sub/tool", {}, str(tmp_path)) == "./sub/tool"
    with pytest.raises(CommandNotFound):
        resolve_command("./sub/tool", {}, "/")


@pytest.mark.parametrize(("name", "text"), [("", "is empty"), ("a\0b", "NUL"), ("/nowhere/x", "does not exist")])
def test_impossible_names(name: str, text: str) -> None:
    with pytest.raises(CommandNotFound, match=text):
        resolve_command(name, {}, "/")


def test_directories_links_and_devices(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("gone")
    with pytest.raises(CommandNotExecutable, match="is a directory"):
        resolve_command("/usr", {}, "/")
    with pytest.raises(CommandNotExecutable, match="not a regular file"):
        resolve_command("/dev/zero", {}, "/")
    with pytest.raises(CommandNotFound, match="symbolic link to 'gone'"):
        resolve_command("./dangling", {}, str(tmp_path))
    with pytest.raises(CommandNotFound):
        resolve_command("/etc/passwd/x", {}, "/")


def test_missing_interpreter_is_named(tmp_path: Path) -> None:
    make(tmp_path / "script", "#!/opt/no/python -u\n")
    with pytest.raises(CommandNotExecutable, match="/opt/no/python"):
        resolve_command("./script", {}, str(tmp_path))


def test_windows_line_ends_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"#!/bin/sh\r\necho\r\n")
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(CommandNotExecutable, match="Windows line ends"):
        resolve_command("./script", {}, str(tmp_path))


def test_which_files_need_a_shell(tmp_path: Path) -> None:
    assert needs_shell(str(make(tmp_path / "plain", "echo\n")), "/")
    assert needs_shell(str(make(tmp_path / "empty", "")), "/")
    assert not needs_shell(str(make(tmp_path / "script")), "/")
    assert not needs_shell("/bin/sh", "/")
    (tmp_path / "binary").write_bytes(b"MZ\0\0")
    assert not needs_shell(str(tmp_path / "binary"), "/")


def test_unreachable_directory(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reaches everything")
    make(tmp_path / "closed/tool")
    (tmp_path / "closed").chmod(0)
    with pytest.raises(CommandNotExecutable, match="cannot be reached"):
        resolve_command("./closed/tool", {}, str(tmp_path))
