"""The checks that every kind of damage passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import pytest
import yaml

from facelesion.lesions import Lesion

from .tester import Tester


class LesionTester(Tester):
    """A kind of damage is a value: it can be written down, read back, printed and compared. Rows are lesions."""

    rows: ClassVar[Mapping[str, Lesion]] = {}

    def test_survives_yaml(self, row: Lesion) -> None:
        again = Lesion.from_dict(yaml.safe_load(yaml.safe_dump(row.to_dict())))
        assert again == row and again.hash == row.hash and str(again) == str(row)
        assert hash(again) == hash(row) and len(row.hash) == 12

    def test_its_repr_makes_it_again(self, row: Lesion) -> None:
        kinds = {type(part).__name__: type(part) for part in row.parts}
        assert eval(repr(row), {"__builtins__": {}, "inf": float("inf")} | kinds) == row

    def test_nothing_about_it_can_be_changed(self, row: Lesion) -> None:
        for part in row.parts:
            with pytest.raises(dataclasses.FrozenInstanceError):
                part.site = "elsewhere"  # type: ignore[misc]

    def test_its_doses_have_a_meaning(self, row: Lesion) -> None:
        for part in row.parts:
            fields = {field.name for field in dataclasses.fields(part)}
            assert part.doses and set(part.doses) <= fields and all(part.doses.values())
