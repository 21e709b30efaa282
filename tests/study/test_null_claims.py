"""Where there is nothing a study's tables claim nothing: contrasts, units beside others, one network beside others.

Every table has a large true effect somewhere; what is shuffled is what a claim is about. Labels are shuffled among what
varies: people, sets of units, networks. To shuffle the two lesions of three whole networks would leave one table in
four as it was, up to its sign.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from facelesion.analysis import Contrast, measure_contrast
from facelesion.analysis.against import against_controls
from facelesion.analysis.families import adjust
from facelesion.report.against import beyond
from facelesion.study import Study
from facelesion.study.choice import Controls
from facelesion.study.contrasted import contrasts_of

TABLES, SETS = 200, 45
# The first seed: of 500 tables of shuffled tasks the t test called a contrast in 20, of the first 200 in over ten.
FIRST = 500
LESIONS, TASKS = ("face units", "object units"), ("identification", "objects")
CROSSED = Contrast("crossed", lesions=LESIONS, tasks=TASKS, primary=True)
CONTRASTS = (
    CROSSED,
    Contrast("within", lesion=LESIONS[0], tasks=TASKS),
    Contrast("two lesions", lesions=LESIONS, task=TASKS[0]),
)
CHOSEN = (0, 1, 2 + 2 * SETS)  # among the sets: no lesion, face units, object units


@functools.cache
def study(networks: int, contrasts: tuple[Contrast, ...] = CONTRASTS) -> Study:
    def part(of: str) -> dict[str, object]:
        return {"kind": "Ablate", "site": "conv4_3", "units": {"by": "selectivity", "of": of}, "fraction": 0.2}

    return Study(
        participants=[{"network": "untrained", "name": f"net{number}"} for number in range(networks)],
        lesions={LESIONS[0]: [part("faces")], LESIONS[1]: [part("objects")]},
        controls=Controls(SETS, SETS), tasks=TASKS, contrasts=contrasts,
    )  # fmt: skip


@functools.cache
def skeleton(networks: int, people: int, pictures: int, chosen: bool = False) -> pd.DataFrame:
    """All columns but the answers; rows by network, set of units, task, person, picture."""
    if chosen:
        whole = skeleton(networks, people, pictures)
        return whole[(whole["control"] == "").to_numpy()].astype(object).reset_index(drop=True)
    sets = [("none", "", 0)] + [
        (lesion, control, draw)
        for lesion in LESIONS
        for control, count in (("", 1), ("random", SETS), ("matched", SETS))
        for draw in range(count)
    ]
    index = pd.MultiIndex.from_product(
        [range(networks), range(len(sets)), range(len(TASKS)), range(people), range(pictures)]
    ).to_frame(index=False, name=["network", "set", "task", "person", "picture"])
    names = pd.DataFrame(sets, columns=["lesion", "control", "draw"])
    frame = names.iloc[index["set"]].reset_index(drop=True)
    frame["participant"] = "net" + index["network"].astype(str)
    frame["task"] = np.array(TASKS)[index["task"]]
    frame["person"] = frame["task"] + " " + index["person"].astype(str)
    frame["trial"] = index["person"] * pictures + index["picture"]
    frame["dose"] = np.where(frame["lesion"] == "none", 0.0, 0.2)
    constant = {"stimulus": "intact", "item": "p", "other": "", "answer": "", "section": "", "value": 0.0}
    frame = frame.assign(target=frame["person"], **constant)
    return frame.astype({name: "category" for name in frame.columns if frame[name].dtype == object})


def answers(seed: int, networks: int, people: int = 12, pictures: int = 3, effect: float = 1.5) -> np.ndarray:
    """Right or not: (networks, sets, tasks, people, pictures), with a true crossed effect of the chosen sets.

    Sets of units differ in what they take, of all and of each task; networks, people and people's frailty differ too.
    """
    random = np.random.default_rng(seed)
    sets = 1 + 2 * (1 + 2 * SETS)
    taken = np.zeros((networks, sets, 2))
    strength = random.normal(0, 0.15, (networks, sets - 1, 1)) + random.normal(0, 0.2, (networks, sets - 1, 2))
    taken[:, 1:] = 0.6 + strength
    for lesion in range(2):
        place = 1 + lesion * (1 + 2 * SETS)
        taken[:, place, lesion] += effect
        taken[:, place, 1 - lesion] -= 0.3
    ease, frail = random.normal(0, 0.6, (2, people)), np.exp(random.normal(0, 0.4, (2, people)))
    level = 1.2 + random.normal(0, 0.2, (networks, 1, 1, 1)) + ease - taken[..., None] * frail
    return level[..., None] + random.normal(0, 1, (*level.shape, pictures)) > 0


def trials_of(right: np.ndarray, chosen: bool = False) -> pd.DataFrame:
    """Trials of all sets of units; or of the intact network and the chosen sets alone."""
    networks, _, _, people, pictures = right.shape
    flat = right.ravel()
    return skeleton(networks, people, pictures, chosen).assign(right=flat, forced_choice=flat.astype(float))


def table_of(right: np.ndarray) -> pd.DataFrame:
    """The rows of `table.parquet` that belong to the answers."""
    networks, sets, tasks, people, pictures = right.shape
    rows = skeleton(networks, people, pictures).iloc[:: people * pictures]
    rows = rows.astype({name: object for name in ("participant", "lesion", "control", "task", "stimulus")})
    return rows.assign(
        value=right.mean((3, 4)).ravel(), step=(rows["lesion"] != "none").astype(int), metric="accuracy", main=True,
        better="higher", damage_hash=rows["lesion"] + rows["control"] + rows["draw"].astype(str), mismatch=0.0,
    )  # fmt: skip


def task_labels_shuffled(right: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Everybody asked, of either task, belongs to either."""
    networks, sets, tasks, people, pictures = right.shape
    everybody = np.swapaxes(right.reshape(networks, sets, tasks * people, pictures), 0, 2)
    return np.swapaxes(random.permutation(everybody), 0, 2).reshape(right.shape)


def lesion_labels_shuffled(right: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What each person answered under the two chosen sets, in each network: either belongs to either."""
    out = right.copy()
    _, one, two = CHOSEN
    swap = random.random((len(right), 1, right.shape[2], right.shape[3], 1)) < 0.5
    pair = right[:, [one, two]]
    out[:, [one, two]] = np.where(swap, pair[:, ::-1], pair)
    return out


def unit_labels_shuffled(right: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Any set of units, chosen or control, may have been the chosen one, in each network for each lesion."""
    out = right.copy()
    for network in range(len(right)):
        for lesion in range(2):
            rows = 1 + lesion * (1 + 2 * SETS) + np.arange(1 + 2 * SETS)
            out[network, rows] = right[network, random.permutation(rows)]
    return out


def people_split_in_two(right: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One task's people in two halves, as if they were those of two tasks."""
    people = random.permutation(right.shape[3])
    half = len(people) // 2
    one = right[:, :, 0]
    return np.stack([one[:, :, people[:half]], one[:, :, people[half : 2 * half]]], axis=2)


def share(claims: Callable[[int, np.random.Generator], bool]) -> float:
    return float(np.mean([claims(seed, np.random.default_rng(seed + 9000)) for seed in range(FIRST, FIRST + TABLES)]))


def called(right: np.ndarray, contrasts: tuple[Contrast, ...] = CONTRASTS) -> bool:
    """Whether any contrast is called. Without its controls none is that is not called with them, and that is quick."""
    design = study(len(right), contrasts)
    alone = trials_of(right[:, list(CHOSEN)], chosen=True)
    if not adjusted(design, alone):
        return False
    table = contrasts_of(design, trials_of(right))
    return bool(table[table["participant"] == ""]["called"].astype(bool).any())


def adjusted(design: Study, trials: pd.DataFrame) -> list[str]:
    """The contrasts that the crossed t test alone would call."""
    found = {each.name: measure_contrast(each, trials, undrawn=LESIONS).p for each in design.contrasts}
    return [one.name for one in adjust(found, CROSSED.name) if one.called]


def test_the_true_effect_is_called_and_beyond_other_units():
    right = answers(0, 3, people=20, effect=2.5)
    table = contrasts_of(study(3), trials_of(right))
    first = table[table["participant"] == ""].iloc[0]
    assert first["called"] and first["estimate"] > 0.3 and first["crossover"] < 0.05
    found = beyond(against_controls(table_of(right)))
    assert {("face units", "identification"), ("object units", "objects")} == set(
        zip(found["lesion"], found["task"], strict=True)
    )
    assert called(answers(1, 1))  # in one network, by its controls


@pytest.mark.slow
class TestContrasts:
    def test_with_task_labels_shuffled_hardly_one_is_called(self):
        crossed = (CROSSED, CONTRASTS[1])  # the third compares lesions within a task
        assert share(lambda seed, r: called(task_labels_shuffled(answers(seed, 3), r), crossed)) <= 0.05

    def test_with_lesion_labels_shuffled_hardly_one_is_called(self):
        two = (CROSSED, CONTRASTS[2])  # the second compares tasks under one lesion
        assert share(lambda seed, r: called(lesion_labels_shuffled(answers(seed, 3), r), two)) <= 0.05

    @pytest.mark.parametrize("networks", [1, 3])
    def test_with_unit_labels_shuffled_hardly_one_is_called(self, networks):
        assert share(lambda seed, r: called(unit_labels_shuffled(answers(seed, networks), r))) <= 0.05

    def test_two_halves_of_the_same_people_are_hardly_ever_told_apart(self):
        crossed = (CROSSED, CONTRASTS[1])

        def halves(seed: int, random: np.random.Generator) -> bool:
            return called(people_split_in_two(answers(seed, 3, people=24), random), crossed)

        assert share(halves) <= 0.05


class TestBesideOtherUnits:
    def test_with_unit_labels_shuffled_hardly_a_loss_is_beyond_other_units(self):
        def claims(seed: int, random: np.random.Generator) -> bool:
            table = table_of(unit_labels_shuffled(answers(seed, 3), random))
            return len(beyond(against_controls(table))) > 0

        assert share(claims) <= 0.05


class TestOneNetworkBesideOthers:
    @pytest.mark.slow
    @pytest.mark.parametrize(("networks", "most"), [(4, 0.0), (13, 0.08)])
    def test_with_participants_permuted_hardly_one_is_called(self, networks, most):
        """Networks differ, and each from the others; which of them is the case is chance.

        Crawford & Howell's test errs in exactly 5 %, so that of 200 tables up to 16 may be called by chance (2.5 % of
        such simulations have more); against three others none can be.
        """
        which = Contrast("case", task=TASKS[0], lesion=LESIONS[0], participant="net0", primary=True)
        design = study(networks, (which,))

        def claims(seed: int, random: np.random.Generator) -> bool:
            right = random.permutation(answers(seed, networks)[:, list(CHOSEN)])
            table = contrasts_of(design, trials_of(right, chosen=True))
            return bool(table["called"].iloc[0])

        assert share(claims) <= most

    def test_one_that_is_unlike_twelve_others_is_called_and_with_three_others_nobody_can_say(self):
        which = Contrast("case", task=TASKS[0], lesion=LESIONS[0], participant="net0", primary=True)
        for networks, called_ in ((13, True), (4, False)):
            right = answers(0, networks, people=40, effect=0.3)[:, list(CHOSEN)]
            right[0] = answers(0, networks, people=40, effect=4.0)[0][list(CHOSEN)]
            row = contrasts_of(study(networks, (which,)), trials_of(right, chosen=True)).iloc[0]
            assert bool(row["called"]) == called_ and math.isnan(row["p"]) == (not called_)
