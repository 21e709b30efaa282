"""A sweep says how much each lesion changed its sites, as `lesioned` does by hand."""

from __future__ import annotations

import math

import pytest
import torch

from facelesion.lesions import Ablate, Changes, Dropout, Noise, Prune, Scale, Shift, lesioned
from facelesion.sweep import Options, SweepError, read_changes, read_sweep, stream, sweep, sweep_to_folder

SHARED = Noise("conv2_1", std=0.2) + Ablate("conv3_1", fraction=0.3)
LESIONS = {
    "none": None,
    "all": Ablate("conv4_1"),
    "some": Ablate("conv4_1", fraction=0.3),
    "two at one site": Scale("conv4_1", by=2.0) + Noise("conv4_1", std=0.1),
    "shared": SHARED + Dropout("conv5_2", p=0.2),
    "shared too": SHARED + Dropout("conv5_2", p=0.4),
    "shared and no more": SHARED,
    "pattern": Shift("conv5_*", by=0.1),
    "pruned": Prune("conv3_2", fraction=0.4) + Shift("conv5_1", by=0.1),
    "itself": Scale(".", by=0.5),
    "random pattern": Noise("conv3_*", std=0.3) + Ablate("conv5_2", fraction=0.2),
    "the same again": Ablate("conv4_1"),
}


def by_hand(network, images, size=16):
    found = {}
    for name, lesion in LESIONS.items():
        changes = Changes()
        with torch.no_grad(), lesioned(network, lesion, changes=changes):
            for batch in images.split(size):
                network(batch)
        found[name] = changes.relative()[0]
    return found


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=1e-5), name


@pytest.mark.parametrize(
    "options", [Options(), Options(batch_size=2), Options(batch_size=3, rows=4), Options(trace=False)]
)
def test_changes_are_those_of_plain_hooks(options, vgg, images, close):
    wanted = by_hand(vgg, images)
    changes = {}
    outputs = sweep(vgg, LESIONS, images, options=options, changes=changes)
    same(changes, wanted)
    assert changes["none"] == {} and changes["all"] == {"features.18": pytest.approx(1.0)}
    assert list(changes["shared"]) == ["features.6", "features.11", "features.27"]
    plain = sweep(vgg, LESIONS, images, options=options)
    for name in LESIONS:
        close(outputs[name], plain[name])


def test_changes_are_measured_beside_metrics(vgg, images):
    class Count:
        total = 0

        def update(self, outputs, rows):
            self.total += len(rows)

        def compute(self):
            return self.total

    changes = {}
    assert sweep(vgg, LESIONS, images, reduce=lambda name: Count(), changes=changes)["all"] == len(images)
    same(changes, by_hand(vgg, images))


def test_a_lesion_of_silent_units_changed_nothing(vgg, images):
    quiet = {"silent": Scale("conv4_1", by=0.0) + Ablate("conv4_1"), "woken": Shift("conv4_1", by=1.0)}
    changes = {}
    sweep(vgg, quiet, images, changes=changes)
    assert changes["silent"]["features.18"] == pytest.approx(1.0)
    assert 0 < changes["woken"]["features.18"] < math.inf


def test_parts_of_a_stream_carry_their_sums_only_where_asked_for(vgg, images):
    for part in stream(vgg, LESIONS, images):
        assert part.squares == {}
    assert any(part.squares for part in stream(vgg, LESIONS, images, changes=True))


def test_a_folder_keeps_changes_and_goes_on_with_them(vgg, images, tmp_path, close):
    wanted = by_hand(vgg, images)
    few = {name: LESIONS[name] for name in ("none", "all", "shared")}
    sweep_to_folder(tmp_path, vgg, few, images[:3], options=Options(batch_size=2))
    with pytest.raises(SweepError, match=r"run the sweep again with changes=True"):
        read_changes(tmp_path)
    # What is there without changes is computed again; further lesions, images and other batches join in.
    sweep_to_folder(tmp_path, vgg, few, images[:3], options=Options(batch_size=2), changes=True)
    sweep_to_folder(tmp_path, vgg, LESIONS, images, options=Options(batch_size=3), changes=True)
    same(read_changes(tmp_path), wanted)
    parts = sorted((tmp_path / "parts").iterdir())
    for changes in (True, False):
        sweep_to_folder(tmp_path, vgg, LESIONS, images, options=Options(batch_size=3), changes=changes)
    assert sorted((tmp_path / "parts").iterdir()) == parts
    outputs = sweep(vgg, LESIONS, images)
    for name, found in read_sweep(tmp_path).items():
        close(found, outputs[name])


def test_a_folder_whose_changes_were_cut_off_is_finished(vgg, images, tmp_path):
    options = Options(batch_size=2)
    sweep_to_folder(tmp_path, vgg, LESIONS, images, options=options, changes=True, part_bytes=1)
    wanted = read_changes(tmp_path)
    for part in sorted((tmp_path / "parts").iterdir())[::2]:
        part.unlink()
    with pytest.raises(SweepError, match="are missing"):
        read_changes(tmp_path)
    sweep_to_folder(tmp_path, vgg, LESIONS, images, options=options, changes=True, part_bytes=1)
    assert read_changes(tmp_path) == wanted
    same(wanted, by_hand(vgg, images))


@pytest.mark.parametrize("changes", [True, [], {"a": {}}])
def test_changes_that_cannot_be_filled_are_refused(changes, vgg, images):
    with pytest.raises(SweepError, match="changes"):
        sweep(vgg, LESIONS, images, changes=changes)


def test_two_batches_that_are_alike_are_two(vgg, images, tmp_path, close):
    twice, ids = torch.cat([images[:2], images[:2]]), [4, 5, 4, 5]
    sweep_to_folder(tmp_path, vgg, LESIONS, twice, ids=ids, options=Options(batch_size=2))
    for name, found in read_sweep(tmp_path).items():
        close(found[:2], found[2:])
        assert len(found) == 4, name
