"""What is done on a GPU that is not there and has no driver, and what was seen of it: run by `made_up_process`."""

from __future__ import annotations

from typing import Any

import made_up_gpu
import made_up_process
import torch
from made_up_gpu import Answering, Watch, on_a_gpu
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18

from facelesion.analysis import class_score, grad_cam
from facelesion.analysis.gradcam import likeness_score
from facelesion.errors import Error
from facelesion.faces import mean_face
from facelesion.faces.stimulus import Stimulus
from facelesion.lesions import Ablate, Dropout, LesionError, Noise, Scale, lesioned
from facelesion.models import MobileFaceNet, VGGFace, get
from facelesion.sweep import first_order, first_order_by_image
from facelesion.training.classifier import Classifier
from facelesion.training.classify import ClassifyConfig
from facelesion.training.distillation import Distillation, Schedule, follow
from facelesion.training.distillation import Lesson as Taught
from facelesion.training.participant_learner import Learner, ParticipantLearning
from facelesion.training.participant_lessons import Contrast, Lesson, Watched

GPU = made_up_process.NAME
LESIONS = {
    "none": lambda site: None,
    "ablation": lambda site: Ablate(site, fraction=0.5),
    "several": lambda site: Noise(site, std=0.3) + Dropout(site, p=0.4),
}
OF_STRANGERS = {
    "ablate": lambda site: Ablate(site, fraction=0.5),
    "dropout": lambda site: Dropout(site, p=0.5),
    "several": lambda site: [Scale(site, by=0.5), None, Noise(site, std=1.0)],
}


NETWORKS = {  # how to make it, the pictures' side, a site
    "VGG16": (lambda: VGGFace(0.25, outputs=5), 32, "conv4_3"),
    "ResNet-18": (lambda: resnet18(num_classes=5), 40, "layer3.1.relu"),
    "MobileNetV3": (lambda: mobilenet_v3_small(num_classes=5), 48, "features.6"),
    "MobileFaceNet": (MobileFaceNet, 112, "bottleneck3"),
}
SCORES = ("a class", "a class each", "a likeness")


def maps(network: str, lesion: str, score: str) -> dict[str, Any]:
    """Grad-CAM twice: what it brought the second time, and what came of it."""
    make, size, site = NETWORKS[network]
    model, images = make().eval(), torch.rand(4, 3, size, size)
    width = model(images).shape[1]
    with on_a_gpu(model, images, torch.arange(4), torch.rand(4, width)) as (there, seen, each, others):
        scored = {
            "a class": lambda: class_score(nn.Identity(), 1),
            "a class each": lambda: class_score(nn.Identity(), each),
            "a likeness": lambda: likeness_score(others, each, nn.Identity()),
        }[score]()
        with lesioned(there, LESIONS[lesion](site)):
            grad_cam(there, seen, [site], scored)
            with Watch() as watch:
                found = grad_cam(there, seen, [site], scored)[site]
    return {"brought": dict(watch.brought), "where": found.device.type, "shape": tuple(found.shape)}


def of_two_faces(stimulus: Stimulus) -> dict[str, Any]:
    """What a stimulus made of two faces brought, the second time."""
    points = mean_face()[None].repeat(4, 1, 1)
    given = torch.rand(4, 3, 112, 112), points, torch.arange(4), torch.rand(4, 3, 112, 112), points + 1
    with on_a_gpu(nn.Identity(), *given) as (_, images, landmarks, ids, others, theirs):
        stimulus(images, landmarks, ids=ids, others=(others, theirs))
        with Watch() as watch:
            shown = stimulus(images, landmarks, ids=ids, others=(others, theirs))
        return {"brought": dict(watch.brought), "where": shown.device.type, "shape": tuple(shown.shape)}


def lesion_of_stranger(name: str, kind: str) -> str | dict[str, Any]:
    """What a lesion of a stranger's first place brought the second time, and what health brings; why not, if so."""
    stranger = _strangers()[name]
    lesion = OF_STRANGERS[kind](stranger.places[0].site)
    times = len(lesion) if isinstance(lesion, list) else 1
    with torch.no_grad(), on_a_gpu(stranger.build(), torch.cat([stranger.images] * times)) as (there, images):
        try:
            with Watch() as healthy:
                stranger.answered(there, images)
        except Exception as error:  # some read values themselves, or need a driver
            return f"it does not run on fake tensors in health: {error}"
        try:
            with lesioned(there, lesion):
                stranger.answered(there, images)
                with Watch() as watch:
                    damaged = stranger.answered(there, images)
        except LesionError as error:
            return f"refused: {error}"
    return {"brought": watch.brought, "healthy": healthy.brought, "where": damaged.device.type}


def maps_of_stranger(name: str) -> str | dict[str, int]:
    """What Grad-CAM of a stranger's first place brought, healthy and with half its units gone.

    Where there is nothing to see, why: it has no maps on the host either, or does not run on fake tensors in health.
    """
    stranger = _strangers()[name]
    site = stranger.places[0].site

    def score(answer: Any) -> torch.Tensor:
        return (answer if stranger.answer is None else stranger.answer(answer)).flatten(1).sum(1)

    def shown(model: nn.Module, images: torch.Tensor, lesion: str) -> None:
        with lesioned(model, LESIONS[lesion](site)):
            grad_cam(model, images, [site], score)

    try:
        for lesion in ("none", "ablation"):
            shown(stranger.build(), stranger.images, lesion)
    except (Error, RuntimeError, AttributeError) as error:
        return f"on the host: {error}"
    brought = {}
    with torch.no_grad():
        built = stranger.build()
    with on_a_gpu(built, stranger.images) as (there, images):
        try:
            stranger.answered(there, images)
        except Exception as error:
            return f"not on fake tensors: {error}"
        for lesion in ("none", "ablation"):
            shown(there, images, lesion)
            with Watch() as watch:
                shown(there, images, lesion)
            brought[lesion] = watch.brought.total()
    return brought


def _strangers() -> dict[str, Any]:
    from zoo import whole_zoo  # beside the strangers' tests, whose room puts it on the path

    return whole_zoo()


SCHEDULE = Schedule(epochs=3, views_per_epoch=16, batch_size=8, nonfaces=2, sizes=((0, 32),))
LEARNERS = (
    "a classifier's head", "a classifier, whole", "a classifier behind a lesion", "a student", "a participant, taught",
    "a participant, named", "a participant of things alone",
)  # fmt: skip


def _learner(name: str) -> tuple[Any, Any]:
    """A module, and a batch of it on the host."""
    images = torch.rand(12, 3, 32, 32)
    if name.startswith("a classifier"):
        trained = {"a classifier's head": "head", "a classifier, whole": "everything"}.get(name, "after_lesion")
        config = ClassifyConfig(task="identification", trained=trained)  # type: ignore[arg-type]
        lesion = Ablate("conv3_*", fraction=0.3) + Noise("conv4_3", std=0.5)
        batch = {
            "image": torch.zeros(4, 3, 112, 112, dtype=torch.uint8), "index": torch.arange(4),
            "target": torch.tensor([0, 1, 0, 1]),
        }  # fmt: skip
        return Classifier(get("untrained"), ("a", "b"), lesion, config), batch
    if name == "a student":
        module = Distillation(0.0625, 8, SCHEDULE, ("face", "cup"), ["ada"], size=32)
        return module, Taught(images, torch.rand(8, 8), torch.arange(12) % 2)
    faces = 0 if name.endswith("alone") else 4
    seen = Watched(None, None, (), images[:4].byte(), ("a", "a", "b", "b"), ("cup",) * 4)
    learner = Learner(0.0625, 8, classes=3, people=bool(faces))
    module = ParticipantLearning(learner, SCHEDULE, Contrast(2, 2, 1.0), Contrast(2, 2, 0.5), seen, size=32)
    targets = torch.rand(faces, 8 if name.endswith("taught") else 0)
    return module, Lesson(images, faces, 4, targets, torch.arange(faces + 4) // 2, torch.arange(12) % 3)


def step(name: str) -> dict[str, Any]:
    """Three steps of training with their backward passes and their optimiser: how the third was."""
    module, batch = _learner(name)
    module.log_dict = module.log = lambda *_, **__: None  # the trainer's
    with on_a_gpu(module) as (there,):
        if isinstance(there, Classifier):
            there.subject = module.subject
        lesson = _moved(batch)
        asked = there.configure_optimizers()
        optimizer = asked["optimizer"] if isinstance(asked, dict) else asked
        for _ in range(3):
            with Watch() as watch:
                optimizer.zero_grad()
                loss = there.training_step(lesson, 0)
                loss.backward()
                optimizer.step()
                if hasattr(there, "average"):
                    follow(there.average, getattr(there, "student", None) or there.learner, SCHEDULE, 3)
        told = [value for value in there.parameters() if value.requires_grad]
        return {
            "brought": dict(watch.brought), "loss": loss.device.type, "parameters": len(told),
            "slopes": [value.grad.device.type for value in told if value.grad is not None],
        }  # fmt: skip


def _moved(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: value.to(made_up_gpu.GPU) for key, value in batch.items()}
    return batch.to(made_up_gpu.GPU)


def ranked(by_image: bool) -> dict[str, Any]:
    """What a first-order ranking fetched and brought from batch to batch, three of them."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen: list[tuple[int, int]] = []
    with on_a_gpu(network.eval(), torch.rand(12, 3, 16, 16)) as (there, images), Answering() as answering:
        with Watch() as watch:

            def loss(output: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
                seen.append((answering.fetched, watch.brought.total()))
                return output.square().sum(1)

            found = (first_order_by_image if by_image else first_order)(there, "1", images, loss, batch_size=4)
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in zip(seen[:-1], seen[1:], strict=True)]
    return {"steps": steps[-2:], "shape": tuple(found.shape)}


def mixes(kind: str) -> None:
    """What must be refused there as on a real one."""
    with on_a_gpu(nn.Linear(3, 2), torch.rand(4, 3)) as (there, rows):
        answers = there(rows)
        if kind == "devices":
            (answers + torch.ones(2)).sum().backward()
        else:
            float(answers.sum())
