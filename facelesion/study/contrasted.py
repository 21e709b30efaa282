"""What a study's contrasts came to, as a table of its own in the run folder: `contrasts.csv`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facelesion.analysis.contrast_tests import ContrastResult, contrast_against_controls, measure_contrast
from facelesion.analysis.contrasts import Contrast
from facelesion.analysis.families import adjust
from facelesion.analysis.resampling import in_words
from facelesion.files import write_bytes
from facelesion.report.run_folder import CONTRASTS
from facelesion.study.design import Study

if TYPE_CHECKING:
    import pandas as pd

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
    "p": "of no difference: crossed t test, two-sided",
    "adjusted": "p within the family of contrasts, the primary one first, the others by Holm; empty for one network",
    "called": "whether adjusted p is below 0.05; empty for one network",
    "effect": "in standard deviations between people; empty for one network",
    "crossover": "of two tasks and two lesions: p that each lesion takes more of its own task; empty for others",
    "p_random": "share of random control sets with a contrast as far out, two-sided; empty without controls",
    "p_matched": "the same of matched control sets",
    "sets": "control sets of either kind at the most",
}


def write_contrasts(folder: Path, study: Study) -> Path | None:
    """Measure a study's contrasts on its run's trials; None where it names none.

    Raises:
        Error: a contrast of what the trials do not have.
    """
    if not study.contrasts:
        return None
    import pandas as pd

    stimuli = {name for each in study.contrasts for name in (each.of, each.less, each.stimulus or "intact") if name}
    trials = pd.read_parquet(folder / "trials.parquet", filters=[("stimulus", "in", sorted(stimuli))])
    table = contrasts_of(study, trials)
    return write_bytes(folder / CONTRASTS, table.to_csv(index=False, float_format="%.6g").encode("utf-8", "replace"))


def contrasts_of(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """A row for every contrast over all its participants, and one for each of them. The columns are `CONTRAST_COLUMNS`.

    Args:
        trials: the study's, with those of its control sets.
    """
    import pandas as pd

    drawn = trials[trials["control"] == ""].groupby("lesion", observed=True)["draw"].nunique()
    undrawn = [str(name) for name, draws in drawn.items() if draws < 2]
    found = {each.name: measure_contrast(each, trials, undrawn=undrawn) for each in study.contrasts}
    primary = next((each.name for each in study.contrasts if each.primary), None)
    family = {one.name: one for one in adjust({name: each.p for name, each in found.items()}, primary)}
    rows = []
    for name, result in found.items():
        which = result.contrast
        told = {"contrast": name, "words": str(which), "primary": which.primary, "scale": which.scale}
        rows.append(
            told
            | {
                "participant": "", "estimate": result.estimate, "low": result.interval.low,
                "high": result.interval.high, "over": result.over, "p": result.p, "adjusted": family[name].adjusted,
                "called": family[name].called, "effect": result.effect, "crossover": result.crossover,
            }
        )  # fmt: skip
        rows += [told | row for row in _by_participant(result, trials)]
    return pd.DataFrame(rows, columns=list(CONTRAST_COLUMNS))


def _by_participant(result: ContrastResult, trials: pd.DataFrame) -> list[dict[str, Any]]:
    over = in_words([source for source in result.alone if source != "networks"])
    against = {kind: _against(result.contrast, trials, kind) for kind in ("random", "matched")}
    rows = []
    for name, one in result.by_participant.items():
        interval = one.interval()
        tests = {kind: found[name] for kind, found in against.items() if name in found}
        rows.append(
            {
                "participant": name, "estimate": one.estimate, "low": interval.low, "high": interval.high,
                "over": over, "p": one.p,
                **{f"p_{kind}": test.p for kind, test in tests.items()},
                "sets": max((test.n for test in tests.values()), default=math.nan),
            }
        )  # fmt: skip
    return rows


def _against(which: Contrast, trials: pd.DataFrame, kind: Any) -> Mapping[str, Any]:
    """The contrast among control sets, where every lesion in it has such."""
    if not which.damage or which.participant is not None:
        return {}
    of = trials[trials["control"] == kind]
    if set(which.damage) - set(of["lesion"].astype(str)):
        return {}
    return contrast_against_controls(which, trials, kind)
