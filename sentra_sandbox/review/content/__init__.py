"""Secrets of a run, and where their bytes went: ``secrets`` collects them, ``channels`` what left, ``encodings`` takes codings off,
``search`` finds."""
