"""What a lower precision costs is measured on a sample of the sweep's own lesions, and written into its folder."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate, Noise
from facelesion.sweep import Options, SweepError, read_rounding, rounding, sweep, sweep_to_folder

HALF = Options(autocast=torch.bfloat16)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    ).eval()


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LESIONS = {f"unit {unit}": Ablate("1", units=[unit]) for unit in range(8)} | {"noise": Noise("3", std=1.0)}


def test_it_is_the_difference_of_two_sweeps_in_full_and_in_half(network):
    found = rounding(network, LESIONS, IMAGES, options=HALF)
    full, half = (
        torch.stack(list(sweep(network, LESIONS | {"healthy": None}, IMAGES[:4], options=options).values()))
        for options in (Options(), HALF)
    )
    error = half - full
    assert (found.dtype, found.lesions, found.images) == ("torch.bfloat16", 9, 4)
    assert found.largest == pytest.approx(float(error.abs().max() / full.abs().max()), rel=1e-4)
    assert found.typical == pytest.approx(float(error.norm() / full.norm()), rel=1e-4)
    damage = (full[:-1] - full[-1:]).square().mean().sqrt()
    assert found.of_damage == pytest.approx(float(error.square().mean().sqrt() / damage), rel=1e-4)
    assert 0 < found.typical < 0.02 and 0 < found.of_damage < 0.1


def test_a_sample_is_spread_over_all_lesions(network):
    many = {str(k): Ablate("1", units=[0]) for k in range(50)} | {"last": Ablate("5", units=[0, 1, 2, 3, 4])}
    found = rounding(network, many, IMAGES, options=HALF)
    assert found.lesions == 16
    alone = rounding(network, {"first": many["0"]}, IMAGES, options=HALF)
    assert found.of_damage < alone.of_damage  # the last one, which leaves nothing, was in the sample


def test_beside_no_damage_at_all_any_rounding_is_infinite(network):
    found = rounding(network, {"healthy": None}, IMAGES, options=HALF)
    assert found.lesions == 0 and found.of_damage == float("inf")


def test_full_precision_has_no_rounding_to_measure(network):
    with pytest.raises(SweepError, match="options name no lower precision: give autocast"):
        rounding(network, LESIONS, IMAGES, options=Options())


def test_a_folder_says_how_far_its_answers_are_from_full_precision(network, tmp_path):
    sweep_to_folder(tmp_path / "half", network, LESIONS, IMAGES, options=HALF)
    sweep_to_folder(tmp_path / "full", network, LESIONS, IMAGES)
    assert read_rounding(tmp_path / "half") == rounding(network, LESIONS, IMAGES, options=HALF)
    assert read_rounding(tmp_path / "full") is None


def test_it_is_measured_again_when_lesions_are_added_and_not_otherwise(network, tmp_path, monkeypatch):
    some = {name: LESIONS[name] for name in list(LESIONS)[:3]}
    sweep_to_folder(tmp_path, network, some, IMAGES, options=HALF)
    first = read_rounding(tmp_path)
    monkeypatch.setattr("facelesion.sweep.store.measured", None)  # would raise if it were asked
    sweep_to_folder(tmp_path, network, some, IMAGES, options=HALF)
    assert read_rounding(tmp_path) == first
    monkeypatch.undo()
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES, options=HALF)
    assert read_rounding(tmp_path) == rounding(network, LESIONS, IMAGES, options=HALF)


def test_a_folder_whose_rounding_was_changed_by_hand_is_told(network, tmp_path):
    sweep_to_folder(tmp_path, network, LESIONS, IMAGES, options=HALF)
    told = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps(told | {"rounding": [1, 2]}))
    with pytest.raises(SweepError, match="its 'rounding' cannot be read"):
        read_rounding(tmp_path)
