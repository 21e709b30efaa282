"""The columns of a run's two tables, and what they mean. `docs/table.md` says the same at length."""

from collections.abc import Mapping

VERSION = 3

#: Columns of `trials.parquet`, in order, and what they mean.
TRIAL_COLUMNS: Mapping[str, str] = {
    "participant": "network, by its name in the study",
    "lesion": "name of the series of damage; none for the intact network",
    "dose": "how much; 0 for the intact network",
    "draw": "number of the draw of units or noise",
    "control": "random or matched where other units were damaged than the chosen ones; else empty",
    "stimulus": "what was done to the picture",
    "task": "what was asked",
    "trial": "number of the trial within the task, from 0",
    "section": "part of the task; empty where it has none",
    "item": "name of the picture or pictures shown",
    "person": "who was shown, or which category",
    "other": "the second person of a pair; empty where there is none",
    "target": "the right answer",
    "answer": "what was answered",
    "value": "the decision's value: the larger, the more it spoke for the target",
    "right": "whether the answer was right",
    "forced_choice": "share of the other alternatives that the target won against, a tie counting half",
}

#: Columns of `table.parquet`, in order, and what they mean.
TABLE_COLUMNS: Mapping[str, str] = {
    "study": "name of the study",
    "participant": "network, by its name in the study",
    "weights": "hash of its weights",
    "lesion": "name of the series of damage; none for the intact network",
    "damage": "the lesion in words",
    "damage_hash": "hash of the lesion",
    "sites": "where, as written",
    "step": "number of the dose within the series, from 1; 0 for the intact network",
    "dose": "how much; 0 for the intact network",
    "meaning": "what the dose means, in words",
    "draw": "number of the draw of units or noise",
    "control": "random or matched where other units were damaged than the chosen ones; else empty",
    "mismatch": "of a matched control: mean activation less that of the chosen units, in deviations over units",
    "seed": "of the study",
    "change": "what the lesion did to its sites' activations: relative change, mean over sites",
    "changes": "the same for every site, as JSON",
    "stimulus": "what was done to the picture",
    "task": "what was asked",
    "metric": "name of the measure",
    "words": "the measure in words",
    "main": "whether it is the task's main measure",
    "value": "what was measured",
    "n": "number of trials",
    "chance": "what guessing gives; not a number where there is no such value",
    "ceiling": "the most there is; not a number where there is no such value",
    "better": "higher or lower; empty where neither is",
    "share": "whether it is a proportion of right answers",
    "data": "hash of the pictures shown",
}
