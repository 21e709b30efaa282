"""Grad-CAM on a GPU that is not there: in health and in damage, nothing is mixed, fetched or brought."""

from __future__ import annotations

import made_up_works as works
import pytest


@pytest.mark.parametrize("score", works.SCORES)
@pytest.mark.parametrize("lesion", works.LESIONS)
@pytest.mark.parametrize("network", works.NETWORKS)
def test_maps_mix_no_devices_and_fetch_and_bring_nothing(in_made_up_process, network, lesion, score):
    seen = in_made_up_process(works.maps, network, lesion, score)
    assert not seen["brought"], seen["brought"]
    assert seen["where"] == works.GPU and seen["shape"][0] == 4 and len(seen["shape"]) == 3


@pytest.mark.parametrize("kind", ["devices", "value"])
def test_what_would_fail_on_a_gpu_fails_there_too(in_made_up_process, kind):
    with pytest.raises(RuntimeError, match={"devices": "on the same device", "value": "_local_scalar_dense"}[kind]):
        in_made_up_process(works.mixes, kind)
