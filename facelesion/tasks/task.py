"""What every task is: a question whose readout is fixed on the healthy network, answered trial by trial.

A task of one's own is one class in one file and one line in a list:

    class Smile(Task):
        name, question = "smile", "Does this face smile?"
        ...

    TASKS[Smile.name] = Smile
"""

from __future__ import annotations

import copy
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

import torch

from facelesion.data.imagesets import ImageSet
from facelesion.data.materials import Materials
from facelesion.errors import Error

Scores = Callable[[torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]
NOTHING = math.nan  # where a measure has no chance level or no ceiling


@dataclass(frozen=True)
class Measure:
    """One number that a task gives for a network: what it is called, and what it would be without knowledge.

    Attributes:
        name: in the table's column `metric`: `accuracy`.
        words: for a reader who has not seen the code: "right answers, mean over people".
        chance: what a constant or random answer scores; not a number where there is no such value.
        ceiling: the most there is; not a number where there is no such value.
        better: `higher` or `lower`; empty where neither is.
        share: whether it is a proportion of right answers, shown as per cent.

    Example:
        >>> Measure("accuracy", "right answers, mean over people", chance=0.5, ceiling=1.0, share=True).chance
        0.5
    """

    name: str
    words: str
    chance: float = NOTHING
    ceiling: float = NOTHING
    better: Literal["higher", "lower", ""] = "higher"
    share: bool = False


@dataclass(frozen=True)
class Trials:
    """What is asked, trial by trial; the same for every network and lesion. All are M strings long.

    Attributes:
        item: the picture or pictures shown.
        person: who is shown, or which category: what answers are clustered by.
        target: the right answer.
        other: the second person of a pair; empty where there is none.
        section: which part of the task it belongs to; empty where it has no parts.

    Example:
        >>> Trials(item=("ada_2.png", "bo_7.png"), person=("Ada", "Bo"), target=("Ada", "Bo")).other
        ('', '')
    """

    item: tuple[str, ...]
    person: tuple[str, ...]
    target: tuple[str, ...]
    other: tuple[str, ...] = ()
    section: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.item)
        for name in ("other", "section"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * count)
        lengths = {len(getattr(self, name)) for name in ("item", "person", "target", "other", "section")}
        if lengths != {count} or not count:
            raise Error(
                f"a task's trials need an item, a person, a target each: their numbers are {sorted(lengths)}"
            )

    def __len__(self) -> int:
        return len(self.item)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answered, trial by trial.

    Attributes:
        answer: int (M,), position of the answer among the task's `alternatives`.
        value: float (M,), the decision's value: the larger, the more it speaks for the target.
        right: bool (M,).
        forced_choice: float (M,), how often the target would win against one other alternative at a time (ties
            count half): the same scale for every task, however many alternatives it has.
    """

    answer: torch.Tensor
    value: torch.Tensor
    right: torch.Tensor
    forced_choice: torch.Tensor


class Look(Protocol):
    """A network as it stands, healthy or damaged, with a study's pictures under one stimulus before it.

    What a task can ask beside its representation: where in the pictures the evidence for an answer lies.

    Example:
        >>> from facelesion.tasks import Attention
        >>> Attention.looks
        'maps'
    """

    def maps(self, scores: Scores, rows: torch.Tensor) -> torch.Tensor:
        """Grad-CAM at the last of the late layers: float32 (M, H, W) of the size that the network is given.

        Args:
            scores: from positions among `rows` to the score of these pictures: representation (n, D) to (n,).
            rows: (M,) positions of the pictures among all that are shown.

        Raises:
            Error: the network has no layer whose output is a map.
        """
        ...

    def landmarks(self, rows: torch.Tensor) -> torch.Tensor:
        """Where these pictures' features lie: (M, points, 2), in pixels of the maps."""
        ...

    def activations(self, rows: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Every unit's mean over the picture (M, units) at the last place of every resolution, from early to late."""
        ...

    def activations_of(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The same of other pictures, uint8 (M, 3, H, W), without a stimulus, from the healthy network."""
        ...


def in_main_memory(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor where tasks answer, whatever device it was computed on; half precision becomes single.

    Example:
        >>> in_main_memory(torch.ones(2, 3, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    here = tensor.cpu()
    return here.float() if here.dtype in (torch.float16, torch.bfloat16) else here


@dataclass(frozen=True, eq=False)
class Healthy:
    """What a task is fitted on: the pictures by role, and the healthy network's answers to them.

    The network may lie on any device: what it answers is brought to main memory, and so is a copy of `identity`.

    Attributes:
        materials: the study's pictures.
        identity: module from representation (N, D) to identity embedding (N, E), frozen.
        representation: from pictures to the healthy network's representation (N, D) of them, without a stimulus.
        rows: positions of a role's pictures among all that are shown under damage.
        seed: of whatever a task draws.
        look: the healthy network to look into, with the pictures as they are; None where nobody can.

    Example:
        >>> from itertools import accumulate
        >>> from facelesion import get
        >>> from facelesion.data import FaceSpacePictures
        >>> from facelesion.tasks import Answers, Composite, Detection, Identification, Objects, Parts, Verification
        >>> subject = get("untrained")
        >>> few = {"training_people": 6, "enrolled_people": 4, "new_people": 3, "object_training_pictures": 2}
        >>> pictures = FaceSpacePictures(**few, object_pictures=1, other_pictures=2).gather(seed=0, size=112)
        >>> def represent(shown):
        ...     with torch.no_grad():
        ...         return subject.module(subject.preprocess(shown.images))
        >>> for kind in (Detection, Identification, Verification, Objects, Parts, Composite):
        ...     roles = kind.shows(pictures, seed=0)  # what is shown under damage
        ...     starts = dict(zip(roles, accumulate(map(len, roles.values()), initial=0)))
        ...     rows = lambda role: starts[role] + torch.arange(len(roles[role]))
        ...     task = kind.fit(Healthy(pictures, subject.identity, represent, rows))
        ...     answers: Answers = task.answer(torch.cat([represent(shown) for shown in roles.values()]))
        ...     print(kind.name, task.measures[0].name, len(answers.right))
        detection auc 38
        identification accuracy 8
        verification auc 66
        objects accuracy 16
        parts accuracy 24
        composite accuracy 16
    """

    materials: Materials
    identity: torch.nn.Module
    representation: Callable[[ImageSet], torch.Tensor]
    rows: Callable[[str], torch.Tensor]
    seed: int = 0
    look: Look | None = None

    def __post_init__(self) -> None:
        given = self.representation
        object.__setattr__(self, "representation", lambda pictures: in_main_memory(given(pictures)))
        own = [*self.identity.parameters(), *self.identity.buffers()]
        if any(in_main_memory(tensor) is not tensor for tensor in own):
            object.__setattr__(self, "identity", copy.deepcopy(self.identity)._apply(in_main_memory))

    def embedding(self, pictures: ImageSet) -> torch.Tensor:
        """The healthy identity embedding (N, E) of pictures."""
        with torch.no_grad():
            return self.identity(self.representation(pictures))


def _asked_here(answer: Callable[..., Answers]) -> Callable[..., Answers]:
    """A way of answering that is given the representation in main memory."""

    @functools.wraps(answer)
    def asked(self: Task, representation: torch.Tensor, *more: Any, **words: Any) -> Answers:
        return answer(self, in_main_memory(representation), *more, **words)

    return asked


class Task(ABC):
    """A question with a readout that is fixed before any damage. See `docs/extending.md` for how to write one.

    Attributes:
        name: what it is called in a study's file and in the table.
        question: what it asks, for a reader of the report.
        trials: what is asked, trial by trial.
        alternatives: the answers there can be, in words.
        measures: its numbers; the first is the main one.
        looks: what `ask` wants of a `Look`, for the time that a study will take: `maps` (a pass forward and one back of
            each picture that `looked_at` names), `activations` (one forward), or nothing.

    Example:
        >>> from facelesion.tasks import TASKS, Attention, Exemplars, Likeness, Memory, Representation
        >>> TASKS["memory"] is Memory, Exemplars.question
        (True, 'Which of the cars, chairs, cups and houses it knows is this very one?')
        >>> [kind.looks for kind in (Attention, Representation, Likeness, Memory)]
        ['maps', 'activations', '', '']
    """

    name: ClassVar[str]
    question: ClassVar[str]
    looks: ClassVar[Literal["", "maps", "activations"]] = ""
    trials: Trials
    alternatives: tuple[str, ...]
    measures: tuple[Measure, ...]

    def __init_subclass__(cls, **words: Any) -> None:
        """Tasks answer in main memory, also those of one's own, wherever the network lies that is asked."""
        super().__init_subclass__(**words)
        for name in ("answer", "ask"):
            if name in vars(cls):
                setattr(cls, name, _asked_here(vars(cls)[name]))

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """The pictures it must see under damage, by role; roles that several tasks name are shown once."""
        raise Error(f"task {cls.name}: it does not say which pictures it shows")

    @classmethod
    def looked_at(cls, materials: Materials) -> int:
        """How many pictures `ask` looks into the network with, under each lesion and stimulus."""
        return 0

    @classmethod
    @abstractmethod
    def fit(cls, healthy: Healthy) -> Self:
        """The task with its readout fixed on the healthy network."""

    @abstractmethod
    def answer(self, representation: torch.Tensor) -> Answers:
        """The answers of a network from its representation (N, D) of all pictures shown, in main memory.

        Whoever asks may give a representation on any device; what a task gets to see lies in main memory.
        """

    def ask(self, representation: torch.Tensor, look: Look) -> Answers:
        """As `answer`, for a task that must look into the network too: such a one says here what it looks at."""
        return self.answer(representation)

    @abstractmethod
    def measure(self, answers: Answers) -> Mapping[str, float]:
        """The value of every one of `measures`, by name."""

    def confusion(self, answers: Answers) -> tuple[tuple[str, ...], torch.Tensor] | None:
        """Names and counts (K, K), rows what was shown, columns what was answered; None where that says nothing."""
        return None


@dataclass(frozen=True)
class Groups:
    """Trials by the group they belong to (person, category, section), for means in which every group weighs alike.

    Example:
        >>> groups = Groups.of(["a", "a", "b"])
        >>> groups.mean(torch.tensor([1.0, 0.0, 1.0]))
        0.75
    """

    names: tuple[str, ...]
    index: torch.Tensor = field(repr=False)

    @classmethod
    def of(cls, labels: Sequence[str]) -> Groups:
        names = tuple(sorted(set(labels)))
        place = {name: number for number, name in enumerate(names)}
        return cls(names, torch.tensor([place[label] for label in labels]))

    def mean(self, values: torch.Tensor) -> float:
        """The mean over groups of their means, so that a person with many trials weighs no more than another."""
        sums = torch.zeros(len(self.names), dtype=torch.float64).index_add_(0, self.index, values.double())
        return float((sums / torch.bincount(self.index)).mean())


def forced_choice(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How often each trial's target wins against one other alternative (M,): ties count half.

    Args:
        scores: (M, K) of every alternative.
        target: int (M,).

    Example:
        >>> forced_choice(torch.tensor([[0.9, 0.4, 0.9]]), torch.tensor([0])).tolist()
        [0.75]
    """
    own = scores.gather(1, target[:, None])
    below = (scores < own).sum(1) + 0.5 * ((scores == own).sum(1) - 1)
    return (below / (scores.shape[1] - 1)).float()


def margin(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The target's score less the best other alternative's (M,); above 0 the answer is right.

    Example:
        >>> margin(torch.tensor([[0.9, 0.4, 0.7]]), torch.tensor([0])).item() > 0
        True
    """
    own = scores.gather(1, target[:, None])[:, 0]
    rest = scores.scatter(1, target[:, None], -math.inf).amax(1)
    return own - rest


def against_others(evidence: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Forced choice of yes/no trials (M,): how often a trial of one kind stands on the right side of one of the other.

    Its mean over the trials of either kind is the area under the ROC curve.

    Example:
        >>> against_others(torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([True, True, False, False])).tolist()
        [1.0, 0.75, 0.75, 1.0]
    """
    shares = torch.empty(len(evidence))
    for kind in (True, False):
        mine, others = positive == kind, evidence[positive != kind].sort().values
        below = torch.searchsorted(others, evidence[mine].contiguous())
        upto = torch.searchsorted(others, evidence[mine].contiguous(), side="right")
        wins = (below + upto) / 2 / len(others)
        shares[mine] = wins.float() if kind else 1 - wins.float()
    return shares
