"""What a trained network reaches, on people and things that no training saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import torch

from facelesion.data import ImageSet, builtin_exemplars, find_pairs, object_folder, open_lfw
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.seen import refuse_seen
from facelesion.errors import Error
from facelesion.models.subject import Subject
from facelesion.sweep.arguments import device_of
from facelesion.tasks import Healthy, Identification, Objects
from facelesion.tasks.exemplars import CATEGORIES, Exemplars, within_class_whitening
from facelesion.tasks.memory import Memory
from facelesion.tasks.readouts import fit_linear_readout
from facelesion.tasks.scores import area_under_curve
from facelesion.tasks.task import Task
from facelesion.tasks.verification import pair_cosines, ten_fold_accuracy
from facelesion.training.photographs import WherePhotographsLie, aligned_photographs

# Things drawn with these taught no network, and no study draws them.
_ASKED_THINGS, _OTHER_THINGS = 5_000_001, 5_000_002


def pairs_reached(subject: Subject, data: WherePhotographsLie) -> dict[str, float]:
    """Verification on LFW's pairsDevTest in ten folds of pairs, both kinds shared out evenly.

    The threshold comes from nine folds, the accuracy from the tenth (Huang et al. 2007).

    Raises:
        Error: no photographs are named, or they are not there.
    """
    if data.root is None:
        raise Error(
            "data.root is left out: LFW's pairs are asked about photographs: say where they are"
        )
    lfw = open_lfw(data.root, data.protocols)
    photographs = aligned_photographs(lfw, subject.size, data.prepared, data.landmarker)
    pairs, missing = find_pairs(photographs, lfw.pairs("test"))
    used = torch.unique(torch.cat([pairs.first, pairs.second]))
    pooled = represent(subject, photographs[used].images)
    first, second = torch.searchsorted(used, pairs.first), torch.searchsorted(used, pairs.second)
    with torch.no_grad():
        cosines = pair_cosines(subject.identity(pooled), first, second)
    accuracy, error = ten_fold_accuracy(cosines, pairs.same, even_folds(pairs.same))
    return {
        "pairsDevTest_pairs": len(pairs), "pairsDevTest_missing": len(missing),
        "pairsDevTest_accuracy": round(accuracy, 4), "pairsDevTest_standard_error": round(error, 4),
        "pairsDevTest_auc": round(area_under_curve(cosines, pairs.same), 4),
    }  # fmt: skip


def objects_reached(subject: Subject, objects: str, trained_photographs: int) -> dict[str, float]:
    """Kinds of photographed objects, by a linear readout fitted on the photographs that trained; the rest are asked.

    Args:
        subject: the network.
        objects: the folder of categories, or its archive.
        trained_photographs: the first so many of each category trained.
    """
    pictures = object_folder(objects, size=subject.size)
    seen = first_of_each(pictures.labels, trained_photographs)
    trained, tested = pictures[torch.nonzero(seen)[:, 0]], pictures[torch.nonzero(~seen)[:, 0]]
    readout = fit_linear_readout(represent(subject, trained.images), trained.labels)
    answers = readout.logits(represent(subject, tested.images)).argmax(1)
    right = answers == readout.targets(tested.labels)
    return {"objects_accuracy": round(float(right.float().mean()), 4), "objects_pictures": len(tested)}


def things_reached(
    subject: Subject, kinds: Sequence[str] = CATEGORIES, things: int = 40, enrolled: int = 3, asked: int = 2
) -> dict[str, float]:
    """Which of so many things of one kind it is, for each kind: things that no training drew.

    By the network's own readout of things where it has one (`things_…`), and by its representation whitened within
    other things, as the task `exemplars` does for any network (`things_whitened_…`).

    Args:
        subject: the network.
        kinds: of built-in objects.
        things: of each kind, who are the alternatives.
        enrolled, asked: pictures of each.
    """
    own: dict[str, float] = {}
    whitened: dict[str, float] = {}
    for kind in kinds:
        shown = builtin_exemplars(things, enrolled + asked, _ASKED_THINGS, subject.size, categories=(kind,))
        others = builtin_exemplars(things, 4, _OTHER_THINGS, subject.size, categories=(kind,))
        representation = represent(subject, shown.images)
        centre, matrix = within_class_whitening(represent(subject, others.images), others.labels)
        whitened[f"things_whitened_{kind}"] = named_by_likeness(
            (representation - centre) @ matrix, shown.labels, enrolled
        )
        if "things.weight" in subject.extra:
            values = representation @ subject.extra["things.weight"].T + subject.extra["things.bias"]
            own[f"things_{kind}"] = named_by_likeness(values, shown.labels, enrolled)
    return {key: round(value, 4) for key, value in (own | whitened).items()}


def tasks_reached(subject: Subject, seed: int = 0) -> dict[str, float]:
    """Tasks of studies on people of the face space and built-in things, healthy; share of right answers by task.

    Identification of 100 people (3 pictures of each remembered, 2 asked about), 16 kinds of objects (30 pictures of
    each, a readout fitted on 40 others), the memory test of 72 items, and 40 individual things.

    Args:
        subject: the network.
        seed: of the people and things.

    Raises:
        Error: people who are asked about trained the network.
    """
    source = FaceSpacePictures(enrolled_people=100, enrolment_pictures=3, probe_pictures=2, object_pictures=30)
    materials = source.gather(seed, subject.size)
    refuse_seen(subject.name, subject.about, materials.probes.labels)
    tasks: tuple[type[Task], ...] = (Identification, Objects, Exemplars, Memory)
    shown: dict[str, ImageSet] = {}
    for task in tasks:
        shown |= task.shows(materials, seed)
    starts = dict(zip(shown, accumulate(map(len, shown.values()), initial=0), strict=False))
    healthy = Healthy(
        materials,
        subject.identity,
        lambda pictures: represent(subject, pictures.images),
        lambda role: torch.arange(starts[role], starts[role] + len(shown[role])),
        seed,
    )
    representation = torch.cat([represent(subject, pictures.images) for pictures in shown.values()])
    fitted = [task.fit(healthy) for task in tasks]
    return {task.name: task.measure(task.answer(representation))["accuracy"] for task in fitted}


def likeness_of(subjects: Sequence[Subject], images: torch.Tensor) -> torch.Tensor:
    """How alike networks find the same pictures: representational similarity (Kriegeskorte et al. 2008).

    The correlation, over all pairs of pictures, of the cosines between their representations, each less its network's
    mean.

    Args:
        subjects: networks, of the same size of pictures.
        images: uint8 (N, 3, S, S), three or more.

    Returns:
        (subjects, subjects): -1 to 1; 1 for networks of the same geometry.
    """
    cosines = []
    for subject in subjects:
        values = represent(subject, images).double()
        values = torch.nn.functional.normalize(values - values.mean(0))
        rows, columns = torch.triu_indices(len(values), len(values), 1)
        cosines.append((values @ values.T)[rows, columns])
    return torch.corrcoef(torch.stack(cosines))


def named_by_likeness(embeddings: torch.Tensor, names: Sequence[str], enrolled: int) -> float:
    """Share of pictures whose individual's prototype is the nearest by cosine.

    A prototype is the mean direction of an individual's first pictures; the others are asked about.

    Args:
        embeddings: (N, E), of any length.
        names: which individual each picture shows.
        enrolled: how many pictures of each make its prototype.

    Raises:
        Error: an individual has no picture left to be asked about.

    Example:
        >>> named_by_likeness(torch.eye(2).repeat_interleave(3, 0), ["a"] * 3 + ["b"] * 3, enrolled=2)
        1.0
    """
    values = torch.nn.functional.normalize(embeddings.double())
    first = first_of_each(names, enrolled)
    who = sorted(set(names))
    if few := [name for name, count in Counter(names).items() if count <= enrolled]:
        raise Error(
            f"{few[0]} has {enrolled} pictures or fewer: one more is needed to be asked about"
        )
    which = torch.tensor([who.index(name) for name in names])
    sums = torch.zeros(len(who), values.shape[1], dtype=values.dtype).index_add_(
        0, which[first], values[first]
    )
    answers = (values[~first] @ torch.nn.functional.normalize(sums).T).argmax(1)
    return float((answers == which[~first]).double().mean())


def represent(subject: Subject, images: torch.Tensor, batch_size: int = 64) -> torch.Tensor:
    """Representations (N, D) of uint8 pictures (N, 3, H, W), on the CPU, made where the network is."""
    device = device_of(subject.module)
    with torch.no_grad():
        parts = (subject.preprocess(part.to(device)) for part in images.split(batch_size))
        return torch.cat([subject.module(part).cpu() for part in parts])


def even_folds(same: torch.Tensor, folds: int = 10) -> torch.Tensor:
    """Share pairs out over folds in their order, same and different ones alike.

    Example:
        >>> even_folds(torch.tensor([True, True, False, False]), folds=2).tolist()
        [0, 1, 0, 1]
    """
    fold = torch.empty(len(same), dtype=torch.int64)
    for kind in (same, ~same):
        fold[kind] = torch.arange(int(kind.sum())) % folds
    return fold


def first_of_each(labels: Sequence[str], count: int) -> torch.Tensor:
    """Whether each picture is among the first `count` of its label."""
    seen = Counter[str]()
    first = []
    for label in labels:
        seen[label] += 1
        first.append(seen[label] <= count)
    return torch.tensor(first)
