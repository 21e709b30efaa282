"""The page about lesions shows what really happens."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lesions.md"


def test_every_example_of_the_page_runs():
    assert "\n```python\n>>> " in PAGE.read_text(encoding="utf-8")
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 20 and result.failed == 0
