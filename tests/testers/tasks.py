"""The checks that every task passes, on a very simple network."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from elsewhere import Elsewhere
from torch import Tensor

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.materials import Materials
from facelesion.study.pool import Pool
from facelesion.tasks import Answers, Healthy, Task
from facelesion.tasks.task import Scores

from .tester import Tester

SIZE = 16  # coarse pixels a side, of the network that tasks are tested on


def coarse_pixels(pictures: ImageSet) -> Tensor:
    """What a very simple network sees (N, D): the picture in 16 x 16 coarse pixels."""
    return torch.nn.functional.avg_pool2d(pictures.images.float() / 255 - 0.5, 7).flatten(1)


@dataclass(frozen=True, eq=False)
class CoarseLook:
    """Looks into that network: every coarse pixel is evidence by how far it is from the picture's mean."""

    pool: Pool
    representation: Tensor

    def maps(self, scores: Scores, rows: Tensor) -> Tensor:
        pixels = self.representation[rows].unflatten(1, (3, SIZE, SIZE))
        assert scores(torch.arange(len(rows)))(self.representation[rows]).shape == (len(rows),)
        far = (pixels - pixels.mean((2, 3), keepdim=True)).abs().sum(1)
        return torch.nn.functional.interpolate(far[:, None], (112, 112))[:, 0]

    def landmarks(self, rows: Tensor) -> Tensor:
        return self.pool.landmarks[rows]

    def activations(self, rows: Tensor) -> dict[str, Tensor]:
        return {"coarser": self.representation[rows][:, ::2]}

    def activations_of(self, images: Tensor) -> dict[str, Tensor]:
        return {"coarser": torch.nn.functional.avg_pool2d(images.float() / 255 - 0.5, 7).flatten(1)[:, ::2]}


@functools.cache
def small_materials() -> Materials:
    """A study's pictures by role, few of each."""
    source = FaceSpacePictures(
        training_people=12, enrolled_people=12, new_people=4, new_pictures=3, object_pictures=2,
        object_training_pictures=6, other_pictures=6, variability=0.3,
    )  # fmt: skip
    return source.gather(seed=0, size=112)


def many_people(count: int) -> FaceSet:
    """Two probes each of so many people: those of a small study, some of them again under other names."""
    probes = small_materials().probes
    turns = -(-2 * count // len(probes))
    labels = tuple(f"{person} ({turn})" for turn in range(turns) for person in probes.labels)
    names = tuple(f"{name} ({turn})" for turn in range(turns) for name in probes.names)
    images, landmarks = probes.images.repeat(turns, 1, 1, 1), probes.landmarks.repeat(turns, 1, 1)
    return FaceSet(images, labels, names, landmarks)[: 2 * count]


class Asked:
    """A task, fitted to coarse pixels and asked of them."""

    def __init__(self, kind: type[Task], materials: Materials, on_a_gpu: bool = False) -> None:
        self.pool = Pool.of([kind], materials, seed=0)
        rows = {role: torch.arange(len(self.pool))[place] for role, place in self.pool.rows.items()}
        everything = ImageSet(self.pool.images, ("",) * len(self.pool), tuple(map(str, range(len(self.pool)))))
        self.representation = coarse_pixels(everything)
        look = CoarseLook(self.pool, self.representation)

        def there(pictures: ImageSet) -> Tensor:
            return Elsewhere(coarse_pixels(pictures))

        seen = there if on_a_gpu else coarse_pixels
        self.task = kind.fit(Healthy(materials, torch.nn.Identity(), seen, rows.__getitem__, 0, look))

    def answers(self, representation: Tensor) -> Answers:
        return self.task.ask(representation, CoarseLook(self.pool, representation))

    def measured(self, representation: Tensor) -> dict[str, float]:
        return dict(self.task.measure(self.answers(representation)))


class TaskTester(Tester):
    """A task asks, answers trial by trial, and cannot be passed without looking. Rows are classes.

    Attributes:
        uneven: measures that a constant answer need not bring to chance.
        unreached: measures whose ceiling takes more than right answers.
    """

    rows: ClassVar[Mapping[str, type[Task]]] = {}
    uneven: ClassVar[Collection[str]] = ()
    unreached: ClassVar[Collection[str]] = ()

    @pytest.fixture(scope="class")
    def asked(self, row: type[Task]) -> Asked:
        return Asked(row, small_materials())

    def test_says_what_it_asks_and_gives_what_it_names(self, asked: Asked) -> None:
        task = asked.task
        assert "?" in task.question
        assert list(asked.measured(asked.representation)) == [measure.name for measure in task.measures]
        assert len({measure.name for measure in task.measures}) == len(task.measures)
        main = task.measures[0]
        assert main.better == "higher" and main.chance < main.ceiling

    def test_each_measure_is_told_in_words_that_stand_in_a_sentence(self, asked: Asked) -> None:
        for measure in asked.task.measures:
            assert measure.words[0].islower() and measure.words == measure.words.strip(" ."), measure

    def test_each_measure_says_which_way_is_better_and_a_share_goes_up_to_one(self, asked: Asked) -> None:
        for measure in asked.task.measures:
            assert measure.better in ("higher", "lower", "")
            assert measure.ceiling == 1 or not (measure.share and measure.better == "higher"), measure

    def test_right_answers_reach_every_ceiling(self, asked: Asked) -> None:
        task = asked.task
        all_of_them = torch.ones(len(task.trials))
        answer = torch.tensor([task.alternatives.index(target) for target in task.trials.target])
        measured = task.measure(Answers(answer, all_of_them, all_of_them.bool(), all_of_them))
        for measure in task.measures:
            if measure.better == "higher" and measure.name not in self.unreached and not math.isnan(measure.ceiling):
                assert measured[measure.name] == measure.ceiling, measure

    def test_every_trial_has_an_answer_among_the_alternatives(self, asked: Asked) -> None:
        task = asked.task
        answers = asked.answers(asked.representation)
        for name in ("answer", "value", "right", "forced_choice"):
            assert getattr(answers, name).shape == (len(task.trials),), name
        assert 0 <= int(answers.answer.min()) and int(answers.answer.max()) < len(task.alternatives)
        named = [task.alternatives[number] for number in answers.answer.tolist()]
        for said, target, right in zip(named, task.trials.target, answers.right.tolist(), strict=True):
            assert (said == target) == right
        assert torch.isfinite(answers.value).all()
        assert (answers.forced_choice >= 0).all() and (answers.forced_choice <= 1).all()

    def test_right_answers_are_those_with_a_value_above_zero(self, asked: Asked) -> None:
        answers = asked.answers(asked.representation)
        apart = answers.value != 0
        assert ((answers.value > 0) == answers.right)[apart].all()

    def test_coarse_pixels_do_better_than_guessing(self, asked: Asked) -> None:
        main = asked.task.measures[0]
        assert asked.measured(asked.representation)[main.name] > main.chance

    @pytest.mark.parametrize("constant", [0.0, 1.0, -3.0])
    def test_cannot_be_passed_by_a_constant_answer(self, asked: Asked, constant: float) -> None:
        answers = asked.answers(torch.full_like(asked.representation, constant))
        measured = asked.task.measure(answers)
        for measure in asked.task.measures:
            if measure.name == "d_prime":
                assert abs(measured[measure.name]) < 0.6
            elif measure.better == "higher" and measure.name not in self.uneven:
                assert measured[measure.name] == pytest.approx(measure.chance, abs=1e-6), measure
        assert float(answers.forced_choice.mean()) == pytest.approx(0.5, abs=1e-6)

    def test_answering_leaves_the_readout_as_it_was(self, asked: Asked) -> None:
        before = asked.measured(asked.representation)
        asked.answers(torch.randn_like(asked.representation))
        assert asked.measured(asked.representation) == before

    def test_it_answers_alike_wherever_the_network_lies(self, asked: Asked, row: type[Task]) -> None:
        there = Asked(row, small_materials(), on_a_gpu=True)
        look = CoarseLook(asked.pool, asked.representation)
        found = there.task.ask(Elsewhere(asked.representation), look)
        wanted = asked.answers(asked.representation)
        for name in ("answer", "value", "right", "forced_choice"):
            assert torch.equal(getattr(found, name), getattr(wanted, name)), name
