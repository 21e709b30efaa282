"""What tests of studies share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def no_figures() -> Iterator[None]:
    """A report takes ten times as long as a small study, and is read by other tests."""

    def write_report(folder: Path) -> Path:
        (folder / "report.html").write_text("not drawn here")
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facelesion.report.write_report", write_report)
        yield
