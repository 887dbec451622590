"""Whether bytes say nothing: as good as random, and of no kind of file that everyone can look into. Judged by their beginning."""

from __future__ import annotations

import math

from sentra_sandbox.review.content.encodings import unpacked_beginning
from sentra_sandbox.review.matcher import decoded, histogram

SAMPLE = 256 << 10  # bytes of the beginning that are judged

# Compressed, but everyone can look into them: they are what they say they are, as far as a beginning tells.
_MEDIA = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF", b"\0\0\0\x18ftyp", b"\0\0\0 ftyp", b"OggS", b"\x7fELF", b"wOF2")


def is_opaque(data: bytes, depth: int = 0) -> bool:
    """Whether bytes are as good as random and do not begin as a known kind of file, or are base64 or hex of such, or compressed such."""
    if len(data) < 48 or depth > 3 or any(data.startswith(magic) or (magic in data[:1024] and magic[:1] > b"\x7f") for magic in _MEDIA):
        return False
    if inner := unpacked_beginning(data):
        return is_opaque(inner, depth + 1)
    if any(byte >= 127 or byte < 9 for byte in data[:4096]):  # else it is text, of which there are more codings
        return not _is_utf8(data) and _even(data)
    for coding in ("hex", "base64"):
        runs = decoded(coding, data)
        if runs and sum(int(runs.spans[i].start_bytes) for i in range(min(runs.count, 1000))) > len(data) * 0.6:
            return is_opaque(runs.data[:-4], depth + 1)
    return False


def _is_utf8(data: bytes) -> bool:
    try:
        data[:4096].decode()
    except UnicodeDecodeError as error:
        return error.start > min(len(data), 4096) - 4  # cut in the middle of a character
    return b"\0" not in data


def _even(data: bytes) -> bool:
    counts = [count for count in histogram(data) if count]
    entropy = -sum(count / len(data) * math.log2(count / len(data)) for count in counts)
    return entropy >= min(7.5, math.log2(len(data)) * 0.84)  # few bytes cannot show all their values
