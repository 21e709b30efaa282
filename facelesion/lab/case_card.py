"""A small case study: a network's answers, healthy and damaged, beside networks trained alike and beside people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from facelesion.analysis.case_tables import INTACT, judge_cases
from facelesion.data.face_memory import CHANCE, HUMAN_MEANS, ITEMS
from facelesion.lab.damage import calibration_for, lesion_of
from facelesion.lab.known import ALONE, fitted_on, pool_of, subject_of
from facelesion.lab.state import State
from facelesion.lesions import Lesion
from facelesion.study.table import measures_of
from facelesion.sweep import sweep
from facelesion.tasks import Task
from facelesion.weights import registry

if TYPE_CHECKING:
    import pandas as pd

TASKS_ASKED = ("memory", "detection", "identification", "objects")
SOURCE = "Duchaine & Nakayama 2006"
_ALIKE, _DAMAGE = "trained alike", "the lab's damage"


@dataclass(frozen=True)
class Row:
    """One task of the card.

    Attributes:
        task, question, measure: what was asked, and what is counted.
        healthy, damaged: the network's measure; damaged is that of health where there is no damage.
        controls, deviation: mean and deviation of the networks trained alike, intact.
        chance: what guessing gives.
        people: means of people that were published for a test like it, in words; empty where there is none.
        words: where the damaged network stands among the intact controls.
    """

    task: str
    question: str
    measure: str
    healthy: float
    damaged: float
    controls: float
    deviation: float
    chance: float
    people: str
    words: str


@dataclass(frozen=True)
class Card:
    """The case study as far as it is.

    Attributes:
        done, of: how many networks were asked, of how many.
        rows: one for each task, once all were asked.
        controls: the networks that it is compared with.
        apart: how tasks come apart, in words.
        damage: the lesion in words.
    """

    done: int
    of: int
    rows: tuple[Row, ...] = ()
    controls: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    damage: str = ""


def card(state: State, group: Sequence[str] | None = None) -> Iterator[Card]:
    """Test a network as a single case: networks that were trained alike are asked the same, intact.

    Args:
        state: the page; its stimulus and picture do not matter.
        group: the control networks; those of the registry's group that are here when left out.

    Yields:
        how far it is; at last the card.
    """
    controls = tuple(each for each in (control_networks() if group is None else group) if each != state.network)
    lesion = lesion_of(state)
    tables = [rows_of(state.network, None, "none")]
    yield Card(1, 1 + len(controls))
    if lesion is not None:
        tables.append(rows_of(state.network, lesion, _DAMAGE))
    for number, name in enumerate(controls):
        tables.append(rows_of(name, None, "none"))
        yield Card(2 + number, 1 + len(controls))
    yield judged(state.network, controls, tables, lesion)


def judged(network: str, controls: Sequence[str], tables: Sequence[pd.DataFrame], lesion: Lesion | None) -> Card:
    """The card, from rows as `table.parquet` has them (`facelesion.analysis.judge_cases`)."""
    import pandas

    table = pandas.concat(tables, ignore_index=True)
    cases = judge_cases(table, {_ALIKE: [network, *controls]}, draws=4000)
    damage = "none" if lesion is None else _DAMAGE
    mine = cases[(cases["participant"] == network) & (cases["lesion"] == damage) & (cases["against"] == INTACT)]
    main = table[table["main"]]
    rows = []
    for task in _tasks(network):
        own, values = mine[(mine["task"] == task.name) & (mine["minus"] == "")], main[main["task"] == task.name]
        healthy = values[(values["participant"] == network) & (values["lesion"] == "none")].iloc[0]
        damaged = values[(values["participant"] == network) & (values["lesion"] == damage)].iloc[0]
        few = f"not testable against {len(controls)} networks trained alike: it takes 10"
        rows.append(
            Row(
                task.name,
                task.question,
                str(healthy["words"]),
                float(healthy["value"]),
                float(damaged["value"]),
                float(own["mean"].iloc[0]) if len(own) else float("nan"),
                float(own["deviation"].iloc[0]) if len(own) else float("nan"),
                float(healthy["chance"]),
                _people(task.name),
                str(own["words"].iloc[0]) if len(own) else few,
            )
        )
    apart = [
        f"{row.task} and {row.minus}: {row.words}" for row in mine[mine["minus"] != ""].itertuples()
    ]
    return Card(
        1 + len(controls), 1 + len(controls), tuple(rows), tuple(controls), tuple(apart),
        "intact" if lesion is None else str(lesion),
    )  # fmt: skip


def control_networks() -> tuple[str, ...]:
    """The networks of the registry's group whose weights are here."""
    found = []
    for name in registry.groups().get(_ALIKE, ()):
        entry = registry.entries().get(name)
        if entry is not None and entry.find() is not None:
            found.append(name)
    return tuple(found)


def _people(task: str) -> str:
    if task != "memory":
        return ""
    told = {name: f"{right / ITEMS:.0%}" for name, right in HUMAN_MEANS.items()}
    return (
        f"{told['upright']} (faces upright), {told['inverted']} (inverted), {told['prosopagnosics']} "
        f"(8 people with prosopagnosia), guessing {CHANCE / ITEMS:.0%}: {SOURCE}, with other faces"
    )


@lru_cache(maxsize=64)
def _tasks(network: str) -> tuple[Task, ...]:
    """The card's tasks with their readouts, fixed in health."""
    return fitted_on(network, TASKS_ASKED)


@lru_cache(maxsize=128)
def rows_of(network: str, lesion: Lesion | None, name: str) -> Any:
    """A network's rows, as a study's table has them."""
    import pandas

    subject, pool = subject_of(network), pool_of(TASKS_ASKED)
    images = (subject.preprocess(each) for each in pool.images.split(32))
    calibration = calibration_for(network, lesion)
    with ALONE:
        answers = sweep(subject.module, {name: lesion}, images, calibration=calibration, ids=pool.ids)[name]
    answers = answers.float().nan_to_num(0.0)
    about = {
        "participant": network, "lesion": name, "dose": 0.0 if lesion is None else 1.0, "control": "",
        "stimulus": "intact",
    }  # fmt: skip
    return pandas.DataFrame(
        about | row for task in _tasks(network) for row in measures_of(task, task.answer(answers))
    )
