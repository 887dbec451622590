"""Takes secrets out of what a report shows. One function for all reports: ``Masker(...)(text)``.

Two ways, both always: the values that the review knows as secrets, in the forms in which they travel (raw, base64 in its three
alignments, hex, percent-encoded, reversed) and in parts, since an excerpt may begin in the middle of one; and whatever has the form of a
key or stands behind the name of one. A secret's first four characters stay where it is long, so that its owner knows which it was.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from sentra_sandbox.views.secrets import MASK, mask_text

if TYPE_CHECKING:
    from sentra_sandbox.review.content.search import Secret

GRAM, STEP = 8, 4
SURE = GRAM + STEP - 1  # so many characters of a secret in a row are masked wherever they stand; shorter secrets as a whole
_SHORTEST = 6
_SECRETS_MAX = 2000
_VALUE_MAX = 16_384
_GRAMS_MAX = 1_000_000
_KEEPS_ENDS = 20
_CACHED_MAX, _CACHED_LENGTH = 5000, 4000


class Masker:
    """Call it with a text. ``show_secrets``: texts come back as they are."""

    def __init__(self, secrets: Iterable[Secret] = (), show_secrets: bool = False) -> None:
        self.show_secrets = show_secrets
        self._grams: set[str] = set()
        self._short: set[str] = set()
        self._cache: dict[str, str] = {}  # the same names and paths come again and again
        if not show_secrets:
            for number, secret in enumerate(secrets):
                if number >= _SECRETS_MAX or len(self._grams) > _GRAMS_MAX:
                    break
                self._learn(secret.value[:_VALUE_MAX])

    def _learn(self, value: bytes) -> None:
        for line in value.split(b"\n"):
            line = line.strip()
            if line.startswith(b"-----") or len(line) < _SHORTEST:
                continue
            for form in _forms(line):
                if len(form) < SURE:
                    self._short.add(form)
                for at in range(len(form) - GRAM + 1):
                    gram = form[at : at + GRAM]
                    if len(set(gram)) >= 4:  # not of padding, nor of a row of zeros
                        self._grams.add(gram)

    def __call__(self, text: str) -> str:
        """The text as it may be shown."""
        if self.show_secrets or not text:
            return text
        known = self._cache.get(text)
        if known is not None:
            return known
        masked = text
        if self._grams and len(text) >= GRAM:
            masked = self._without_known(masked)
        for short in self._short:
            masked = masked.replace(short, MASK)
        masked = mask_text(masked)
        if len(text) <= _CACHED_LENGTH:
            if len(self._cache) >= _CACHED_MAX:
                self._cache.clear()
            self._cache[text] = masked
        return masked

    def _without_known(self, text: str) -> str:
        grams = self._grams
        # Every fourth place first: what is at least SURE long cannot hide between them.
        if grams.isdisjoint(map(text.__getitem__, map(slice, range(0, len(text), STEP), range(GRAM, len(text) + 1, STEP)))):
            return text
        starts = [at for at in range(len(text) - GRAM + 1) if text[at : at + GRAM] in grams]
        if not starts:
            return text
        parts, done = [], 0
        begin, end = starts[0], starts[0] + GRAM
        for start in [*starts[1:], len(text) + 1]:
            if start <= end:
                end = start + GRAM
                continue
            parts += [text[done:begin], _masked(text[begin:end])]
            done, begin, end = end, start, start + GRAM
        return "".join(parts) + text[done:]


def _masked(value: str) -> str:
    return f"{value[:4]}{MASK}{value[-2:]}" if len(value) >= _KEEPS_ENDS else MASK


def _forms(value: bytes) -> Iterable[str]:
    text = value.decode("utf-8", "surrogateescape")
    yield text
    if len(value) < GRAM:
        return
    yield text[::-1]
    yield quote(value, safe="")
    hexed = value.hex()
    yield hexed
    yield hexed.upper()
    for shift in range(3):  # the characters at the ends depend on what stands beside: drop them
        whole = base64.b64encode(bytes(shift) + value).decode()
        inner = whole[(0, 2, 3)[shift] : len(whole) - (0 if (len(value) + shift) % 3 == 0 else 4 - (len(value) + shift) % 3)]
        yield inner
        yield inner.translate(_URLSAFE)
    yield base64.b32encode(value).decode().rstrip("=")


_URLSAFE = str.maketrans("+/", "-_")
