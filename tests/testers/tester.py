"""What all testers share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import pytest


class Tester:
    """Runs every check once for each row.

    Attributes:
        rows: what is tested, by name.
        slow: names of rows that take more than a few seconds.
    """

    rows: ClassVar[Mapping[str, Any]] = {}
    slow: ClassVar[Collection[str]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "row" in metafunc.fixturenames:
            given = [
                pytest.param(row, id=name, marks=[pytest.mark.slow] if name in self.slow else [])
                for name, row in self.rows.items()
            ]
            metafunc.parametrize("row", given, scope="class")

    @pytest.fixture(scope="class")
    def name(self, row: Any) -> str:
        """What the row is called."""
        return next(name for name, each in self.rows.items() if each is row)
