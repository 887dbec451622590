"""docs/DETECTORS.md is what the detectors say of themselves."""

from __future__ import annotations

import runpy
from pathlib import Path

from sentra_sandbox.review.detectors import registry

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_detectors_own() -> None:
    generator = runpy.run_path(str(ROOT / "scripts" / "gen_detector_docs.py"))
    assert (ROOT / "docs" / "DETECTORS.md").read_text() == generator["page"](), "run scripts/gen_detector_docs.py"


def test_each_file_is_listed_and_names_its_evidence() -> None:
    import sys

    folder = ROOT / "sentra_sandbox" / "review" / "detectors"
    files = {path.stem for path in folder.glob("*.py") if "\nDETECTOR = " in path.read_text()}
    assert files == {detector.name for detector in registry.DETECTORS}
    for name in files:
        assert "Evidence" in (sys.modules[f"sentra_sandbox.review.detectors.{name}"].__doc__ or ""), name
