"""A task of one's own that is not as it must be: one line that names it, and what of it is meant."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.errors import Error
from facelesion.models import Preprocessing, Subject
from facelesion.settings import SettingError
from facelesion.study import Study, run_study
from facelesion.tasks import TASKS, Identification

FEW = FaceSpacePictures(
    training_people=4, training_pictures=2, enrolled_people=3, enrolment_pictures=1, probe_pictures=1, new_people=2,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    return FEW.gather(seed=0, size=112)


@pytest.fixture
def run_with(monkeypatch, tmp_path, pictures):
    def run(task):
        monkeypatch.setitem(TASKS, "mine", task)
        monkeypatch.setattr(task, "name", "mine")
        network = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        tiny = Subject("tiny", network.eval(), 24, Preprocessing(24), nn.Identity(), "tiny", {})
        lesions = {"cut": [{"kind": "Ablate", "site": "0", "fraction": 0.5}]}
        study = Study(
            participants=["tiny"], lesions=lesions, tasks=["mine"], draws=1, output=str(tmp_path), device="cpu"
        )
        return run_study(study, participants={"tiny": tiny}, pictures=pictures)

    return run


class AsksForMore(Identification):
    @classmethod
    def fit(cls, healthy):
        return cls.shows(healthy.materials, healthy.seed)["right halves"]


class LooksForMore(Identification):
    @classmethod
    def fit(cls, healthy):
        return healthy.rows("right halves")


class NoNumber(Identification):
    def measure(self, answers):
        return dict.fromkeys((measure.name for measure in self.measures), float("nan"))


class NoValue(Identification):
    def answer(self, representation):
        answers = super().answer(representation)
        answers.value[1:] = torch.nan
        return answers


class NoChoice(Identification):
    def answer(self, representation):
        answers = super().answer(representation)
        return dataclasses.replace(answers, forced_choice=answers.forced_choice / 0)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (AsksForMore, r"task mine: its `fit` asks for 'right halves', which its `shows` .*; shown are probes"),
        (LooksForMore, r"task mine asks for its pictures in the role 'right halves', .* shown are probes"),
        (NoNumber, r"task mine: its measure 'accuracy' is nan, and must be a finite number"),
        (NoValue, r"task mine: 'value' of 2 of its 3 answers is no finite number, first in trial 1 \(.+\)"),
        (NoChoice, r"task mine: 'forced_choice' of [123] of its 3 answers is no finite number"),
    ],
)
def test_what_a_task_gives_wrongly_is_told_with_its_name(run_with, task, said):
    with pytest.raises(Error, match=said) as told:
        run_with(task)
    assert "\n" not in str(told.value)


def test_a_task_that_is_in_no_list_is_told_with_the_page_on_tasks_of_ones_own():
    with pytest.raises(SettingError, match=r"tasks.0 is 'mine', which is no task: .*docs/extending.md"):
        Study(tasks=["mine"], lesions={"cut": [{"kind": "Ablate", "site": "conv5_1", "fraction": 0.5}]})
