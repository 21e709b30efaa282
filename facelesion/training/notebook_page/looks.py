"""What the notebook looked at before it damaged anything: pictures, copies, layers, maps, responsible units.

Made once, when a run ends, and kept in its folder, so that the page can be written again without the photographs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from facelesion.analysis.mapped_sites import MapSite, map_sites, stages_of
from facelesion.data import FaceSet
from facelesion.faces.stimuli import Stimulus
from facelesion.files import write_bytes
from facelesion.lesions import Lesion, aliases
from facelesion.looking.maps import Maps, evidence_rows, maps_of
from facelesion.looking.photographs import Photographed, Shot
from facelesion.looking.reference import Reference
from facelesion.looking.sanity import Sanity, sanity, sanity_figure
from facelesion.looking.sheets import encoded, evidence_sheet, shown, stimuli_sheet
from facelesion.looking.targets import Target, target_of
from facelesion.looking.truth import features_alone, find_units, ways_of
from facelesion.looking.unit_figures import draw_shared
from facelesion.looking.units import shared_units
from facelesion.models import Subject, get
from facelesion.models.frame import frame_of
from facelesion.training.files import write_table
from facelesion.training.notebook_as_it_was import Copies, tests_as_they_were
from facelesion.training.notebook_facts import DEFICIT, DONE, FEATURES, HEALTHY, INTACT, MASKED, STIMULI
from facelesion.training.trials import Roles, shown_as, shown_people

if TYPE_CHECKING:
    from facelesion.training.notebook import NotebookConfig

FOLDER, NOTE = "looks", "looks.json"
# The notebook's, in its order: six early, three middle, three late.
LAYERS = (
    "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv4_3", "conv5_1",
    "conv5_2", "conv5_3",
)  # fmt: skip
UNIT_SITES = ("conv5_3", "conv3_2", "conv4_2")
_SHOWN, _CHECKED = 3, 12  # faces on a sheet, and for the check of maps


def look(
    config: NotebookConfig, subject: Subject, roles: Mapping[str, Roles], folder: Path, again: bool = False
) -> Path:
    """Look into a run's network, unless that was done before.

    Args:
        config: the run's.
        subject: its network, untouched.
        roles: by task, who trains, validates and is tested; nothing for a run with the notebook's mistakes.
        folder: the run's.
        again: whatever was done before.

    Returns:
        The folder with figures (`*.png`, `*.svg`) and tables (`*.csv`).
    """
    place = folder / FOLDER
    if (place / NOTE).is_file() and not again:
        return place
    place.mkdir(parents=True, exist_ok=True)
    copies = Copies.made(_with_mistakes(config), subject.size)
    faces = _tested(roles, copies)
    few = _of_different_people(faces, _SHOWN)
    for name, made in _stimuli_sheets(few):
        write_bytes(place / f"{name}.png", made)
    write_table(place / "copies.csv", _frame([*_copies(copies), *_parts(roles)]))
    write_table(place / "layers.csv", _frame(_layers(subject)))
    write_table(place / "lessons.csv", _frame(_lessons(config, copies, roles)))
    facts = _maps(config, subject, few, folder, place)
    check = sanity(subject, _of_different_people(faces, _CHECKED), _last_two(subject))
    write_bytes(place / "sanity.png", encoded(sanity_figure(check), "png"))
    write_table(place / "sanity.csv", _frame(_likeness(check)))
    _units(config, subject, roles, copies, place)
    if not config.mistakes:
        write_table(place / "as_it_was.csv", _frame(tests_as_they_were(_with_mistakes(config), subject, copies)))
    facts |= {"faces": list(few.names), "checked": min(_CHECKED, len(set(faces.labels)))}
    write_bytes(place / NOTE, f"{json.dumps(facts, indent=1)}\n".encode())
    return place


def _with_mistakes(config: NotebookConfig) -> NotebookConfig:
    """The same pictures as the notebook would have asked about them."""
    from facelesion.training.notebook import NotebookConfig

    usual = NotebookConfig(approaches=config.approaches, data=config.data)
    return dataclasses.replace(
        config, mistakes=True, by=0.0 if config.manipulated else usual.by, practice_people=None, tasks=usual.tasks,
        approaches={name: config.approaches[name] for name in _in_order(config)},
    )  # fmt: skip


def _in_order(config: NotebookConfig) -> list[str]:
    """Kinds of damage as the notebook has them, then others: settings that were noted in a folder have no order."""
    known = list(DONE)
    return sorted(config.approaches, key=lambda name: (known.index(name) if name in DONE else len(known), name))


def _frame(rows: Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]) -> Any:
    import pandas

    return pandas.DataFrame(list(rows))


def _tested(roles: Mapping[str, Roles], copies: Copies) -> FaceSet:
    """Faces that are tested: of the run's own test, else of the copies."""
    for one in roles.values():
        pictures = one.parts["test"].pictures
        assert isinstance(pictures, FaceSet)
        real = shown_people(one.parts["test"], one.classes)
        rows = [row for row, label in enumerate(pictures.labels) if label in real]
        if one.classes == ("no face", "face"):
            rows = torch.nonzero(one.parts["test"].targets)[:, 0].tolist()
        return pictures[rows]
    return copies.faces


def _of_different_people(faces: FaceSet, count: int) -> FaceSet:
    first: dict[str, int] = {}
    for row, name in enumerate(faces.labels):
        first.setdefault(name, row)
    return faces[list(first.values())[:count]]


def _stimuli_sheets(faces: FaceSet) -> Iterator[tuple[str, bytes]]:
    """The parts 2 to 6 and 19, as sheets: masks, blurs, features alone."""
    shots = tuple(
        Shot(image.permute(1, 2, 0).numpy(), points.numpy())
        for image, points in zip(faces.images, faces.landmarks, strict=True)
    )
    given = Photographed(faces, shots)
    columns: dict[str, list[Any]] = {
        "masks": list(STIMULI),
        "blurs": [f"blur {feature}" for feature in FEATURES],
        "alone": [{"kind": "isolate", "region": feature, "fill": "blur"} for feature in FEATURES],
        "alone_covered": [f"isolate {feature}" for feature in FEATURES],
    }
    for name, wanted in columns.items():
        read = [Stimulus.from_dict(each) for each in wanted]
        yield name, encoded(stimuli_sheet(given, read, shown(given, read)), "png")


def _copies(copies: Copies) -> Iterator[dict[str, Any]]:
    """The notebook's five copies, each split by itself: what is tested, and how much of it was trained on."""
    trained = {name: set(copies.split(name)["train"].tolist()) for name in STIMULI}
    people = copies.faces.labels
    for name in STIMULI:
        split = copies.split(name)
        tested = split["test"].tolist()
        labels = copies.labels[split["test"]]
        lesson = {people[row] for row in trained[DEFICIT]}
        yield {
            "kind": "as it was", "task": "detection", "copy": name, "part": "test", "pictures": len(tested),
            "faces": int(labels.sum()), "no_face": int((1 - labels).sum()),
            "people": len({people[row] for row in tested}),
            "trained_on": sum(row in trained[INTACT] or row in trained[DEFICIT] for row in tested) / len(tested),
            "people_trained_on": _share({people[row] for row in tested}, lesson),
            "stale": int((copies.stale[split["test"]] != split["test"]).sum()) if name != INTACT else 0,
        }  # fmt: skip


def _parts(roles: Mapping[str, Roles]) -> Iterator[dict[str, Any]]:
    """The same of a run without mistakes: one set of pictures, shown in five ways; nobody is in two parts of detection,
    no picture in two of identification."""
    for task, one in roles.items():
        taught = set(one.parts["train"].pictures.names)
        for part, trials in one.parts.items():
            detects = one.classes == ("no face", "face")
            faces = int(trials.targets.sum()) if detects else len(trials)
            names = trials.pictures.names
            row: dict[str, Any] = {
                "kind": "here", "task": task, "copy": "all five", "part": part, "pictures": len(names), "faces": faces,
                "no_face": len(names) - faces, "people": len(shown_people(trials, one.classes)), "stale": 0,
            }  # fmt: skip
            if part == "test":
                row["trained_on"] = sum(name in taught for name in names) / len(names)
                row["people_trained_on"] = _share(set(one.people("test")), set(one.people("train")))
            yield row


def _share(some: set[str], of: set[str]) -> float:
    return len(some & of) / max(1, len(some))


def _layers(subject: Subject) -> Iterator[dict[str, Any]]:
    """Every layer in the order in which it runs: its name, kind, output and parameters."""
    from torch import nn

    names = {path: alias for alias, path in aliases(subject.module).items()}
    ran: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    handles = [
        layer.register_forward_hook(
            lambda layer, _given, found, path=path: ran.append((path, layer, tuple(found.shape[1:])))
        )
        for path, layer in subject.module.named_modules()
        if not list(layer.children())
    ]
    try:
        with torch.no_grad():
            subject.module(torch.zeros(1, 3, subject.size, subject.size))
    finally:
        for handle in handles:
            handle.remove()
    for path, layer, shape in ran:
        yield {
            "layer": names.get(path, path), "path": path, "kind": type(layer).__name__,
            "output": " × ".join(map(str, shape)),
            "parameters": sum(parameter.numel() for parameter in layer.parameters()),
        }  # fmt: skip


def _lessons(config: NotebookConfig, copies: Copies, roles: Mapping[str, Roles]) -> Iterator[dict[str, Any]]:
    """What damaged networks learn from: masked eyes alone in the notebook, all four masks here."""
    was = copies.deficit(config.data.keep)
    for part in ("train", "validation"):
        yield {"kind": "as it was", "task": "detection", "part": part, "stimulus": DEFICIT, "pictures": len(was[part])}
    for task, one in roles.items():
        made = shown_as(one.parts["train"], MASKED, config.data.keep, config.seed)
        for number, name in enumerate(made.stimuli):
            count = int((made.chosen // len(made.trials) == number).sum())
            yield {"kind": "here", "task": task, "part": "train", "stimulus": name, "pictures": count}


def _last_two(subject: Subject) -> tuple[str, str]:
    sites = map_sites(subject.module, torch.zeros(1, 3, subject.size, subject.size))
    late = list(stages_of(sites).values())[-2:]
    return late[0].name, late[-1].name


def face_answer(healthy: Subject) -> Target:
    """The log odds of a face, of the readout that a run's own undamaged network has."""
    weight, bias = healthy.extra["head.weight"].float(), healthy.extra["head.bias"].float()
    sign, offset = (weight[0], bias[0]) if len(weight) == 1 else (weight[1] - weight[0], bias[1] - bias[0])
    return Target("evidence for a face (log odds)", lambda rows: lambda x: x @ sign.to(x) + offset.to(x))


def _maps(
    config: NotebookConfig, subject: Subject, faces: FaceSet, folder: Path, place: Path
) -> dict[str, Any]:
    """Grad-CAM as the notebook has it, and for the face's own identity, in health and under the first damage."""
    from facelesion.training.notebook import file_name

    stage = "train no lesion" if config.mistakes else f"detection {HEALTHY}"
    weights = folder / file_name(stage) / "weights.safetensors"
    reference = Reference(subject)
    trained = get(str(weights)) if weights.is_file() else subject
    target = (
        face_answer(trained)
        if weights.is_file()
        else target_of(
            "detection", subject, faces, reference.represent, materials=reference.materials
        )
    )
    stimuli = [Stimulus.from_dict(name) for name in STIMULI]
    frame = frame_of(subject.preprocess, faces.size, faces.size)
    black = torch.zeros(1, 3, subject.size, subject.size)
    names = aliases(subject.module)
    layers = map_sites(subject.module, black, [name for name in LAYERS if name in names] or None)
    detected = maps_of(trained, faces, target, layers, frame, stimuli=stimuli)
    _sheet(detected, layers, place / "gradcam_detection")
    damage = _first_damage(config)
    itself = target_of("identity", subject, faces, reference.represent, materials=reference.materials)
    last = tuple(stages_of(layers).values())
    identified = maps_of(
        subject, faces, itself, layers, frame, stimuli=stimuli, lesion=damage,
        calibration=None if damage is None else reference.calibration(damage),
    )  # fmt: skip
    _sheet(identified, last, place / "gradcam_identity")
    rows = []
    for maps, network in ((detected, trained), (identified, subject)):
        about = {
            "participant": network.name, "weights": network.weights, "data": faces.digest,
            "damage_hash": "none" if damage is None else damage.hash,
        }  # fmt: skip
        rows += list(evidence_rows(maps, about))
    write_table(place / "evidence.csv", _frame(rows))
    return {
        "damage": "none" if damage is None else str(damage), "detection_weights": trained.weights,
        "identity_weights": subject.weights, "own_readout": weights.is_file(),
    }  # fmt: skip


def _sheet(maps: Maps, sites: Sequence[MapSite], path: Path) -> None:
    write_bytes(path.with_suffix(".png"), encoded(evidence_sheet(maps, 0, [site.name for site in sites]), "png"))


def _first_damage(config: NotebookConfig) -> Lesion | None:
    """The first approach that damages anything, as its first draw has it."""
    from facelesion.training.classify import read_lesion

    for parts in map(config.approaches.__getitem__, _in_order(config)):
        if parts:
            seed = {"seed": config.seed * 1000}
            return read_lesion(tuple(part | (seed if "fraction" in part else {}) for part in parts))
    return None


def _likeness(check: Sanity) -> Iterator[dict[str, Any]]:
    for name, values in check.likeness.items():
        for layer, value in zip(check.layers, values, strict=True):
            yield {"map": name, "down_to": layer, "rank_correlation": value}


def _units(
    config: NotebookConfig, subject: Subject, roles: Mapping[str, Roles], copies: Copies, place: Path
) -> None:
    """The notebook's rule over some training faces, and the same corrected for a unit's overall activity."""
    from facelesion.training.notebook import faces_to_find_units_on

    faces = next(
        (faces_to_find_units_on(one.parts["train"], task) for task, one in roles.items()), copies.faces[:64]
    )
    known = aliases(subject.module)
    sites = config.manipulated or tuple(site for site in UNIT_SITES if site in known)
    # By pictures, as the run finds the units that it moves.
    ranked = find_units(
        subject, sites, ways_of(0.1, ("responsible", "corrected")), features_alone(faces), faces.names, {},
        resamples=0, splits=0,
    )  # fmt: skip
    shared = shared_units(ranked)
    rows = []
    for (site, way, feature), part in ranked.groupby(["site", "way", "of"], sort=False):
        chosen = part[part["chosen"].fillna(False).astype(bool)]
        rows.append(
            {
                "site": site, "by": way, "feature": feature, "units": " ".join(map(str, sorted(chosen["unit"]))),
                "count": len(chosen), "of": len(part), "pictures": len(faces), "weights": subject.weights,
            }
        )  # fmt: skip
    write_table(place / "units.csv", _frame(rows))
    write_table(place / "shared.csv", shared)
    write_bytes(place / "shared.png", encoded(draw_shared(shared), "png"))
