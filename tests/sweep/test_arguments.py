"""What a sweep cannot take is told in one line that names the argument, where it enters."""

from __future__ import annotations

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from facelesion.lesions import Ablate, LesionError, calibrate
from facelesion.sweep import (
    Options,
    SweepError,
    effects,
    first_order,
    greedy_ranking,
    make_plan,
    stream,
    sweep,
    sweep_to_folder,
    unit_sweep,
)

IMAGES = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))
LESIONS = {"none": None, "a": Ablate("0", units=[1])}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()


def loss(outputs, numbers):
    return outputs.sum(1)


BATCHES = {
    "a numpy array": (IMAGES.numpy(), "batches.*numpy"),
    "numpy arrays": ([IMAGES.numpy()], r"batches\[0\].*numpy"),
    "text": ("images", "batches"),
    "None": (None, "batches"),
    "a dictionary": ({"images": IMAGES}, "batches"),
    "dictionaries": ([{"images": IMAGES}], r"batches\[0\]"),
    "images and labels at once": ((IMAGES, torch.arange(5)), r"batches\[1\]"),
    "no images": (IMAGES[:0], "batches.*no image"),
    "no batches": ([], "batches"),
    "an empty batch": ([IMAGES, IMAGES[:0]], r"batches\[1\].*no image"),
    "an empty tuple": ([()], r"batches\[0\]"),
    "a number": (torch.tensor(1.0), "batches"),
    "images one by one": (list(IMAGES), "batches"),
    "images of another size": (torch.rand(5, 3, 9, 9), "batches.*(3, 9, 9)"),
    "two sizes": ([IMAGES, torch.rand(5, 3, 9, 9)], r"batches\[1\].*(3, 9, 9)"),
    "two types": ([IMAGES, IMAGES.double()], r"batches\[1\].*float64"),
    "images of another type": (IMAGES.double(), "batches.*float64"),
    "whole numbers": ((IMAGES * 255).to(torch.uint8), "batches.*uint8"),
    "another number of channels": (IMAGES[:, :1], "batches"),
    "images without numbers": (IMAGES.to("meta"), "batches.*meta"),
    "sparse images": (IMAGES.to_sparse(), "batches.*sparse"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_images_that_cannot_be_swept(network, name):
    batches, line = BATCHES[name]
    for run in (lambda: sweep(network, LESIONS, batches), lambda: unit_sweep(network, "0", batches)):
        with pytest.raises(SweepError, match=line) as told:
            run()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("images", [IMAGES.numpy(), [IMAGES], None, IMAGES[:0], "images", IMAGES.double()])
def test_images_that_must_be_one_tensor(network, images, tmp_path):
    for run in (
        lambda: sweep_to_folder(tmp_path / "folder", network, LESIONS, images),
        lambda: effects(network, "0", images, loss),
        lambda: first_order(network, "0", images, loss),
        lambda: greedy_ranking(network, "0", images, loss),
    ):
        with pytest.raises(SweepError, match="images"):
            run()
    with pytest.raises(SweepError, match="example|batches"):
        make_plan(network, LESIONS, images)
    assert not (tmp_path / "folder").exists()


GIVEN = {
    "lesions as a list": ({"lesions": [Ablate("0")]}, "lesions"),
    "one lesion": ({"lesions": Ablate("0")}, "lesions"),
    "no lesions": ({"lesions": {}}, "lesions"),
    "a lesion as text": ({"lesions": {"a": "Ablate"}}, r"lesions\['a'\]"),
    "several in one place": ({"lesions": {"a": [Ablate("0")]}}, r"lesions\['a'\]"),
    "a name that is a number": ({"lesions": {1: None}}, "lesions: a name"),
    "no network": ({"model": "vgg16"}, "model"),
    "a class of network": ({"model": nn.ReLU}, "model"),
    "image numbers with fractions": ({"ids": [0.5, 1, 2, 3, 4]}, "ids"),
    "image numbers as floats": ({"ids": torch.arange(5.0)}, "ids"),
    "image numbers as text": ({"ids": ["a", "b", "c", "d", "e"]}, "ids"),
    "image numbers as one text": ({"ids": "abcde"}, "ids"),
    "image numbers that are true": ({"ids": [True] * 5}, "ids"),
    "one image number": ({"ids": 3}, "ids"),
    "a table of image numbers": ({"ids": torch.arange(5)[:, None]}, "ids"),
    "too few image numbers": ({"ids": [1, 2]}, "ids names 2 images"),
    "too many image numbers": ({"ids": range(9)}, "ids names 9 images"),
    "image numbers that are too large": ({"ids": [2**70] * 5}, "ids"),
    "missing image numbers": ({"ids": [None] * 5}, "ids"),
    "a seed as text": ({"seed": "a"}, "seed"),
    "no seed": ({"seed": None}, "seed"),
    "a seed with a fraction": ({"seed": 0.5}, "seed"),
    "another calibration": ({"calibration": {"0": torch.zeros(4)}}, "calibration"),
    "options as a dictionary": ({"options": {"rows": 1}}, "options"),
    "a readout that is none": ({"readout": "logits"}, "readout"),
    "a readout that gives a number": ({"readout": lambda output: float(output.sum())}, "readout"),
    "a readout that gives an array": ({"readout": lambda output: output.numpy()}, "readout"),
    "a readout that fails": ({"readout": lambda output: {}["logits"]}, "readout"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_arguments_that_make_no_sense(network, name, tmp_path):
    values, line = GIVEN[name]
    given = {"model": network, "lesions": LESIONS} | values
    for run in (
        lambda: sweep(batches=IMAGES, **given),
        lambda: list(stream(batches=IMAGES, **given)),
        lambda: sweep_to_folder(tmp_path / "folder", images=IMAGES, **given),
    ):
        with pytest.raises(SweepError, match=line) as told:
            run()
        assert "\n" not in str(told.value)
    assert not (tmp_path / "folder").exists()


def test_image_numbers_of_batches_are_counted(network):
    with pytest.raises(SweepError, match="ids names 9 images; there are 5"):
        sweep(network, LESIONS, IMAGES.split(2), ids=range(9))
    with pytest.raises(SweepError, match="ids names 3 images"):
        sweep(network, LESIONS, IMAGES.split(2), ids=range(3))


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "4", float("nan")])
def test_a_batch_size_that_is_none(network, size):
    for run in (
        lambda: sweep(network, LESIONS, IMAGES, batch_size=size),
        lambda: unit_sweep(network, "0", IMAGES, batch_size=size),
        lambda: effects(network, "0", IMAGES, loss, batch_size=size),
        lambda: first_order(network, "0", IMAGES, loss, batch_size=size),
        lambda: greedy_ranking(network, "0", IMAGES, loss, batch_size=size),
        lambda: Options(batch_size=size),
    ):
        with pytest.raises(SweepError, match="batch_size"):
            run()


def test_a_batch_size_is_said_once(network):
    two = Options(batch_size=2)
    for run in (
        lambda size: sweep(network, LESIONS, IMAGES, options=two, batch_size=size),
        lambda size: unit_sweep(network, "0", IMAGES, options=two, batch_size=size),
        lambda size: effects(network, "0", IMAGES, loss, options=two, batch_size=size),
        lambda size: greedy_ranking(network, "0", IMAGES, loss, options=two, batch_size=size),
    ):
        with pytest.raises(SweepError, match="batch_size is 3, and options say 2: say it once"):
            run(3)
        run(2)
        run(None)


def test_images_go_together_as_batch_size_or_options_say(network):
    class Counted:
        batches = 0

        def update(self, outputs, rows):
            self.batches += 1

        def compute(self):
            return self.batches

    for given, wanted in (({"batch_size": 2}, 3), ({"options": Options(batch_size=4)}, 2), ({}, 1)):
        found = sweep(network, {"none": None}, IMAGES, reduce=lambda name: Counted(), **given)
        assert found == {"none": wanted}


@pytest.mark.parametrize(
    "values",
    [
        {"rows": 0}, {"rows": 2.5}, {"budget": -1}, {"budget": "2 GB"}, {"autocast": "bfloat16"},
        {"autocast": torch.int8}, {"channels_last": "yes"}, {"trace": None}, {"winograd": 1},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(values):
    with pytest.raises(SweepError, match=next(iter(values))):
        Options(**values)


UNITS = {
    "units twice": ({"units": [1, 1]}, "units names unit 1 twice"),
    "units that are not there": ({"units": [4]}, "no unit 4"),
    "a negative unit": ({"units": [-1]}, "no unit -1"),
    "no units": ({"units": []}, "units"),
    "half a unit": ({"units": [0.5]}, "units"),
    "units as a mask": ({"units": torch.tensor([True, False, True, False])}, "units"),
    "units as text": ({"units": "12"}, "units"),
    "one unit": ({"units": 1}, "units"),
    "units of another site": ({"units": {"3": [0]}}, "units.*none of the sites"),
    "units of no site": ({"units": {"9": [0]}}, "no site '9'"),
    "units twice at a site": ({"units": {"0": [2, 2]}}, r"units\['0'\] names unit 2 twice"),
    "removed beyond the site": ({"removed": {"0": [4]}}, "removed.*no unit 4"),
    "removed before the site": ({"removed": {"0": [-1]}}, "removed.*no unit -1"),
    "removed beyond another site": ({"removed": {"3": [2]}}, "no unit 2"),
    "removed as a list": ({"removed": [1]}, "removed"),
    "removed twice": ({"removed": {"0": [1, 1]}}, r"removed\['0'\]"),
    "removed at no site": ({"removed": {"9": [1]}}, "no site '9'"),
    "removed at a site that is no text": ({"removed": {0: [1]}}, "removed"),
    "half a unit removed": ({"removed": {"0": [0.5]}}, "removed"),
    "a site that is no text": ({"sites": 3}, "sites"),
    "sites that are no text": ({"sites": ["0", None]}, "sites"),
    "no sites": ({"sites": []}, "sites"),
    "an empty site": ({"sites": " "}, "sites"),
    "no site": ({"sites": None}, "sites"),
    "one call of a site": ({"sites": "0[0]"}, "whole modules"),
    "another removal": ({"to": "median"}, "to is zero or mean"),
    "no calibration": ({"to": "mean"}, "calibrate"),
    "a reduction that sums all": ({"reduce": lambda outputs, rows: outputs.sum()}, "reduce"),
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("trace", [True, False])
def test_units_that_make_no_sense(network, name, trace):
    values, line = UNITS[name]
    given = {"sites": "0", "options": Options(batch_size=2, trace=trace)} | values
    with pytest.raises((SweepError, LesionError), match=line):
        unit_sweep(network, batches=IMAGES, **given)


def test_units_that_are_given_once_serve_every_site_and_batch(network, naive, close):
    # Generators can be read once only.
    found = unit_sweep(
        network,
        (site for site in ("0", "1")),
        (batch for batch in IMAGES.split(2)),
        units=(unit for unit in (0, 3)),
        removed={"0": (unit for unit in (1,))},
    )
    for site, gone in (("0", [1]), ("1", [])):
        for unit, output in zip((0, 3), found[site], strict=True):
            lesion = Ablate(site, units=[*gone, unit])
            close(output, naive(network, lesion if gone else Ablate("0", units=[1]) + lesion, IMAGES))
    outputs = sweep(
        network, LESIONS, (batch for batch in IMAGES.split(2)), ids=(number for number in range(5))
    )
    close(outputs["a"], naive(network, LESIONS["a"], IMAGES))


def test_removed_units_may_be_named_by_alias_and_take_their_own_mean(vgg, images, naive, close):
    calibration = calibrate(vgg, images, ["conv3_1", "conv4_1"])
    for removed in ({"conv3_1": [3]}, {"features.11": [3]}):
        found = unit_sweep(
            vgg,
            "conv4_1",
            images,
            units={"conv4_1": [1]},
            removed=removed,
            to="mean",
            calibration=calibration,
        )["features.18"]
        lesion = Ablate("conv3_1", units=[3], to="mean") + Ablate("conv4_1", units=[1], to="mean")
        close(found[0], naive(vgg, lesion, images, calibration=calibration))


def test_units_of_the_last_step_are_tried_on_top_of_others_that_are_gone(network, naive, close):
    found = unit_sweep(network, "3", IMAGES, removed={"3": [0]})["3"]
    close(found[1], naive(network, Ablate("3", units=[0, 1]), IMAGES))


LOSSES = {
    "none": "cross entropy",
    "a mean": lambda outputs, numbers: outputs.sum(1).mean(),
    "a number for each output": lambda outputs, numbers: outputs,
    "a plain number": lambda outputs, numbers: 1.0,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_not_one_number_per_image(network, name):
    for run in (effects, first_order, greedy_ranking):
        with pytest.raises(SweepError, match="loss"):
            run(network, "0", IMAGES, LOSSES[name])


@pytest.mark.parametrize("site", [3, None, ["0", "1"], "", []])
def test_a_ranking_of_what_is_not_one_site(network, site):
    for run in (effects, first_order, greedy_ranking):
        with pytest.raises(SweepError, match="site"):
            run(network, site, IMAGES, loss)


@pytest.mark.parametrize("values", [{"fraction": 0}, {"fraction": "a"}, {"step": 2}, {"step": None}])
def test_a_ranking_of_no_share(network, values):
    with pytest.raises(SweepError, match=next(iter(values))):
        greedy_ranking(network, "0", IMAGES, loss, **values)


def test_folders_that_cannot_be_made(network, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SweepError, match="folder"):
            sweep_to_folder(folder, network, LESIONS, IMAGES)
    for values in ({"processes": 0}, {"processes": 1.5}, {"part_bytes": 0}):
        with pytest.raises(SweepError, match=next(iter(values))):
            sweep_to_folder(tmp_path / "folder", network, LESIONS, IMAGES, **values)


def test_a_loader_of_images_and_labels_is_swept(network, naive, close):
    loader = DataLoader(TensorDataset(IMAGES, torch.arange(5)), batch_size=2)
    outputs = sweep(network, LESIONS, loader)
    for name, lesion in LESIONS.items():
        close(outputs[name], naive(network, lesion, IMAGES))
    close(unit_sweep(network, "0", loader)["0"][1], outputs["a"])
    pairs = [(IMAGES[:3], "a"), [IMAGES[3:], None]]
    close(sweep(network, LESIONS, pairs)["a"], outputs["a"])


def test_numbers_of_numpy_are_numbers(network, naive, close):
    outputs = sweep(
        network, LESIONS, IMAGES, ids=numpy.arange(5), seed=numpy.int64(3), batch_size=numpy.int64(2)
    )
    close(outputs["a"], naive(network, LESIONS["a"], IMAGES))
    close(unit_sweep(network, "0", IMAGES, units=numpy.array([1]))["0"][0], outputs["a"])
