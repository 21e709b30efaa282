"""Parts: is a feature known better within its face than alone? (Whole and part, Tanaka & Farah 1993.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from facelesion.data.imagesets import FaceSet, ImageSet, eight_bits
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.faces.stimuli import Isolate, PartSwap
from facelesion.tasks.readouts import Prototypes
from facelesion.tasks.task import Answers, Groups, Healthy, Measure, Task, Trials, forced_choice, margin

FEATURES = ("eyes", "nose", "mouth")
WHOLE, PART = "whole", "part"
_PEOPLE = 16


@dataclass(frozen=True, eq=False)
class Parts(Task):
    """Which of two is this person's eyes, nose or mouth: within the whole face, and as a part alone?

    Whole: the person's face, beside the same face with the feature of somebody else. Part: the two features alone. What
    is more like the healthy memory of the person is chosen.

    Attributes:
        memory: the enrolled people's prototypes.
        identity: module from representation to identity embedding, frozen.
        own, foil: (M,) positions of the two pictures of each trial among the images shown.
        targets: (M,) whose feature is asked about.
    """

    memory: Prototypes
    identity: torch.nn.Module
    own: torch.Tensor
    foil: torch.Tensor
    targets: torch.Tensor
    trials: Trials
    name: ClassVar[str] = "parts"
    question: ClassVar[str] = "Which of two features is this person's, within the face and alone?"
    alternatives = ("own", "somebody else's")
    measures = (
        Measure("accuracy", "right choices between two, mean over people", 0.5, 1.0, share=True),
        Measure("accuracy_whole", "right choices within whole faces", 0.5, 1.0, share=True),
        Measure("accuracy_part", "right choices between parts alone", 0.5, 1.0, share=True),
        Measure("whole_advantage", "whole less part", 0.0, better=""),
    )

    @classmethod
    def shows(cls, materials: Materials, seed: int) -> Mapping[str, ImageSet]:
        """Whole faces, the same with one feature exchanged, and features alone."""
        return {"parts": _pictures(materials.probes)[0]}

    @classmethod
    def fit(cls, healthy: Healthy) -> Parts:
        """Enrol people from the healthy network, as identification does."""
        pictures = healthy.materials
        memory = Prototypes.learn(healthy.embedding(pictures.enrolment), pictures.enrolment.labels)
        shown, own, foil, section = _pictures(pictures.probes)
        people = tuple(shown.labels[int(row)] for row in own)
        rows = healthy.rows("parts")
        return cls(
            memory, healthy.identity, rows[own], rows[foil], memory.targets(people),
            Trials(
                item=tuple(f"{shown.names[a]} | {shown.names[b]}" for a, b in torch.stack([own, foil], 1).tolist()),
                person=people,
                target=(cls.alternatives[0],) * len(people),
                section=section,
            ),
        )  # fmt: skip

    def answer(self, representation: torch.Tensor) -> Answers:
        """The more alike of the two; none where both are equally so."""
        with torch.no_grad():
            likeness = torch.stack(
                [
                    self.memory.likeness(self.identity(representation[rows])).gather(1, self.targets[:, None])[:, 0]
                    for rows in (self.own, self.foil)
                ],
                1,
            )
        target = torch.zeros(len(likeness), dtype=torch.int64)
        value = margin(likeness, target)
        return Answers((value <= 0).long(), value, value > 0, forced_choice(likeness, target))

    def measure(self, answers: Answers) -> Mapping[str, float]:
        """Shares of right choices; a tie counts half, for it is a guess."""
        whole = torch.tensor([section.startswith(WHOLE) for section in self.trials.section])
        people = self.trials.person

        def share(chosen: torch.Tensor) -> float:
            rows = torch.nonzero(chosen)[:, 0]
            return Groups.of([people[row] for row in rows.tolist()]).mean(answers.forced_choice[rows])

        both = share(torch.ones_like(whole))
        return {
            "accuracy": both,
            "accuracy_whole": share(whole),
            "accuracy_part": share(~whole),
            "whole_advantage": share(whole) - share(~whole),
        }


@lru_cache(maxsize=2)
def _pictures(probes: FaceSet) -> tuple[FaceSet, torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Pictures, positions of the right and the wrong one of every trial, and the trials' sections."""
    chosen: dict[str, int] = {}
    for row, person in enumerate(probes.labels):
        chosen.setdefault(person, row)
    rows = torch.tensor(list(chosen.values())[:_PEOPLE])
    count = len(rows)
    if count < 2:
        raise Error(f"task parts needs two enrolled people, there are {count}")
    images, landmarks = probes.images[rows].float() / 255, probes.landmarks[rows]
    others = (images.roll(-1, 0), landmarks.roll(-1, 0))
    made, names = [images], [f"{probes.names[int(row)]}" for row in rows]
    own: list[torch.Tensor] = []
    foil: list[torch.Tensor] = []
    section: list[str] = []
    here = torch.arange(count)

    def add(pictures: torch.Tensor, what: str) -> torch.Tensor:
        names.extend(f"{name}, {what}" for name in names[:count])
        made.append(pictures)
        return here + count * (len(made) - 1)

    for feature in FEATURES:
        exchanged = PartSwap(feature)(images, landmarks, others=others)
        alone = Isolate(feature)
        own += [here, add(alone(images, landmarks), f"{feature} alone")]
        foil += [
            add(exchanged, f"another's {feature}"),
            add(alone(exchanged, landmarks), f"another's {feature} alone"),
        ]
        section += [f"{WHOLE}, {feature}"] * count + [f"{PART}, {feature}"] * count
    pictures = FaceSet(
        eight_bits(torch.cat(made)),
        tuple(probes.labels[int(row)] for row in rows) * len(made),
        tuple(names),
        landmarks.repeat(len(made), 1, 1),
    )
    return pictures, torch.cat(own), torch.cat(foil), tuple(section)
