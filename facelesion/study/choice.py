"""Which units a lesion of a study takes: those that come first in a ranking, with other sets of units as controls.

    lesions:
      face units:
        - {kind: Ablate, site: conv5_*, units: {by: selectivity, of: faces, against: objects}, fraction: [0.1, 0.2]}
    controls: {random: 200, matched: 200}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from facelesion.analysis.ways import LOSSES, WAYS, Way
from facelesion.errors import Error
from facelesion.files import nearest
from facelesion.ranges import Label, Range, Size
from facelesion.settings import SettingError, check

DOMAINS = ("faces", "objects")
FEATURES = ("eyes", "eyebrows", "nose", "mouth")


@dataclass(frozen=True)
class Controls:
    """How many sets of other units are damaged beside every set of chosen units, at the same sites and dose.

    Attributes:
        random: sets of as many units, at random.
        matched: sets of as many units that were as active in health.
        stimuli: under which they are shown, by name; all of the study's when left out.
        participants: in which units are damaged so, by name or as a group; in all when left out.
    """

    random: Annotated[int, Range(0, 10_000)] = 200
    matched: Annotated[int, Range(0, 10_000)] = 200
    stimuli: Annotated[Sequence[Label], Size(0, 1000, twice=False)] = ()
    participants: Annotated[Sequence[Label], Size(0, 1000, twice=False)] = ()

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "stimuli", tuple(self.stimuli))
        object.__setattr__(self, "participants", tuple(self.participants))

    def under(self, stimulus: str) -> bool:
        """Whether control sets are shown under a stimulus."""
        return not self.stimuli or stimulus in self.stimuli

    def settled(
        self, stimuli: Sequence[str], people: Sequence[str], groups: Mapping[str, Sequence[str]]
    ) -> Controls:
        """The same with every group as its members.

        Raises:
            SettingError: a stimulus or a participant that the study does not have.
        """
        for number, name in enumerate(self.stimuli):
            if name not in stimuli:
                hint = nearest(name, stimuli)
                raise SettingError(f"controls.stimuli.{number}", f"is {name!r}, no stimulus of this study: {hint}")
        for number, name in enumerate(self.participants):
            if name not in people and name not in groups:
                hint = nearest(name, people)
                raise SettingError(f"controls.participants.{number}", f"is {name!r}, nobody who takes part: {hint}")
        return replace(self, participants=members(self.participants, groups))

    def within(self, participant: str) -> Controls:
        """Those of one participant: none where others are named."""
        if not self.participants or participant in self.participants:
            return self
        return replace(self, random=0, matched=0)


def members(participants: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Participants of whom some may be given as a group, each by its own name.

    >>> members(["us", "two"], {"us": ["one", "two"]})
    ('one', 'two')
    """
    return tuple(dict.fromkeys(name for each in participants for name in groups.get(each, (each,))))


@dataclass(frozen=True)
class Choice:
    """A ranking whose first units are taken.

    Attributes:
        way: how units are ranked (`facelesion.analysis.ways`).
        of: what they are ranked for: faces or objects, or a feature of the face.
        against: what they are compared with; all others of its sort when empty.
    """

    way: Way
    of: str = "faces"
    against: tuple[str, ...] = ()

    @classmethod
    def read(cls, values: Mapping[str, Any], key: str) -> Choice:
        """Read `{by: selectivity, of: faces, against: objects}`, with settings of the way of ranking beside.

        Raises:
            SettingError: a way, a group of pictures or a setting that there is not.
        """
        given = dict(values)
        name = given.pop("by", None)
        if not isinstance(name, str) or name not in WAYS:
            raise SettingError(f"{key}.by", f"is {name!r}, which is no way to rank units: {nearest(str(name), WAYS)}")
        kind = WAYS[name]
        of = given.pop("of", DOMAINS[0])
        against = given.pop("against", ())
        against = (against,) if isinstance(against, str) else against
        known = [field.name for field in dataclasses.fields(kind)]
        for each in given:
            if each not in known:
                hint = nearest(str(each), [*known, "of", "against"])
                raise SettingError(f"{key}.{each}", f"is no setting of a ranking by {name}: {hint}")
        if not isinstance(against, Sequence):
            raise SettingError(f"{key}.against", f"is {against!r}: it must be a group of pictures, or several")
        groups = FEATURES if of in FEATURES else DOMAINS
        for what, group in [("of", of), *(("against", each) for each in against)]:
            if group not in groups:
                hint = nearest(str(group), groups if what == "against" else DOMAINS + FEATURES)
                raise SettingError(f"{key}.{what}", f"is {group!r}, which no ranking looks at: {hint}")
        if of in against:
            raise SettingError(f"{key}.against", f"names {of!r}, which it is for")
        if kind.needs == LOSSES and of not in DOMAINS:
            raise SettingError(f"{key}.of", f"is {of!r}: a ranking by {name} is for {' or '.join(DOMAINS)}")
        try:
            return cls(kind(**given), of, tuple(against))
        except (Error, TypeError) as error:
            raise SettingError(key, f"cannot be read: {error}") from None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of pictures that are looked at."""
        family = FEATURES if self.of in FEATURES else DOMAINS
        return (self.of, *(self.against or (each for each in family if each != self.of)))


def choices(parts: Sequence[Mapping[str, Any]], key: str) -> dict[int, Choice]:
    """The choices of a series' parts, by the part's number.

    Raises:
        SettingError: a choice that cannot be read, or one without a number of units.
    """
    found = {}
    for number, part in enumerate(parts):
        if isinstance(units := part.get("units"), Mapping):
            found[number] = Choice.read(units, f"{key}.{number}.units")
            if part.get("fraction") is None and part.get("count") is None:
                raise SettingError(
                    f"{key}.{number}", "says which units come first and not how many: give fraction or count"
                )
    return found


def without_choice(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part as it would be with as many units at random."""
    return {name: value for name, value in part.items() if name != "units" or not isinstance(value, Mapping)}
