"""Likeness in which what differs between pictures of one thing, or of one person, counts less."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from testers import Asked, small_materials
from testers.tasks import CoarseLook, coarse_pixels

from facelesion.data.objects import builtin_exemplars
from facelesion.tasks import Exemplars, Healthy, Representation
from facelesion.tasks.exemplars import within_class_whitening

LABELS = tuple("abcdef"[row % 6] for row in range(60)) + ("a",) * 20  # one thing in many more pictures
SEEN = torch.randn(80, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ torch.rand(
    5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
)


def test_pictures_of_one_thing_differ_alike_in_all_directions_afterwards():
    places = 10 * torch.arange(80)[:, None].remainder(6)  # things lie far apart, which changes nothing
    things = SEEN + places.where(torch.arange(80)[:, None] < 60, torch.tensor(0))
    centre, whitening = within_class_whitening(things, LABELS, ridge=1e-9)
    assert torch.allclose(centre.double(), things.mean(0), atol=1e-4)
    assert whitening.dtype == centre.dtype == torch.float32
    differ = []
    for name in set(LABELS):
        own = things[[label == name for label in LABELS]]
        differ.append(own - own.mean(0))
    white = torch.cat(differ) @ whitening.double()
    assert torch.allclose(white.T @ white / 80, torch.eye(5, dtype=torch.float64), atol=1e-3)


def test_the_ridge_is_a_share_of_the_mean_variance():
    same = torch.cat([torch.eye(4), -torch.eye(4)]).double() * torch.tensor([2.0, 2, 2, 0]).double()
    _, whitening = within_class_whitening(same, ("one",) * 8, ridge=0.5)
    # Variances 1, 1, 1 and 0, of which the mean is 0.75; the ridge adds half of it to each.
    assert torch.allclose(whitening, torch.tensor([1.375, 1.375, 1.375, 0.375]).rsqrt().diag())


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_a_representation_is_taken_out(scale):
    plain, scaled = (within_class_whitening(of * SEEN, LABELS)[1] for of in (1.0, scale))
    assert torch.allclose(scale * scaled, plain, rtol=1e-4)


@pytest.mark.parametrize("kind", [Exemplars, Representation])
def test_what_is_added_to_every_representation_changes_no_answer(kind):
    asked = Asked(kind, small_materials())
    rows = {role: torch.arange(len(asked.pool))[place] for role, place in asked.pool.rows.items()}

    class Moved(CoarseLook):
        def activations(self, rows):
            return {name: 3 + units for name, units in super().activations(rows).items()}

        def activations_of(self, images):
            return {name: 3 + units for name, units in super().activations_of(images).items()}

    look = Moved(asked.pool, asked.representation)
    healthy = Healthy(
        small_materials(), torch.nn.Identity(), lambda shown: coarse_pixels(shown) + 3, rows.__getitem__, 0, look
    )
    moved = kind.fit(healthy).ask(asked.representation + 3, look)
    answers = asked.answers(asked.representation)
    assert torch.allclose(moved.value, answers.value, atol=1e-3)
    assert (moved.answer == answers.answer).double().mean() > 0.98


def test_ten_things_of_each_of_four_kinds_are_enrolled_in_three_pictures_and_probed_in_two():
    materials, seen, seed = small_materials(), [], 2

    def represent(pictures):
        seen.append(pictures)
        return coarse_pixels(pictures)

    task = Exemplars.fit(Healthy(materials, torch.nn.Identity(), represent, lambda role: torch.arange(80), seed))
    training, enrolment = seen
    probes = Exemplars.shows(materials, seed)["exemplars"]
    kinds = ("car", "chair", "cup", "house")
    tested = builtin_exemplars(10, 5, 10 * seed + 4, 112, categories=kinds)
    for role, pictures in ((enrolment, (0, 1, 2)), (probes, (3, 4))):
        rows = torch.tensor([5 * thing + picture for thing in range(40) for picture in pictures])
        assert torch.equal(role.images, tested.images[rows]) and role.names == tested[rows].names
    assert task.alternatives == tuple(sorted(set(tested.labels))) and task.trials.person == probes.labels
    others = builtin_exemplars(40, 4, 10 * seed + 3, 112, categories=kinds)
    assert torch.equal(training.images, others.images)
    assert not {each.numpy().tobytes() for each in training.images} & {each.numpy().tobytes() for each in tested.images}


def test_things_are_as_large_as_the_studys_pictures():
    study, seen = SimpleNamespace(size=24), []

    def represent(pictures):
        seen.append(pictures)
        return pictures.images.float().mean((2, 3))

    Exemplars.fit(Healthy(study, torch.nn.Identity(), represent, lambda role: torch.arange(80)))
    sets = [*seen, Exemplars.shows(study, seed=0)["exemplars"]]
    assert [each.images.shape for each in sets] == [(count, 3, 24, 24) for count in (640, 120, 80)]


def test_each_stage_is_a_section_of_all_the_pictures():
    task = Asked(Representation, small_materials()).task
    probes = small_materials().probes
    assert task.trials.section == ("coarser",) * len(probes) + ("representation",) * len(probes)
    assert task.trials.item == probes.names * 2
