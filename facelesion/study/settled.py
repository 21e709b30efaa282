"""What a study found on people who practise before it began, and how it stands in the run's folder.

`found.json` says what was asked for, what was chosen, the level or loss that was reached on the people who practise,
and, once the study is done, what was reached on the people who are tested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facelesion.files import write_bytes
from facelesion.study.difficulty import Setting
from facelesion.study.doses import Dose
from facelesion.study.table import read_some

if TYPE_CHECKING:
    from facelesion.study.design import Study

FILE = "found.json"


@dataclass(frozen=True)
class Found:
    """Settings of the tasks and doses of the lesions.

    Attributes:
        settings: of the tasks, where a difficulty was asked for.
        doses: of the lesions, where losses were asked for.
    """

    settings: tuple[Setting, ...] = ()
    doses: tuple[Dose, ...] = ()

    def sentences(self, study: Study) -> tuple[str, ...]:
        """What a reader of the report has to know, in plain sentences."""
        told = []
        if study.difficulty is not None:
            asked = study.difficulty
            told.append(
                f"Tasks were brought to {asked.level:.0%} ({_scale(asked.scale)}) undamaged, on people who are not "
                "tested: "
                + "; ".join(map(_setting_told, self.settings))
                + "."
            )
            if far := [each for each in self.settings if not each.met]:
                told.append(
                    f"Not brought there: {', '.join(f'{each.task}, at {each.level:.0%}' for each in far)}."
                )
        if self.doses:
            told.append(
                f"Doses were found by what they cost {study.losses.task} ({_scale(study.losses.scale)}), on people who "
                "are not tested: "
                + "; ".join(
                    f"{each.series}, {_doses_told(each)} for a loss of {each.loss:.0%} (reached {each.reached:.0%})"
                    for each in self.doses
                )
                + "."
            )
        return tuple(told)


def write_found(folder: Path, study: Study, found: Found, tested: Mapping[str, Any] | None = None) -> None:
    """Write `found.json`; with what was reached on the people who are tested, once that is known."""
    plain: dict[str, Any] = {}
    if study.difficulty is not None:
        plain["difficulty"] = {"asked": asdict(study.difficulty), "tasks": [asdict(each) for each in found.settings]}
    if found.doses:
        plain["losses"] = {"asked": asdict(study.losses), "doses": [asdict(each) for each in found.doses]}
    if tested is not None:
        plain["tested"] = dict(tested)
    write_bytes(folder / FILE, (json.dumps(plain, indent=2) + "\n").encode())


def read_found(folder: Path) -> Found | None:
    """What was found earlier; None where nothing was, or it cannot be read."""
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        settings = tuple(Setting(**each) for each in plain.get("difficulty", {}).get("tasks", ()))
        doses = tuple(
            Dose(each["series"], each["loss"], tuple(each["doses"]), each["reached"])
            for each in plain.get("losses", {}).get("doses", ())
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Found(settings, doses)


def reached(folder: Path, study: Study) -> dict[str, Any]:
    """What the people who are tested gave: every task's level undamaged, and the losses, by participant.

    Losses are means over draws. `study` is the study as it was written, and its tables lie in the folder.
    """
    import pandas as pd

    told: dict[str, Any] = {}
    if study.difficulty is not None:
        levels = _levels(folder, study.difficulty.scale, "none")
        told["levels"] = {
            name: {task: float(here.loc[name, task]) for task in study.tasks} for name, here in _by_participant(levels)
        }
    if study.sought and study.losses.task in study.tasks:
        task, scale = study.losses.task, study.losses.scale
        intact = _levels(folder, scale, "none").xs(task, level="task").groupby("participant").mean()
        chance = 0.5
        if scale == "main":
            table = pd.read_parquet(folder / "table.parquet", columns=["task", "main", "chance"])
            chance = float(table[(table["task"] == task) & table["main"]]["chance"].iloc[0])
        losses: dict[str, Any] = {}
        for series in study.sought:
            here = _levels(folder, scale, series).xs(task, level="task")
            for name, levels in here.groupby("participant"):
                room = intact[name] - chance
                by_dose = levels.groupby("dose", sort=False).mean()
                losses.setdefault(str(name), {})[series] = [
                    {"dose": float(dose), "loss": float((intact[name] - level) / room) if room > 0 else None}
                    for dose, level in by_dose.items()
                ]
        told["losses"] = losses
    return told


def _by_participant(levels: Any) -> Any:
    means = levels.groupby(["participant", "task"]).mean()
    return [(name, means) for name in means.index.get_level_values("participant").unique()]


def _levels(folder: Path, scale: str, series: str) -> Any:
    """Levels under the study's first stimulus, by participant, dose, draw and task."""
    import pandas as pd

    keys = ["participant", "dose", "draw", "task"]
    if scale == "main":
        chosen = [("lesion", "==", series), ("stimulus", "==", "intact")]
        table = pd.read_parquet(folder / "table.parquet", columns=[*keys, "main", "value"], filters=chosen)
        return table[table["main"]].set_index(keys)["value"]
    trials = read_some(
        folder / "trials.parquet", [*keys, "forced_choice"], {"lesion": [series], "stimulus": ["intact"]}
    )
    plain = trials.astype({"participant": str, "task": str})
    return plain.groupby(keys, sort=False)["forced_choice"].mean()


def _scale(scale: str) -> str:
    return "right against one other at a time" if scale == "forced_choice" else "main measure"


def _setting_told(each: Setting) -> str:
    turned = [f"{name} {value:g}" for name, value in each.people_at.items()]
    turned += [f"noise {each.noise:g}"] if each.noise else []
    return f"{each.task} by {' and '.join(turned) or 'nothing'} from {each.before:.0%} to {each.level:.0%}"


def _doses_told(each: Dose) -> str:
    return " and ".join(f"{name} {value:g}" for part in each.doses for name, value in part.items())
