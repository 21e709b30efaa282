"""Detection: which pictures are faces, and what is answered and told of the evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from testers import Asked, small_materials

from facelesion.errors import Error
from facelesion.tasks import Detection
from facelesion.tasks.readouts import LinearReadout
from facelesion.tasks.task import Trials

EVIDENCE = torch.tensor([2.0, 0.25, -0.5, 0.0, -1.0, 0.75])
IS_FACE = torch.tensor([True, True, True, False, False, False])


@pytest.fixture(params=[("face", "no face"), ("no face", "face")], ids=" before ".join)
def task(request) -> Detection:
    """A readout whose two logits are half the evidence and half of its opposite, whatever their order."""
    sign = 0.5 if request.param[0] == "face" else -0.5
    readout = LinearReadout(request.param, torch.tensor([[sign], [-sign]]), torch.zeros(2))
    names = tuple("abcdef")
    return Detection(readout, torch.arange(1, 7), IS_FACE, Trials(names, names, names))


def test_evidence_at_the_criterion_is_no_face_by_the_answers_and_by_the_measures(task):
    seen = torch.cat([torch.tensor([9.0]), EVIDENCE])[:, None]  # the first picture is another task's
    assert task.evidence(seen).tolist() == EVIDENCE.tolist()
    answers = task.answer(seen)
    assert answers.answer.tolist() == [0, 0, 1, 1, 1, 0]
    assert answers.right.tolist() == [True, True, False, True, True, False]
    assert answers.value.tolist() == [2.0, 0.25, -0.5, 0.0, 1.0, -0.75]
    told = task.measure(answers)
    assert told["hit_rate"] == pytest.approx(2 / 3) and told["false_alarm_rate"] == pytest.approx(1 / 3)
    assert told["auc"] == pytest.approx(6 / 9)


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_of_pictures_alone_is_refused(task, kind):
    said = "^detection needs faces and other images: with one kind alone any answer is right$"
    with pytest.raises(Error, match=said):
        replace(task, is_face=torch.full((6,), kind))


@pytest.mark.parametrize("others", [True, False])
def test_faces_are_the_probes_and_the_strangers_and_nothing_else_is(others):
    materials = small_materials() if others else replace(small_materials(), others=None)
    task = Asked(Detection, materials).task
    faces = [*materials.probes.names, *materials.strangers.names]
    things = [*materials.objects.names, *(materials.others.names if others else ())]
    assert list(task.trials.item) == faces + things
    assert list(task.trials.target) == ["face"] * len(faces) + ["no face"] * len(things)
    assert task.is_face.tolist() == [target == "face" for target in task.trials.target]
