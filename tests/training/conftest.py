"""What tests of training share: a network so small that an epoch takes no time."""

from __future__ import annotations

import pytest
import torch

from facelesion.models import VGGFace
from facelesion.weights import store


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a network of a sixteenth of VGG16's width, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = dict(VGGFace(0.0625, outputs=None).state_dict())
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    store.save_weights(path, network, {"architecture": "VGGFace", "width": 0.0625, "size": 112})
    return str(path)
