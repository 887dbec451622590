"""Bundles: a run goes out and comes back in another store and replays there; whatever else a file holds is refused as a whole."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from edited_runs import edited
from needs import lacking
from replaying import Recorded, record, replay, run_directory
from running import Product, complaint

from sentra_sandbox.errors import HostError, TraceError
from sentra_sandbox.export.archive import BundleReader, BundleWriter, Manifest, Member
from sentra_sandbox.export.bundle import import_bundle
from sentra_sandbox.trace import run
from sentra_sandbox.trace.catalogue import Catalogue

FLIPS = 30
Parts = list[tuple[str, bytes]]


@pytest.fixture
def recorded(product: Product) -> Recorded:
    (product.work / "data").write_bytes(random.Random(3).randbytes(3000))
    return record(product, "original", "sh", "-c", "cat data; echo $$ >&2; exit 3")


@pytest.fixture
def bundle(product: Product, recorded: Recorded) -> Path:
    path = product.work / "run.sbundle"
    finished = product("export", "--bundle", str(path), "original")
    assert finished.status == 0, finished
    return path


@pytest.fixture
def elsewhere(product: Product, tmp_path: Path) -> Product:
    """The product with another store and home."""
    home = tmp_path / "other-home"
    home.mkdir()
    return Product(product.work, {**product.env, "HOME": str(home), "SENTRA_SANDBOX_HOME": str(home / "store")})


def contents(path: Path) -> Parts:
    """The members of a bundle, read by our reader; the tests make new ones of them."""
    with open(path, "rb") as file:
        reader = BundleReader(file, str(path))
        parts = [(member.name, b"".join(reader.content(member))) for member in reader.manifest.members]
        reader.finish()
    return parts


def write(path: Path, run_id: str, parts: Parts) -> Path:
    """A well-formed bundle of any members."""
    members = tuple(Member(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in parts)
    with open(path, "wb") as file:
        writer = BundleWriter(file, Manifest(run_id, members), str(path))
        for _, data in parts:
            writer.add([data])
        writer.finish()
    return path


def refused(product: Product, path: Path) -> str:
    """Importing must fail with an error of ours, and leave no run and nothing half-made. Returns what it says."""
    store = Path(product.env["SENTRA_SANDBOX_HOME"])
    with pytest.raises((TraceError, HostError)) as error:
        import_bundle(path, home=store)
    with Catalogue(store) as catalogue:
        assert catalogue.list() == []
    assert not list((store / "runs").iterdir()) and not list(store.glob("importing-*"))
    return str(error.value)


def test_round_trip(product: Product, recorded: Recorded, bundle: Path, elsewhere: Product) -> None:
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    assert [path.name for path in bundle.parent.iterdir() if "sbundle" in path.name] == ["run.sbundle"]
    original = run_directory(product, "original").name
    shutil.rmtree(Path(product.env["SENTRA_SANDBOX_HOME"]))
    brought = elsewhere("import", str(bundle))
    assert brought.status == 0 and brought.stdout.decode().strip() == original
    assert [entry["id"] for entry in elsewhere.json("ls", "--json")] == [original]
    for _ in range(2):
        replay(elsewhere, recorded)
    assert b"cat" in elsewhere("show", "original").stdout
    assert elsewhere("gc").status == 0
    replay(elsewhere, recorded)


def test_modes_of_what_was_imported(bundle: Path, elsewhere: Product) -> None:
    assert elsewhere("import", str(bundle)).status == 0
    directory = run_directory(elsewhere, "original")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in directory.iterdir())


def test_tar_can_list_it(bundle: Path) -> None:
    if not shutil.which("tar") or not shutil.which("zstd"):
        lacking("tar and zstd")
    listed = subprocess.run(["tar", "--zstd", "-tf", str(bundle)], capture_output=True, text=True, check=True).stdout.split()
    assert listed[:3] == ["manifest", "run/run.json", "run/events"]
    assert any(name.startswith("blobs/") for name in listed) and any(name.startswith("files/") for name in listed)


def test_a_run_that_is_here_already(product: Product, recorded: Recorded, bundle: Path) -> None:
    finished = product("import", str(bundle))
    assert finished.status == 125 and "here already" in complaint(finished)
    replay(product, recorded)


def test_a_second_export_replaces_the_file(product: Product, bundle: Path, elsewhere: Product) -> None:
    bundle.write_bytes(b"something else")
    assert product("export", "--bundle", str(bundle), "original").status == 0
    assert elsewhere("import", str(bundle)).status == 0


def test_export_that_cannot_be(product: Product, recorded: Recorded) -> None:
    assert "No such file" in complaint(product("export", "--bundle", str(product.work / "no" / "dir"), "original"))
    assert "directory" in complaint(product("export", "--bundle", str(product.work), "original"))
    store = run_directory(product, "original").parent.parent / "blobs" / "files"
    victim = next(path for path in store.rglob("*") if path.is_file())
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o700)
    victim.write_bytes(data)
    target = product.work / "never.sbundle"
    assert "damaged" in complaint(product("export", "--bundle", str(target), "original"))
    assert [path.name for path in product.work.iterdir()] == ["data"]


def test_no_such_file(elsewhere: Product) -> None:
    assert "No such file" in complaint(elsewhere("import", "/no/such/bundle"))
    assert "directory" in complaint(elsewhere("import", "/"))


def test_refusal_as_a_person_sees_it(bundle: Path, elsewhere: Product) -> None:
    bundle.write_bytes(bundle.read_bytes()[:-100])
    finished = elsewhere("import", str(bundle))
    assert finished.status == 125 and finished.stdout == b""
    assert str(bundle) in complaint(finished)


def test_flipped_bits(bundle: Path, elsewhere: Product) -> None:
    rng = random.Random(4)
    whole = bundle.read_bytes()
    for _ in range(FLIPS):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        bundle.write_bytes(data)
        refused(elsewhere, bundle)


def test_cut_off(bundle: Path, elsewhere: Product) -> None:
    whole = bundle.read_bytes()
    for end in (0, 1, 4, 100, len(whole) // 3, len(whole) - 5, len(whole) - 1):
        bundle.write_bytes(whole[:end])
        refused(elsewhere, bundle)


def test_something_after_the_end(bundle: Path, elsewhere: Product) -> None:
    whole = bundle.read_bytes()
    for tail in (b"x", zstandard.compress(b"x"), whole):
        bundle.write_bytes(whole + tail)
        refused(elsewhere, bundle)


HOSTILE: dict[str, Callable[[Parts], Parts]] = {
    "path that leads out": lambda parts: [*parts, ("run/../../../x", b"x")],
    "absolute path": lambda parts: [*parts, ("/etc/x", b"x")],
    "unknown file": lambda parts: [*parts, ("run/other", b"x")],
    "lock": lambda parts: [*parts, ("run/lock", b"")],
    "arena": lambda parts: [*parts, ("run/arena", b"x" * 5000)],
    "unknown folder": lambda parts: [*parts, ("home/file", b"x")],
    "twice": lambda parts: [*parts, parts[-1]],
    "name that is not the hash": lambda parts: [*parts, ("blobs/" + "0" * 64, b"x")],
    "file whose name is no hash": lambda parts: [*parts, ("files/evil", b"x")],
    "small piece that is too large": lambda parts: [*parts, ("blobs/" + hashlib.sha256(bytes(2 << 20)).hexdigest(), bytes(2 << 20))],
    "missing blob": lambda parts: [part for part in parts if part != next(p for p in parts if p[0].startswith("blobs/"))],
    "missing file": lambda parts: [part for part in parts if part != next(p for p in parts if p[0].startswith("files/"))],
    "no events": lambda parts: [part for part in parts if part[0] != "run/events"],
    "no list of content": lambda parts: [part for part in parts if part[0] != "run/blobs"],
    "other list of content": lambda parts: [(n, d[:16] if n == "run/blobs" else d) for n, d in parts],
    "other events": lambda parts: [(n, d[:-1] + b"x" if n == "run/events" else d) for n, d in parts],
    "other description": lambda parts: [(n, d.replace(b"exact", b"exakt") if n == "run/run.json" else d) for n, d in parts],
    "events of two runs": lambda parts: [(n, d + d[32:] if n == "run/events" else d) for n, d in parts],
    "nothing": lambda parts: [],
}


def test_hostile_members(product: Product, bundle: Path, elsewhere: Product) -> None:
    run_id, parts = run_directory(product, "original").name, contents(bundle)
    for what, change in HOSTILE.items():
        changed = change(parts)
        assert changed != parts, what
        refused(elsewhere, write(bundle, run_id, changed))


def test_untouched_parts_are_accepted(product: Product, bundle: Path, elsewhere: Product) -> None:
    """What the tests here do to a bundle is not what makes it refused."""
    assert elsewhere("import", str(write(bundle, run_directory(product, "original").name, contents(bundle)))).status == 0


def test_other_run_ids(bundle: Path, elsewhere: Product) -> None:
    parts = contents(bundle)
    for run_id in ("../../x", "last", "20260101-000000-aaaa", "", "a" * 100):
        refused(elsewhere, write(bundle, run_id, parts))


def test_unfinished_run(product: Product, bundle: Path, elsewhere: Product) -> None:
    unfinished = edited(run_directory(product, "original"), lambda events: events)
    meta = run.read_metadata(unfinished)
    data = dataclasses.replace(meta, state=run.INCOMPLETE).to_json()
    parts = [(name, data if name == "run/run.json" else (unfinished / name[4:]).read_bytes()) for name, _ in contents(bundle) if name[:4] == "run/"]
    refused(elsewhere, write(bundle, unfinished.name, parts))


def packed_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    """A tar file as another program writes it, packed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    path.write_bytes(zstandard.compress(buffer.getvalue()))
    return path


def test_tar_files_of_others(bundle: Path, elsewhere: Product) -> None:
    plain, link, hard, device, directory = (tarfile.TarInfo(name) for name in ("manifest", "run/run.json", "run/events", "dev", "run"))
    plain.size = 100
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    directory.type = tarfile.DIRTYPE
    for members in ((plain,), (link,), (hard,), (device,), (directory,), (plain, link)):
        refused(elsewhere, packed_tar(bundle, *members))


def test_bombs(bundle: Path, elsewhere: Product) -> None:
    """A list of terabytes, a frame that unpacks to gigabytes, a window of 128 MiB: refused at once, in little memory."""
    huge = Member("files/" + "0" * 64, 1 << 45, "0" * 64)
    small = [Member(f"run/{name}", 1, hashlib.sha256(b"x").hexdigest()) for name in ("run.json", "events", "files")]
    with open(bundle, "wb") as file:
        writer = BundleWriter(file, Manifest("20260101-000000-aaaa", (*small, huge)), str(bundle))
        for _ in small:
            writer.add([b"x"])
        file.write(writer._compressor.flush())
    assert "are free there" in refused(elsewhere, bundle)
    frame = zstandard.ZstdCompressor().compressobj()
    with open(bundle, "wb") as file:
        for _ in range(1024):
            file.write(frame.compress(bytes(1 << 20)))
        file.write(frame.flush())
    refused(elsewhere, bundle)
    window = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    bundle.write_bytes(zstandard.ZstdCompressor(compression_params=window).compress(os.urandom(1000)))
    refused(elsewhere, bundle)
