"""zstd frames, in and out: the one place that calls ``zstandard``.

Decompressing is for hostile input: the size that a frame claims is compared with what the caller knows before anything
is allocated.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    import zstandard

LEVEL = 1


def _load() -> ModuleType:
    """``zstandard``, or only its extension module: the package's ``__init__`` loads typing, platform and re, 8 ms that
    every recorded program would wait for. A later ``import zstandard`` finds the extension loaded and uses it.
    """
    name = "zstandard.backend_c"
    if "zstandard" not in sys.modules and (spec := _extension(name)) is not None and spec.loader is not None:
        module = spec.loader.create_module(spec)
        if module is not None:
            sys.modules[name] = module
            spec.loader.exec_module(module)
            return module
    import zstandard

    return zstandard


def _extension(name: str) -> ModuleSpec | None:
    from importlib.machinery import PathFinder

    package = PathFinder.find_spec("zstandard")
    if package is None or package.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, list(package.submodule_search_locations))


if not TYPE_CHECKING:
    zstandard = sys.modules.get("zstandard.backend_c") or _load()


class FrameError(ValueError):
    """The bytes are no intact zstd frame of the expected size."""


def compress(data: bytes) -> bytes:
    """One frame that names its content's size."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def decompress(frame: bytes, size: int) -> bytes:
    """The ``size`` bytes in ``frame``. Raises ``FrameError``."""
    try:
        parameters = zstandard.get_frame_parameters(frame)
        if parameters.content_size != size or parameters.dict_id:
            raise FrameError(f"a compressed frame that does not hold {size} bytes")
        data = zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise FrameError(f"a compressed frame that does not decompress ({error})") from error
    except MemoryError as error:
        raise FrameError("a compressed frame that needs too much memory") from error
    if len(data) != size:
        raise FrameError(f"a compressed frame that holds {len(data)} bytes, not {size}")
    return data
