"""The notebook's trainings and tests as they were done, mistakes and all: a demonstration of why they mean nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from facelesion.data import LFW, FaceSet
from facelesion.data.modules import Trials
from facelesion.models import Subject
from facelesion.training.classify import confusion, facts_of, lesion_facts, trainable
from facelesion.training.device import placed
from facelesion.training.intervals import over_people
from facelesion.training.notebook_facts import AS_IT_WAS, DEFICIT, DONE, FEATURES, INTACT, STIMULI, Done
from facelesion.training.reached import represent
from facelesion.training.stages import once
from facelesion.training.trials import Roles, faces_of

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.training.notebook import NotebookConfig


@dataclasses.dataclass(frozen=True)
class Copies:
    """The notebook's five copies of one data set: intact, and with each feature masked.

    Attributes:
        faces: the photographs.
        labels: int64 (N,): "face" but for those that the detector missed.
        stale: where the masked copies have another photograph's picture under this name: the one before.
        seed: of each copy's own split.
        lfw: LFW, where they are from there.
    """

    faces: FaceSet
    labels: torch.Tensor
    stale: torch.Tensor
    seed: int
    lfw: LFW | None

    @classmethod
    def made(cls, config: NotebookConfig, size: int) -> Copies:
        faces, lfw = faces_of(config.data, size, config.seed)
        labels = torch.ones(len(faces), dtype=torch.int64)
        labels[_order(len(faces), config.seed)[: max(1, round(config.missed * len(faces)))]] = 0
        found = torch.where(labels.bool(), torch.arange(len(faces)), torch.zeros_like(labels))
        return cls(faces, labels, torch.cummax(found, 0).values, config.seed, lfw)

    def split(self, stimulus: str) -> dict[str, torch.Tensor]:
        """A copy's own split: a fifth tests, a tenth of the rest validates. The others' splits know nothing of it."""
        order = _order(len(self.labels), self.seed + 2 + STIMULI.index(stimulus))
        fifth, tenth = len(order) // 5, max(1, (len(order) - len(order) // 5) // 10)
        return {
            "test": order[:fifth],
            "validation": order[fifth : fifth + tenth],
            "train": order[fifth + tenth :],
        }

    def shown(self, stimulus: str, rows: torch.Tensor) -> Trials:
        """Pictures of a copy, before its mask is put on, with the labels that it has for them."""
        return Trials(self.faces[rows if stimulus == INTACT else self.stale[rows]], self.labels[rows])

    def intact(self) -> dict[str, Trials]:
        """What the undamaged network was trained on."""
        return {name: self.shown(INTACT, rows) for name, rows in self.split(INTACT).items()}

    def deficit(self, keep: int) -> dict[str, Trials]:
        """What damaged networks were trained on: masked eyes alone, of which the last fifth validates."""
        train = self.split(DEFICIT)["train"]
        rows = train[_order(len(train), self.seed + 1)][: keep or None]
        fifth = max(1, len(rows) // 5)
        parts = {"train": rows[:-fifth], "validation": rows[-fifth:], "test": self.split(DEFICIT)["test"]}
        return {name: self.shown(DEFICIT, some) for name, some in parts.items()}


def as_it_was(config: NotebookConfig, subject: Subject, folder: Path) -> pd.DataFrame:
    """The notebook's trainings, and its tests, which use nothing of them.

    Returns:
        A row per test, as in `notebook.csv`.
    """
    import pandas

    from facelesion.training.notebook import file_name, learning_of

    copies = Copies.made(config, subject.size)
    for name, parts in config.approaches.items():
        done = DONE.get(name, Done())
        if done.epochs == 0:
            continue
        # Keras' noise and dropout act in training and not in tests; the ablation never did.
        acting = tuple(part for part in parts if part["kind"] in ("Noise", "Dropout"))
        settings = learning_of(config, parts, acting, folder / file_name(f"train {name}"), config.network)
        data = dataclasses.replace(
            config.data, stimuli=(DEFICIT if parts else INTACT,), tests=STIMULI, keep=0
        )
        settings = dataclasses.replace(
            settings,
            training_only=bool(acting),
            data=data,
            epochs=min(settings.epochs, done.epochs or settings.epochs),
        )
        trials = copies.deficit(config.data.keep) if parts else copies.intact()
        roles = Roles(trials, ("no face", "face"), "one data set", copies.lfw)
        once(settings, trainable(config.network, config.seed), roles)
    with placed(config.run, subject.module):
        return pandas.DataFrame(list(tests_as_they_were(config, subject, copies)))


def tests_as_they_were(config: NotebookConfig, subject: Subject, copies: Copies) -> Iterator[dict[str, Any]]:
    """Every test that the notebook made, a row each; they ask nothing of any training."""
    from facelesion.faces.stimuli import Stimulus
    from facelesion.training.notebook import units_name

    seen = {}
    for stimulus in STIMULI:
        trials = copies.shown(stimulus, torch.arange(len(copies.labels)))
        assert isinstance(trials.pictures, FaceSet)
        seen[stimulus] = represent(subject, trials.pictures.shown(Stimulus.from_dict(stimulus)).images)
    tests = [(approach, stimulus) for stimulus in STIMULI for approach in config.approaches]
    tests += [(units_name(site, feature), INTACT) for site in config.manipulated for feature in FEATURES]
    seed = config.seed * 1_000_000
    for approach, stimulus in tests:
        done = DONE.get(approach, Done())
        runs = config.runs if done.runs is None else min(done.runs, config.runs)
        copy = "mask nose" if stimulus == "mask mouth" and done.nose_for_mouth else stimulus
        rows = copies.split(copy)["test"]
        trials = copies.shown(copy, rows)
        roles = Roles({"test": trials}, ("no face", "face"), "one data set", copies.lfw)
        for run in range(min(runs, done.fewer.get(stimulus, runs))):
            if run == 0 or stimulus not in done.one_readout:
                seed += 1
            shown = seen[copy][rows]
            faces, answers = trials.targets.bool(), _new_readout(shown.shape[1], seed)(shown)[:, 0] > 0
            right = answers == faces
            low, high = over_people(right, trials.pictures.labels)
            yield {
                "task": "detection", "approach": approach, "how": AS_IT_WAS, "stimulus": stimulus, "run": run,
                "pictures": len(rows), "accuracy": float(right.float().mean()), "low": low, "high": high,
                **confusion(answers, faces), **lesion_facts(None),
                **facts_of(seed, subject.about, roles, subject.weights), "chance": 0.5,
            }  # fmt: skip


def _new_readout(inputs: int, seed: int) -> nn.Linear:
    """A sigmoid unit as Keras draws one (Glorot & Bengio 2010)."""
    readout = nn.Linear(inputs, 1).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nn.init.xavier_uniform_(readout.weight)
    nn.init.zeros_(readout.bias)
    return readout


def _order(count: int, seed: int) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
