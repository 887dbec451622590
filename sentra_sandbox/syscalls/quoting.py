"""How bytes and numbers from a traced program are shown: quoted, escaped, cut; printable ASCII on one line."""

from __future__ import annotations

_ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x0B: "\\v", 0x0C: "\\f"}
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in _ESCAPES)


def quote(data: bytes, limit: int | None = None, *, more: bool = False) -> str:
    """Show bytes as a C string: at most ``limit`` of them, then "..."; ``more``: there were more than are at hand."""
    cut = limit is not None and len(data) > limit
    shown = data[:limit] if cut else data
    return f'"{escape(shown)}"' + ("..." if cut or more else "")


def escape(data: bytes) -> str:
    """The inside of a C string: octal for what does not print, as short as the next byte allows."""
    if not data.translate(None, _PLAIN):
        return data.decode("ascii")
    parts = []
    for index, byte in enumerate(data):
        escaped = _ESCAPES.get(byte)
        if escaped:
            parts.append(escaped)
        elif 0x20 <= byte < 0x7F:
            parts.append(chr(byte))
        else:
            digit_follows = index + 1 < len(data) and 0x30 <= data[index + 1] <= 0x39
            parts.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return "".join(parts)


def address(value: int) -> str:
    """A pointer."""
    return "NULL" if value == 0 else hex(value)


def signed32(value: int) -> int:
    """The low half of a register as the kernel's int."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def signed64(value: int) -> int:
    """A register as the kernel's long."""
    value &= 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >> 63 else value
