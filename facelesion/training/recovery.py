"""The recipe of injury and recovery: damage, retrain with the damage in place, injure again, retrain again.

What is watched is the share of right answers on pictures that nothing is learned from: of the healthy network, after
each injury, and after each epoch of retraining; always with the damage in place and without it. The second tells
whether what was learned makes up for the damage only, or holds for the whole network. A sham twin goes through the same
training and is never damaged: what it gains is practice, not recovery.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from facelesion.errors import Error
from facelesion.lesions import lesion_sites
from facelesion.models import get
from facelesion.ranges import PathText, Range, Seed
from facelesion.report.style import figure_style
from facelesion.settings import check, refuse_idle
from facelesion.training.classifier import IN_PLACE, TAKEN_AWAY
from facelesion.training.classify import (
    ClassifyConfig,
    ClassifyData,
    Part,
    Trained,
    check_unseen,
    read_lesion,
    trainable,
)
from facelesion.training.files import read_table, write_figure, write_table
from facelesion.training.run import (
    BatchSize,
    Epochs,
    LearningRate,
    RunConfig,
    claim_for_stages,
    one_device,
    stage_of,
)
from facelesion.training.stages import PRACTICE, once, practice_people, practised
from facelesion.training.trials import trials_of

if TYPE_CHECKING:
    import pandas as pd


# Stages are folders: their number, and one of these.
HEALTHY, INJURED, SHAM = "healthy", "injured", "sham"
NEVER = "never damaged"


@dataclass(frozen=True)
class RecoveryConfig:
    """What is injured, and what is retrained.

    Attributes:
        network: `builtin`, `untrained`, or a file of weights.
        task: `detection` (face or not) or `identification` (who of the people).
        injuries: one after the other, each a list of `{kind, site, ...}`; earlier damage stays when more is added.
        sham: run the twin that is trained the same and never damaged; it doubles the time.
        trained: after an injury: `everything`, `after_lesion` or `head`, as in the recipe `classify`.
        data: which pictures; all training is on `data.stimuli`, all tests on intact pictures.
        practice_people: identification: so many other people, of whom nobody is tested: by their pictures the layers
            are retrained, while the readouts stay as the healthy network learned them. As many as are tested when left
            out; 0 retrains by the tested people's other pictures, and `people_seen` says so.
        readout_epochs: of the healthy network's readout, which is trained first while the network stays as it is.
        epochs: of retraining after each injury.
        batch_size: pictures in a step of retraining.
        learning_rate: of retraining.
        run: where the run is kept; a run that was stopped goes on by the same command.
        seed: of everything drawn at random.
        recipe: names this kind of training.

    Example:
        $ python -m facelesion.train --config configs/train/recovery.yaml --epochs 3 --run.folder runs/mine
    """

    network: PathText = "builtin"
    task: Literal["detection", "identification"] = "identification"
    injuries: tuple[tuple[Part, ...], ...] = ()
    sham: bool = True
    trained: Trained = "everything"
    data: ClassifyData = field(default_factory=lambda: ClassifyData(pictures=8))
    practice_people: Annotated[int | None, Range(0, 100_000)] = None
    readout_epochs: Epochs = 30
    epochs: Epochs = 5
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-4
    run: RunConfig = field(default_factory=lambda: RunConfig("runs/recovery"))
    seed: Seed = 0
    recipe: Literal["recovery"] = "recovery"

    def __post_init__(self) -> None:
        check(self)
        idle = {"data.tests": "all tests are on intact pictures", "run.patience": "every stage runs to its end"}
        refuse_idle(self, idle)


def recovery(config: RecoveryConfig) -> Path:
    """Run every injury and its retraining; write `recovery.csv` and `recovery.png`.

    Returns:
        The picture.

    Raises:
        Error: no injuries, people to be tested whom the network saw, or a folder that holds another run.
        LesionError: a site that does not exist.
    """
    if not config.injuries or not all(config.injuries):
        raise Error("injuries is empty: name at least one, as a list of {kind, site, ...}")
    one_device(config.run)
    subject = trainable(config.network, config.seed)
    for injury in config.injuries:
        lesion_sites(subject.module, read_lesion(injury))  # a mistake is told before any work is done
    many = practice_people(config.practice_people, config.task, config.trained, config.data.people)
    readout = _settings(config, config.network, (), Path(config.run.folder) / f"0-{HEALTHY}")
    roles = trials_of(readout, subject.size, subject.about)
    check_unseen(config.data, config.network, subject, roles)
    folder = claim_for_stages(config.run, dataclasses.asdict(config) | {"started_from": subject.weights})
    healthy = once(readout, subject, roles)
    practice = practised(readout, subject, many, folder / PRACTICE) if many else None
    lesions = [sum(config.injuries[:count], ()) for count in range(1, len(config.injuries) + 1)]
    for kind in (INJURED, SHAM) if config.sham else (INJURED,):
        weights = healthy
        for number, lesion in enumerate(lesions, 1):
            settings = _settings(config, weights, lesion, folder / f"{number}-{kind}", sham=kind == SHAM)
            weights = once(settings, get(weights), roles, practice)
    table = course(folder)
    write_table(folder / "recovery.csv", table)
    draw_recovery(table, folder / "recovery.png")
    return folder / "recovery.png"


def _settings(
    config: RecoveryConfig, network: str, lesion: tuple[dict[str, Any], ...], folder: Path, sham: bool = False
) -> ClassifyConfig:
    """One stage's training."""
    healthy = not lesion
    return ClassifyConfig(
        network=network, task=config.task, lesion=lesion, trained="head" if healthy else config.trained,
        data=dataclasses.replace(config.data, tests=("intact",)),
        epochs=config.readout_epochs if healthy else config.epochs,
        batch_size=config.batch_size, learning_rate=1e-2 if healthy else config.learning_rate,
        run=stage_of(config.run, folder), seed=config.seed, course=True, sham=sham,
    )  # fmt: skip


def course(folder: Path) -> pd.DataFrame:
    """The whole course of a run as one table.

    Returns:
        A row per injury (0: healthy), epoch (0: before retraining) and state of the network (`damage in place`,
        `damage taken away` or `never damaged`): accuracy with its 95 % interval over the people, how many pictures and
        people, chance, lesion, weights, seed, hash of the pictures, and how many of the people the layers had seen.
    """
    import pandas

    parts = []
    for stage in sorted(folder.glob("[0-9]*-*"), key=lambda path: int(path.name.split("-")[0])):
        number, kind = stage.name.split("-")
        table = read_table(stage / "course.csv").assign(injury=int(number))
        if kind != INJURED:
            table["state"] = NEVER
        if kind == HEALTHY:  # only how it ends is of interest
            table = table[table["epoch"] == table["epoch"].max()].assign(epoch=0)
        parts.append(table)
    return pandas.concat(parts, ignore_index=True)


@figure_style()
def draw_recovery(table: pd.DataFrame, target: Path) -> None:
    """Draw the course: what retraining brings back, with 95 % intervals over the people tested."""
    from matplotlib.figure import Figure

    steps = list(dict.fromkeys(zip(table["injury"], table["epoch"], strict=True)))
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axis = figure.subplots()
    looks = {IN_PLACE: ("#d55e00", "o"), TAKEN_AWAY: ("#0072b2", "s"), NEVER: ("#666666", "^")}
    for state, (colour, marker) in looks.items():
        for injury in sorted(set(table["injury"]) - {0}):
            label = state if injury == 1 else None
            rows = table[(table["injury"] == injury) & (table["state"] == state)]
            if rows.empty:  # no sham twin
                continue
            accuracy = rows["accuracy"].to_numpy()
            ends = (accuracy - rows["low"].to_numpy(), rows["high"].to_numpy() - accuracy)
            error = [end.clip(0) for end in ends]
            places = [steps.index((injury, epoch)) for epoch in rows["epoch"]]
            axis.errorbar(
                places,
                accuracy,
                [part.clip(0) for part in error],
                color=colour,
                marker=marker,
                capsize=2,
                label=label,
            )
    healthy = float(table.loc[table["injury"] == 0, "accuracy"].iloc[0])
    axis.axhline(healthy, color="black", linewidth=1, label="healthy")
    axis.axhline(float(table["chance"].iloc[0]), color="grey", linewidth=1, linestyle=":", label="chance")
    for injury in sorted(set(table["injury"]) - {0}):
        axis.axvline(steps.index((injury, 0)) - 0.5, color="grey", linewidth=0.5)
        axis.text(steps.index((injury, 0)) - 0.4, 1.03, f"injury {injury}", fontsize=9)
    axis.set_xticks(range(len(steps)), ["healthy" if not i else str(e) for i, e in steps])
    axis.set(xlabel="epochs of retraining after the injury", ylabel="share of right answers", ylim=(0, 1.1))
    axis.set_xlim(0.4, len(steps) - 0.5)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    write_figure(target, figure, dpi=120)
