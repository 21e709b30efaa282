"""Numbers that the report shows, from the result table alone. Pure functions from table to table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facelesion.analysis.claims import Profile, level_of, over_of
from facelesion.analysis.statistics import Interval, bootstrap_interval, cohens_h

if TYPE_CHECKING:
    import pandas as pd

INTACT, NONE = "intact", "none"
NO_WIDTH = 1e-9  # of an interval, but for rounding
PERCENT = "\u00a0%"  # the space does not break


@dataclass(frozen=True)
class Measure:
    """A measure as the table tells of it.

    Attributes:
        name: in the column `metric`.
        words: for a reader who has not seen the code.
        share: whether it is a proportion of right answers, shown in percent.
        chance, ceiling: what guessing gives, and the most there is; not a number where there is no such value.
    """

    name: str
    words: str
    share: bool = False
    chance: float = float("nan")
    ceiling: float = float("nan")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Between which values it must lie, where there are such."""
        return (0.0, 1.0) if self.share or self.ceiling == 1 else None

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return 1 if self.share else 3 if self.bounds else 2


SHARE = Measure("share", "share", share=True)
NUMBER = Measure("number", "number")


def tasks_of(table: pd.DataFrame) -> list[str]:
    """Tasks in the table, in its order."""
    return list(dict.fromkeys(table["task"]))


def lesions_of(table: pd.DataFrame) -> list[str]:
    """Lesions in the table, in its order, without the intact network."""
    return [name for name in dict.fromkeys(table["lesion"]) if name != NONE]


def measure_of(table: pd.DataFrame, task: str, metric: str | None = None) -> Measure:
    """A measure of a task by its name; the one that the table calls `main` when left out."""
    part = table[table["task"] == task]
    if metric is None:
        first = part[part["main"]] if part["main"].any() else part
        metric = str(first["metric"].iloc[0])
    row = part[part["metric"] == metric].iloc[0]
    return Measure(metric, str(row["words"]), bool(row["share"]), float(row["chance"]), float(row["ceiling"]))


def metric_of(table: pd.DataFrame, task: str) -> str:
    """The name of the measure that speaks for a task."""
    return measure_of(table, task).name


def show(value: float, measure: Measure, signed: bool = False) -> str:
    """A value as people read it: percent for shares, else two or three decimals; a change of a share in points.

    Example:
        >>> show(0.9431, Measure("auc", "area", ceiling=1)), show(-0.052, SHARE, signed=True)
        ('0.943', '−5.2')
    """
    if np.isnan(value):
        return "–"
    number = round(100 * value if measure.share else value, measure.digits) + 0.0  # no minus before a zero
    text = f"{number:+.{measure.digits}f}" if signed and number else f"{number:.{measure.digits}f}"
    return text.replace("-", "−") + (PERCENT if measure.share and not signed else "")


def show_interval(interval: Interval, measure: Measure) -> str:
    """The bounds of an interval, without repeating the unit.

    Where everything that varies came out the same there is no spread to tell an interval from: that is no certainty.

    Example:
        >>> show_interval(Interval(0.5, 0.25, 0.75), SHARE), show_interval(Interval(1, 1, 1), SHARE)
        ('[25.0, 75.0]', 'no interval')
    """
    if np.isnan(interval.low):
        return "one draw"
    if interval.high - interval.low < NO_WIDTH:
        return "no interval"
    low, high = (show(bound, measure).removesuffix(PERCENT) for bound in (interval.low, interval.high))
    return f"[{low}, {high}]"


def number_of(count: int, one: str, several: str = "") -> str:
    """A number of things in words.

    Example:
        >>> number_of(1, "task"), number_of(2, "task"), number_of(0, "stimulus", "stimuli")
        ('1 task', '2 tasks', '0 stimuli')
    """
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def listed(parts: Iterable[object]) -> str:
    """Items joined as in a sentence; empty where there are none.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    *most, last = [str(part) for part in parts] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def dose_meaning(table: pd.DataFrame, lesion: str) -> str:
    """What a lesion's dose means, as the table says it."""
    return str(table.loc[table["lesion"] == lesion, "meaning"].iloc[0])


def dose_response(
    table: pd.DataFrame,
    task: str,
    metric: str,
    stimulus: str = INTACT,
    profile: Profile | None = None,
    choice: Profile | None = None,
) -> pd.DataFrame:
    """A task's performance by lesion and dose, over draws.

    Args:
        profile: the network's scores by person (`facelesion.analysis.profile`), if its answers were kept: then the
            intervals of the measure that they give are over people and draws.
        choice: the same on the common scale, for a measure that is that scale itself, such as `forced_choice`.

    Returns:
        One row per lesion and dose in the study's order, the intact network (lesion 'none', step 0) first: columns
        lesion, step, dose, mean, low, high (95 % interval; not a number where there is none), over (what the interval
        is over), draws, n, chance.
    """
    import pandas as pd

    chosen = table[(table["task"] == task) & (table["metric"] == metric) & (table["stimulus"] == stimulus)]
    bounds = measure_of(table, task, metric).bounds
    answered = _scores_of(chosen, task, (profile, choice)) if stimulus == INTACT else None
    rows = []
    for lesion, step, dose in steps_of(chosen):
        draws = chosen[(chosen["lesion"] == lesion) & (chosen["step"] == step)]
        interval = bootstrap_interval(draws["value"].to_numpy(), bounds=bounds)
        over = "" if np.isnan(interval.low) else "draws"
        if answered is not None and (task, lesion, dose) in answered.doses:
            interval, over = level_of(answered, task, lesion, dose), over_of(answered, task, lesion, dose)
        rows.append(
            {
                "lesion": lesion,
                "step": step,
                "dose": dose,
                "mean": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "over": over,
                "draws": len(draws),
                "n": int(draws["n"].max()),
                "chance": float(draws["chance"].iloc[0]),
            }
        )
    columns = ["lesion", "step", "dose", "mean", "low", "high", "over", "draws", "n", "chance"]
    return pd.DataFrame(rows, columns=columns)


def _scores_of(chosen: pd.DataFrame, task: str, profiles: Iterable[Profile | None]) -> Profile | None:
    """The first scores by person that are of this very measure: those whose mean is the table's at every dose."""
    means = chosen.groupby(["lesion", "dose"])["value"].mean()
    for each in profiles:
        both = [] if each is None else [cell for cell in means.index if (task, *cell) in each.doses]
        if each is not None and both and all(
            abs(float(each.doses[task, lesion, dose].values.mean()) - means[lesion, dose]) < 1e-4
            for lesion, dose in both
        ):  # fmt: skip
            return each
    return None


def steps_of(table: pd.DataFrame) -> list[tuple[str, int, float]]:
    """Lesion, step and dose of everything in the table, in the study's order, the intact network first."""
    order = {name: place for place, name in enumerate([NONE, *lesions_of(table)])}
    found = set(zip(table["lesion"], table["step"].astype(int), table["dose"].astype(float), strict=True))
    return sorted(found, key=lambda each: (order[each[0]], *each[1:]))


def intact_value(table: pd.DataFrame, task: str, metric: str, stimulus: str = INTACT) -> float:
    """What the intact network reaches; not a number if the table does not have it."""
    chosen = table[
        (table["lesion"] == NONE)
        & (table["task"] == task)
        & (table["metric"] == metric)
        & (table["stimulus"] == stimulus)
    ]
    return float(chosen["value"].mean()) if len(chosen) else float("nan")


def above_chance(intact: float, chance: float, n: int) -> bool:
    """Is the intact network far enough from chance that a share of that distance means something?

    Two points, and two standard errors of a guesser, at least. Trials are not independent (1,128 pairs of pictures can
    come from 12 people), and the table does not say whom they show: n pairs need at least √(2n) pictures, so that many
    are counted.

    Example:
        >>> above_chance(0.94, 0.025, 400), above_chance(0.25, 0.2, 20), above_chance(0.6, 0.5, 1128)
        (True, False, False)
    """
    if np.isnan(intact) or np.isnan(chance):
        return False
    independent = max(np.sqrt(2 * n), 1.0)
    guessing = float(np.sqrt(max(chance * (1 - chance), 0.0) / independent))
    return bool(abs(intact - chance) > max(0.02, 2 * guessing))


@dataclass(frozen=True)
class HeadlineRow:
    """One lesion's last dose in one task, on unchanged images.

    Attributes:
        intact, damaged: the metric, the latter over draws.
        change: damaged less intact.
        kept: share of the performance above chance that is left; not a number if there was too little to lose.
        effect: Cohen's h of intact against damaged; not a number for other metrics than shares of trials.
    """

    task: str
    measure: Measure
    lesion: str
    dose: float
    chance: float
    intact: float
    damaged: Interval
    change: Interval
    kept: Interval
    effect: float
    draws: int

    @property
    def has_effect(self) -> bool:
        """Whether there is an effect size."""
        return not np.isnan(self.effect)


def headline(table: pd.DataFrame, profile: Profile | None = None) -> list[HeadlineRow]:
    """Intact against the last dose, per task and lesion, on unchanged images; `profile` as in `dose_response`."""
    rows = []
    for task in tasks_of(table):
        measure = measure_of(table, task)
        curve = dose_response(table, task, measure.name, profile=profile)
        intact = intact_value(table, task, measure.name)
        for lesion in lesions_of(table):
            part = curve[curve["lesion"] == lesion]
            if part.empty:
                continue
            last = part.iloc[-1]
            chance = float(last["chance"])
            able = above_chance(intact, chance, int(last["n"]))
            damaged = Interval(last["mean"], last["low"], last["high"])
            effect = (
                cohens_h(intact, damaged.estimate)
                if measure.share and 0 <= intact <= 1 and 0 <= damaged.estimate <= 1
                else float("nan")
            )
            rows.append(
                HeadlineRow(
                    task,
                    measure,
                    lesion,
                    float(last["dose"]),
                    chance,
                    intact,
                    damaged,
                    _line(damaged, intact, 1.0),
                    _line(damaged, chance, intact - chance if able else 0.0),
                    effect,
                    int(last["draws"]),
                )
            )
    return rows


def kept_shares(table: pd.DataFrame, stimulus: str = INTACT) -> pd.DataFrame:
    """Share of the performance above chance that is left, of every lesion and task's main metric.

    Returns:
        Columns lesion, dose, step, draw, task, kept. Tasks in which the intact network is not above chance
        have nothing to lose and are left out.
    """
    import pandas as pd

    parts = []
    for task in tasks_of(table):
        metric = metric_of(table, task)
        intact = intact_value(table, task, metric, stimulus)
        part = table[
            (table["task"] == task)
            & (table["metric"] == metric)
            & (table["stimulus"] == stimulus)
            & (table["lesion"] != NONE)
        ]
        if part.empty or not above_chance(intact, float(part["chance"].iloc[0]), int(part["n"].max())):
            continue
        part = part.assign(kept=(part["value"] - part["chance"]) / (intact - part["chance"]))
        parts.append(part[["lesion", "dose", "step", "draw", "task", "kept"]])
    if not parts:
        return pd.DataFrame(columns=["lesion", "dose", "step", "draw", "task", "kept"])
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class HeatMap:
    """Change against the intact network on unchanged images, by stimulus and lesion.

    Attributes:
        stimuli: names of the rows.
        columns: (lesion, dose) of the columns; ('none', 0.0) is the intact network.
        change: (rows, columns), mean over draws, in the metric's own unit; not a number where nothing was measured.
        reference: what the intact network reaches on unchanged images.
    """

    task: str
    measure: Measure
    stimuli: tuple[str, ...]
    columns: tuple[tuple[str, float], ...]
    change: np.ndarray
    reference: float


def heat_map(table: pd.DataFrame, task: str) -> HeatMap:
    """The heat map of a task's main metric."""
    measure = measure_of(table, task)
    metric = measure.name
    chosen = table[(table["task"] == task) & (table["metric"] == metric)]
    stimuli = tuple(dict.fromkeys(chosen["stimulus"]))
    columns = tuple((lesion, dose) for lesion, _, dose in steps_of(chosen))
    reference = intact_value(table, task, metric)
    mean = chosen.groupby(["stimulus", "lesion", "dose"])["value"].mean()
    change = np.array(
        [[mean.get((stimulus, *column), np.nan) - reference for column in columns] for stimulus in stimuli]
    )
    return HeatMap(task, measure, stimuli, columns, change, reference)


def _line(interval: Interval, zero: float, unit: float) -> Interval:
    """The interval on another scale: `zero` becomes 0 and one `unit` from it 1."""
    if not unit or np.isnan(unit) or np.isnan(zero):
        return Interval(float("nan"), float("nan"), float("nan"), interval.level)
    low, high = sorted([(interval.low - zero) / unit, (interval.high - zero) / unit])
    return Interval((interval.estimate - zero) / unit, low, high, interval.level)
