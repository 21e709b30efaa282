"""A participant at work: one trunk, a readout of people, one of individual things, one of kinds of things."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import nn

from facelesion.models.normalised import NormalisedVGG, folded_readout, normalised_readout, unfold_readout
from facelesion.models.vgg import channels
from facelesion.tasks.scores import area_under_curve
from facelesion.training.distillation import Schedule, follow, optimised, prepared
from facelesion.training.individuals import contrast
from facelesion.training.participant_lessons import Contrast, Lesson, Watched
from facelesion.training.reached import named_by_likeness
from facelesion.weights import store

ENROLLED = 3  # pictures that make the prototype of a thing that is watched


class Learner(nn.Module):
    """The network with everything that reads from it.

    Args:
        width: factor on VGG16's channels.
        embedding: numbers in the embeddings of people and of things.
        classes: how many kinds of pictures are told apart.
        people: whether it learns people.
        fixed_blocks: of convolutions, the first ones, which stay as they are.
    """

    def __init__(self, width: float, embedding: int, classes: int, people: bool, fixed_blocks: int = 0) -> None:
        super().__init__()
        self.people, self.fixed_blocks = people, fixed_blocks
        self.trunk = NormalisedVGG(width, embedding)
        self.things = normalised_readout(channels(width)[-1], embedding)
        self.categories = nn.Linear(channels(width)[-1], classes)
        self.trunk.first_blocks(fixed_blocks).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Learner:
        super().train(mode)
        self.trunk.first_blocks(self.fixed_blocks).eval()
        return self

    def begin_from(self, tensors: Mapping[str, torch.Tensor], source: str, images: torch.Tensor) -> None:
        """Become the network that `tensors` made a file of, with these pictures' statistics (`NormalisedVGG.unfold`).

        Raises:
            Error: what it reads out is not what the file does, or of another width.
        """
        plain = self._plain()
        store.fit(plain, tensors, source)
        features = self.trunk.unfold(plain["features"], images)
        unfold_readout(self.things, plain["things"], features)
        if self.people:
            unfold_readout(self.trunk.identity, plain["identity"], features)
        self.categories.load_state_dict(plain["categories"].state_dict())

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file of weights holds of it: plain VGG16 and linear readouts."""
        return dict(self._plain().state_dict())

    def _plain(self) -> nn.ModuleDict:
        """Copies of its parts without normalisations, by the names that they have in a file of weights."""
        network, identity = self.trunk.folded()
        parts = {
            "features": network.features, "things": folded_readout(self.things),
            "categories": copy.deepcopy(self.categories),
        }  # fmt: skip
        return nn.ModuleDict(parts | ({"identity": identity} if self.people else {}))


class ParticipantLearning(lightning.LightningModule):
    """Lessons in, a lower loss out; what is watched are individuals of no lesson.

    Args:
        learner: the network as it begins.
        schedule: how long, how fast, at what sizes; `objects` is the weight of the kinds of things.
        people, things: how individuals are told apart.
        watched: who and what is in no lesson.
        size: side in pixels of the pictures that it is made for.
    """

    def __init__(
        self,
        learner: Learner,
        schedule: Schedule,
        people: Contrast,
        things: Contrast,
        watched: Watched,
        size: int,
    ) -> None:
        super().__init__()
        self.schedule, self.people, self.contrast = schedule, people, things
        self.watched, self.size = watched, size
        self.learner = learner.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.learner).requires_grad_(False).eval()
        self._people: list[torch.Tensor] = []
        self._things: list[torch.Tensor] = []

    def begin_from(self, tensors: Mapping[str, torch.Tensor], source: str, images: torch.Tensor) -> None:
        """Begin where another run ended: see `Learner.begin_from`."""
        self.learner.begin_from(tensors, source, images)
        self.average.load_state_dict(self.learner.state_dict())

    def training_step(self, batch: Lesson, step: int) -> torch.Tensor:
        pooled = self.learner.trunk(batch.images)
        until = batch.faces + batch.things
        shown = nn.functional.normalize(self.learner.things(pooled[batch.faces : until]))
        things = contrast(shown, batch.which[batch.faces :], self.contrast.temperature)
        kinds = nn.functional.cross_entropy(self.learner.categories(pooled), batch.classes)
        loss = self.contrast.weight * things + self.schedule.objects * kinds
        values = {"things": things, "kinds": kinds}
        if batch.faces:
            faces = nn.functional.normalize(self.learner.trunk.embed(pooled[: batch.faces]))
            if batch.targets.shape[1]:
                values["angle"] = 1 - (faces * batch.targets).sum(1).mean()
                values["relations"] = (faces @ faces.T - batch.targets @ batch.targets.T).square().mean()
                loss = loss + values["angle"] + self.schedule.relations * 10 * values["relations"]
            else:
                values["people"] = contrast(faces, batch.which[: batch.faces], self.people.temperature)
                loss = loss + self.people.weight * values["people"]
        values["train_loss"] = loss
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch.images))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        follow(self.average, self.learner, self.schedule, self.trainer.global_step)

    def validation_step(self, batch: tuple[bool, torch.Tensor], step: int) -> None:
        faces, images = batch
        pooled = self.average.trunk(prepared(images, self.size))
        answers = self.average.trunk.embed(pooled) if faces else self.average.things(pooled)
        (self._people if faces else self._things).append(nn.functional.normalize(answers.float()))

    def on_validation_epoch_end(self) -> None:
        values = self._watched()
        self._people, self._things = [], []
        self.log_dict(values, prog_bar=True)

    def _watched(self) -> dict[str, float]:
        """How far it is with individuals of no lesson: `val_loss` is what falls short, people and things alike."""
        things = told_apart(torch.cat(self._things).cpu(), self.watched.names, self.watched.kinds, ENROLLED)
        values = {"val_things": things}
        short = 1 - things
        if self._people:
            answers = torch.cat(self._people).cpu()
            people = torch.tensor([self.watched.people.index(name) for name in self.watched.people])
            first, second = torch.combinations(torch.arange(len(answers))).T
            cosines = (answers[first] * answers[second]).sum(1)
            values["val_auc"] = area_under_curve(cosines, people[first] == people[second])
            if self.watched.targets is None:
                short += 1 - values["val_auc"]
            else:
                values["val_angle"] = float(1 - (answers * self.watched.targets).sum(1).mean())
                short += values["val_angle"]
        return values | {"val_loss": short}

    def configure_optimizers(self) -> Any:
        return optimised(list(self.learner.parameters()), self.schedule)


def told_apart(embeddings: torch.Tensor, names: Sequence[str], kinds: Sequence[str], enrolled: int) -> float:
    """Share of pictures whose individual is found among all of its kind, mean over kinds.

    Args:
        embeddings: (N, E).
        names, kinds: of each picture.
        enrolled: pictures of each individual that make its prototype; the others are asked about.

    Example:
        >>> told_apart(torch.eye(2).repeat_interleave(3, 0), ["a"] * 3 + ["b"] * 3, ["cup"] * 6, enrolled=2)
        1.0
    """
    shares = []
    for kind in dict.fromkeys(kinds):
        own = [row for row, found in enumerate(kinds) if found == kind]
        shares.append(named_by_likeness(embeddings[own], [names[row] for row in own], enrolled))
    return sum(shares) / len(shares)
