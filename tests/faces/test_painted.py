"""What is painted over by hand."""

from __future__ import annotations

import torch

from facelesion.faces import Invert, Painted, Stimulus


def test_what_is_painted_is_covered_and_nothing_else():
    images = torch.rand(2, 3, 112, 112)
    shown = Painted(("0100", "0000"))(images, torch.zeros(2, 5, 2))
    assert (shown[:, :, :56, 28:56] == 0).all()
    left = torch.ones(112, 112, dtype=torch.bool)
    left[:56, 28:56] = False
    assert torch.equal(shown[..., left], images[..., left])


def test_paint_stays_on_the_picture_whatever_the_face_does():
    images = torch.rand(1, 3, 112, 112)
    here, there = torch.zeros(1, 478, 2), torch.full((1, 478, 2), 50.0)
    assert torch.equal(Painted(("10",))(images, here), Painted(("10",))(images, there))
    turned = (Invert() + Painted(("10",)))(images, here)
    assert (turned[..., :56] == 0).all() and torch.equal(turned[..., 56:], images.flip(-2, -1)[..., 56:])


def test_it_is_written_and_read_back():
    stimulus = Painted(("010", "111"), fill="mean") + Invert()
    assert Stimulus.from_dict(stimulus.to_dict()) == stimulus
    assert str(Painted(("0001",))) == "painted over (25% of the picture)"
