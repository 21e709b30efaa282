"""Training on a GPU that is not there: a step fetches nothing and waits for nothing; what is asked is asked there."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import made_up_works as works
import pytest
import pytorch_lightning as lightning
import torch
from made_up_gpu import GPU, Watch, on_a_gpu

from facelesion.data import FaceSpace
from facelesion.data.modules import Trials
from facelesion.lesions import Ablate, Dropout, Noise
from facelesion.models import VGGFace, get
from facelesion.products import float32_products, rounds
from facelesion.training import classify, device, run
from facelesion.training.classifier import Classifier, TrialData
from facelesion.training.classify import ClassifyConfig, ClassifyData, calibrated
from facelesion.training.reached import represent
from facelesion.training.run import RunConfig
from facelesion.training.trials import Shown
from facelesion.training.views import teach

LESIONS = [None, Ablate("conv5_*", fraction=0.3), Noise("conv4_3", std=0.5) + Dropout("conv5_1", p=0.4)]


@pytest.mark.parametrize("lesion", LESIONS, ids=str)
@pytest.mark.parametrize("task", ["detection", "identification"])
def test_a_step_forward_mixes_no_devices_and_fetches_and_brings_nothing(lesion, task):
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


@pytest.mark.parametrize("learner", works.LEARNERS)
def test_a_whole_step_of_every_recipe_mixes_no_devices_and_fetches_and_brings_nothing(in_made_up_process, learner):
    """Forward, backward, optimiser, and the running average where there is one."""
    seen = in_made_up_process(works.step, learner)
    assert not seen["brought"], seen["brought"]
    assert seen["loss"] == works.GPU and set(seen["slopes"]) == {works.GPU}
    idle = 4 if learner.endswith("alone") else 0  # the readout of people, whom it never meets
    assert len(seen["slopes"]) == seen["parameters"] - idle > 0


@pytest.fixture(scope="module")
def trials() -> Trials:
    faces = FaceSpace.load().draw(2, 3, seed=5)
    return Trials(faces, torch.arange(6) % 2)


class AsTheyAre(Shown):
    """Trials whose pictures are not looked through for those with a mask: which these are is a value."""

    def images(self, rows):
        return self.trials.pictures.images[rows]


def shown(trials: Trials) -> Shown:
    return AsTheyAre(trials, ("intact",), torch.arange(len(trials)))


@contextlib.contextmanager
def there(lesion=None, **settings):
    """A classifier on that GPU."""
    module = Classifier(get("untrained"), ("a", "b"), lesion, ClassifyConfig(task="identification", **settings))
    with on_a_gpu(module) as (moved,):
        moved.subject = replace(module.subject, module=moved.network)
        yield moved


ASKED_WHERE_IT_IS = {
    "representations": lambda module, trials: represent(module.subject, trials.pictures.images),
    "answers": lambda module, trials: module.logits_of(shown(trials), module.lesion),
    "features": lambda module, trials: TrialData({"train": shown(trials)}, module.config, module)
    .parts["train"][[0, 1]]["seen"],
    "a calibration": lambda module, trials: torch.stack(list(
        calibrated(module.subject, Ablate("conv5_3", units=[0], to="mean"), trials, 0).means.values()
    )),
    "a teacher's answers": lambda module, trials: teach(
        module.network, module.subject.preprocess, trials.pictures.images
    ).targets,
}


@pytest.mark.parametrize("what", ASKED_WHERE_IT_IS)
@torch.no_grad()
def test_what_is_asked_before_and_after_training_is_asked_there_and_answered_here(what, trials):
    with there(Ablate("conv5_*", fraction=0.3), trained="head") as module:
        seen = []
        module.network.features.register_forward_pre_hook(lambda _, given: seen.append(given[0].device.type))
        made = ASKED_WHERE_IT_IS[what](module, trials)
    assert set(seen) == {GPU} and made.device.type == "cpu"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"accelerator": "cpu"}, "cpu"), ({"accelerator": "auto"}, "cuda:0"), ({"accelerator": "gpu"}, "cuda:0"),
        ({"accelerator": "gpu", "devices": 2, "strategy": "ddp"}, "cuda:0"),
        ({"accelerator": "gpu", "devices": 2, "strategy": "ddp_spawn"}, "cpu"),
        ({"accelerator": "gpu", "devices": 2, "strategy": "ddp_fork"}, "cpu"),
    ],
)  # fmt: skip
def test_a_run_asks_on_the_device_that_it_trains_on(settings, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.device_of_run(RunConfig("runs/x", **settings)) == torch.device(expected)
    if expected != "cpu":
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert device.device_of_run(RunConfig("runs/x", **settings)) == torch.device("cuda:1")


def test_a_network_is_brought_back_also_where_asking_fails(monkeypatch):
    class Network(torch.nn.Module):
        def to(self, place):
            places.append(place)

    places = []
    monkeypatch.setattr(device, "device_of_run", lambda config: torch.device(GPU))
    with pytest.raises(ZeroDivisionError), device.placed(RunConfig("runs/x"), Network()):
        assert places == [torch.device(GPU)]
        raise ZeroDivisionError
    assert places[1:] == [torch.device("cpu")]


def test_a_recipe_asks_nothing_of_its_network_but_where_it_trains_or_is_placed(tmp_path, tiny, monkeypatch):
    depth, outside = 0, []

    def counted(context):
        @contextlib.contextmanager
        def within(*given, **more):
            nonlocal depth
            depth += 1
            try:
                with context(*given, **more):
                    yield
            finally:
                depth -= 1

        return within

    monkeypatch.setattr(classify, "placed", counted(device.placed))
    monkeypatch.setattr(run, "float32_products", counted(float32_products))  # around what Lightning does
    forward = VGGFace.forward

    def watched(self, images):
        if not depth and len(images) > 1:  # a blank picture tells the readout's size
            outside.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(VGGFace, "forward", watched)
    config = ClassifyConfig(
        network=tiny, task="detection", lesion=({"kind": "Ablate", "site": "conv5_3", "fraction": 0.5},), epochs=1,
        data=ClassifyData(people=4, pictures=2, stimuli=("intact",), tests=("intact",)),
        run=RunConfig(str(tmp_path / "run"), progress=False, accelerator="cpu"),
    )  # fmt: skip
    classify.classify(config)
    assert not outside


@pytest.mark.parametrize(("precision", "expected"), [("32-true", False), ("tf32", True), ("bf16-mixed", False)])
def test_products_are_rounded_where_the_run_asks_for_it_and_in_no_test(precision, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def training_step(self, batch, number):
            seen.append(rounds())
            return self.line(batch).sum()

        def validation_step(self, batch, number):
            self.log("val_loss", self.line(batch).sum())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    config = RunConfig(str(tmp_path / "run"), progress=False, accelerator="cpu", precision=precision)
    module, rows = Module(), torch.utils.data.DataLoader(torch.ones(2, 1))
    run.fit(module, lightning.LightningDataModule.from_datasets(rows.dataset, rows.dataset), 1, config, 0)
    assert set(seen) == {expected}
    assert not torch.are_deterministic_algorithms_enabled(), "of other networks of this process nothing is asked"
    with device.placed(config, module):
        assert not rounds()
    assert torch.backends.cudnn.allow_tf32
