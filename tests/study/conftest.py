"""What tests of studies share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report takes ten times as long as a small study, and is read by other tests."""

    def write_report(folder: Path) -> Path:
        (folder / "report.html").write_text("not drawn here")
        return folder / "report.html"

    monkeypatch.setattr("facelesion.report.write_report", write_report)
