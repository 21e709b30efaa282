"""A run's numbers in the notebook's layout, each beside what it printed: a row a network, a column a stimulus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facelesion.training.notebook_facts import (
    CONTROL,
    DAMAGED,
    FEATURES,
    HEALTHY,
    INTACT,
    MANIPULATED,
    STIMULI,
    TRAINED,
)
from facelesion.training.notebook_page.printed import TESTS, UNITS

if TYPE_CHECKING:
    import pandas as pd

Counts = tuple[int, int, int, int]  # no face called none, called one; face called none, called one


@dataclass(frozen=True)
class Cell:
    """What stands in a table: a value, and below it what it comes from."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Line:
    """A row: whose numbers they are, and its cells."""

    name: str
    cells: tuple[Cell, ...]
    first: bool = False  # of a group: a line above it


@dataclass(frozen=True, eq=False)
class Table:
    """A table of the page.

    Attributes:
        name: of its CSV file.
        title, caption: words above it.
        head: columns.
        lines: rows as they are shown.
        data: the same numbers, a row each.
    """

    name: str
    title: str
    caption: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    data: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Results:
    """What runs left.

    Attributes:
        right: scores of a run without mistakes, as in `notebook.csv`; None where only a run with them is shown.
        summary: its conditions over all draws, as in `summary.csv`.
        answers: its answers picture by picture, as in `answers.parquet`.
        repeated: the notebook's own procedure, repeated, a row a test.
        looks: tables of `looks`, by name.
        moved: `layers.csv` of a run of the recipe manipulation; None without one.
    """

    repeated: pd.DataFrame
    right: pd.DataFrame | None = None
    summary: pd.DataFrame | None = None
    answers: pd.DataFrame | None = None
    looks: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    moved: pd.DataFrame | None = None

    def approaches(self) -> list[str]:
        """Kinds of damage in their order, without the undamaged network and manipulated units."""
        tables = [table for table in (self.right, self.repeated) if table is not None]
        names = dict.fromkeys(name for table in tables for name in table["approach"])
        return [name for name in names if name != HEALTHY and ": units of " not in name]

    def tasks(self) -> list[str]:
        """What was asked without mistakes: face or not first, as the notebook asks it."""
        if self.right is None:
            return []
        return sorted(dict.fromkeys(self.right["task"]))


def percent(value: float) -> str:
    """A share in per cent.

    Example:
        >>> percent(0.4585), percent(float("nan"))
        ('45.9', '–')
    """
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def accuracies(results: Results, approaches: Sequence[str], name: str, title: str, caption: str) -> Table:
    """Accuracy by stimulus of some networks: printed, by the notebook's own procedure again, and as measured here."""
    import pandas

    lines: list[Line] = []
    data: list[dict[str, Any]] = []
    for approach in approaches:
        prefix = f"{approach}: " if len(approaches) > 1 else ""
        cells, rows = _printed(approach)
        lines.append(Line(f"{prefix}printed", cells, True))
        cells, again = _repeated(results.repeated, approach)
        lines.append(Line(f"{prefix}its procedure again", cells))
        data += rows + again
        for task in results.tasks():
            for how in (HEALTHY, DAMAGED, TRAINED):
                cells, own = _measured(results, approach, task, how)
                if own:
                    lines.append(Line(prefix + line_name(task, how), cells))
                    data += own
    return Table(
        name, title, caption, ("% right", "normal", *FEATURES), tuple(lines), pandas.DataFrame(data)
    )


def line_name(task: str, how: str) -> str:
    """What a line of measured numbers is called.

    Example:
        >>> line_name("identification", "trained with the damage")
        'who is it, trained with the damage'
    """
    asked = {"detection": "face or not", "identification": "who is it"}[task]
    return f"{asked}, {'undamaged' if how == HEALTHY else how}"


def _printed(approach: str) -> tuple[tuple[Cell, ...], list[dict[str, Any]]]:
    cells, rows = [], []
    for stimulus in STIMULI:
        one = TESTS.get((approach, stimulus))
        if one is None:
            cells.append(Cell("–", "not run"))
            continue
        small = "one run" if len(one.runs) == 1 else " ".join(f"{run:.2f}" for run in one.runs)
        if one.again:
            small += "; again " + " ".join(f"{run:.2f}" for run in one.again)
        whole = len(one.runs) != 3
        cells.append(Cell(f"{one.mean:.2f}" if whole else "interrupted", small))
        rows += [
            {"approach": approach, "source": "printed", "task": "detection", "how": "", "stimulus": stimulus,
             "run": run, "accuracy": value / 100}
            for run, value in enumerate((*one.runs, *one.again))
        ]  # fmt: skip
    return tuple(cells), rows


def _repeated(table: pd.DataFrame, approach: str) -> tuple[tuple[Cell, ...], list[dict[str, Any]]]:
    cells, rows = [], []
    for stimulus in STIMULI:
        part = table[(table["approach"] == approach) & (table["stimulus"] == stimulus)]
        if part.empty:
            cells.append(Cell("–", "not run"))
            continue
        runs = " ".join(f"{100 * value:.1f}" for value in part["accuracy"])
        cells.append(Cell(percent(float(part["accuracy"].mean())), runs))
        rows += [
            {"approach": approach, "source": "repeated", "task": "detection", "how": "as it was", "stimulus": stimulus,
             "run": run, "accuracy": value}
            for run, value in zip(part["run"], part["accuracy"], strict=True)
        ]  # fmt: skip
    return tuple(cells), rows


def _measured(
    results: Results, approach: str, task: str, how: str
) -> tuple[tuple[Cell, ...], list[dict[str, Any]]]:
    assert results.summary is not None
    table = results.summary
    table = table[(table["approach"] == approach) & (table["task"] == task) & (table["how"] == how)]
    cells, rows = [], []
    for stimulus in STIMULI:
        part = table[table["stimulus"] == stimulus]
        if part.empty:
            cells.append(Cell("–"))
            continue
        row = part.iloc[0]
        cells.append(Cell(percent(row["accuracy"]), f"{percent(row['low'])} to {percent(row['high'])}"))
        rows.append(
            {"approach": approach, "source": "here", "task": task, "how": how, "stimulus": stimulus, "run": "all",
             "accuracy": row["accuracy"], "low": row["low"], "high": row["high"], "draws": row["draws"],
             "pictures": row["pictures"], "weights": row["weights"], "data": row["data"]}
        )  # fmt: skip
    return tuple(cells), rows


Key = tuple[str, str]  # approach (with what was done to it), stimulus


def counts_of(table: pd.DataFrame) -> Counts:
    """The 2 × 2 matrix of answers to face or not, of all its rows together."""
    truth, answer = table["target"].astype(bool), table["answer"].astype(bool)
    return tuple(int(((truth == t) & (answer == a)).sum()) for t in (False, True) for a in (False, True))  # type: ignore[return-value]


def detection_matrices(results: Results) -> dict[str, dict[Key, Counts]]:
    """Matrices of face or not by approach and stimulus: `printed`, `repeated` (last run, as the notebook has it), "
    "and of
    this run `damaged` and `trained`, all draws together."""
    found: dict[str, dict[Key, Counts]] = {"printed": {}, "repeated": {}, "damaged": {}, "trained": {}}
    found["printed"] = {key: one.counts for key, one in TESTS.items() if one.counts is not None}
    for key, part in results.repeated.groupby(["approach", "stimulus"], sort=False):
        last = part.iloc[-1]
        names = ("true_negative", "false_positive", "false_negative", "true_positive")
        if names[0] in part and not math.isnan(float(last[names[0]])):
            found["repeated"][_key(key)] = tuple(int(last[name]) for name in names)  # type: ignore[assignment]
    if results.answers is not None:
        own = results.answers[results.answers["task"] == "detection"]
        for kind, hows in (("damaged", (HEALTHY, DAMAGED)), ("trained", (TRAINED,))):
            part = own[own["how"].isin(hows)]
            for key, rows in part.groupby(["approach", "stimulus"], sort=False):
                found[kind][_key(key)] = counts_of(rows)
    return found


def _key(key: Any) -> Key:
    return str(key[0]), str(key[1])


def scores_of(counts: Counts) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 where nothing is called a face, or there is none.

    Example:
        >>> scores_of((1, 1, 0, 1))
        (0.5, 1.0, 0.6666666666666666)
    """
    _, alarms, misses, hits = counts
    precision, recall = hits / max(1, hits + alarms), hits / max(1, hits + misses)
    return precision, recall, 2 * hits / max(1, 2 * hits + alarms + misses)


def metrics(results: Results, matrices: Mapping[str, Mapping[Key, Counts]]) -> Table:
    """Precision, recall and F1 of face or not, by network and stimulus."""
    import pandas

    lines, data = [], []
    words = {
        "printed": "printed", "repeated": "its procedure again, last run", "damaged": "damaged",
        "trained": "trained with the damage",
    }  # fmt: skip
    for approach in (HEALTHY, *results.approaches()):
        first = True
        for source, word in words.items():
            found = {stimulus: matrices[source].get((approach, stimulus)) for stimulus in STIMULI}
            if not any(found.values()):
                continue
            cells = []
            for stimulus, counts in found.items():
                if counts is None:
                    cells.append(Cell("–"))
                    continue
                score = scores_of(counts)
                test = TESTS.get((approach, stimulus)) if source == "printed" else None
                small = "" if test is None or test.own_matrix else "of another run"
                cells.append(Cell(" ".join(f"{value:.3f}" for value in score), small))
                data.append(
                    {"approach": approach, "source": source, "stimulus": stimulus,
                     **dict(zip(("precision", "recall", "f1"), score, strict=True)),
                     **dict(zip(("true_negative", "false_positive", "false_negative", "true_positive"), counts,
                                strict=True))}
                )  # fmt: skip
            name = "undamaged" if source == "damaged" and approach == HEALTHY else word
            lines.append(Line(f"{approach}: {name}", tuple(cells), first))
            first = False
    return Table(
        "11_metrics", "Precision, recall, F1", "Of “face”, by network and stimulus.",
        ("", "normal", *FEATURES), tuple(lines), pandas.DataFrame(data),
    )  # fmt: skip


def units(found: pd.DataFrame) -> Table:
    """The notebook's table of responsible units, ours beside it."""
    lines, data = [], found
    for site, part in found.groupby("site", sort=False):
        printed = [UNITS.get((str(site), feature)) for feature in FEATURES]
        if any(printed):
            cells = tuple(
                Cell(f"{len(each)} of {256 if str(site).startswith('conv3') else 512}", " ".join(map(str, each)))
                if each else Cell("–") for each in printed
            )  # fmt: skip
            lines.append(Line(f"{site}: printed (VGG-Face)", cells, True))
        for way, word in (("responsible", "its rule here"), ("corrected", "corrected for activity")):
            own = part[part["by"] == way].set_index("feature")
            cells = tuple(
                Cell(f"{own.loc[feature, 'count']} of {own.loc[feature, 'of']}", _short(own.loc[feature, "units"]))
                for feature in FEATURES
            )
            lines.append(Line(f"{site}: {word}", cells, not any(printed) and way == "responsible"))
    return Table(
        "19_responsible_units", "Responsible units",
        "How many units pass, of how many; below them their numbers, which mean other units in another network.",
        ("", *FEATURES), tuple(lines), data,
    )  # fmt: skip


def _short(units: Any, most: int = 14) -> str:
    """Unit numbers, the first of them where they are many."""
    if not isinstance(units, str) and not isinstance(units, int):
        return "none"
    each = str(units).split()
    return " ".join(each[:most]) + (f" … ({len(each)})" if len(each) > most else "")


def manipulated(results: Results) -> Table | None:
    """The notebook's layer × feature table: its percentages, its procedure again, and units that do move."""
    import pandas

    from facelesion.training.notebook import units_name

    sites = dict.fromkeys(
        name.partition(":")[0]
        for table in (results.repeated, results.right)
        if table is not None
        for name in table["approach"]
        if ": units of " in name
    )
    if not sites:
        return None
    lines: list[Line] = []
    data: list[dict[str, Any]] = []

    def row(name: str, made: Sequence[tuple[Cell, list[dict[str, Any]]]], first: bool = False) -> None:
        lines.append(Line(name, tuple(each for each, _ in made), first))
        data.extend(one for _, rows in made for one in rows)

    for site in sites:
        names = [units_name(site, feature) for feature in FEATURES]
        if any((name, INTACT) in TESTS for name in names):
            row(f"{site}: printed", [_first(*_printed(name)) for name in names], True)
        row(f"{site}: its procedure again", [_first(*_repeated(results.repeated, name)) for name in names])
        for task in results.tasks():
            for word in ("excited", "inhibited"):
                cells = [_beside_controls(results, task, f"{name} {word}") for name in names]
                row(f"{site}: {line_name(task, word)}", cells)
    return Table(
        "20_layers_by_feature", "Layer × feature, normal faces",
        "In per cent right. Below the measured numbers: the mean of as many other units moved alike (lowest to "
        "highest).",
        ("% right", *FEATURES), tuple(lines), pandas.DataFrame(data),
    )  # fmt: skip


def _first(cells: tuple[Cell, ...], rows: list[dict[str, Any]]) -> tuple[Cell, list[dict[str, Any]]]:
    return cells[0], rows


def _beside_controls(results: Results, task: str, approach: str) -> tuple[Cell, list[dict[str, Any]]]:
    assert results.right is not None
    table = results.right
    table = table[(table["task"] == task) & (table["approach"] == approach) & (table["stimulus"] == INTACT)]
    own, others = table[table["how"] == MANIPULATED], table[table["how"] == CONTROL]
    if own.empty:
        return Cell("–"), []
    value = float(own["accuracy"].iloc[0])
    null = others["accuracy"]
    small = f"others {percent(null.mean())} ({percent(null.min())} to {percent(null.max())})" if len(null) else ""
    rows = [
        {"approach": approach, "source": "here", "task": task, "how": how, "stimulus": INTACT, "run": run,
         "accuracy": score, "lesion_hash": lesion, "weights": weights, "data": pictures}
        for how, run, score, lesion, weights, pictures in zip(
            table["how"], table["run"], table["accuracy"], table["lesion_hash"], table["weights"], table["data"],
            strict=True,
        )
    ]  # fmt: skip
    return Cell(percent(value), small), rows


def below_all_controls(results: Results) -> tuple[int, int, int]:
    """In how many comparisons manipulated units cost more than each of their controls, of how many, with how many
    controls each."""
    if results.right is None:
        return 0, 0, 0
    table = results.right[results.right["stimulus"] == INTACT]
    worse = total = least = 0
    for (_, approach), part in table.groupby(["task", "approach"], sort=False):
        own, others = part[part["how"] == MANIPULATED], part[part["how"] == CONTROL]
        if own.empty or others.empty or ": units of " not in str(approach):
            continue
        total += 1
        least = len(others)
        worse += bool(float(own["accuracy"].iloc[0]) < float(others["accuracy"].min()))
    return worse, total, least


def plain(name: str, title: str, caption: str, data: pd.DataFrame, columns: Mapping[str, str]) -> Table:
    """A table as it is, some of its columns under other names; shares (0 to 1, not whole) in per cent."""
    def shown(value: Any) -> str:
        if isinstance(value, float) and math.isnan(value):
            return "–"
        if isinstance(value, float):
            return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else percent(value) + " %"
        return f"{value:,}" if isinstance(value, int) or hasattr(value, "dtype") else str(value)

    names: Iterable[str] = list(columns)[1:]
    lines = tuple(
        Line(str(row[next(iter(columns))]), tuple(Cell(shown(row[name])) for name in names))
        for row in data.to_dict("records")
    )
    return Table(name, title, caption, tuple(columns.values()), lines, data)
