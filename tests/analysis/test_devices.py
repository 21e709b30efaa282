"""Grad-CAM on a device without values: in health and in damage, nothing is fetched or brought.

PyTorch asks a GPU's driver before it goes backward; its meta device has shapes, no values and no driver.
"""

from __future__ import annotations

import copy

import pytest
import torch
from made_up_gpu import Watch
from torch import nn

from facelesion.analysis import class_score, grad_cam
from facelesion.analysis.gradcam import likeness_score
from facelesion.lesions import Ablate, Noise, lesioned

NETWORK = nn.Sequential(
    nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
).eval()  # fmt: skip
SCORES = {
    "a class": lambda there: class_score(lambda x: x, 1),
    "a class each": lambda there: class_score(lambda x: x, there),
    "a likeness": lambda there: likeness_score(torch.empty(4, 6, device="meta"), there, lambda x: x),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("lesion", [None, Ablate("3", fraction=0.5), Noise("1", std=0.3)], ids=str)
def test_maps_mix_no_devices_and_fetch_and_bring_nothing(name, lesion):
    model, images = copy.deepcopy(NETWORK).to("meta"), torch.rand(4, 3, 16, 16, device="meta")
    score = SCORES[name](torch.arange(4, device="meta"))
    with lesioned(model, lesion):
        grad_cam(model, images, ["1", "3"], score)
        with Watch() as watch:
            maps = grad_cam(model, images, ["1", "3"], score)
    assert all(each.is_meta and each.shape == (4, 16, 16) for each in maps.values())
    assert not watch.brought, watch.brought
