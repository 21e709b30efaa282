"""A study's design as a value: participants × lesions × stimuli × tasks. The YAML file is this value, written down."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from facelesion.analysis.contrasts import Contrast, check_contrasts
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.source import Source
from facelesion.data.sources import SOURCES
from facelesion.errors import Error
from facelesion.faces.stimuli import Stimulus
from facelesion.files import nearest
from facelesion.lesions import Lesion, LesionError
from facelesion.lesions.series import Series
from facelesion.ranges import Device, Kinds, Label, Name, PathText, Prose, Range, Seed, Size, Text
from facelesion.settings import SettingError, build, check, overlaid, refuse_idle
from facelesion.study.choice import Choice, Controls, choices, members, without_choice
from facelesion.study.levels import Difficulty, Losses, stand_in, together
from facelesion.tasks import TASKS
from facelesion.weights import registry
from facelesion.yaml_files import Node, read_yaml

INTACT, NONE = "intact", "none"


@dataclass(frozen=True)
class Participant:
    """A network that takes part, by the name it has in the tables.

    Attributes:
        network: a name from `facelesion.models`, or a file of weights.
        name: in the tables; the network's own name when left out.
        seed: of an untrained network's weights.
        group: networks trained alike, among which it is judged as a single case; the registry's when left out.
    """

    network: PathText
    name: Annotated[str, Text(lines=True)] = ""
    seed: Seed = 0
    group: Annotated[str, Text(lines=True)] = ""

    def __post_init__(self) -> None:
        check(self)
        if not self.name:
            known = Path(self.network).stem if self.network.endswith(".safetensors") else self.network
            object.__setattr__(self, "name", known if not self.seed else f"{known} {self.seed}")


@dataclass(frozen=True)
class Planned:
    """One lesion of a study, and where it stands in the design.

    Attributes:
        series: name of the series; `none` for the intact network.
        step: number of the dose within the series, from 1; 0 for the intact network.
        dose: how much.
        draw: number of the draw.
        lesion: None for the intact network.
        control: empty for the lesion itself; else what the set of other units is that it is compared with: `random` or
            `matched`.
        mismatch: of a matched set: its mean activation in health less that of the chosen units, in standard deviations
            over the site's units.
    """

    series: str
    step: int
    dose: float
    draw: int
    lesion: Lesion | None
    control: str = ""
    mismatch: float | None = None


# Units to damage: which kind of control they are (or empty), the lesion, a matched set's mismatch.
Set = tuple[str, Lesion, float | None]


class Chooses(Protocol):
    """Knows a participant's ranked units."""

    def sets(self, series: str, lesion: Lesion, controls: Controls, seed: int) -> Iterable[Set]:
        """A step of a series with the units that were chosen, then with each of their control sets."""


@dataclass(frozen=True)
class Study:
    """Everything a study depends on.

    Attributes:
        name: of the run's folder.
        question: what the study asks, in plain sentences; printed at the head of the report.
        participants: the networks that are damaged: names from `facelesion.models`, files of weights, settings
            `{network: untrained, seed: 3, name: newborn}`, or the name of a group, such as `trained alike`, for all
            networks of it that are not named before. The first of a group is the study's subject.
        pictures: which pictures are shown, by the `source` they come from and its settings.
        difficulty: how hard the tasks are made, undamaged; as hard as the pictures are when left out.
        lesions: by name, series of damage: lesions as the library writes them, with a list where the dose is, or
            `{for_loss: [0.25, 0.5]}`: the doses that cost so much. Parts of a series act together and step together.
            `site` may be given by participant. `units` may be a ranking, `{by: selectivity, of: faces, against:
            objects}`, whose first units are taken.
        losses: what `for_loss` counts by.
        controls: beside every lesion of ranked units, sets of other units of the same sites: `{random: 200,
            matched: 200}`, unless it says otherwise.
        stimuli: `intact` first; then short names (`mask eyes`) or settings (`{kind: mask, region: eyes, fill: mean}`).
        contrasts: what is compared with what, named before the run:
            `{name: inversion effect, task: identification, of: intact, less: invert}`; one may be `primary: true`.
        tasks: what is asked.
        draws: how often each lesion is drawn anew (other units, other noise).
        seed: of pictures and lesions.
        output: the folder of run folders.
        overwrite: replace another study of the same name.
        device: `cpu`, `cuda`, or `auto`.
        batch_size: images per forward pass; it changes no number.
        processes: how many work at once; it changes no number.

    Raises:
        SettingError: a setting that cannot be, by its key.

    Example:
        $ facelesion study default --draws 20 --name more-draws

        >>> from facelesion import Ablate
        >>> doses = [Ablate("conv5_3", fraction=share) for share in (0.1, 0.2)]
        >>> study = Study(name="small", lesions={"ablation": doses}, tasks=["detection"], draws=2)
        >>> [str(planned.lesion) for planned in study.planned("builtin")][:2]
        ['None', 'ablate 10% of conv5_3 (seed 0)']
    """

    name: Name = "study"
    question: Prose = ""
    participants: Annotated[Sequence[str | Participant], Size(1, 1000)] = ("builtin",)
    pictures: Annotated[Source, Kinds("source", SOURCES)] = field(default_factory=FaceSpacePictures)
    difficulty: Difficulty | None = None
    lesions: Annotated[Mapping[Label, Any], Size(0, 1000)] = field(default_factory=dict)
    losses: Losses = field(default_factory=Losses)
    controls: Controls | None = None
    stimuli: Annotated[Sequence[Any], Size(1, 1000)] = (INTACT,)
    contrasts: Annotated[Sequence[Contrast], Size(0, 100)] = ()
    tasks: Annotated[Sequence[str], Size(1, 100, twice=False)] = (
        "detection", "identification", "verification", "objects",
    )  # fmt: skip
    draws: Annotated[int, Range(1, 10_000)] = 5
    seed: Seed = 0
    output: PathText = "runs"
    overwrite: bool = False
    device: Device = "auto"
    batch_size: Annotated[int, Range(1, 4096)] = 32
    processes: Annotated[int, Range(1, 256)] = 1

    OLD_KEYS: ClassVar[Mapping[str, str]] = {
        "approaches": "write `lesions: {NAME: [{kind: Ablate, site: conv5_*, fraction: [0.1, 0.2]}]}`",
        "model": "write `participants: [NAME]`",
        "data": "write `pictures: {source: facespace, ...}`",
    }

    def __post_init__(self) -> None:
        check(self)
        people = self.people
        object.__setattr__(self, "participants", people)
        _once("participants", [each.name for each in people])
        object.__setattr__(self, "tasks", tuple(self.tasks))
        for number, name in enumerate(self.tasks):
            if name not in TASKS:
                own = " (one of your own: docs/extending.md, \"A file of settings\")"
                raise SettingError(f"tasks.{number}", f"is {name!r}, which is no task: {nearest(name, TASKS)}{own}")
        object.__setattr__(self, "stimuli", tuple(self._stimuli()))
        names = [str(stimulus) for stimulus in self.stimuli]
        if names[0] != INTACT:
            raise SettingError("stimuli", "must begin with `intact`: everything is compared with it")
        _once("stimuli", names)
        object.__setattr__(self, "lesions", {str(name): _plain(name, parts) for name, parts in self.lesions.items()})
        for name in self.lesions:
            if name == NONE:
                raise SettingError(f"lesions.{name}", "is what the intact network is called: take another name")
            for participant in people:
                self.series(name, participant.name)
            for number, part in enumerate(self.lesions[name]):
                _refuse_strangers(part, [each.name for each in people], f"lesions.{name}.{number}.site")
        object.__setattr__(self, "contrasts", tuple(self._of_group(each) for each in self.contrasts))
        check_contrasts(
            self.contrasts, tasks=self.tasks, lesions=list(self.lesions), stimuli=names,
            participants=[each.name for each in people],
        )  # fmt: skip
        if self.controls is not None and not self.chooses:
            raise SettingError("controls", "does nothing: no lesion takes units by a ranking (`units: {by: ...}`)")
        if self.controls is not None:
            found = self.controls.settled(names, [each.name for each in people], self.groups)
            object.__setattr__(self, "controls", found)
        self._check_levels()

    def _check_levels(self) -> None:
        names = [each.name for each in self.people]
        if self.losses.task not in TASKS:
            near = nearest(self.losses.task, TASKS)
            raise SettingError("losses.task", f"is {self.losses.task!r}, which is no task: {near}")
        for number, task in enumerate(self.difficulty.tasks if self.difficulty else ()):
            if task not in self.tasks:
                near = nearest(task, self.tasks)
                raise SettingError(f"difficulty.tasks.{number}", f"is {task!r}, which the study does not ask: {near}")
        for key, config in (("difficulty", self.difficulty), ("losses", self.losses)):
            for number, name in enumerate(config.on if config else ()):
                if name not in names:
                    raise SettingError(f"{key}.on.{number}", f"is {name!r}, who takes no part: {nearest(name, names)}")
        if not self.sought:
            why = "no dose is written as {for_loss: [0.25, 0.5]}"
            refuse_idle(self, {f"losses.{each.name}": why for each in dataclasses.fields(Losses)})

    @property
    def sought(self) -> tuple[str, ...]:
        """The series whose doses are still to be found."""
        return tuple(name for name, parts in self.lesions.items() if any(together(parts)))

    def with_doses(self, doses: Mapping[str, Sequence[Mapping[str, Sequence[float]]]]) -> Study:
        """The study with the doses that were found: by series, for every part its doses by their name."""
        lesions = {
            name: [{**part, **found} for part, found in zip(parts, doses.get(name, ({},) * len(parts)), strict=True)]
            for name, parts in self.lesions.items()
        }
        return dataclasses.replace(self, lesions=lesions, losses=Losses())

    def choices(self, name: str) -> dict[int, Choice]:
        """The rankings by which parts of a series take their units, by the part's number."""
        return choices(self.lesions[name], f"lesions.{name}")

    @property
    def chooses(self) -> bool:
        """Whether any lesion takes units by a ranking."""
        return any(self.choices(name) for name in self.lesions)

    @property
    def people(self) -> tuple[Participant, ...]:
        """The participants as values, however they were given; a group stands for all of its networks."""
        named = [each for each in self.participants if not isinstance(each, str) or each not in registry.groups()]
        there = {each if isinstance(each, str) else each.network for each in named}
        found: list[Participant] = []
        for each in self.participants:
            if isinstance(each, Participant):
                found.append(each)
            elif each in (groups := registry.groups()):
                found += [Participant(network) for network in groups[each] if network not in there]
            else:
                found.append(Participant(each))
        return tuple(found)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Participants that were trained alike, by the name of their group: the setting's, or the registry's."""
        known = {network: group for group, networks in registry.groups().items() for network in networks}
        found: dict[str, list[str]] = {}
        for each in self.people:
            if group := each.group or known.get(each.network, ""):
                found.setdefault(group, []).append(each.name)
        return {name: tuple(members) for name, members in found.items()}

    def _of_group(self, contrast: Contrast) -> Contrast:
        """A contrast whose participants were given as a group, with their names."""
        return dataclasses.replace(contrast, participants=members(contrast.participants, self.groups))

    def _stimuli(self) -> list[Stimulus]:
        found = []
        for number, given in enumerate(self.stimuli):
            if not isinstance(given, str | Mapping | Stimulus):
                raise SettingError(
                    f"stimuli.{number}",
                    f"is {given!r}: it must be a name such as `mask eyes`, or settings such as "
                    "{kind: mask, region: eyes}",
                )
            try:
                stimulus = given if isinstance(given, Stimulus) else Stimulus.from_dict(given)
            except Error as error:
                raise SettingError(f"stimuli.{number}", f"cannot be read: {error}") from None
            found.append(stimulus)
        return found

    def series(self, name: str, participant: str) -> Series:
        """One of the series, with the sites that it has in a participant.

        Units that a ranking chooses are not known here: as many at random stand for them.
        """
        parts = []
        self.choices(name)
        for number, written in enumerate(self.lesions[name]):
            key = f"lesions.{name}.{number}"
            part = without_choice(_at(written, participant, f"{key}.site"))
            if "seed" in part:
                raise SettingError(
                    f"{key}.seed", "does nothing: leave it out, for a study draws its lesions by `seed` and `draws`"
                )
            try:
                part = stand_in(part)
            except Error as error:
                raise SettingError(key, f"cannot be read: {error}") from None
            _series([part], key)
            parts.append(part)
        try:
            together(self.lesions[name])
        except Error as error:
            raise SettingError(f"lesions.{name}", f"cannot be read: {error}") from None
        return _series(parts, f"lesions.{name}")

    def planned(self, participant: str, chosen: Chooses | None = None) -> list[Planned]:
        """All lesions of one participant: the intact network first, control sets last.

        Args:
            chosen: gives the units that rankings chose, and their controls; as many at random when left out.
        """
        found = [Planned(NONE, 0, 0.0, 0, None)]
        others: list[Planned] = []
        controls = (self.controls or Controls()).within(participant)
        for name in self.lesions:
            series, ranked = self.series(name, participant), bool(self.choices(name))
            for step, dose in enumerate(series.doses):
                sets: Iterable[Set] = [("", series.steps[step], None)]
                if ranked and chosen is not None:
                    sets = chosen.sets(name, series.steps[step], controls, self.seed)
                drawn: Counter[str] = Counter()
                for control, lesion, mismatch in sets:
                    # A set of control units is a draw by itself; the lesion is drawn as often as the study says.
                    for _ in range(1 if control or not lesion.draws else self.draws):
                        draw = drawn[control]
                        drawn[control] += 1
                        seeded = lesion.with_seed(self.seed * 10_000 + draw)
                        planned = Planned(name, step + 1, dose, draw, seeded, control, mismatch)
                        (others if control else found).append(planned)
        return found + others

    def shown(self, planned: Sequence[Planned], stimulus: str) -> Sequence[Planned]:
        """Those of a participant's planned lesions that meet a stimulus: all, or all but the control sets, which are
        the last."""
        if (self.controls or Controls()).under(stimulus):
            return planned
        return [each for each in planned if not each.control]

    def to_dict(self) -> dict[str, Any]:
        """The study as plain values, as a YAML file has them."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return values | {
            "participants": [_short(each) for each in self.participants],
            "pictures": {"source": self.pictures.name, **dataclasses.asdict(self.pictures)},
            "difficulty": None if self.difficulty is None else _plain_levels(self.difficulty),
            "lesions": {name: list(parts) for name, parts in self.lesions.items()},
            "contrasts": [_short_contrast(each) for each in self.contrasts],
            "losses": _plain_levels(self.losses),
            "controls": None if self.controls is None else _plain_levels(self.controls),
            "stimuli": [_short_stimulus(each) for each in self.stimuli],
            "tasks": list(self.tasks),
        }


def read_study(path: str | Path, overrides: Mapping[str, str] | None = None) -> Study:
    """Read a study from its YAML file, with words of the command line over it.

    Args:
        path: the file.
        overrides: by key such as `pictures.root`, the word given for it.

    Raises:
        SettingError: a key that there is not, or a value that cannot be; with file, line and key.
    """
    return study_of(overlaid(read_yaml(path), overrides or {}))


def study_of(tree: Node) -> Study:
    """A study from what was read."""
    entries = tree.value
    if isinstance(entries, dict) and isinstance(pictures := entries.get("pictures"), Node):
        tree = dataclasses.replace(tree, value={**entries, "pictures": _source_of(tree, pictures)})
    return build(Study, tree)


@contextlib.contextmanager
def placed(tree: Node) -> Iterator[None]:
    """What is found wrong with a setting after it was read says its file and line all the same."""
    try:
        yield
    except SettingError as error:
        if error.where is not None:
            raise
        raise SettingError(error.key, error.said, tree.where(error.key)) from None


def _source_of(tree: Node, pictures: Node) -> Any:
    """The source of pictures that a mapping with the key `source` means."""
    if not isinstance(pictures.value, dict):
        raise SettingError(
            "pictures", "must be settings, such as {source: facespace}", tree.where("pictures")
        )
    named = pictures.value.get("source")
    name = named.plain() if isinstance(named, Node) else "facespace"
    if not isinstance(name, str) or name not in SOURCES:
        raise SettingError(
            "pictures.source", f"is {name!r}, which is no source: {nearest(str(name), SOURCES)}",
            tree.where("pictures.source"),
        )  # fmt: skip
    rest = {key: value for key, value in pictures.value.items() if key != "source"}
    return build(SOURCES[name], dataclasses.replace(pictures, value=rest), key="pictures")


def _plain(name: str, parts: Any) -> tuple[dict[str, Any], ...]:
    """A series as plain parts: from what a file has, from lesions, or from a `Series`."""
    if isinstance(parts, Series):
        return tuple(parts.to_list())
    if isinstance(parts, Lesion) or (
        isinstance(parts, Sequence) and parts and all(isinstance(part, Lesion) for part in parts)
    ):
        try:
            return tuple(_drawn_by_study(part) for part in Series.of(parts).to_list())
        except LesionError as error:
            raise SettingError(f"lesions.{name}", f"cannot be a series: {error}") from None
    if isinstance(parts, Mapping):
        parts = [parts]
    if isinstance(parts, str) or not isinstance(parts, Sequence) or not parts:
        raise SettingError(
            f"lesions.{name}",
            "must be a list of lesions, such as [{kind: Ablate, site: conv5_*, fraction: [0.1, 0.2]}]",
        )
    for number, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise SettingError(
                f"lesions.{name}.{number}",
                "must be a lesion, such as {kind: Ablate, site: conv5_*, fraction: [0.1, 0.2]}",
            )
        if "damage" in part or "sites" in part or "doses" in part:
            raise SettingError(
                f"lesions.{name}.{number}",
                "has keys of an earlier version: write {kind: Ablate, site: conv5_*, fraction: [0.1, 0.2]} for damage, "
                "sites and doses (noise: std with relative: true, dropout: p, prune: fraction)",
            )
    return tuple(dict(part) for part in parts)


def _drawn_by_study(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "seed"}


def _series(parts: Sequence[Mapping[str, Any]], key: str) -> Series:
    try:
        return Series.from_list(parts)
    except LesionError as error:
        raise SettingError(key, f"cannot be read: {error}") from None


def _at(part: Mapping[str, Any], participant: str, key: str) -> dict[str, Any]:
    """A part with the site that it has in a participant."""
    site = part.get("site")
    if isinstance(site, Mapping):
        if participant not in site:
            raise SettingError(key, f"says no site for participant {participant!r}: it has {', '.join(map(str, site))}")
        site = site[participant]
    if isinstance(site, bool | int | float):
        raise SettingError(key, f'is {site!r}, no text: write it in quotes, such as "{site}"')
    return {**part, "site": site} if "site" in part else dict(part)


def _refuse_strangers(part: Mapping[str, Any], participants: Sequence[str], key: str) -> None:
    """Refuse a site given for somebody who takes no part: a slip, and its site would be nobody's."""
    site = part.get("site")
    for name in site if isinstance(site, Mapping) else ():
        if name not in participants:
            raise SettingError(key, f"names {str(name)!r}, who takes no part: {nearest(str(name), participants)}")


def _once(key: str, names: Sequence[str]) -> None:
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise SettingError(key, f"names {twice[0]!r} twice")


def _short(participant: Participant | str) -> Any:
    if isinstance(participant, str) or participant == Participant(participant.network):
        return participant if isinstance(participant, str) else participant.network
    return dataclasses.asdict(participant)


def _short_contrast(contrast: Contrast) -> dict[str, Any]:
    """A contrast's settings, without those at their defaults."""
    values = dataclasses.asdict(contrast)
    defaults = {each.name: each.default for each in dataclasses.fields(contrast)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {name: value for name, value in plain.items() if values[name] != defaults[name]}


def _plain_levels(config: Difficulty | Losses | Controls) -> dict[str, Any]:
    plain = dataclasses.asdict(config)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _short_stimulus(stimulus: Stimulus) -> Any:
    name = str(stimulus)
    try:
        return name if Stimulus.from_dict(name) == stimulus else stimulus.to_dict()
    except Error:
        return stimulus.to_dict()
