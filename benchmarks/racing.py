"""How much less a greedy ranking costs when its rounds are raced, and how often a race chooses other units.

    python benchmarks/racing.py                        # the built-in network and VGG16's shape, minutes each
    python benchmarks/racing.py --network vgg16 --site conv5_2 --people 32

A ranking of people of the face space is made exhaustively, every loss (round, unit and picture) recorded, and raced at
a risk of 1 %, both timed. Then races are run over the record with other orders of the pictures: ten at 1 %, many
at a larger risk, where errors can be counted, and three whose bounds assume nothing but the range of the loss.

VGG16's shape is that network at full width with random weights, since none trained on faces can be had here.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.data.facespace import FaceSpace
from facelesion.models import get
from facelesion.models.vgg import vgg_face
from facelesion.study.chosen import loss_of
from facelesion.sweep import Options, greedy_ranking
from facelesion.sweep.greedy import span_of
from facelesion.sweep.racing import race
from facelesion.sweep.task import Loss, Task

RISK = 0.01


@dataclass(frozen=True)
class Round:
    """Everything about one exhaustive round: units, their expected and true rises (units, images), who was chosen."""

    left: list[int]
    without: torch.Tensor
    expected: torch.Tensor
    rises: torch.Tensor
    worst: tuple[int, ...]


def recorded(task: Task, fraction: float, step: float) -> tuple[list[Round], float]:
    """The rounds that exhaustive search makes, and the seconds of what it would not compute: expected rises."""
    count = task.units()
    wanted, each = max(1, round(fraction * count)), max(1, math.floor(step * count + 0.5))
    chosen: list[int] = []
    found, screening = [], 0.0
    while len(chosen) < wanted:
        left = sorted(set(range(count)) - set(chosen))
        begun = time.perf_counter()
        without, expected = task.estimated(chosen)
        screening += time.perf_counter() - begun
        rises = task.apart(torch.arange(len(task.images)), units=left, removed=chosen) - without
        means = rises.mean(1).tolist()
        worst = sorted(range(len(left)), key=lambda place: (-means[place], place))[: min(each, wanted - len(chosen))]
        found.append(Round(left, without, expected[:, left].T.contiguous(), rises, tuple(worst)))
        chosen += [left[place] for place in worst]
    return found, screening


def replayed(
    rounds: list[Round], risk: float, seed: int, within: tuple[float, float] | None = None
) -> tuple[bool, int]:
    """Whether a race with this order of the images chooses as exhaustive search does, and how many losses it saw."""
    wanted = sum(len(each.worst) for each in rounds)
    order = torch.randperm(rounds[0].rises.shape[1], generator=torch.Generator().manual_seed(seed))
    measured = 0
    for each in rounds:
        span = span_of(within, each.without, each.expected) if within else None
        found = race(
            lambda who, rows, each=each: each.rises[list(who)][:, rows], each.expected, len(each.worst),
            chance=risk / wanted, order=order, span=span,
        )  # fmt: skip
        measured += found.measured
        if found.winners != each.worst:
            return False, measured
    return True, measured


def network_and_task(name: str, people: int, pictures: int) -> tuple[nn.Module, torch.Tensor, Loss]:
    faces = FaceSpace.load().draw(people, pictures, 11)
    subject = get("builtin")
    images = subject.preprocess(faces.images)
    module = subject.module
    if name == "vgg16":
        torch.manual_seed(0)
        module = vgg_face(outputs=None)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        module.eval()
    return module, images, loss_of(module, images, faces.labels)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--network", choices=("builtin", "vgg16"), default="builtin")
    reader.add_argument("--site", default="conv5_1")
    reader.add_argument("--people", type=int, default=60)
    reader.add_argument("--pictures", type=int, default=5, help="of each")
    reader.add_argument("--fraction", type=float, default=0.2)
    reader.add_argument("--step", type=float, default=0.016)
    reader.add_argument("--races", type=int, default=200, help="over the record, at a risk of --often")
    reader.add_argument("--often", type=float, default=0.2)
    asked = reader.parse_args()
    module, images, loss = network_and_task(asked.network, asked.people, asked.pictures)
    print(f"{asked.network} {asked.site}, {len(images)} pictures, {torch.get_num_threads()} threads", flush=True)
    begun = time.perf_counter()
    options = Options(batch_size=32)
    task = Task(module, asked.site, images, loss, options)
    task.keep()
    rounds, screening = recorded(task, asked.fraction, asked.step)
    took = time.perf_counter() - begun - screening
    exhaustive = [each.left[place] for each in rounds for place in each.worst]
    print(f"exhaustive: {took:.1f} s, {len(rounds)} rounds, first {exhaustive[:8]}", flush=True)
    begun = time.perf_counter()
    found = greedy_ranking(
        module, asked.site, images, loss, risk=RISK, fraction=asked.fraction, step=asked.step, options=options
    )
    less = took / (time.perf_counter() - begun)
    same = "the same units" if list(found.units) == exhaustive else f"other units: {found.units[:8]}"
    print(f"raced: {less:.1f} times less time, {same}; {found.certificate}", flush=True)
    whole = sum(each.rises.numel() for each in rounds)
    told = [(RISK, range(10), None), (asked.often, range(100, 100 + asked.races), None)]
    # No loss of this task can be larger than that of a likeness of -1 to the own person and 1 to all others.
    most = 16 * 2 + math.log(asked.people)
    told.append((RISK, range(3), (0.0, most)))
    for risk, seeds, within in told:
        runs = [replayed(rounds, risk, seed, within) for seed in seeds]
        right = [measured for same, measured in runs if same]
        fewer = len(right) * whole / sum(right) if right else float("nan")
        bounds = f"bounds by the range {within[0]:g} to {within[1]:.1f}" if within else "normal bounds"
        print(f"risk {risk:g}, {bounds}: {len(right)} of {len(runs)} orders agree; {fewer:.1f} times fewer losses")


if __name__ == "__main__":
    main()
