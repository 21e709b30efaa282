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
from typing import TYPE_CHECKING, Any, Literal

from facelesion.errors import FacelesionError
from facelesion.lesions import lesion_sites
from facelesion.models import get
from facelesion.training.classify import (
    IN_PLACE,
    TAKEN_AWAY,
    ClassifyConfig,
    ClassifyData,
    Trained,
    classify,
    read_lesion,
)
from facelesion.training.run import RunConfig, claim_for_stages, stage_of

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
        readout_epochs: of the healthy network's readout, which is trained first while the network stays as it is.
        epochs: of retraining after each injury.
        batch_size, learning_rate: of retraining.
        run: where the run is kept; a run that was stopped goes on by the same command.
        seed: of everything drawn at random.
        recipe: names this kind of training.
    """

    network: str = "builtin"
    task: Literal["detection", "identification"] = "identification"
    injuries: tuple[tuple[dict[str, Any], ...], ...] = ()
    sham: bool = True
    trained: Trained = "everything"
    data: ClassifyData = field(default_factory=lambda: ClassifyData(pictures=8))
    readout_epochs: int = 30
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-4
    run: RunConfig = field(default_factory=lambda: RunConfig("runs/recovery"))
    seed: int = 0
    recipe: Literal["recovery"] = "recovery"


def recovery(config: RecoveryConfig) -> Path:
    """Run every injury and its retraining; write `recovery.csv` and `recovery.png`.

    Returns:
        The picture.

    Raises:
        FacelesionError: no injuries, a site that does not exist, or a folder that holds another run.
    """
    if not config.injuries or not all(config.injuries):
        raise FacelesionError("injuries is empty: name at least one, as a list of {kind, site, ...}")
    subject = get(config.network, seed=config.seed)
    for injury in config.injuries:
        lesion_sites(subject.module, read_lesion(injury))  # a mistake is told before any work is done
    folder = claim_for_stages(config.run, dataclasses.asdict(config) | {"started_from": subject.weights})
    healthy = _stage(config, config.network, (), folder / f"0-{HEALTHY}")
    lesions = [sum(config.injuries[:count], ()) for count in range(1, len(config.injuries) + 1)]
    for kind in (INJURED, SHAM) if config.sham else (INJURED,):
        weights = healthy
        for number, lesion in enumerate(lesions, 1):
            weights = _stage(config, weights, lesion, folder / f"{number}-{kind}", sham=kind == SHAM)
    table = course(folder)
    table.to_csv(folder / "recovery.csv", index=False)
    draw_recovery(table, folder / "recovery.png")
    return folder / "recovery.png"


def _stage(
    config: RecoveryConfig, network: str, lesion: tuple[dict[str, Any], ...], folder: Path, sham: bool = False
) -> str:
    """Train once, unless an earlier start has done so; the file of weights."""
    weights = folder / "weights.safetensors"
    if not weights.is_file():
        healthy = not lesion
        classify(
            ClassifyConfig(
                network=network, task=config.task, lesion=lesion, trained="head" if healthy else config.trained,
                data=dataclasses.replace(config.data, tests=("intact",)),
                epochs=config.readout_epochs if healthy else config.epochs,
                batch_size=config.batch_size, learning_rate=1e-2 if healthy else config.learning_rate,
                run=stage_of(config.run, folder), seed=config.seed, course=True, sham=sham,
            )
        )  # fmt: skip
    return str(weights)


def course(folder: Path) -> pd.DataFrame:
    """The whole course of a run as one table.

    Returns:
        A row per injury (0: healthy), epoch (0: before retraining) and state of the network (`damage in place`,
        `damage taken away` or `never damaged`): accuracy, how many pictures, chance.
    """
    import pandas

    parts = []
    for stage in sorted(folder.glob("[0-9]*-*"), key=lambda path: int(path.name.split("-")[0])):
        number, kind = stage.name.split("-")
        table = pandas.read_csv(stage / "course.csv").assign(injury=int(number))
        if kind != INJURED:
            table["state"] = NEVER
        if kind == HEALTHY:  # only how it ends is of interest
            table = table[table["epoch"] == table["epoch"].max()].assign(epoch=0)
        parts.append(table)
    return pandas.concat(parts, ignore_index=True)


def draw_recovery(table: pd.DataFrame, target: Path) -> None:
    """Draw the course: what retraining brings back, with 95 % intervals over the pictures."""
    import numpy as np
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
            accuracy, count = rows["accuracy"].to_numpy(), rows["pictures"].to_numpy()
            error = 1.96 * np.sqrt(accuracy * (1 - accuracy) / count)
            places = [steps.index((injury, epoch)) for epoch in rows["epoch"]]
            axis.errorbar(places, accuracy, error, color=colour, marker=marker, capsize=2, label=label)
    healthy = float(table.loc[table["injury"] == 0, "accuracy"].iloc[0])
    axis.axhline(healthy, color="black", linewidth=1, label="healthy")
    axis.axhline(float(table["chance"].iloc[0]), color="grey", linewidth=1, linestyle=":", label="chance")
    for injury in sorted(set(table["injury"]) - {0}):
        axis.axvline(steps.index((injury, 0)) - 0.5, color="grey", linewidth=0.5)
        axis.text(steps.index((injury, 0)) - 0.4, 1.03, f"injury {injury}", fontsize=9)
    axis.set_xticks(range(len(steps)), ["healthy" if not i else str(e) for i, e in steps])
    axis.set(xlabel="epochs of retraining after the injury", ylabel="share of right answers", ylim=(0, 1.1))
    axis.set_xlim(0.4, len(steps) - 0.5)
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(target, dpi=120)
