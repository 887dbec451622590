"""py_files - files from Python: temporary ones, walking, mmap, sqlite, locks, sparse and unusual names, watching
sizes grow."""

import fcntl
import json
import mmap
import os
import shutil
import sqlite3
import tempfile
import zipfile
from pathlib import Path

with tempfile.TemporaryDirectory(dir=".") as name:
    root = Path(name)
    for number in range(30):
        (root / f"d{number % 3}").mkdir(exist_ok=True)
        (root / f"d{number % 3}" / f"f{number}.json").write_text(json.dumps({"n": number}))
    print("walk", sum(len(files) for _, _, files in os.walk(root)))
    print("sum", sum(json.loads(path.read_text())["n"] for path in root.rglob("*.json")))
    shutil.copytree(root / "d0", root / "copy")
    with zipfile.ZipFile(root / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "copy").iterdir()):
            archive.write(path, path.name)
    print("zip", len(zipfile.ZipFile(root / "all.zip").namelist()))
    with open(root / "mapped", "w+b") as file:
        file.truncate(100_000)
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[50_000:50_005] = b"inner"
        file.seek(50_000)
        print("mmap", file.read(5))
    with open(root / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        print("locked")
    with sqlite3.connect(root / "base.db") as base:
        base.execute("pragma journal_mode=wal")
        base.execute("create table t (a integer, b text)")
        base.executemany("insert into t values (?, ?)", [(n, "x" * n) for n in range(100)])
        base.commit()
        print("sqlite", base.execute("select sum(a), sum(length(b)) from t").fetchone())
    base.close()
    strange = root / "na\nme with \x7f and \u00e9"
    strange.write_bytes(b"\x00" * 10)
    os.symlink(strange.name, root / "link")
    print("strange", (root / "link").stat().st_size, oct((root / "link").lstat().st_mode & 0o170000))
    os.utime(strange, ns=(1_000_000_001, 2_000_000_002))
    print("times", strange.stat().st_mtime_ns)
print("gone", not Path(name).exists())
