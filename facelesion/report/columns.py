"""The columns of a run's two tables: of which kind each is, in what unit, and what it means.

The one place that says so: a study writes its tables by it, the report reads by it, `facelesion export` describes its
files by it, and `docs/table.md` is held to it by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

VERSION = 3

Kind = Literal["name", "text", "JSON", "number", "whole", "true or false"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        kind: `name` (one of few texts: a category), `text`, `JSON` (text), `number`, `whole` number, `true or false`.
        meaning: in words.
        unit: of a number; empty where it is none.
        empty: whether a text may be empty, or a number missing.
    """

    kind: Kind
    meaning: str
    unit: str = ""
    empty: bool = False


#: Columns of `trials.parquet`, in order.
TRIAL_COLUMNS: Mapping[str, Column] = {
    "participant": Column("name", "network, by its name in the study"),
    "lesion": Column("name", "name of the series of damage; none for the intact network"),
    "dose": Column("number", "how much; 0 for the intact network", "each lesion's own: `meaning` in the table"),
    "draw": Column("whole", "number of the draw of units or noise", "count"),
    "control": Column(
        "name", "random or matched where other units were damaged than the chosen ones; else empty", empty=True
    ),
    "stimulus": Column("name", "what was done to the picture"),
    "task": Column("name", "what was asked"),
    "trial": Column("whole", "number of the trial within the task, from 0", "count"),
    "section": Column("name", "part of the task; empty where it has none", empty=True),
    "item": Column("name", "name of the picture or pictures shown", empty=True),
    "person": Column("name", "who was shown, or which category"),
    "other": Column("name", "the second person of a pair; empty where there is none", empty=True),
    "target": Column("name", "the right answer"),
    "answer": Column("name", "what was answered", empty=True),
    "value": Column(
        "number", "the decision's value: the larger, the more it spoke for the target", "each task's own"
    ),
    "right": Column("true or false", "whether the answer was right"),
    "forced_choice": Column(
        "number", "share of the other alternatives that the target won against, a tie counting half", "share"
    ),
}

#: Columns of `table.parquet`, in order.
TABLE_COLUMNS: Mapping[str, Column] = {
    "study": Column("name", "name of the study"),
    "participant": Column("name", "network, by its name in the study"),
    "weights": Column("name", "hash of its weights"),
    "lesion": Column("name", "name of the series of damage; none for the intact network"),
    "damage": Column("text", "the lesion in words"),
    "damage_hash": Column("text", "hash of the lesion"),
    "sites": Column("text", "where, as written", empty=True),
    "step": Column("whole", "number of the dose within the series, from 1; 0 for the intact network", "count"),
    "dose": Column("number", "how much; 0 for the intact network", "each lesion's own: `meaning`"),
    "meaning": Column("text", "what the dose means, in words", empty=True),
    "draw": Column("whole", "number of the draw of units or noise", "count"),
    "control": Column(
        "name", "random or matched where other units were damaged than the chosen ones; else empty", empty=True
    ),
    "mismatch": Column(
        "number", "of a matched control: its mean activation less that of the chosen units", "deviations over units",
        empty=True,
    ),
    "seed": Column("whole", "of the study"),
    "change": Column(
        "number", "what the lesion did to its sites' activations: relative change, mean over sites", "ratio"
    ),
    "changes": Column("JSON", "the same for every site, as JSON"),
    "stimulus": Column("name", "what was done to the picture"),
    "task": Column("name", "what was asked"),
    "metric": Column("name", "name of the measure"),
    "words": Column("text", "the measure in words"),
    "main": Column("true or false", "whether it is the task's main measure"),
    "value": Column("number", "what was measured", "each measure's own; a share where `share`"),
    "n": Column("whole", "number of trials", "count"),
    "chance": Column(
        "number", "what guessing gives; missing where there is no such value", "as `value`", empty=True
    ),
    "ceiling": Column(
        "number", "the most there is; missing where there is no such value", "as `value`", empty=True
    ),
    "better": Column("name", "higher or lower; empty where neither is", empty=True),
    "share": Column("true or false", "whether it is a proportion of right answers"),
    "data": Column("text", "hash of the pictures shown"),
}
