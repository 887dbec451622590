"""What may import what. The order is the data flow's; reading a trace must work on a machine that could not record
one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "sentra_sandbox"

# Each part of the package, and the parts it may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "dataclass": set(),
    "native": {"errors"},
    "syscalls": {"errors"},
    "policy": {"syscalls", "errors"},
    "trace": {"dataclass", "syscalls", "native", "errors"},
    "views": {"trace", "syscalls", "errors"},
    "review": {"views", "trace", "syscalls", "native", "errors"},
    "sandbox": {"dataclass", "policy", "syscalls", "native", "errors"},
    "network": {"dataclass", "views", "trace", "native", "errors"},
    "record": {"network", "dataclass", "sandbox", "policy", "trace", "syscalls", "native", "errors"},
    "replay": {"record", "sandbox", "policy", "trace", "syscalls", "native", "errors"},
    "export": {"views", "trace", "syscalls", "errors"},
    "testing": {"record", "network", "views", "trace", "errors"},
    "cli": {"review", "export", "replay", "record", "network", "sandbox", "policy", "views", "trace", "syscalls", "errors"},
    "__init__": {"record", "trace", "errors"},
    "__main__": {"cli"},
}
# Modules that need the extension, in a part whose other modules must not.
MAY_LOAD_NATIVE = {"trace": {"arena", "pack", "writer", "recovery", "clone", "arena_image"}, "review": {"matcher"}}

READING = (
    "trace.reader",
    "trace.catalogue",
    "trace.blobs",
    "views.summary",
    "views.lines",
    "views.selection",
    "cli.app",
    "cli.show",
    "cli.ls",
    "cli.diff",
    "cli.export",
    "cli.import_",
    "export.bundle",
    "export.har",
    "export.pcapng",
    "export.otlp",
    "views.network",
    "views.llm",
    "views.network_json",
    "cli.show_network",
    "cli.show_exchange",
    "views.compare",
)


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_modules(path: Path) -> set[str]:
    """Absolute names of the package's modules that a file imports, inside functions too."""
    package = ["sentra_sandbox", *path.relative_to(PACKAGE).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.startswith("sentra_sandbox.")}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_right(path: Path) -> None:
    part = part_of(path)
    assert part in ALLOWED, f"say in {Path(__file__).name} what {part} may import"
    parts = {name.split(".")[1] for name in imported_modules(path)} - {"_native", part}
    known = {name for name in parts if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}
    assert known <= ALLOWED[part]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_native_loads_the_extension(path: Path) -> None:
    if part_of(path) != "native":
        assert not any(name.startswith("sentra_sandbox._native") for name in imported_modules(path))
    if part_of(path) in MAY_LOAD_NATIVE and path.stem not in MAY_LOAD_NATIVE[part_of(path)]:
        assert "sentra_sandbox.native" not in imported_modules(path)


@pytest.mark.parametrize("module", READING)
def test_reading_needs_no_extension(module: str) -> None:
    code = (
        "import sys; sys.modules['sentra_sandbox._native'] = None\n"
        f"import sentra_sandbox.{module}\n"
        "never = ('sentra_sandbox.sandbox', 'sentra_sandbox.native')\n"
        "loaded = [name for name in sys.modules if name.startswith(never)]\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=PACKAGE.parent)


def test_public_names_resolve() -> None:
    import sentra_sandbox

    for name in sentra_sandbox.__all__:
        assert getattr(sentra_sandbox, name).__doc__, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(sentra_sandbox, "no_such_name")  # noqa: B009
