"""``python -m sentra_sandbox`` is the same as the command ``sentra-sandbox``."""

from sentra_sandbox.cli import entry

entry()
