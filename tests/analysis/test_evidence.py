"""Shares of evidence are what counting pixels gives, and a face's parts make up its whole picture."""

from __future__ import annotations

import pytest
import torch

from facelesion.analysis.evidence import evidence_shares, site_shares
from facelesion.analysis.gradcam import resized
from facelesion.errors import Error
from facelesion.faces.division import PARTS, divided
from facelesion.faces.regions import mean_face, region_mask


@pytest.fixture
def parts() -> torch.Tensor:
    return divided(torch.stack([mean_face(48), mean_face(48) + 2]), 48, 48)


def test_shares_are_what_counting_pixels_one_by_one_gives(parts):
    maps = torch.rand(2, 48, 48, generator=torch.Generator().manual_seed(0))
    found = evidence_shares(maps, parts)
    for n in range(2):
        for p in range(len(PARTS)):
            counted = sum(float(maps[n, y, x] * parts[n, p, y, x]) for y in range(48) for x in range(48))
            assert float(found.share[n, p]) == pytest.approx(counted / float(maps[n].sum()), rel=1e-4)
            assert float(found.area[n, p]) == pytest.approx(float(parts[n, p].sum()) / 48**2, rel=1e-5)
    assert torch.allclose(found.share.sum(1), torch.ones(2)) and torch.allclose(found.area.sum(1), torch.ones(2))


def test_evidence_on_one_part_is_all_there(parts):
    only = parts[:, PARTS.index("mouth")] * (parts[:, PARTS.index("mouth")] == 1)
    assert torch.allclose(evidence_shares(only, parts).share[:, PARTS.index("mouth")], torch.ones(2))


def test_evidence_that_lies_anywhere_alike_has_the_share_of_the_area(parts):
    found = evidence_shares(torch.full((2, 48, 48), 0.3), parts)
    assert torch.allclose(found.share, found.area, atol=1e-6)
    assert torch.allclose(found.density, torch.ones_like(found.density), atol=1e-4)


@pytest.mark.parametrize("size", [(48, 48), (24, 24), (7, 7), (5, 9), (1, 1)])
def test_a_coarse_map_has_the_shares_of_the_same_map_enlarged(parts, size):
    coarse = torch.rand(2, *size, generator=torch.Generator().manual_seed(2)) ** 4
    found = site_shares({"there": coarse}, parts)["there"]
    expected = evidence_shares(resized(coarse, 48, 48), parts)
    assert torch.allclose(found.share, expected.share, atol=1e-5)
    assert torch.equal(found.area, expected.area)


def test_a_map_of_zeros_has_no_shares(parts):
    found = evidence_shares(torch.zeros(2, 48, 48), parts)
    assert found.share.isnan().all() and not found.area.isnan().any()


def test_shares_do_not_hang_on_how_bright_a_map_is(parts):
    maps = torch.rand(2, 48, 48, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(evidence_shares(maps, parts).share, evidence_shares(1e-6 * maps, parts).share, atol=1e-6)


def test_every_feature_is_what_its_mask_covers_and_no_pixel_is_lost(parts):
    assert torch.allclose(parts.sum(1), torch.ones(2, 48, 48)) and (parts >= 0).all()
    for name in ("eyes", "eyebrows", "nose", "mouth"):
        mask = region_mask(mean_face(48)[None], name, 48, 48)[0, 0]
        assert torch.equal(parts[0, PARTS.index(name)] > 0, mask), name
    features = parts[:, :4].sum(1) > 0
    assert not (parts[:, PARTS.index("outside")].bool() & features).any()


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        (torch.full((2, 48, 48), -1.0), "not below 0"),
        (torch.full((2, 48, 48), torch.nan), "finite"),
        (torch.ones(2, 24, 24), "of the same pictures"),
        (torch.ones(1, 48, 48), "of the same pictures"),
    ],
)
def test_maps_that_cannot_be_shared_out_are_told(parts, maps, said):
    with pytest.raises(Error, match=said):
        evidence_shares(maps, parts)
    with pytest.raises(Error, match="once in all"):
        evidence_shares(torch.ones(2, 48, 48), 0.5 * parts)
