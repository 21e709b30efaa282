"""What contrasts come to on trials: the differences they are, and calls that are as rare as they say."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from facelesion.analysis import (
    Contrast,
    choice_of_two,
    contrast_against_controls,
    d_prime,
    measure_contrast,
    null_test,
)
from facelesion.errors import Error

CROSSED = Contrast("crossed", tasks=("who", "what"), lesions=("faces", "objects"))


def study(
    seed: int,
    taken: dict[tuple[str, str, str], float] | None = None,
    *,
    networks: int = 1,
    draws: int = 4,
    people: int = 16,
    pictures: int = 4,
    lesions: tuple[str, ...] = ("faces", "objects"),
    stimuli: tuple[str, ...] = ("intact",),
    tasks: tuple[str, ...] = ("who", "what"),
    healthy: float = 1.2,
    vary: float = 1.0,
) -> pd.DataFrame:
    """Choices between two, by observers: `taken` is what (task, lesion, stimulus) takes from the sensitivity.

    People differ in how well they are known, networks in how well they know, and draws and networks in what is taken;
    `vary` is how much.
    """
    random = np.random.default_rng(seed)
    ease = {task: vary * random.normal(0, 0.6, people) for task in tasks}
    columns: dict[str, list] = {name: [] for name in ("participant", "lesion", "draw", "stimulus", "task", "right")}
    for network in range(networks):
        level = vary * random.normal(0, 0.2)
        for lesion in ("none", *lesions):
            for draw in range(draws if lesion != "none" else 1):
                for task in tasks:
                    hit = math.exp(vary * random.normal(0, 0.3)) if lesion != "none" else 1.0
                    more = vary * random.normal(0, 0.25) if lesion != "none" else 0.0
                    for stimulus in stimuli:
                        loss = (taken or {}).get((task, lesion, stimulus), 0.0) * hit + more
                        seen = healthy + level - loss + ease[task][:, None] + random.normal(0, 1, (people, pictures))
                        columns["right"].append((seen > 0).ravel())
                        names = (f"net{network}", lesion, draw, stimulus, task)
                        for key, value in zip(columns, names, strict=False):
                            columns[key].append(value)
    asked = people * pictures
    frame = pd.DataFrame({key: np.repeat(value, asked) for key, value in columns.items() if key != "right"})
    frame["right"] = np.concatenate(columns["right"])
    frame["trial"] = np.tile(np.arange(asked), len(columns["right"]))
    who = np.array([f"{number}" for number in range(people)]).repeat(pictures)
    frame["person"] = frame["task"] + " " + np.tile(who, len(columns["right"]))
    frame["dose"] = np.where(frame["lesion"] == "none", 0.0, 0.2)
    frame["forced_choice"] = frame["right"].astype(float)
    return frame.assign(other="", target=frame["person"], answer="", value=0.0, item="p", section="")


def share(trials: pd.DataFrame, **where: str) -> float:
    for key, value in where.items():
        trials = trials[trials[key] == value]
    return float(trials["right"].mean())


TRIALS = study(0, {("who", "faces", "intact"): 1.5, ("what", "objects", "intact"): 1.5}, networks=3)


class TestSize:
    def test_the_crossed_interaction_is_the_difference_of_differences(self):
        one = TRIALS[TRIALS["participant"] == "net0"]
        found = measure_contrast(CROSSED, one)
        expected = share(one, task="who", lesion="objects") - share(one, task="who", lesion="faces")
        expected -= share(one, task="what", lesion="objects") - share(one, task="what", lesion="faces")
        assert found.estimate == pytest.approx(expected)
        assert found.interval.low < expected < found.interval.high and found.over == "people × draws"
        assert found.cells["who, faces, intact"] == pytest.approx(share(one, task="who", lesion="faces"))

    def test_the_inversion_effect_needs_no_lesion(self):
        trials = study(1, {("who", "none", "invert"): 1.0}, stimuli=("intact", "invert"), lesions=())
        found = measure_contrast(Contrast("inversion", task="who", of="intact", less="invert"), trials)
        assert found.estimate == pytest.approx(share(trials, stimulus="intact", task="who") -
                                               share(trials, stimulus="invert", task="who"))  # fmt: skip
        assert found.over == "people" and set(found.alone) == {"people"}

    def test_a_lesion_that_spares_what_a_mask_takes_shrinks_its_cost(self):
        taken = {("who", "none", "mask"): 1.2, ("who", "faces", "control"): 1.2, ("who", "faces", "mask"): 1.2}
        trials = study(2, taken, stimuli=("control", "mask"), lesions=("faces",), people=40)
        found = measure_contrast(
            Contrast("eyes", task="who", lesion="faces", of="control", less="mask"), trials
        )
        cost = {
            lesion: share(trials, task="who", lesion=lesion, stimulus="control")
            - share(trials, task="who", lesion=lesion, stimulus="mask")
            for lesion in ("none", "faces")
        }
        assert found.estimate == pytest.approx(cost["none"] - cost["faces"]) and found.estimate > 0.1

    def test_it_is_measured_in_every_participant_and_over_all(self):
        found = measure_contrast(CROSSED, TRIALS)
        each = [one.estimate for one in found.by_participant.values()]
        assert list(found.by_participant) == ["net0", "net1", "net2"]
        assert found.estimate == pytest.approx(np.mean(each))
        assert found.over == "people × draws × networks"
        assert set(found.alone) == {"people", "draws", "networks"}
        which = Contrast("one", tasks=("who", "what"), lesions=CROSSED.lesions, participants=("net1",))
        alone = measure_contrast(which, TRIALS)
        assert alone.estimate == pytest.approx(each[1])

    def test_two_lesions_that_cross_are_a_crossover_and_a_stronger_one_is_none(self):
        found = measure_contrast(CROSSED, TRIALS)
        assert found.simple is not None and found.crossover < 0.05
        assert sum(one.estimate for one in found.simple) == pytest.approx(found.estimate)
        stronger = study(3, {("who", "faces", "intact"): 2.5, ("what", "faces", "intact"): 0.5}, networks=3)
        assert measure_contrast(CROSSED, stronger).crossover > 0.05
        assert math.isnan(measure_contrast(Contrast("loss", task="who", lesion="faces"), TRIALS).crossover)

    def test_a_section_is_named_by_its_whole_name_or_by_a_part_that_several_share(self):
        trials = study(4, {("who", "none", "invert"): 1.0}, stimuli=("intact", "invert"), lesions=())
        trials["section"] = [("old", "new", "old, late", "new, late")[number % 4] for number in trials["trial"]]
        for named, sections in (("old", ["old"]), ("late", ["old, late", "new, late"]), ("new, late", ["new, late"])):
            part = trials[trials["section"].isin(sections)]
            which = Contrast("inversion", task=f"who/{named}", of="intact", less="invert")
            expected = share(part, stimulus="intact", task="who") - share(part, stimulus="invert", task="who")
            assert measure_contrast(which, trials).estimate == pytest.approx(expected)
        with pytest.raises(Error, match="has no trials of who/never"):
            measure_contrast(Contrast("x", task="who/never", of="intact", less="invert"), trials)

    def test_steps_are_doses_in_order_and_without_one_their_mean(self):
        weak = TRIALS[TRIALS["participant"] == "net0"]
        strong = weak[weak["lesion"] == "faces"].assign(dose=0.4)
        strong["forced_choice"] = strong["forced_choice"] * 0.5
        both = pd.concat([weak, strong])
        steps = [Contrast("x", task="who", lesion="faces", step=step) for step in (1, 2)]
        sizes = [measure_contrast(which, both).estimate for which in steps]
        whole = measure_contrast(Contrast("x", task="who", lesion="faces"), both).estimate
        assert sizes[1] > sizes[0] and whole == pytest.approx(np.mean(sizes))
        with pytest.raises(Error, match="has 2 doses, and no step 3"):
            measure_contrast(Contrast("x", task="who", lesion="faces", step=3), both)

    def test_a_section_of_a_task_is_a_task(self):
        trials = TRIALS[TRIALS["participant"] == "net0"]
        trials = trials.assign(section=np.where(trials["trial"] % 2, "new", "same"))
        found = measure_contrast(Contrast("x", task="who/new", lesion="faces"), trials)
        part = trials[trials["section"] == "new"]
        assert found.estimate == pytest.approx(
            share(part, task="who", lesion="none") - share(part, task="who", lesion="faces")
        )

    def test_the_effect_is_in_deviations_between_people(self):
        one = TRIALS[TRIALS["participant"] == "net0"]
        found = measure_contrast(Contrast("loss", task="who", lesion="faces"), one)
        by = one[one["task"] == "who"].groupby(["lesion", "person"], observed=True)["right"].mean().unstack("lesion")
        lost = by["none"] - by["faces"]
        freedom = len(lost) - 1
        assert found.effect == pytest.approx(lost.mean() / lost.std(ddof=1) * (1 - 3 / (4 * freedom - 1)), rel=2e-3)


class TestScale:
    # d′ of a share between m, by R's integral of the published formula (Green & Dai 1991), as psyphy 0.3 has it
    @pytest.mark.parametrize(
        ("shared", "alternatives", "sensitivity"),
        [(0.8, 4, 1.89317), (0.75, 2, 0.95387), (0.75, 3, 1.43383), (0.75, 8, 2.14073), (0.75, 32, 2.80240)],
    )
    def test_sensitivity_is_the_published_one_for_any_number_of_answers(self, shared, alternatives, sensitivity):
        assert d_prime(choice_of_two(shared, alternatives)) == pytest.approx(sensitivity, abs=0.002)

    def test_the_same_sensitivity_among_many_and_between_two_is_no_difference(self):
        random = np.random.default_rng(0)
        trials = study(0, networks=1, people=30, pictures=40, lesions=(), healthy=0, vary=0)
        for task, many in (("who", 16), ("what", 2)):
            rows = trials["task"] == task
            target = random.normal(1.5, 1, rows.sum())
            others = random.normal(0, 1, (rows.sum(), many - 1)).max(1)
            trials.loc[rows, "right"] = target > others
        plain = trials.drop(columns="forced_choice")
        found = measure_contrast(
            Contrast("x", tasks=("who", "what"), scale="sensitivity"), plain, chance={"who": 1 / 16, "what": 1 / 2}
        )
        assert abs(share(plain, task="who") - share(plain, task="what")) > 0.25
        assert abs(found.estimate) < 0.15 and 0 in found.interval

    def test_a_sensitivity_is_finite_where_all_is_right(self):
        trials = TRIALS[TRIALS["participant"] == "net0"].copy()
        trials.loc[trials["lesion"] == "none", "forced_choice"] = 1.0
        trials.loc[trials["lesion"] == "none", "right"] = True
        found = measure_contrast(Contrast("x", task="who", lesion="faces", scale="sensitivity"), trials)
        left = share(trials, task="who", lesion="faces")
        assert found.estimate == pytest.approx(d_prime(64.5 / 65) - d_prime((64 * left + 0.5) / 65), abs=0.002)

    def test_its_t_interval_is_what_resampling_gives(self):
        trials = study(4, {("who", "faces", "intact"): 1.0}, draws=12, people=40)
        which = Contrast("x", task="who", lesion="faces", scale="sensitivity")
        t, drawn = (measure_contrast(which, trials, method=method) for method in ("t", "bootstrap"))
        assert t.estimate == pytest.approx(drawn.interval.estimate)
        assert (t.interval.low, t.interval.high) == pytest.approx(
            (drawn.interval.low, drawn.interval.high), abs=0.12
        )


class TestOneAgainstOthers:
    def test_it_is_the_difference_to_their_mean_over_the_same_people(self):
        trials = study(5, {("who", "faces", "intact"): 1.0}, networks=4)
        found = measure_contrast(Contrast("x", task="who", lesion="faces", participant="net2"), trials)
        each = {name: one.estimate for name, one in found.by_participant.items()}
        others = [value for name, value in each.items() if name != "net2"]
        assert found.participants[0] == "net2"
        assert found.estimate == pytest.approx(each["net2"] - np.mean(others))
        assert found.over == "people × draws" and found.case is None

    def test_ten_others_make_it_a_single_case(self):
        trials = study(6, networks=11, draws=2, people=8, lesions=("faces",), tasks=("who",))
        hurt = (trials["participant"] == "net0") & (trials["lesion"] == "faces")
        trials.loc[hurt, "forced_choice"] = 0.1
        found = measure_contrast(Contrast("x", task="who", lesion="faces", participant="net0"), trials)
        assert found.case is not None and found.case.freedom == 9 and found.case.p < 0.01


class TestAgainstControls:
    def trials(self, effect: float, sets: int = 19) -> pd.DataFrame:
        chosen = study(7, {("who", "faces", "intact"): effect}, draws=1, lesions=("faces",)).assign(control="")
        others = study(8, {}, draws=sets, lesions=("faces",)).assign(control="matched")
        both = pd.concat([chosen, others[others["lesion"] == "faces"]])
        return both.astype(dict.fromkeys(["participant", "lesion", "control", "task"], "category"))  # as a study's file

    def test_p_counts_the_control_sets_that_give_as_much(self):
        which = Contrast("x", tasks=("who", "what"), lesion="faces")
        found = contrast_against_controls(which, self.trials(2.5), alternative="greater")["net0"]
        assert found.p == pytest.approx(1 / 20) and found.n == 19
        none = contrast_against_controls(which, self.trials(0.0), alternative="greater")["net0"]
        assert none.p > 0.05

    @pytest.mark.parametrize("scale", ["choice", "sensitivity"])
    def test_of_two_lesions_every_set_of_the_one_goes_with_every_set_of_the_other(self, scale):
        which = Contrast("x", tasks=("who", "what"), lesions=("faces", "objects"), scale=scale)
        chosen = study(7, {("who", "faces", "intact"): 1.5}, draws=1).assign(control="")
        others = study(8, {}, draws=6).assign(control="matched")
        others = others[others["lesion"] != "none"]
        others = others[(others["lesion"] != "objects") | (others["draw"] < 4)]
        trials = pd.concat([chosen, others], ignore_index=True)
        found = contrast_against_controls(which, trials)["net0"]
        # The naive way: each pair put in the chosen ones' place, and measured as a contrast of its own.
        healthy = chosen[chosen["lesion"] == "none"]
        sets = {
            lesion: [chosen[chosen["lesion"] == lesion]]
            + [part for _, part in others[others["lesion"] == lesion].groupby("draw")]
            for lesion in ("faces", "objects")
        }
        values = []
        for one, two in itertools.product(sets["faces"], sets["objects"]):
            put = pd.concat([healthy, one.assign(draw=0, control=""), two.assign(draw=0, control="")])
            values.append(measure_contrast(which, put, undrawn=which.damage).by_participant["net0"].estimate)
        oracle = null_test(values[0], values[1:], "two-sided")
        assert found.n == 7 * 5 - 1 == oracle.n
        assert (found.p, found.z) == (oracle.p, pytest.approx(oracle.z, rel=1e-3))

    def test_a_set_that_was_found_twice_counts_once(self):
        trials = self.trials(2.5, sets=5)
        again = trials[(trials["control"] == "matched") & (trials["draw"] == 0)].assign(draw=5)
        which = Contrast("x", tasks=("who", "what"), lesion="faces")
        once, twice = (contrast_against_controls(which, each)["net0"] for each in (trials, pd.concat([trials, again])))
        assert once == twice and once.n == 5

    def test_control_lesions_are_left_out_of_the_contrast_itself(self):
        which, trials = Contrast("x", task="who", lesion="faces"), self.trials(2.5)
        chosen = trials[trials["control"] == ""].drop(columns="control")
        found, alone = (measure_contrast(which, one, undrawn=["faces"]) for one in (trials, chosen))
        assert found.estimate == alone.estimate and found.over == "people"

    def test_what_has_no_controls_is_refused(self):
        with pytest.raises(Error, match="no trials of random"):
            contrast_against_controls(Contrast("x", task="who", lesion="faces"), self.trials(0), "random")
        with pytest.raises(Error, match="without a lesion has no control"):
            contrast_against_controls(Contrast("x", tasks=("who", "what")), self.trials(0))


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("which", "complaint"),
        [
            (Contrast("x", task="where", lesion="faces"), "no trials of where under none"),
            (Contrast("x", task="who", lesion="noise"), "net0 has no trials of who under noise"),
            (Contrast("x", task="who", of="intact", less="invert"), "with invert pictures"),
            (Contrast("x", task="who", lesion="faces", participants=("J",)), "no trials of participant 'J'"),
            (Contrast("x", task="who/old", lesion="faces"), "no trials of who/old"),
        ],
    )
    def test_it_is_named(self, which, complaint):
        with pytest.raises(Error, match=complaint):
            measure_contrast(which, TRIALS)

    def test_one_draw_is_not_testable_over_draws(self):
        trials = study(0, draws=1)
        found = measure_contrast(Contrast("x", task="who", lesion="faces"), trials)
        assert math.isnan(found.p) and math.isnan(found.interval.low)
        assert not math.isnan(found.alone["people"].low)
        sure = measure_contrast(Contrast("x", task="who", lesion="faces"), trials, undrawn=["faces"])
        assert sure.over == "people" and not math.isnan(sure.p)

    def test_names_may_be_categories(self):
        names = ["participant", "lesion", "stimulus", "task", "person", "other", "target", "answer", "section"]
        found = measure_contrast(CROSSED, TRIALS.astype(dict.fromkeys(names, "category")))
        assert found.estimate == measure_contrast(CROSSED, TRIALS).estimate


@pytest.mark.parametrize("networks", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scale", ["choice", "sensitivity"])
def test_lesions_alike_are_told_apart_in_five_of_a_hundred_studies(networks, scale):
    which = Contrast("crossed", tasks=("who", "what"), lesions=("faces", "objects"), scale=scale)
    taken = {(task, lesion, "intact"): 0.8 for task in ("who", "what") for lesion in ("faces", "objects")}
    found = [
        measure_contrast(which, study(seed, taken, networks=networks, draws=3, people=12)) for seed in range(120)
    ]
    assert np.mean([one.p < 0.05 for one in found]) <= 0.09  # 5 % and twice its sampling error
    assert np.mean([one.crossover < 0.05 for one in found]) <= 0.05
