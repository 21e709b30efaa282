"""Stimuli on a GPU that is not there: pictures, landmarks and numbers lie there, and nothing is fetched or brought."""

from __future__ import annotations

import made_up_works as works
import pytest
import torch
from made_up_gpu import GPU, Watch, on_a_gpu
from torch import nn

from facelesion.faces import (
    Blur,
    Composite,
    Contrast,
    ControlMask,
    GaussianNoise,
    Greyscale,
    Invert,
    Isolate,
    Mask,
    Painted,
    PartSwap,
    PhaseScramble,
    TileScramble,
)
from facelesion.faces.blur import gaussian_blur
from facelesion.faces.regions import mean_face
from facelesion.faces.stimulus import KINDS, Chain, Intact

EVERY = [
    Intact(), Invert(), PhaseScramble(), TileScramble(), Greyscale(), Contrast(0.5), GaussianNoise(0.1), Mask("eyes"),
    Mask("mouth", fill="mean"), Mask("nose", fill="noise"), Mask("eyes", shape="polygon"), Mask("face"),
    Mask("eyes", shape="upright"), Blur("eyes"), Isolate("mouth"), Isolate("nose", fill="blur"), ControlMask("eyes"),
    Painted(("01", "10"), fill="mean"),
    Mask("eyes") + Invert() + GaussianNoise(0.2),
]  # fmt: skip
OF_TWO = [Composite(), Composite(0.5), PartSwap("eyes"), PartSwap("nose", feather=1.0)]


def test_every_stimulus_is_held_to_these_rules():
    assert {each.kind for each in EVERY + OF_TWO} == set(KINDS) | {Chain.kind}


@pytest.mark.parametrize("stimulus", OF_TWO, ids=str)
def test_a_stimulus_of_two_faces_mixes_no_devices_and_fetches_and_brings_nothing(in_made_up_process, stimulus):
    """PyTorch asks a driver how to turn and shift pictures (grid_sample)."""
    seen = in_made_up_process(works.of_two_faces, stimulus)
    assert not seen["brought"], seen["brought"]
    assert seen["where"] == works.GPU and seen["shape"] == (4, 3, 112, 112)


@pytest.mark.parametrize("stimulus", EVERY, ids=str)
def test_a_stimulus_mixes_no_devices_and_fetches_and_brings_nothing(stimulus):
    landmarks = mean_face()[None].repeat(4, 1, 1)
    with on_a_gpu(nn.Identity(), torch.rand(4, 3, 112, 112), landmarks, torch.arange(4)) as (_, images, points, ids):
        stimulus(images, points, ids=ids)
        with Watch() as watch:
            shown = stimulus(images, points, ids=ids)
        assert shown.device.type == GPU and shown.shape == images.shape
    assert not watch.brought, watch.brought


def test_pictures_outside_the_range_become_nothing_where_nobody_looks(monkeypatch):
    """On the host they are refused; on a GPU to look would be to wait for it (here: told apart on the meta device)."""
    from facelesion.faces import stimulus

    images = torch.rand(2, 3, 4, 4)

    class There:
        """A tensor's twin that says it is not on the processor."""

        def __init__(self, values):
            self.values, self.device = values, torch.device(GPU)

        def numel(self):
            return self.values.numel()

        def detach(self):
            return self.values

    found = []
    monkeypatch.setattr(stimulus.torch, "where", lambda fine, *_: found.append(bool(fine)))
    stimulus.in_range(There(images))
    stimulus.in_range(There(images * 255))
    stimulus.in_range(There(images * torch.nan))
    assert found == [True, False, False]
    assert stimulus.in_range(images) is images


def test_what_was_first_blurred_in_another_mode_is_blurred_the_same_afterwards():
    picture = torch.rand(1, 3, 31, 37)
    expected = gaussian_blur(picture, 2.32)
    with torch.inference_mode():
        gaussian_blur(picture, 2.33)
    with on_a_gpu(nn.Identity(), picture) as (_, there):
        gaussian_blur(there, 2.34)
    for sigma in (2.33, 2.34):
        wanted = picture.clone().requires_grad_()
        made = gaussian_blur(wanted, sigma)
        made.sum().backward()
        assert wanted.grad is not None and type(made) is torch.Tensor
        torch.testing.assert_close(made.detach(), expected, rtol=0, atol=0.02)
