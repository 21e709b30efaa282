"""A training step on a GPU that is not there: with a lesion in place, nothing is fetched, and nothing waited for."""

from __future__ import annotations

import pytest
import torch
from made_up_gpu import GPU, Watch, on_a_gpu

from facelesion.lesions import Ablate, Dropout, Noise
from facelesion.models import get
from facelesion.training.classifier import Classifier
from facelesion.training.classify import ClassifyConfig

LESIONS = [None, Ablate("conv5_*", fraction=0.3), Noise("conv4_3", std=0.5) + Dropout("conv5_1", p=0.4)]


@pytest.mark.parametrize("lesion", LESIONS, ids=str)
@pytest.mark.parametrize("task", ["detection", "identification"])
def test_a_step_forward_mixes_no_devices_and_fetches_and_brings_nothing(lesion, task):
    """Backward PyTorch asks a driver, so the step ends with its loss."""
    module = Classifier(get("untrained"), ("a", "b"), lesion, ClassifyConfig(task=task))
    module.log_dict = lambda *_, **__: None  # the trainer's
    pictures = torch.zeros(4, 3, 112, 112, dtype=torch.uint8)
    with on_a_gpu(module, pictures, torch.arange(4), torch.tensor([0, 1, 0, 1])) as (there, images, ids, target):
        there.subject = module.subject
        batch = {"image": images, "index": ids, "target": target}
        there.training_step(batch, 0)
        with Watch() as watch:
            loss = there.training_step(batch, 1)
        assert loss.device.type == GPU and loss.shape == () and loss.requires_grad
    assert not watch.brought, watch.brought
