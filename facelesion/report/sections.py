"""What further sections of the report say: participants and intact levels, curves, rankings, single cases, methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facelesion.analysis.case_tables import INTACT as AGAINST_INTACT
from facelesion.analysis.case_tables import SAME, judge_cases, others_called
from facelesion.analysis.curve_tables import Fits, fit_curves
from facelesion.analysis.ranked import agreement_of_rankings
from facelesion.analysis.single_cases import LEAST_CONTROLS
from facelesion.report import responses, summary
from facelesion.report.run_folder import Run
from facelesion.report.summary import lesions_of, steps_of

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.analysis.answers import Answers
    from facelesion.analysis.claims import Profile

#: Below these a report says that it tells little; roles of people who are asked about.
LEAST_DRAWS, LEAST_PEOPLE = 5, 10
PEOPLE = ("probes", "strangers")


def groups_of(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Participants that were trained alike: as the manifest says, else all that were trained, under an empty name."""
    told = {
        name: [each for each in members if each in tables] for name, members in run.manifest.groups.items()
    }
    told = {name: members for name, members in told.items() if members}
    if told:
        return told
    trained = [
        name for name, table in tables.items() if not str(table["weights"].iloc[0]).startswith("untrained")
    ]
    return {"": trained} if len(trained) > 1 else {}


def few(run: Run) -> str:
    """What a run that drew damage seldom, or asked about few people, cannot tell, in a sentence; else empty.

    Lesions that were drawn once where the study draws more often take no units at random, and chosen units have control
    sets: neither is counted.
    """
    own = set() if run.controls is None else set(run.controls["lesion"])
    damaged = run.table[(run.table["lesion"] != summary.NONE) & ~run.table["lesion"].isin(own)]
    least = 1 if run.config.get("draws") == 1 else 2
    drawn = {str(name): int(part["draw"].nunique()) for name, part in damaged.groupby("lesion", sort=False)}
    short = [
        f"{summary.number_of(many, 'draw')} of {name}"
        for name, many in drawn.items()
        if least <= many < LEAST_DRAWS
    ]
    if run.pictures is not None:
        asked = None if run.trials is None else set(run.trials["person"]) | set(run.trials["other"])
        for role in PEOPLE:
            people = set(run.pictures.loc[run.pictures["role"] == role, "label"])
            people &= people if asked is None else asked
            if 0 < len(people) < LEAST_PEOPLE:
                short.append(f"{summary.number_of(len(people), 'person', 'people')} among the {role}")
    if not short:
        return ""
    return (
        f"Little was measured: {summary.listed(short)}. Intervals over so few are wide, some wider than anything that "
        f"could be, or there is none, and that no loss is shown says next to nothing: take {LEAST_DRAWS} draws or more "
        f"of random damage, and {LEAST_PEOPLE} people at the very least in each role, better forty."
    )


def fits_of(name: str, table: pd.DataFrame, answers: Mapping[str, Answers]) -> Fits:
    """The psychometric curves of a participant."""
    doses, meanings = {}, {}
    for lesion in lesions_of(table):
        part = table[table["lesion"] == lesion]
        doses[lesion] = [dose for _, _, dose in steps_of(part)]
        meanings[lesion] = str(part["meaning"].iloc[0])
    return fit_curves(name, answers, doses, meanings)


def cases_of(tables: Mapping[str, pd.DataFrame], groups: Mapping[str, Sequence[str]]) -> pd.DataFrame | None:
    """The run's single cases; None where there is nobody to compare with."""
    import pandas as pd

    if not any(len(members) > 1 for members in groups.values()):
        return None
    whole = pd.concat([table.assign(participant=name) for name, table in tables.items()], ignore_index=True)
    return judge_cases(whole, groups)


def participants(
    tables: Mapping[str, pd.DataFrame],
    groups: Mapping[str, Sequence[str]],
    profiles: Mapping[str, Profile | None],
) -> dict[str, Any]:
    """Every participant with its weights, its group and its intact levels with their intervals over people."""
    tasks = list(dict.fromkeys(task for table in tables.values() for task in summary.tasks_of(table)))
    measures = {
        task: next(summary.measure_of(t, task) for t in tables.values() if task in summary.tasks_of(t))
        for task in tasks
    }
    lines = []
    for name, table in tables.items():
        weights = str(table["weights"].iloc[0])
        group = next((group for group, members in groups.items() if name in members and group), "")
        cells: list[Any] = []
        for task in tasks:
            if task not in summary.tasks_of(table):
                cells.append(None)
                continue
            curve = summary.dose_response(table, task, measures[task].name, profile=profiles.get(name))
            intact = curve[curve["lesion"] == summary.NONE]
            if intact.empty:
                cells.append(None)
                continue
            row = intact.iloc[0]
            cells.append(summary.Interval(float(row["mean"]), float(row["low"]), float(row["high"])))
        lines.append(
            {
                "name": name, "weights": weights, "cells": cells,
                "group": group or ("untrained" if weights.startswith("untrained") else ""),
            }
        )  # fmt: skip
    trained = [line for line in lines if line["group"] != "untrained"]
    ceiling = [
        task
        for number, task in enumerate(tasks)
        if any(
            line["cells"][number] is not None and line["cells"][number].estimate >= 0.99 * measures[task].ceiling
            for line in trained
        )
    ]
    return {"tasks": [(task, measures[task]) for task in tasks], "lines": lines, "ceiling": ceiling}


def task_table(
    table: pd.DataFrame, task: str, own: Profile | None, choice: Profile | None
) -> dict[str, Any]:
    """Every metric of a task by lesion and dose, on unchanged images, and what its intervals are over."""
    part = table[table["task"] == task]
    first = summary.measure_of(table, task).name
    names = sorted(dict.fromkeys(part["metric"]), key=lambda name: name != first)
    curves = {name: summary.dose_response(part, task, name, profile=own, choice=choice) for name in names}
    # Unchanged images may not have been asked.
    measures = [summary.measure_of(table, task, name) for name in names if not curves[name].empty]
    lines = [
        {
            "lesion": row["lesion"],
            "dose": row["dose"],
            "draws": row["draws"],
            "cells": [_cell(curves[each.name], row["lesion"], row["dose"], each) for each in measures],
        }
        for _, row in curves[first].iterrows()
    ]
    return {
        "task": task,
        "measures": measures,
        "over": [_over(curves[each.name]) for each in measures],
        "n": int(part["n"].max()),
        "lines": lines,
    }


def _over(curve: pd.DataFrame) -> str:
    """What the intervals of a column are over; empty where it has none."""
    return " or ".join(dict.fromkeys(over for over in curve.loc[curve["lesion"] != summary.NONE, "over"] if over))


def _cell(curve: pd.DataFrame, lesion: str, dose: float, measure: summary.Measure) -> dict[str, str]:
    row = curve[(curve["lesion"] == lesion) & (curve["dose"] == dose)]
    if row.empty:
        return {"mean": "–", "interval": ""}
    mean, low, high = (float(row[name].iloc[0]) for name in ("mean", "low", "high"))
    alone = lesion == summary.NONE or low != low
    return {
        "mean": summary.show(mean, measure),
        "interval": "" if alone else summary.show_interval(summary.Interval(mean, low, high), measure),
    }


def curves(fits: Mapping[str, Fits]) -> dict[str, Any] | None:
    """The table of doses at half loss, and of what was compared."""
    if not any(each.fitted for each in fits.values()):
        return None
    import pandas as pd

    compared = [each.compared for each in fits.values() if not each.compared.empty]
    rows = pd.concat(compared, ignore_index=True) if compared else None
    return {
        "networks": list(fits),
        "lines": responses.lines_of(list(fits.values())),
        "over": next(
            (
                str(over)
                for each in fits.values()
                for over in each.curves["over"]
                if isinstance(over, str) and over
            ),
            "",
        ),
        "compared": [] if rows is None else _compared(rows, list(fits)),
    }


def _compared(rows: pd.DataFrame, networks: Sequence[str]) -> list[dict[str, Any]]:
    """Two curves a row, a cell for each network."""
    found = []
    for (lesion, task, than_lesion, than_task), part in rows.groupby(
        ["lesion", "task", "than_lesion", "than_task"], sort=False
    ):
        cells = {row.participant: row for row in part.itertuples()}
        words = (
            f"{lesion}: {task} against {than_task}"
            if lesion == than_lesion
            else f"{task}: {lesion} against {than_lesion}"
        )
        found.append({"words": words, "cells": [cells.get(name) for name in networks]})
    return found


def _score(each: pd.DataFrame) -> str:
    """What a ranking goes by, and how sure a raced one is."""
    words = str(each["score_is"].iloc[0])
    sure = str(each["certificate"].iloc[0]) if "certificate" in each else ""
    return f"{words} ({sure})" if sure else words


def rankings(run: Run) -> dict[str, Any] | None:
    """Which rankings units were taken from, how reliable each is, and how they agree."""
    if run.rankings is None or run.rankings.empty:
        return None
    table = run.rankings
    reliable = []
    for (by, of, site), part in table.groupby(["by", "of", "site"], sort=False):
        each = part.drop_duplicates("participant")
        reliable.append(
            {
                "ranking": f"{by} of {of}", "site": site, "score": _score(each),
                "values": dict(zip(each["participant"], each["reliability"].astype(float), strict=True)),
            }
        )  # fmt: skip
    networks = list(dict.fromkeys(table["participant"]))
    agree: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name in networks:
        for row in agreement_of_rankings(table[table["participant"] == name]).itertuples():
            agree.setdefault((row.first, row.second, row.site), {})[name] = row
    return {
        "networks": networks,
        "reliable": [
            {**each, "cells": [each["values"].get(name, math.nan) for name in networks]} for each in reliable
        ],
        "agree": [
            {"words": f"{first} – {second}", "site": site, "cells": [rows.get(name) for name in networks]}
            for (first, second, site), rows in agree.items()
        ],
    }


def cases(table: pd.DataFrame | None, groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """What is said of single cases, group by group."""
    if table is None:
        return []
    return [
        _group(name, members, table[table["group"] == name])
        for name, members in groups.items()
        if len(members) > 1
    ]


def _group(name: str, members: Sequence[str], table: pd.DataFrame) -> dict[str, Any]:
    others, subject = others_called(name), members[0]
    tested = bool(table["p"].notna().any())
    missing = LEAST_CONTROLS - (len(members) - 1)
    sentences = []
    if missing > 0:
        sentences.append(
            f"Not testable: beside {subject} there are {len(members) - 1} {others}, and a single case "
            f"takes {LEAST_CONTROLS} (with three, a test of a difference calls 9 of 100 healthy cases different). "
            f"{'One more is' if missing == 1 else f'{missing} more are'} needed."
        )
    else:
        sentences += _sentences(subject, others, table)
    one = table[table["minus"] == ""]
    tasks = list(dict.fromkeys(one["task"]))
    lines = []
    for (lesion, dose), part in one[one["participant"] == subject].groupby(["lesion", "dose"], sort=False):
        cells = [
            [
                _told(row) | {"same": against == SAME}
                for against in (AGAINST_INTACT, SAME)
                for row in part[(part["task"] == task) & (part["against"] == against)].itertuples()
            ]
            for task in tasks
        ]
        lines.append({"lesion": lesion, "dose": dose, "cells": cells})
    return {
        "name": name, "subject": subject, "others": others, "tested": tested, "sentences": sentences, "tasks": tasks,
        "lines": lines if tested else [], "controls": len(members) - 1, "tests": int(table["p"].notna().sum()),
    }  # fmt: skip


def _told(row: Any) -> dict[str, Any]:
    """A cell: where the case stands and the interval of that share, without naming the controls again."""
    if row.p != row.p:
        return {"stands": "not testable", "interval": "", "called": False}
    stands, _, rest = row.words.partition(" % of ")
    interval = rest.rpartition(" interval ")[2].removesuffix(" %)") if " interval " in rest else ""
    return {
        "stands": f"{stands}{summary.PERCENT}",
        "interval": interval.replace(" to ", "–"),
        "called": bool(row.called),
    }


def _sentences(subject: str, others: str, table: pd.DataFrame) -> list[str]:
    """Deficits and dissociations that were called, and what was not."""
    told = []
    one, two = table[table["minus"] == ""], table[table["minus"] != ""]
    healthy = one[(one["lesion"] == "none") & one["called"]]
    told += [
        f"{row.participant}, intact: {row.task} is {row.words}, and stays so after correction."
        for row in healthy.itertuples()
    ]
    if healthy.empty:
        told.append(f"Intact, no participant lies below {others} in any task after correction.")
    for against, words in ((AGAINST_INTACT, "intact controls"), (SAME, f"controls with {SAME}")):
        damaged = one[(one["lesion"] != "none") & (one["against"] == against)]
        called = damaged[damaged["called"]]
        for lesion, part in called.groupby("lesion", sort=False):
            first = part.drop_duplicates("task")
            named = "; ".join(f"{row.task} from {row.dose:g} on ({row.words})" for row in first.itertuples())
            told.append(f"{subject} under {lesion}, against {words}: {named}.")
        if called.empty and len(damaged):
            told.append(f"{subject} damaged, against {words}: no deficit after correction.")
        elif rest := [name for name in dict.fromkeys(damaged["task"]) if name not in set(called["task"])]:
            told.append(f"Against {words} no deficit after correction in {', '.join(rest)}.")
    apart = two[two["kind"].isin(["classical", "strong"])]
    for row in apart.itertuples():
        where = (
            "intact" if row.lesion == "none" else f"under {row.lesion} at {row.dose:g}, against {row.against}"
        )
        told.append(f"A {row.kind} dissociation in {row.participant}, {where}: {row.words}.")
    untested = int((two["p"].isna()).sum())
    if apart.empty:
        told.append(
            "No dissociation of two tasks is called"
            + (f"; {untested} of {len(two)} comparisons were not testable." if untested else ".")
        )
    elif untested:
        told.append(f"{untested} of {len(two)} comparisons of two tasks were not testable.")
    return told
