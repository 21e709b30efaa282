"""What a study's contrasts came to, as a table of its own in the run folder: `contrasts.csv`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facelesion.analysis.contrast_tests import ContrastResult, contrast_against_controls, measure_contrast
from facelesion.analysis.contrasts import NO_LESION, Contrast
from facelesion.analysis.families import adjust
from facelesion.analysis.resampling import in_words
from facelesion.analysis.statistics import NullTest
from facelesion.files import write_bytes
from facelesion.report.run_folder import CONTRASTS
from facelesion.study.design import Study
from facelesion.study.table import read_some

if TYPE_CHECKING:
    import pandas as pd

_ALPHA = 0.05
# Of a trial, what is measured.
_ANSWERS = [
    "participant", "lesion", "dose", "draw", "control", "stimulus", "task", "trial", "section", "person", "other",
    "target", "answer", "value", "right", "forced_choice",
]  # fmt: skip
_KINDS: tuple[Literal["random", "matched"], ...] = ("random", "matched")

#: Columns of `contrasts.csv`, in order, and what they mean.
CONTRAST_COLUMNS: Mapping[str, str] = {
    "contrast": "its name in the study",
    "words": "what is compared with what",
    "primary": "whether it is tested first, by itself",
    "scale": "choice: share of right choices between two; sensitivity: the d' that belongs to it",
    "participant": "one network; empty for all together",
    "estimate": "its size",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "over": "what the interval is over",
    "p": "of no difference: crossed t test; of one participant against the others the larger of that and Crawford & "
    "Howell's, empty with fewer than ten others; two-sided",
    "adjusted": "p within the family of contrasts, the primary one first, the others by Holm; empty for one network",
    "adjusted_controls": "the largest p against control sets in any network, within the family of contrasts that have "
    "such, corrected alike; empty without controls and for one network",
    "called": "whether adjusted p is below 0.05, and adjusted_controls where there is one; empty for one network",
    "effect": "in standard deviations between people; empty for one network",
    "crossover": "of two tasks and two lesions: p that each lesion takes more of its own task; empty for others",
    "p_random": "share of different random control sets, or of two lesions' pairs of such, with a contrast as far out, "
    "two-sided; empty without controls",
    "p_matched": "the same of matched control sets",
    "sets": "how many different sets, or pairs of sets, of the kind that has fewer: of N, p is 2/(N + 1) at the least",
}


def write_contrasts(folder: Path, study: Study) -> Path | None:
    """Measure a study's contrasts on its run's trials; None where it names none.

    Raises:
        Error: a contrast of what the trials do not have.
    """
    if not study.contrasts:
        return None
    stimuli = {name for each in study.contrasts for name in (each.of, each.less, each.stimulus or "intact") if name}
    lesions = {NO_LESION}.union(*(each.damage for each in study.contrasts))
    trials = read_some(folder / "trials.parquet", _ANSWERS, {"stimulus": stimuli, "lesion": lesions})
    table = contrasts_of(study, trials)
    return write_bytes(folder / CONTRASTS, table.to_csv(index=False, float_format="%.6g").encode("utf-8", "replace"))


def chosen_trials(folder: Path, study: Study) -> pd.DataFrame:
    """The trials of the series whose units were chosen, of their control sets, and of the intact network."""
    series = [NO_LESION, *(name for name in study.lesions if study.choices(name))]
    return read_some(folder / "trials.parquet", _ANSWERS, {"lesion": series})


def contrasts_of(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """A row for every contrast over all its participants, and one for each of them. The columns are `CONTRAST_COLUMNS`.

    Args:
        trials: the study's, with those of its control sets.
    """
    import pandas as pd

    undrawn = _undrawn(study, trials)
    found = {each.name: measure_contrast(each, trials, undrawn=undrawn) for each in study.contrasts}
    against: dict[str, dict[str, Mapping[str, NullTest]]] = {
        each.name: {kind: _against(each, trials, kind) for kind in _KINDS} for each in study.contrasts
    }
    primary = next((each.name for each in study.contrasts if each.primary), None)
    tests = {name: _p(each) for name, each in found.items()}
    family = {one.name: one for one in adjust(tests, primary)}
    beyond = _beyond(against, primary)
    rows = []
    for name, result in found.items():
        which = result.contrast
        called = family[name].called and (beyond[name] < _ALPHA if name in beyond else not _hangs_on(study, result))
        told = {"contrast": name, "words": str(which), "primary": which.primary, "scale": which.scale}
        rows.append(
            told
            | {
                "participant": "", "estimate": result.estimate, "low": result.interval.low,
                "high": result.interval.high, "over": result.over, "p": tests[name], "adjusted": family[name].adjusted,
                "adjusted_controls": beyond.get(name, math.nan), "called": called, "effect": result.effect,
                "crossover": result.crossover,
            }
        )  # fmt: skip
        rows += [told | row for row in _by_participant(result, against[name])]
    return pd.DataFrame(rows, columns=list(CONTRAST_COLUMNS))


def _undrawn(study: Study, trials: pd.DataFrame) -> list[str]:
    """Series whose lesions could not have come out otherwise: a gain, units that were chosen. One that was drawn once
    is not among them, for nobody knows what another draw would have done."""
    drawn = trials[trials["control"] == ""].groupby("lesion", observed=True)["draw"].nunique()
    once = [name for name in study.lesions if drawn.get(name, 0) < 2]
    first = study.people[0].name
    return [name for name in once if study.choices(name) or not study.series(name, first).draws]


def _p(result: ContrastResult) -> float:
    """Of a participant against the others: where it stands among them, for which it takes ten others. That it differs
    from these others in particular is no finding, for any network does; but it must do so with other people too."""
    if result.contrast.participant is None:
        return result.p
    return math.nan if result.case is None else max(result.case.p, result.p)


def _hangs_on(study: Study, result: ContrastResult) -> bool:
    """Whether nothing says what other units would have done: units were chosen, and no control sets stand beside them,
    as under a stimulus without controls. That it is so in several networks does not say it."""
    which = result.contrast
    return which.participant is None and any(study.choices(name) for name in which.damage)


def _beyond(against: Mapping[str, Mapping[str, Mapping[str, NullTest]]], primary: str | None) -> dict[str, float]:
    """By contrast, where it has controls: the largest p in any network against either kind, within the family.

    A contrast is beyond other units only if it is so in every network against both kinds, so that the largest p is that
    of an intersection–union test.
    """
    worst = {
        name: max(test.p for tests in kinds.values() for test in tests.values())
        for name, kinds in against.items()
        if any(kinds.values())
    }
    if not worst:
        return {}
    return {one.name: one.adjusted for one in adjust(worst, primary if primary in worst else None)}


def _by_participant(
    result: ContrastResult, against: Mapping[str, Mapping[str, NullTest]]
) -> list[dict[str, Any]]:
    over = in_words([source for source in result.alone if source != "networks"])
    rows = []
    for name, one in result.by_participant.items():
        interval = one.interval()
        tests = {kind: found[name] for kind, found in against.items() if name in found}
        rows.append(
            {
                "participant": name, "estimate": one.estimate, "low": interval.low, "high": interval.high,
                "over": over, "p": one.p,
                **{f"p_{kind}": test.p for kind, test in tests.items()},
                "sets": min((test.n for test in tests.values()), default=math.nan),
            }
        )  # fmt: skip
    return rows


def _against(which: Contrast, trials: pd.DataFrame, kind: Literal["matched", "random"]) -> Mapping[str, NullTest]:
    """The contrast among control sets, where every lesion in it has such in every network of it."""
    if not which.damage or which.participant is not None:
        return {}
    of = trials[trials["control"] == kind]
    columns = ["participant", "lesion", "stimulus"]
    there = set(of[columns].drop_duplicates().astype(str).itertuples(index=False, name=None))
    people = which.participants or list(map(str, trials["participant"].unique()))
    damaged = [cell for cell in which.weights() if cell.lesion != NO_LESION]
    if {(name, cell.lesion, cell.stimulus) for name in people for cell in damaged} - there:
        return {}
    return contrast_against_controls(which, trials, kind)
