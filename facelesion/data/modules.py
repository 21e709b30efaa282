"""LightningDataModules, one per task, on sets of pictures in memory.

Each splits once, by its seed, and says how in `manifest()`. Batches are dictionaries of tensors; `index` is a
picture's position in its set, which lesions take as `ids`. Importing this module imports Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.pairs import Pairs, draw_pairs
from facelesion.data.splits import SHARES, By, balanced, gallery, split
from facelesion.errors import Error

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Trials(Dataset[Batch]):
    """Pictures with a class number each.

    One item: `image` uint8 (3, H, W) RGB, `target` int64, `index` int64, and for faces `landmarks` float32
    (478, 2).
    """

    pictures: ImageSet
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> Batch:
        item = {"image": self.pictures.images[row], "target": self.targets[row], "index": torch.tensor(row)}
        if isinstance(self.pictures, FaceSet):
            item["landmarks"] = self.pictures.landmarks[row]
        return item


@dataclass(frozen=True)
class PairTrials(Dataset[Batch]):
    """Pairs of pictures.

    One item: `first` and `second` uint8 (3, H, W) RGB, `target` bool (the same person), their positions
    `first_index` and `second_index`, and `fold`.
    """

    pictures: ImageSet
    pairs: Pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> Batch:
        first, second = self.pairs.first[row], self.pairs.second[row]
        return {
            "first": self.pictures.images[first],
            "second": self.pictures.images[second],
            "first_index": first,
            "second_index": second,
            "target": self.pairs.same[row],
            "fold": self.pairs.fold[row],
        }


class TaskData(LightningDataModule):
    """Loaders over the parts "train", "validation" and "test"; the tasks below fill them.

    Attributes:
        classes: what the class numbers mean.
        parts: name of the part -> its trials.
    """

    def __init__(
        self,
        parts: Mapping[str, Dataset[Batch]],
        classes: tuple[str, ...],
        manifest: dict[str, Any],
        *,
        batch_size: int,
        workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.parts, self.classes = parts, classes
        self._manifest, self._batch_size, self._workers, self._seed = manifest, batch_size, workers, seed

    def manifest(self) -> dict[str, Any]:
        """How the pictures were split, ready for JSON or YAML."""
        return self._manifest

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training trials, shuffled; the same order for the same seed."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation trials in order."""
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test trials in order."""
        return self._loader("test")

    def _loader(self, part: str, shuffle: bool = False) -> DataLoader[Batch]:
        return DataLoader(
            self.parts[part],
            batch_size=self._batch_size,
            shuffle=shuffle,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            generator=torch.Generator().manual_seed(self._seed) if shuffle else None,
        )


class DetectionData(TaskData):
    """Face (1) or not (0), equally many of both in every part; people and non-faces are never in two parts.

    Raises:
        Error: faces and others of unlike sizes, shares that do not add up, a part that nothing is left for.

    Example:
        >>> from facelesion.data import ImageSet, nonfaces
        >>> people = tuple(f"person-{i // 2}" for i in range(40))
        >>> faces = ImageSet(torch.zeros(40, 3, 32, 32, dtype=torch.uint8), people, tuple(map(str, range(40))))
        >>> data = DetectionData(faces, nonfaces(60, size=32), batch_size=8)
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch["image"].shape, data.classes
        (torch.Size([8, 3, 32, 32]), ('no face', 'face'))
    """

    def __init__(
        self,
        faces: ImageSet,
        others: ImageSet,
        shares: Mapping[str, float] = SHARES,
        *,
        by: By = "person",
        seed: int = 0,
        batch_size: int = 64,
        workers: int = 0,
    ) -> None:
        if faces.images.shape[1:] != others.images.shape[1:]:
            raise Error(
                f"detection: faces are {faces.size} px and others {others.size} px: make them the same size"
            )
        of_faces, of_others = (
            split(faces, shares, by=by, seed=seed),
            split(others, shares, by="photograph", seed=seed),
        )
        parts: dict[str, Dataset[Batch]] = {}
        for part in shares:
            some, rest = balanced(faces[list(of_faces[part])], others[list(of_others[part])], seed)
            together = ImageSet(
                torch.cat([some.images, rest.images]), some.labels + rest.labels, some.names + rest.names
            )
            parts[part] = Trials(together, torch.tensor([1] * len(some) + [0] * len(rest)))
        manifest = {"task": "detection", "faces": of_faces.manifest(), "others": of_others.manifest()}
        super().__init__(
            parts, ("no face", "face"), manifest, batch_size=batch_size, workers=workers, seed=seed
        )


class IdentificationData(TaskData):
    """Who is it, of the enrolled people? Everybody has as many pictures as the next in every part.

    "train" holds the enrolment pictures, "validation" and "test" the probes; no photograph is in two.

    Raises:
        Error: not so many people have enough pictures.
    """

    def __init__(
        self,
        faces: ImageSet,
        people: int,
        enrolment: int = 3,
        probes: int = 2,
        *,
        validation: int = 1,
        seed: int = 0,
        batch_size: int = 64,
        workers: int = 0,
    ) -> None:
        chosen = gallery(faces, people, enrolment, probes + validation, seed)
        number = {person: i for i, person in enumerate(chosen.people)}
        rows = torch.tensor(chosen.probes).reshape(people, probes + validation)
        positions = {
            "train": torch.tensor(chosen.enrolment),
            "validation": rows[:, :validation].flatten(),
            "test": rows[:, validation:].flatten(),
        }
        parts: dict[str, Dataset[Batch]] = {}
        for part, where in positions.items():
            some = faces[where]
            parts[part] = Trials(
                some, torch.tensor([number[label] for label in some.labels], dtype=torch.int64)
            )
        manifest = {
            "task": "identification",
            "by": "photograph",
            "seed": seed,
            "people": people,
            "photographs": {part: len(where) for part, where in positions.items()},
        }
        super().__init__(parts, chosen.people, manifest, batch_size=batch_size, workers=workers, seed=seed)


class VerificationData(TaskData):
    """The same person or not? Half of each; nobody is in two parts.

    Raises:
        Error: shares that do not add up; a part without a number of pairs, or with fewer than that.
    """

    def __init__(
        self,
        faces: ImageSet,
        pairs: Mapping[str, int],
        shares: Mapping[str, float] = SHARES,
        *,
        seed: int = 0,
        batch_size: int = 64,
        workers: int = 0,
    ) -> None:
        unknown = sorted(set(shares) ^ set(pairs))
        if unknown:
            raise Error(f"verification: say for each part how many pairs: {unknown[0]!r} has no counterpart")
        people = split(faces, shares, by="person", seed=seed)
        parts: dict[str, Dataset[Batch]] = {}
        for part in shares:
            some = faces[list(people[part])]
            parts[part] = PairTrials(some, draw_pairs(some, pairs[part], seed))
        manifest = {"task": "verification", "faces": people.manifest(), "pairs": dict(pairs)}
        super().__init__(
            parts, ("different", "same"), manifest, batch_size=batch_size, workers=workers, seed=seed
        )


class ObjectsData(TaskData):
    """Which kind of thing? Split by photograph within each kind.

    Raises:
        Error: fewer than two kinds, shares that do not add up, or a part that nothing is left for.
    """

    def __init__(
        self,
        objects: ImageSet,
        shares: Mapping[str, float] = SHARES,
        *,
        seed: int = 0,
        batch_size: int = 64,
        workers: int = 0,
    ) -> None:
        classes = tuple(sorted(set(objects.labels)))
        if len(classes) < 2:
            raise Error(f"objects: two kinds or more are needed, not {len(classes)}")
        number = {label: i for i, label in enumerate(classes)}
        chosen = split(objects, shares, by="photograph", seed=seed)
        parts: dict[str, Dataset[Batch]] = {}
        for part in shares:
            some = objects[list(chosen[part])]
            parts[part] = Trials(some, torch.tensor([number[label] for label in some.labels]))
        manifest = {"task": "objects", "objects": chosen.manifest()}
        super().__init__(parts, classes, manifest, batch_size=batch_size, workers=workers, seed=seed)
