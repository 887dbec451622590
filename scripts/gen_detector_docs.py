"""Writes docs/DETECTORS.md from the detectors themselves. A test compares, so the page is never behind."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "DETECTORS.md"
sys.path.insert(0, str(ROOT))

_HEAD = """# Detectors

What `sentra-sandbox review` can find by itself, besides rules. Written by `scripts/gen_detector_docs.py` from the detectors in
`sentra_sandbox/review/detectors/`; how to add one: [HOWTO_ADD_DETECTOR.md](HOWTO_ADD_DETECTOR.md). Ids are stable: suppressions name them.
A finding may have another severity than its class (the particulars decide) and always names the events that prove it.
"""


def page() -> str:
    """The whole page."""
    from sentra_sandbox.review.detectors.registry import DETECTORS

    parts = [_HEAD, "| id | title | severity | category | ATT&CK | OWASP |\n|---|---|---|---|---|---|"]
    for kind in sorted((kind for detector in DETECTORS for kind in detector.kinds), key=lambda kind: kind.id):
        cells = (kind.id, kind.title, kind.severity.name.lower(), kind.category, " ".join(kind.attack), " ".join(kind.owasp))
        parts[-1] += f"\n| {' | '.join(cells)} |"
    for detector in DETECTORS:
        module = sys.modules[f"sentra_sandbox.review.detectors.{detector.name}"]
        parts.append(f"\n## {detector.name}\n\n{(module.__doc__ or '').strip()}")
        for kind in detector.kinds:
            parts.append(f"\n### {kind.id} {kind.title}\n\n{kind.explanation}\n\n*Remedy:* {kind.remedy}")
            if kind.false_positives:
                parts.append(f"\n*Traps:* {kind.false_positives}")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
