"""How often the tests of docs/statistics.md call what is there and what is not, by simulation: its tables and figure.

    python scripts/power_of_tests.py docs/tables/power.csv docs/pictures/power.png

Some minutes on one core. Single cases: scores are normal, two tasks correlate at 0.5 over controls. Contrasts: the
crossed interaction of two lesions and two tasks, four choices between two of each person under each draw, of people
whose sensitivity differs by 0.6, draws whose loss differs by a third and by 0.25, and networks that differ by 0.2.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy import stats

from facelesion.analysis import (
    PersonScores,
    Term,
    bayesian_difference,
    contrast,
    crawford_howell,
    revised_standardised_difference,
)

CONTROLS = (5, 12, 30)
DEFICITS = (0, 1, 2, 3, 4)
LOSSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
DESIGNS = ((1, 3, 12), (1, 5, 24), (1, 20, 24), (3, 5, 24), (5, 5, 40))  # networks, draws, people
Row = tuple[str, str, float, int, float]


def cases(times: int) -> list[Row]:
    """Calls of a case whose first task is lowered, or both, by so many deviations of the controls."""
    rows: list[Row] = []
    cov = [[1.0, 0.5], [0.5, 1.0]]
    for n in CONTROLS:
        for what, lowered in (("one task", (1.0, 0.0)), ("both tasks", (1.0, 1.0))):
            for size in DEFICITS if what == "one task" else (4, 8):
                random = np.random.default_rng(n * 100 + size)
                called: dict[str, list[bool]] = {"deficit": [], "difference": [], "difference, Bayesian": []}
                called["difference, Bayesian, reference prior"] = []
                for seed in range(times):
                    x = random.multivariate_normal([0, 0], cov, n + 1)
                    case = (float(x[0, 0] - size * lowered[0]), float(x[0, 1] - size * lowered[1]))
                    called["deficit"].append(crawford_howell(case[0], x[1:, 0]).p < 0.05)
                    if n >= 10:
                        called["difference"].append(revised_standardised_difference(case, x[1:]).p < 0.05)
                    for name, prior in (("", "calibrated"), (", reference prior", "standard")):
                        found = bayesian_difference(case, x[1:], prior=prior, draws=500, seed=seed)
                        called[f"difference, Bayesian{name}"].append(found.p < 0.05)
                rows += [(test, f"{n} controls, {what}", size, times, float(np.mean(calls)))
                         for test, calls in called.items() if calls]  # fmt: skip
    return rows


def ceiling(times: int) -> list[Row]:
    """Calls of healthy cases where scores are shares right of 80 trials, near their ceiling."""
    rows: list[Row] = []
    for n in CONTROLS:
        for level in (0.9, 0.98):
            random = np.random.default_rng(n)
            calls = []
            for _ in range(times):
                own = stats.norm.cdf(stats.norm.ppf(level) + random.normal(0, 0.2, n + 1))
                x = random.binomial(80, own) / 80
                calls.append(bool(np.ptp(x[1:]) > 0) and crawford_howell(x[0], x[1:]).p < 0.05)
            rows.append(("deficit", f"{n} controls at {level:.0%} of 80 trials", 0, times, float(np.mean(calls))))
    return rows


def contrasts(times: int) -> list[Row]:
    """Calls of a crossed interaction: each lesion takes so much sensitivity of its own task."""
    rows: list[Row] = []
    terms = [Term(1, "a", "y"), Term(-1, "a", "x"), Term(-1, "b", "y"), Term(1, "b", "x")]
    for networks, draws, people in DESIGNS:
        names = {task: tuple(f"{task}{number}" for number in range(people)) for task in "ab"}
        for loss in LOSSES:
            random = np.random.default_rng(int(1000 * loss) + people)
            calls = []
            for _ in range(times):
                ease = {task: random.normal(0, 0.6, people) for task in "ab"}
                measured = []
                for _ in range(networks):
                    level = 1.2 + random.normal(0, 0.2)
                    scores = {}
                    for task, lesion in (("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")):
                        own = (task, lesion) in (("a", "x"), ("b", "y"))
                        hit = (0.5 + loss * own) * np.exp(random.normal(0, 0.3, draws)) + random.normal(0, 0.25, draws)
                        seen = stats.norm.cdf(level + ease[task] - hit[:, None])
                        scores[task, lesion] = PersonScores(names[task], random.binomial(4, seen) / 4)
                    measured.append(scores)
                calls.append(contrast(measured, terms).p < 0.05)
            many = "network" if networks == 1 else "networks"
            setting = f"{networks} {many}, {draws} draws, {people} people a task"
            rows.append(("contrast", setting, loss, times, float(np.mean(calls))))
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """Power curves: deficits, differences, contrasts."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.4), sharey=True, layout="constrained")
    colours = ("#d55e00", "#0072b2", "#009e73", "#882255", "#b07d00")
    panels = (
        ("deficit", "a deficit (Crawford & Howell)", "deviations below the controls"),
        ("difference, Bayesian", "a difference of two tasks (Bayesian)", "deviations that one task is lowered by"),
        ("contrast", "a crossed interaction (contrast)", "what each lesion takes of its own task (d′ / √2)"),
    )
    for axis, (test, title, label) in zip(axes, panels, strict=True):
        shown = [row for row in rows if row[0] == test and "both" not in row[1] and "%" not in row[1]]
        settings = list(dict.fromkeys(row[1] for row in shown))
        for colour, setting in zip(colours, settings, strict=False):
            points = sorted((row[2], row[4]) for row in shown if row[1] == setting)
            label_of = setting.removesuffix(", one task")
            axis.plot(*zip(*points, strict=True), "o-", ms=4, lw=1.4, color=colour, label=label_of)
        axis.axhline(0.05, color="#999999", lw=0.8, ls=":")
        axis.set(title=title, xlabel=label, ylim=(0, 1.02))
        axis.title.set_size(10)
        axis.spines[["top", "right"]].set_visible(False)
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if test == "contrast" else {"loc": "upper left"}
        axis.legend(frameon=False, fontsize=7.5, **beside)
    axes[0].set_ylabel("share of studies that call it (p < .05)")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Simulate, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="CSV to write")
    parser.add_argument("figure", type=Path, help="PNG to write")
    parser.add_argument("--times", type=int, default=1000, help="studies simulated of each kind (default 1000)")
    given = parser.parse_args()
    rows = [*cases(given.times), *ceiling(given.times), *contrasts(given.times)]
    with given.table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("test", "setting", "size", "studies", "called"))
        writer.writerows(rows)
    draw(rows, given.figure)


if __name__ == "__main__":
    main()
