"""What a lesion is: an immutable value that says what is damaged, where, and how much.

Lesions hold no tensors and know no network, so they can be compared, hashed, printed, written to YAML and read back.
`context.lesioned` puts them into a network; `kinds` has the kinds.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from .errors import LesionError
from .values import (
    MOST_UNITS,
    mask,
    number,
    same_in_single,
    site_text,
    told,
    truth,
    unit_numbers,
    whole_number,
)

SCHEMA_VERSION = 1
# More than anybody writes; YAML's anchors can make millions of a few lines.
MOST_PARTS, MOST_LEVELS = 10_000, 20


class Material(Protocol):
    """What a kind may ask for while it damages a part of an activation, shaped (rows' lesions, images, units, ...).

    Example:
        >>> from facelesion.lesions import lesioned
        >>> @dataclass(frozen=True, repr=False)
        ... class Weaken(UnitLesion):
        ...     by: float
        ...     numeric = ("by",)
        ...     def damage(self, y: Tensor, material: Material) -> Tensor:
        ...         return y - material.number("by") * y
        >>> with lesioned(torch.nn.Identity(), Weaken(".", by=0.25)) as network:
        ...     network(torch.tensor([[1.0, 2.0]]))
        tensor([[0.7500, 1.5000]])
    """

    def number(self, name: str) -> Tensor: ...
    def mean(self) -> Tensor: ...
    def deviation(self) -> Tensor: ...
    def normal(self) -> Tensor: ...
    def uniform(self, per_unit: bool = False) -> Tensor: ...
    def another_image(self, y: Tensor) -> Tensor: ...


class Lesion:
    """Any lesion. `a + b` is both, in that order at each site they share; it is a lesion too.

    A lesion damages something: a dose that cannot change anything (a share of 0, noise of 0, a gain of 1, no units) is
    an error when the lesion is made. The intact network, as the first point of a curve, is asked for by name: `None`
    stands for it wherever a lesion is taken.

    Example:
        >>> from facelesion.lesions import Ablate, Noise
        >>> lesion = Ablate("conv5_*", fraction=0.2, seed=3) + Noise("conv3_2", std=0.8, relative=True)
        >>> print(lesion)
        ablate 20% of conv5_* (seed 3) + noise std 0.8 relative at conv3_2
        >>> Lesion.from_dict(lesion.to_dict()) == lesion
        True
    """

    @property
    def parts(self) -> tuple[SiteLesion, ...]:
        """The simple lesions it is made of, in order."""
        raise NotImplementedError

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this lesion in tables; equal lesions have equal ones."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_seed(self, seed: int) -> Lesion:
        """The same lesion drawn anew: every part that draws takes `seed`.

        Example:
            >>> from facelesion.lesions import Ablate, Scale
            >>> print(Ablate("conv5_3", fraction=0.2).with_seed(7) + Scale("conv5_2", by=0.5).with_seed(7))
            ablate 20% of conv5_3 (seed 7) + scale ×0.5 at conv5_2
        """
        return _together([part._reseeded(seed) for part in self.parts])

    @property
    def draws(self) -> bool:
        """Whether it hangs on its seed: it draws units, synapses, noise or images."""
        return any(part.draws_units or part.draws_values for part in self.parts)

    @property
    def needs_calibration(self) -> bool:
        """Whether it is relative to the activations that its sites have in health."""
        return any(part.relative_to_health for part in self.parts)

    def __add__(self, other: Lesion) -> Compound:
        if not isinstance(other, Lesion):
            return NotImplemented
        return Compound(self.parts + other.parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, for YAML or JSON; what stands at its default is left out.

        Example:
            >>> from facelesion.lesions import Noise
            >>> Noise("conv3_2", std=0.8).to_dict()
            {'version': 1, 'kind': 'Noise', 'site': 'conv3_2', 'std': 0.8}
        """
        return {"version": SCHEMA_VERSION} | self._plain()

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Lesion:
        """The lesion that `to_dict` wrote; a hand-written one may leave `version` out.

        Raises:
            LesionError: an unknown kind, an unknown or missing key, another version.

        Example:
            >>> Lesion.from_dict({"kind": "Ablate", "site": "conv5_3", "units": [21, 282]})
            Ablate('conv5_3', units=(21, 282))
        """
        parts: list[SiteLesion] = []
        rest: list[tuple[Any, int]] = [(values, 0)]
        compound = False
        while rest:
            each, level = rest.pop()
            kind, given = _written(each)
            if kind != "Compound":
                parts.append(_made(kind, given))
                continue
            compound = True
            inner = given.get("parts")
            if list(given) != ["parts"] or not isinstance(inner, list) or not inner:
                raise LesionError(
                    f"a Compound has parts, a list of lesions, and nothing else; got {told(given)}"
                )
            if level == MOST_LEVELS or len(parts) + len(rest) + len(inner) > MOST_PARTS:
                raise LesionError(
                    f"a Compound of more than {MOST_PARTS} parts, or more than {MOST_LEVELS} levels deep: write the "
                    "parts as one flat list"
                )
            rest += [(part, level + 1) for part in reversed(inner)]
        return Compound(tuple(parts)) if compound else parts[0]

    def _plain(self) -> dict[str, Any]:
        raise NotImplementedError


def _written(values: object) -> tuple[str, dict[str, Any]]:
    """The kind of a written lesion, and its other keys."""
    if not isinstance(values, Mapping):
        raise LesionError(
            f"a lesion is written as keys and values, with 'kind' and 'site'; got {told(values)}"
        )
    given = dict(values)
    version = given.pop("version", SCHEMA_VERSION)
    if type(version) is not int or version != SCHEMA_VERSION:
        raise LesionError(
            f"this lesion has version {told(version)}; this library reads version {SCHEMA_VERSION}"
        )
    kind = given.pop("kind", None)
    return ("Compound" if kind == "Compound" else kind_called(kind).__name__), given


def _made(kind: str, values: dict[str, Any]) -> SiteLesion:
    """A simple lesion from its keys."""
    cls = KINDS[kind]
    known = [f.name for f in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key[:50], known, n=1) if isinstance(key, str) else []
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise LesionError(f"{kind} has no key {told(key)}: {hint}")
    for f in dataclasses.fields(cls):
        if f.name not in values and f.default is dataclasses.MISSING:
            raise LesionError(f"{kind} needs the key {f.name!r}")
    return cls(**values)


@dataclass(frozen=True, repr=False)
class Compound(Lesion):
    """Several lesions at once, in order: what `a + b` makes.

    Example:
        >>> from facelesion.lesions import Ablate, Noise
        >>> both = Ablate("conv5_3", fraction=0.2) + Noise("conv3_2", std=0.5)
        >>> isinstance(both, Compound), [str(part) for part in both.parts]
        (True, ['ablate 20% of conv5_3 (seed 0)', 'noise std 0.5 at conv3_2'])
    """

    members: tuple[SiteLesion, ...]

    def __post_init__(self) -> None:
        members = self.members if isinstance(self.members, list | tuple) else [self.members]
        if not members or not all(isinstance(each, SiteLesion) for each in members):
            raise LesionError(
                f"a Compound is made of simple lesions, as a + b makes it; got {told(self.members)}"
            )
        object.__setattr__(self, "members", tuple(members))

    @property
    def parts(self) -> tuple[SiteLesion, ...]:
        return self.members

    def _plain(self) -> dict[str, Any]:
        return {"kind": "Compound", "parts": [part._plain() for part in self.members]}

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.members))

    def __str__(self) -> str:
        return " + ".join(map(str, self.members))


def _together(parts: Sequence[SiteLesion]) -> Lesion:
    return parts[0] if len(parts) == 1 else Compound(tuple(parts))


@dataclass(frozen=True, repr=False)
class SiteLesion(Lesion):
    """One kind of damage at the sites of one pattern (several may be joined by commas, or given as a list).

    What a kind declares of itself, so that contexts, sweeps, studies and reports can ask it:

    Attributes:
        doses: the fields that say how much, with what each means in words and unit; the first is its usual dose.
        draws_units: whether units or synapses are drawn by seed.
        draws_values: whether numbers are drawn for every image (noise, what is dropped, which image is taken).
        relative_to_health: whether it needs a calibration.
    """

    site: str

    doses: ClassVar[Mapping[str, str]] = {}

    @property
    def draws_units(self) -> bool:
        return False

    @property
    def draws_values(self) -> bool:
        return False

    @property
    def relative_to_health(self) -> bool:
        return False

    def meaning(self, field: str) -> str:
        """What the dose `field` means, in words."""
        return self.doses[field]

    def _reseeded(self, seed: int) -> SiteLesion:
        has = any(f.name == "seed" for f in dataclasses.fields(self))
        if not has or not (self.draws_units or self.draws_values):
            return self
        return dataclasses.replace(self, seed=seed)  # type: ignore[call-arg]

    def __post_init__(self) -> None:
        self._set(site=site_text(self.site, type(self).__name__))
        self._set(**{f.name: self._plain_value(f) for f in dataclasses.fields(self)[1:]})

    @property
    def parts(self) -> tuple[SiteLesion, ...]:
        return (self,)

    def _plain_value(self, f: dataclasses.Field[Any]) -> object:
        """A field's value as its own type, so that 1 and 1.0 are one lesion with one hash."""
        value, kind = getattr(self, f.name), str(f.type)
        check = {"float": number, "int": whole_number, "bool": truth}.get(kind.removesuffix(" | None"))
        if check is None or (value is None and kind.endswith("None")):
            return value
        return check(value, f"{type(self).__name__} at {told(self.site)}: {f.name}")

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check(self, right: bool, message: str) -> None:
        if not right:
            raise LesionError(f"{type(self).__name__} at {told(self.site)}: {message}")

    def _check_changes(self, **doses: tuple[float | None, float]) -> None:
        """Refuses doses (given, the one that changes nothing)."""
        for name, (given, nothing) in doses.items():
            none = given is not None and same_in_single(given, nothing)
            self._check(
                not none, f"{name}={told(given)} changes nothing; for the intact network take None instead"
            )

    def _changed(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "site"}
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != defaults[name]}

    def _plain(self) -> dict[str, Any]:
        def plain(value: Any) -> Any:
            return [plain(each) for each in value] if isinstance(value, tuple) else value

        changed = {name: plain(value) for name, value in self._changed().items()}
        return {"kind": type(self).__name__, "site": self.site} | changed

    def __repr__(self) -> str:
        changed = "".join(f", {name}={value!r}" for name, value in self._changed().items())
        return f"{type(self).__name__}({self.site!r}{changed})"


@dataclass(frozen=True, repr=False)
class UnitLesion(SiteLesion):
    """Damage to the output of some units of a site.

    Args:
        units: which units; all of them where neither a fraction nor a count is given.
        fraction: this share of the units, drawn at random by `seed`; halves round up. Doses nest: the units of a
            smaller fraction are among those of a larger one with the same seed.
        count: so many units, drawn in the same order.
        seed: decides which units are drawn, and the lesion's own noise.
        where: a mask over the map, (height, width) of any size: only places under it are damaged. It is brought to
            the map's size, and a place is damaged where at least half of it lies under the mask. A tensor or nested
            list, or one string of 0 and 1 a row, which is how it is kept.

    Example:
        >>> from facelesion.lesions import KINDS, Ablate
        >>> [name for name, kind in KINDS.items() if issubclass(kind, UnitLesion)]
        ['Ablate', 'Keep', 'Noise', 'Dropout', 'Clamp', 'Shift', 'Scale']
        >>> Ablate("conv5_3", fraction=0.2).fraction, Ablate("conv5_3", units=[3, 7]).units
        (0.2, (3, 7))
    """

    units: tuple[int, ...] | None = field(default=None, kw_only=True)
    fraction: float | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    where: tuple[str, ...] | None = field(default=None, kw_only=True)
    count: int | None = field(default=None, kw_only=True)

    doses: ClassVar[Mapping[str, str]] = {"fraction": "share of the units", "count": "number of the units"}

    @property
    def draws_units(self) -> bool:
        return self.fraction is not None or self.count is not None

    # Fields that lesions of one kind may have different in one forward without being computed apart.
    numeric: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("units", "fraction", "count") if getattr(self, name) is not None]
        self._check(len(given) < 2, f"give {' or '.join(given)}, not both")
        what = f"{type(self).__name__} at {told(self.site)}"
        if self.units is not None:
            self._set(units=unit_numbers(self.units, what))
        if self.fraction is not None:
            self._check(0 <= self.fraction <= 1, f"fraction must lie in 0 to 1, got {self.fraction}")
        if self.count is not None:
            self._check(self.count <= MOST_UNITS, f"no site has {self.count} units")
        self._check_units()
        if self.where is not None:
            covered = mask(self.where, what).tolist()
            self._set(where=tuple("".join("01"[place] for place in row) for row in covered))

    def _check_units(self) -> None:
        self._check(
            self.units != (),
            "it names no unit, so it changes nothing; for the intact network take None instead",
        )
        self._check_changes(fraction=(self.fraction, 0.0), count=(self.count, 0.0))

    def mask(self) -> Tensor:
        """`where` as a bool tensor (height, width); one true place where there is none."""
        return torch.ones(1, 1, dtype=torch.bool) if self.where is None else mask(self.where, str(self))

    def mode(self) -> tuple[object, ...]:
        """What must agree for lesions to be computed together."""
        apart = set(self.numeric) | {"site", "units", "fraction", "count", "seed", "where"}
        names = [f.name for f in dataclasses.fields(self) if f.name not in apart]
        return (type(self), *(getattr(self, name) for name in names))

    @property
    def drawn_by(self) -> tuple[str, int]:
        """What its random numbers depend on, beside the place: lesions that agree in it draw the same ones.

        The dose is not part of it: noise of 2 is twice the noise of 1, and what is dropped at 0.2 is dropped at 0.4.
        """
        return str(getattr(self.mode()[0], "__name__", "")), self.seed

    def numbers(self) -> dict[str, float]:
        """The doses, by name."""
        return {name: float(getattr(self, name)) for name in self.numeric}

    def damage(self, y: Tensor, material: Material) -> Tensor:
        """The damaged values of y, which holds the chosen units only: (lesions, images, units, places ...)."""
        raise NotImplementedError

    def _told(self, what: str, at: str = " at ") -> str:
        which = ""
        if self.fraction is not None:
            which = f"{self.fraction * 100:g}% of "
        elif self.count is not None:
            which = f"{self.count} unit{'s' if self.count > 1 else ''} of "
        elif self.units is not None:
            which = f"units {','.join(map(str, self.units[:6]))}{',…' if len(self.units) > 6 else ''} of "
        seed = f" (seed {self.seed})" if self.seed or self.draws_units else ""
        return f"{what}{at}{which}{self.site}{seed}" + (" under a mask" if self.where else "")


#: Every kind by its name; `kinds` enters them.
KINDS: dict[str, type[SiteLesion]] = {}


def kind_called(name: object) -> type[SiteLesion]:
    """The kind of lesion of this name.

    Raises:
        LesionError: there is none; the nearest one is named.
    """
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name[:50].capitalize(), KINDS, n=1) if isinstance(name, str) else []
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
    raise LesionError(f"no kind of lesion is called {told(name)}: {hint}")
