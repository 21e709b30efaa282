"""A kind of damage in growing doses: lesions written as `Lesion.to_dict` writes them, with a list where the dose is.

    - {kind: Ablate, site: conv5_*, fraction: [0.1, 0.2, 0.4]}
    - {kind: Noise, site: conv3_2, std: [0.5, 1, 2], relative: true}

Parts act together and step together; a part without a list is the same at every step.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import LesionError
from .kinds import Compound, Lesion, SiteLesion, kind_called

_LISTS = ("units", "where", "site")  # fields that are lists by themselves


@dataclass(frozen=True)
class Series:
    """Lesions that differ in their dose alone.

    Attributes:
        steps: one lesion for every dose, in the order given.
        doses: the dose of the first part at every step.
        field: the name of that dose: `fraction`, `std`, ...
        meaning: what it means, in words.

    Example:
        >>> series = Series.from_list([{"kind": "Ablate", "site": "conv5_3", "fraction": [0.1, 0.2]}])
        >>> series.doses, series.meaning
        ((0.1, 0.2), 'share of the units removed')
        >>> print(series.lesion(1, seed=4))
        ablate 20% of conv5_3 (seed 4)
        >>> Series.from_list(series.to_list()) == series
        True
    """

    steps: tuple[Lesion, ...]
    doses: tuple[float, ...]
    field: str
    meaning: str

    @classmethod
    def from_list(cls, parts: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> Series:
        """Read the parts of a series, or its only part.

        Raises:
            LesionError: no part, a part that is no lesion, two doses in one part, or parts with unlike many doses.
        """
        if isinstance(parts, Mapping):
            parts = [parts]
        if isinstance(parts, str) or not isinstance(parts, Sequence) or not parts:
            raise LesionError(
                f"damage is a list of lesions, each with 'kind' and 'site' and a dose; got {_shown(parts)}"
            )
        read = [_Part.read(part) for part in parts]
        lengths = {len(part.values) for part in read if part.values}
        if len(lengths) > 1:
            told = ", ".join(f"{part.kind.__name__} has {len(part.values)}" for part in read if part.values)
            raise LesionError(f"parts that act together need equally many doses: {told}")
        count = lengths.pop() if lengths else 1
        steps = [[part.at(step) for part in read] for step in range(count)]
        first = next((part for part in read if part.values), None)
        if first is None:
            field, dose = usual_dose(steps[0][0])
            return cls((_joined(steps[0]),), (dose,), field, meaning_of(steps[0][0], field))
        return cls(
            tuple(_joined(step) for step in steps),
            tuple(float(value) for value in first.values),
            first.field,
            meaning_of(first.at(0), first.field),
        )

    @classmethod
    def of(cls, lesions: Sequence[Lesion] | Lesion) -> Series:
        """The series of lesions that differ in one dose of each part.

        Raises:
            LesionError: they differ in something else, or in nothing.

        Example:
            >>> from facelesion.lesions import Noise
            >>> Series.of([Noise("conv3_2", std=s) for s in (0.5, 1.0)]).doses
            (0.5, 1.0)
        """
        steps = [lesions] if isinstance(lesions, Lesion) else list(lesions)
        if not steps or not all(isinstance(step, Lesion) for step in steps):
            raise LesionError(f"a series is made of lesions, one for every dose; got {_shown(lesions)}")
        if len({len(step.parts) for step in steps}) > 1:
            raise LesionError("the lesions of a series have the same parts; these differ in their number")
        twice = next((step for number, step in enumerate(steps) if step in steps[:number]), None)
        if twice is not None:
            raise LesionError(f"the lesions of a series differ in one dose; the same lesion twice: {twice}")
        parts = []
        for column in zip(*(step.parts for step in steps), strict=True):
            plain = [part.to_dict() for part in column]
            keys = dict.fromkeys(key for each in plain for key in each)
            unlike = [key for key in keys if any(each.get(key) != plain[0].get(key) for each in plain)]
            stepped = [key for key in unlike if key in column[0].doses]
            if unlike != stepped or len(stepped) > 1:
                raise LesionError(
                    f"the lesions of a series differ in one dose; these differ in {', '.join(unlike)}"
                )
            merged = dict(plain[0])
            for key in stepped:
                merged[key] = [getattr(part, key) for part in column]
            parts.append(merged)
        return cls.from_list(parts)

    def to_list(self) -> list[dict[str, Any]]:
        """The parts as plain values, with a list where the dose is; `from_list` reads them back."""
        parts = []
        for column in zip(*(step.parts for step in self.steps), strict=True):
            plain = {key: value for key, value in column[0].to_dict().items() if key != "version"}
            for field in column[0].doses:
                values = [getattr(part, field) for part in column]
                if any(value != values[0] for value in values):
                    plain[field] = values
            parts.append(plain)
        return parts

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Lesion]:
        return iter(self.steps)

    def lesion(self, step: int, seed: int = 0) -> Lesion:
        """The lesion of one step, drawn with `seed`."""
        return self.steps[step].with_seed(seed)

    @property
    def sites(self) -> tuple[str, ...]:
        """The patterns of all parts, in order."""
        return tuple(dict.fromkeys(part.site for part in self.steps[0].parts))

    @property
    def draws(self) -> bool:
        """Whether its lesions hang on a seed, so that drawing them anew gives others."""
        return any(step.draws for step in self.steps)


@dataclass(frozen=True)
class _Part:
    """One part as written: everything but the dose, and the dose's values where it is a list."""

    kind: type[SiteLesion]
    plain: Mapping[str, Any]
    field: str
    values: tuple[Any, ...]

    @classmethod
    def read(cls, values: Any) -> _Part:
        if not isinstance(values, Mapping):
            raise LesionError(
                f"a part of a lesion is keys and values, with 'kind' and 'site'; got {_shown(values)}"
            )
        kind = kind_called(values.get("kind"))
        listed = [
            key for key, value in values.items() if isinstance(value, list | tuple) and key not in _LISTS
        ]
        wrong = [key for key in listed if key not in kind.doses]
        if wrong:
            near = difflib.get_close_matches(str(wrong[0]), kind.doses, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise LesionError(
                f"{kind.__name__}: {wrong[0]} is a list and no dose: {hint}one of {', '.join(kind.doses)} may be a list"
            )
        if len(listed) > 1:
            raise LesionError(
                f"{kind.__name__}: {' and '.join(listed)} are both lists: one dose steps, give the other one value"
            )
        field = listed[0] if listed else ""
        doses = tuple(values[field]) if listed else ()
        if listed and not doses:
            raise LesionError(f"{kind.__name__}: {field} is an empty list: give at least one dose")
        if None in doses:
            raise LesionError(f"{kind.__name__}: {field} has a dose that is null: give a number")
        if len(set(map(repr, doses))) < len(doses):
            raise LesionError(f"{kind.__name__}: {field} has a dose twice: {_shown(list(doses))}")
        plain = {key: value for key, value in values.items() if key != field}
        return cls(kind, plain, field, doses)

    def at(self, step: int) -> SiteLesion:
        dose = {self.field: self.values[step]} if self.values else {}
        (part,) = Lesion.from_dict({**self.plain, **dose}).parts
        return part


def usual_dose(part: SiteLesion) -> tuple[str, float]:
    """Name and value of the dose of a part that does not say by a list which of its fields that is.

    Example:
        >>> from facelesion.lesions import Ablate, Noise
        >>> usual_dose(Noise("conv3_2", std=0.5)), usual_dose(Ablate("conv5_3", units=[3, 4]))
        (('std', 0.5), ('units', 2.0))
    """
    for field in part.doses:
        value = getattr(part, field)
        if value is not None and math.isfinite(value):
            return field, float(value)
    units = getattr(part, "units", None)
    return ("units", float(len(units))) if units is not None else ("fraction", 1.0)


def meaning_of(part: SiteLesion, field: str) -> str:
    """What a dose means, in words."""
    return "number of units" if field == "units" else part.meaning(field)


def _joined(parts: Sequence[SiteLesion]) -> Lesion:
    return parts[0] if len(parts) == 1 else Compound(tuple(parts))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
