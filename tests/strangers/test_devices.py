"""Strangers on a GPU that is not there: a lesion mixes no devices, and after a first forward it fetches nothing."""

from __future__ import annotations

import made_up_works as works
import pytest
from made_up_gpu import GPU
from zoo import whole_zoo

# Norms of odd layouts crash PyTorch's fake tensors (2.15): those of `zoo_layouts` are left out. So is who has no
# weights before it has run.
ZOO = {
    name: each for name, each in whole_zoo().items() if each.make.__module__ != "zoo_layouts" and name != "Lazy"
}


def keeps_the_rules(seen, gpu: str) -> None:
    assert seen["where"] == gpu
    assert seen["brought"].total() <= seen["healthy"].total(), seen["brought"] - seen["healthy"]


@pytest.mark.parametrize("kind", works.OF_STRANGERS)
@pytest.mark.parametrize("name", ZOO)
def test_lesions_of_strangers_keep_a_gpu_s_rules(name, kind):
    seen = works.lesion_of_stranger(name, kind)
    if isinstance(seen, str):
        pytest.skip(seen)
    keeps_the_rules(seen, GPU)


@pytest.mark.parametrize("kind", works.OF_STRANGERS)
@pytest.mark.parametrize("name", ["TimeFirstLSTM", "BatchFirstGRU"])
def test_lesions_of_recurrent_strangers_keep_them_too(in_made_up_process, name, kind):
    """A CUDA device's recurrent layers are cuDNN's, and ask for a driver; another device's are PyTorch's own."""
    keeps_the_rules(in_made_up_process(works.lesion_of_stranger, name, kind), works.GPU)


SEES_PICTURES = [name for name, each in ZOO.items() if each.images.ndim == 4 and each.images.is_floating_point()]


@pytest.mark.parametrize("name", SEES_PICTURES)
def test_maps_of_strangers_go_backward_there_and_fetch_nothing(in_made_up_process, name):
    seen = in_made_up_process(works.maps_of_stranger, name)
    if isinstance(seen, str):
        pytest.skip(seen)
    assert seen == {"none": 0, "ablation": 0}
