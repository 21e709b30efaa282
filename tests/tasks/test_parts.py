"""Parts: a choice between two pictures, one of them the person's own."""

from __future__ import annotations

import torch
from testers import Asked, small_materials

from facelesion.tasks.parts import Parts


def test_of_two_that_are_equally_alike_neither_is_chosen_rightly():
    asked = Asked(Parts, small_materials())
    answers = asked.answers(torch.ones_like(asked.representation))
    assert not answers.right.any() and (answers.answer == 1).all() and (answers.forced_choice == 0.5).all()


def test_a_trial_is_a_picture_of_the_person_beside_one_with_anothers_feature():
    trials = Asked(Parts, small_materials()).task.trials
    probes = small_materials().probes
    owner = dict(zip(probes.names, probes.labels, strict=True))
    for item, person, section in zip(trials.item, trials.person, trials.section, strict=True):
        where, feature = section.split(", ")
        own, foil = item.split(" | ")
        name = own if where == "whole" else own.removesuffix(f", {feature} alone")
        alone = " alone" if where == "part" else ""
        assert owner[name] == person and foil == f"{name}, another's {feature}{alone}"
