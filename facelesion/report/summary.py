"""Numbers that the report shows, from the result table alone. Pure functions from table to table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facelesion.analysis.claims import Profile, level_of
from facelesion.analysis.statistics import Interval, bootstrap_interval, cohens_h
from facelesion.report.checks import mapping, sequence, text

if TYPE_CHECKING:
    import pandas as pd

INTACT, NONE = "intact", "none"
PERCENT = "\u00a0%"  # the space does not break
# Where the table does not say which metric speaks for a task: yes/no tasks are judged by sensitivity, since damage also
# moves the criterion, and `accuracy` would mix the two.
SPEAKING = ("auc", "accuracy")
METRIC_NAMES = {
    "accuracy": "accuracy",
    "auc": "area under the ROC curve",
    "balanced_accuracy": "balanced accuracy",
    "top5_accuracy": "accuracy in five guesses",
    "hit_rate": "hit rate",
    "false_alarm_rate": "false alarm rate",
    "d_prime": "d′",
}
#: Metrics whose values are shares, shown in percent.
SHARES = frozenset({"accuracy", "balanced_accuracy", "top5_accuracy", "hit_rate", "false_alarm_rate"})
#: Metrics that cannot leave 0 to 1. Cohen's h is for shares of trials alone, not for areas.
BOUNDED = SHARES | {"auc"}
DOSE_MEANINGS = {
    "ablate": "share of units",
    "noise": "noise, in each unit's standard deviations",
    "dropout": "probability of dropping an activation",
    "prune": "share of synapses",
}
_APPROACH_DAMAGE = {"ablation": "ablate", "noise": "noise", "dropout": "dropout", "pruning": "prune"}


def tasks_of(table: pd.DataFrame) -> list[str]:
    """Tasks in the table, in its order."""
    return list(dict.fromkeys(table["task"]))


def approaches_of(table: pd.DataFrame) -> list[str]:
    """Approaches in the table, in its order, without the intact network."""
    return [name for name in dict.fromkeys(table["approach"]) if name != NONE]


def metric_of(table: pd.DataFrame, task: str) -> str:
    """The metric that speaks for a task: the one the table calls `main`; else the area under the curve, else accuracy,
    else the first."""
    part = table[table["task"] == task]
    if "main" in part and part["main"].any():
        return str(part.loc[part["main"], "metric"].iloc[0])
    metrics = list(dict.fromkeys(part["metric"]))
    return next((metric for metric in SPEAKING if metric in metrics), metrics[0])


def metric_name(metric: str) -> str:
    """A metric in words."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def show(value: float, metric: str, signed: bool = False) -> str:
    """A value as people read it: percent for shares, else two or three decimals; a change of a share in points.

    Example:
        >>> show(0.9431, "auc"), show(-0.052, "accuracy", signed=True)
        ('0.943', '−5.2')
    """
    if np.isnan(value):
        return "–"
    digits = 1 if metric in SHARES else 3 if metric == "auc" else 2
    number = round(100 * value if metric in SHARES else value, digits) + 0.0  # no minus before a zero
    text = f"{number:+.{digits}f}" if signed and number else f"{number:.{digits}f}"
    return text.replace("-", "−") + (PERCENT if metric in SHARES and not signed else "")


def show_interval(interval: Interval, metric: str) -> str:
    """The bounds of an interval, without repeating the unit.

    Example:
        >>> show_interval(Interval(0.5, 0.25, 0.75), "accuracy")
        '[25.0, 75.0]'
    """
    if np.isnan(interval.low):
        return "one draw"
    low, high = (show(bound, metric).removesuffix(PERCENT) for bound in (interval.low, interval.high))
    return f"[{low}, {high}]"


def dose_meaning(approach: str, config: Mapping[str, Any]) -> str:
    """What an approach's dose is a dose of, from the settings, else from its name.

    Raises:
        Error: settings of another kind than a study's; the key is named.
    """
    found = mapping(config.get("approaches", {}), "config.yaml: approaches").get(approach, [])
    kinds = []
    for place, damage in enumerate(sequence(found, f"config.yaml: approaches.{approach}")):
        where = f"config.yaml: approaches.{approach}[{place}]"
        kind = mapping(damage, where).get("damage")
        if kind is not None:
            kinds.append(text(kind, f"{where}.damage"))
    kind = kinds[0] if kinds else _APPROACH_DAMAGE.get(approach, "")
    meaning = DOSE_MEANINGS.get(kind, "dose")
    return f"{meaning}; the others grow with it" if len(kinds) > 1 else meaning


def dose_response(
    table: pd.DataFrame, task: str, metric: str, stimulus: str = INTACT, profile: Profile | None = None
) -> pd.DataFrame:
    """A task's performance by approach and dose, over draws.

    Args:
        profile: the network's scores by person (`facelesion.analysis.profile`), if its answers were kept: then the
            intervals of the measure that they give are over people and draws.

    Returns:
        One row per approach and dose, the intact network (approach 'none', step 0) first: columns approach, step
        (1 is the smallest dose), dose, mean, low, high (95 % interval over draws, or over people and draws; not a
        number for one draw alone), draws, n, chance.
    """
    import pandas as pd

    chosen = table[(table["task"] == task) & (table["metric"] == metric) & (table["stimulus"] == stimulus)]
    bounds = (0.0, 1.0) if metric in BOUNDED else None
    rows = []
    for approach in [NONE, *approaches_of(chosen)]:
        part = chosen[chosen["approach"] == approach]
        for step, dose in enumerate(sorted(set(part["dose"])), start=0 if approach == NONE else 1):
            draws = part[part["dose"] == dose]
            interval = bootstrap_interval(draws["value"].to_numpy(), bounds=bounds)
            if profile is not None and stimulus == INTACT and (task, approach, float(dose)) in profile.doses:
                crossed = level_of(profile, task, approach, float(dose))
                if abs(crossed.estimate - interval.estimate) < 1e-4:  # it is this very measure
                    interval = crossed
            rows.append(
                {
                    "approach": approach,
                    "step": step,
                    "dose": float(dose),
                    "mean": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "draws": len(draws),
                    "n": int(draws["n"].max()),
                    "chance": float(draws["chance"].iloc[0]),
                }
            )
    columns = ["approach", "step", "dose", "mean", "low", "high", "draws", "n", "chance"]
    return pd.DataFrame(rows, columns=columns)


def intact_value(table: pd.DataFrame, task: str, metric: str, stimulus: str = INTACT) -> float:
    """What the intact network reaches; not a number if the table does not have it."""
    chosen = table[
        (table["approach"] == NONE)
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
    """One approach's largest dose in one task, on unchanged images.

    Attributes:
        intact, damaged: the metric, the latter over draws.
        change: damaged less intact.
        kept: share of the performance above chance that is left; not a number if there was too little to lose.
        effect: Cohen's h of intact against damaged; not a number for other metrics than shares of trials.
    """

    task: str
    metric: str
    approach: str
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
    """Intact against the largest dose, per task and approach, on unchanged images; `profile` as in `dose_response`."""
    rows = []
    for task in tasks_of(table):
        metric = metric_of(table, task)
        curve = dose_response(table, task, metric, profile=profile)
        intact = intact_value(table, task, metric)
        for approach in approaches_of(table):
            part = curve[curve["approach"] == approach]
            if part.empty:
                continue
            last = part.iloc[-1]
            chance = float(last["chance"])
            able = above_chance(intact, chance, int(last["n"]))
            damaged = Interval(last["mean"], last["low"], last["high"])
            effect = (
                cohens_h(intact, damaged.estimate)
                if metric in SHARES and 0 <= intact <= 1 and 0 <= damaged.estimate <= 1
                else float("nan")
            )
            rows.append(
                HeadlineRow(
                    task,
                    metric,
                    approach,
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
        Columns approach, dose, step, draw, task, kept. Tasks in which the intact network is not above chance
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
            & (table["approach"] != NONE)
        ]
        if part.empty or not above_chance(intact, float(part["chance"].iloc[0]), int(part["n"].max())):
            continue
        part = part.assign(kept=(part["value"] - part["chance"]) / (intact - part["chance"]))
        part = part.assign(step=part.groupby("approach")["dose"].rank(method="dense").astype(int))
        parts.append(part[["approach", "dose", "step", "draw", "task", "kept"]])
    if not parts:
        return pd.DataFrame(columns=["approach", "dose", "step", "draw", "task", "kept"])
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class HeatMap:
    """Change against the intact network on unchanged images, by stimulus and lesion.

    Attributes:
        stimuli: names of the rows.
        columns: (approach, dose) of the columns; ('none', 0.0) is the intact network.
        change: (rows, columns), mean over draws, in the metric's own unit; not a number where nothing was measured.
        reference: what the intact network reaches on unchanged images.
    """

    task: str
    metric: str
    stimuli: tuple[str, ...]
    columns: tuple[tuple[str, float], ...]
    change: np.ndarray
    reference: float


def heat_map(table: pd.DataFrame, task: str) -> HeatMap:
    """The heat map of a task's main metric."""
    metric = metric_of(table, task)
    chosen = table[(table["task"] == task) & (table["metric"] == metric)]
    stimuli = tuple(dict.fromkeys(chosen["stimulus"]))
    columns = tuple(
        (approach, float(dose))
        for approach in [NONE, *approaches_of(chosen)]
        for dose in sorted(set(chosen.loc[chosen["approach"] == approach, "dose"]))
    )
    reference = intact_value(table, task, metric)
    mean = chosen.groupby(["stimulus", "approach", "dose"])["value"].mean()
    change = np.array(
        [[mean.get((stimulus, *column), np.nan) - reference for column in columns] for stimulus in stimuli]
    )
    return HeatMap(task, metric, stimuli, columns, change, reference)


def _line(interval: Interval, zero: float, unit: float) -> Interval:
    """The interval on another scale: `zero` becomes 0 and one `unit` from it 1."""
    if not unit or np.isnan(unit) or np.isnan(zero):
        return Interval(float("nan"), float("nan"), float("nan"), interval.level)
    low, high = sorted([(interval.low - zero) / unit, (interval.high - zero) / unit])
    return Interval((interval.estimate - zero) / unit, low, high, interval.level)
