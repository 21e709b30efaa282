"""Strangers on a GPU that is not there: a lesion mixes no devices, and after a first forward it fetches nothing."""

from __future__ import annotations

import made_up_works as works
import pytest
import torch
from made_up_gpu import GPU, Watch, on_a_gpu
from zoo import Stranger, whole_zoo

from facelesion.lesions import Ablate, Dropout, LesionError, Noise, Scale, lesioned

# Norms of odd layouts crash PyTorch's fake tensors (2.15): those of `zoo_layouts` are left out. So is who has no
# weights before it has run.
ZOO = {
    name: each for name, each in whole_zoo().items() if each.make.__module__ != "zoo_layouts" and name != "Lazy"
}
LESIONS = {
    "ablate": lambda site: Ablate(site, fraction=0.5),
    "dropout": lambda site: Dropout(site, p=0.5),
    "several": lambda site: [Scale(site, by=0.5), None, Noise(site, std=1.0)],
}


def answered(stranger: Stranger, model, images) -> bool:
    """Whether a network runs there in health; some read values themselves, or need a driver."""
    try:
        stranger.answered(model, images)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("kind", LESIONS)
@pytest.mark.parametrize("name", ZOO)
@torch.no_grad()
def test_lesions_of_strangers_keep_a_gpu_s_rules(name, kind):
    stranger = ZOO[name]
    lesion = LESIONS[kind](stranger.places[0].site)
    times = len(lesion) if isinstance(lesion, list) else 1
    images = torch.cat([stranger.images] * times)
    with on_a_gpu(stranger.build(), images) as (model, images):
        with Watch() as healthy:
            if not answered(stranger, model, images):
                pytest.skip("it does not run on fake tensors in health")
        try:
            with lesioned(model, lesion):
                stranger.answered(model, images)
                with Watch() as watch:
                    assert stranger.answered(model, images).device.type == GPU
        except LesionError:
            pytest.skip("refused")
    assert watch.brought.total() <= healthy.brought.total(), watch.brought - healthy.brought


@pytest.mark.parametrize("name", ["TimeFirstLSTM", "BatchFirstGRU"])
def test_lesions_of_recurrent_strangers_keep_them_too(in_made_up_process, name):
    """A CUDA device's recurrent layers are cuDNN's, and ask for a driver; another device's are PyTorch's own."""
    assert in_made_up_process(works.lesions_of_stranger, name) == {"none": 0, "ablation": 0, "several": 0}


SEES_PICTURES = [name for name, each in ZOO.items() if each.images.ndim == 4 and each.images.is_floating_point()]


@pytest.mark.parametrize("name", SEES_PICTURES)
def test_maps_of_strangers_go_backward_there_and_fetch_nothing(in_made_up_process, name):
    seen = in_made_up_process(works.maps_of_stranger, name)
    if isinstance(seen, str):
        pytest.skip(seen)
    assert seen == {"none": 0, "ablation": 0}
