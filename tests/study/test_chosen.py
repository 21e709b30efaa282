"""Units that a study chooses by a ranking, and the sets of other units beside them; on tiny networks."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from facelesion.analysis import matched_units
from facelesion.analysis.against import AGAINST, against_controls, on_common_scale
from facelesion.analysis.ranked import rank, top_units
from facelesion.analysis.ways import Greedy
from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.materials import Materials
from facelesion.errors import Error
from facelesion.lesions import Ablate, Keep, Scale
from facelesion.models import Subject
from facelesion.models.subject import Preprocessing
from facelesion.settings import SettingError
from facelesion.study import Study, dry_run, run_study
from facelesion.study.choice import Choice, Controls
from facelesion.study.chosen import Chosen, loss_of

pytestmark = pytest.mark.usefixtures("no_figures")
SMALL = FaceSpacePictures(
    training_people=6, training_pictures=2, enrolled_people=5, enrolment_pictures=1, probe_pictures=2, new_people=3,
    new_pictures=2, object_pictures=1, object_training_pictures=2, other_pictures=4,
)  # fmt: skip
FACES = {"by": "selectivity", "of": "faces"}


def part(**changes: object) -> dict[str, object]:
    return {"kind": "Ablate", "site": "0, 2", "units": FACES, "fraction": [0.125, 0.25]} | changes


def tiny() -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )  # fmt: skip
    return Subject("tiny", network.eval(), 24, Preprocessing(24), nn.Identity(), "tiny-3", {})


@pytest.fixture(scope="module")
def pictures() -> Materials:
    return SMALL.gather(seed=0, size=112)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(
        name="chosen",
        participants=["mine"],
        lesions={"face units": [part()], "at random": [{"kind": "Ablate", "site": "0", "count": [1, 2]}]},
        controls=Controls(random=5, matched=4),
        tasks=["detection", "objects"],
        draws=2,
        output=str(tmp_path / "runs"),
        device="cpu",
    )


def ranking(units: int = 20, seed: int = 0) -> Chosen:
    """Units 0, 1, 2, ... of a site in this order, of random activation."""
    draw = torch.Generator().manual_seed(seed)
    return Chosen(
        pd.DataFrame(
            {
                "series": "x", "part": 0, "site": "a", "unit": range(units), "rank": range(1, units + 1),
                "activation": torch.rand(units, generator=draw).tolist(),
            }
        )
    )  # fmt: skip


def sets(lesion: Ablate, controls: Controls, seed: int = 0) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for control, each, _ in ranking().sets("x", lesion, controls, seed):
        found.setdefault(control, []).append(each.parts[0].units)
    return found


class TestSets:
    def test_the_first_units_are_taken_and_doses_nest(self):
        assert sets(Ablate("a", fraction=0.2), Controls(0, 0)) == {"": [(0, 1, 2, 3)]}
        assert sets(Ablate("a", count=2), Controls(0, 0)) == {"": [(0, 1)]}
        assert sets(Keep("a", count=2), Controls(0, 0)) == {"": [(0, 1)]}

    def test_control_sets_are_as_large_and_hold_other_units(self):
        found = sets(Ablate("a", fraction=0.2), Controls(random=30, matched=20))
        assert {name: len(each) for name, each in found.items()} == {"": 1, "random": 30, "matched": 20}
        for name in ("random", "matched"):
            assert all(len(each) == 4 and not set(each) & {0, 1, 2, 3} for each in found[name])
            assert len(set(found[name])) > 10

    def test_more_sets_and_the_same_seed_leave_the_first_sets_as_they_are(self):
        few, many = (sets(Ablate("a", count=3), Controls(n, n)) for n in (3, 9))
        assert few["random"] == many["random"][:3] and few["matched"] == many["matched"][:3]
        assert sets(Ablate("a", count=3), Controls(9, 9), seed=1)["random"] != many["random"]

    def test_matched_sets_were_as_active(self):
        chosen = ranking(200)
        level = chosen.activation["a"]
        deviation = level.std()
        for control, each, mismatch in chosen.sets("x", Ablate("a", count=20), Controls(0, 10), 0):
            if control == "matched":
                off = (level[list(each.parts[0].units)].mean() - level[:20].mean()) / deviation
                assert mismatch == pytest.approx(float(off), abs=1e-6) and abs(mismatch) < 0.05

    def test_where_no_equal_set_is_left_there_are_no_controls(self):
        assert set(sets(Ablate("a", fraction=0.6), Controls(5, 5))) == {""}

    def test_what_else_the_lesion_does_stays_as_it_is(self):
        both = Ablate("a", count=2, to="mean") + Scale("b", by=0.5)
        (_, lesion, _), *others = ranking().sets("x", both, Controls(2, 2), 0)
        assert lesion == Ablate("a", units=[0, 1], to="mean") + Scale("b", by=0.5)
        assert all(each.parts[1] == Scale("b", by=0.5) and each.parts[0].to == "mean" for _, each, _ in others)

    @pytest.mark.parametrize("lesion", [Ablate("a", fraction=0.01), Ablate("a", count=21)])
    def test_a_dose_that_no_site_has_is_told(self, lesion):
        with pytest.raises(Error, match=r"lesions\.x: .* of a's 20 units"):
            list(ranking().sets("x", lesion, Controls(), 0))


class TestRun:
    def test_chosen_units_are_those_of_rank_and_controls_stand_in_the_tables(self, study, pictures):
        subject = tiny()
        run_study(study, participants={"mine": subject}, pictures=pictures)
        folder = Path(study.output) / study.name
        table, trials = (pd.read_parquet(folder / f"{name}.parquet") for name in ("table", "trials"))
        counted = table[table.main & (table.task == "objects")].groupby(["lesion", "dose", "control"]).size().to_dict()
        assert counted == {
            ("none", 0, ""): 1,
            **{("face units", dose, ""): 1 for dose in (0.125, 0.25)},
            **{("face units", dose, "random"): 5 for dose in (0.125, 0.25)},
            **{("face units", dose, "matched"): 4 for dose in (0.125, 0.25)},
            **{("at random", dose, ""): 2 for dose in (1, 2)},
        }
        assert set(trials.control.unique()) == {"", "random", "matched"}
        # The oracle: the ranking by itself, of the pictures that nothing is tested with.
        groups = {
            "faces": subject.preprocess(pictures.training.images),
            "objects": subject.preprocess(pictures.training_objects.images),
        }
        own = rank(subject.module, "2", groups, "selectivity", of="faces", people={
            "faces": pictures.training.labels, "objects": pictures.training_objects.labels,
        })  # fmt: skip
        units = ",".join(map(str, sorted(top_units(own, "2", 2))))
        said = table[(table.lesion == "face units") & (table.dose == 0.125) & (table.control == "")].damage.iloc[0]
        assert f"units {units} of 2" in said
        ranked = pd.read_parquet(folder / "rankings.parquet")
        assert set(ranked[ranked.site == "2"].unit) == set(range(16)) and (ranked.participant == "mine").all()
        assert set(ranked.ranking) >= set(own.ranking)
        # And the comparison that is written beside.
        against = pd.read_csv(folder / "controls.csv", keep_default_na=False)
        assert list(against.columns) == list(AGAINST) and len(against) == 2 * 2 * 2
        assert set(against.sets) == {4, 5} and (against.p.astype(float) >= against.floor.astype(float)).all()
        # On the scale of the contrasts, by the naive way: the mean of what every trial beat.
        assert set(against.metric) == {"choice"}
        part = trials[(trials.task == "objects") & (trials.lesion == "face units") & (trials.dose == 0.25)]
        by_set = part.groupby(["control", "draw", "person"], observed=True).forced_choice.mean()
        by_set = by_set.groupby(["control", "draw"], observed=True).mean()
        row = against[(against.task == "objects") & (against.dose == 0.25) & (against.control == "matched")]
        assert float(row.value.item()) == pytest.approx(by_set[""].mean())
        rows = table[(table.task == "objects") & (table.dose == 0.25) & (table.control == "matched") & table.main]
        different = rows.drop_duplicates("damage_hash").draw
        assert float(row["mean"].item()) == pytest.approx(by_set["matched"][list(different)].mean())

    def test_rankings_are_kept_and_a_killed_study_goes_on_with_them(self, study, pictures, monkeypatch):
        subject = {"mine": tiny()}
        run_study(study, participants=subject, pictures=pictures)
        whole = (Path(study.output) / study.name / "trials.parquet").read_bytes()
        again = dataclasses.replace(study, output=f"{study.output}/again")

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("facelesion.study.cells.answered", killed)
        with pytest.raises(KeyboardInterrupt):
            run_study(again, participants=subject, pictures=pictures)
        monkeypatch.undo()
        monkeypatch.setattr("facelesion.report.write_report", lambda folder: folder)
        monkeypatch.setattr("facelesion.study.chosen.rank", killed)  # they need not be made again
        run_study(again, participants=subject, pictures=pictures)
        assert (Path(again.output) / study.name / "trials.parquet").read_bytes() == whole

    def test_control_sets_are_searched_for_once_for_each_site_and_dose(self, study, pictures, monkeypatch):
        searched = []

        def counted(activation, units, *rest, **settings):
            searched.append(tuple(units))
            return matched_units(activation, units, *rest, **settings)

        monkeypatch.setattr("facelesion.study.chosen.matched_units", counted)
        run_study(study, participants={"mine": tiny()}, pictures=pictures)
        assert len(searched) == 2 * 2

    def test_control_sets_are_shown_under_the_stimuli_that_are_named_and_everything_else_under_all(
        self, study, pictures
    ):
        some = dataclasses.replace(
            study, stimuli=["intact", "invert"], controls=dataclasses.replace(study.controls, stimuli=["intact"])
        )
        run_study(some, participants={"mine": tiny()}, pictures=pictures)
        table = pd.read_parquet(Path(study.output) / study.name / "table.parquet")
        main = table[table.main & (table.task == "objects")]
        counts = main.groupby(["stimulus", "control"]).size().to_dict()
        assert counts == {
            ("intact", ""): 1 + 2 + 4, ("intact", "random"): 10, ("intact", "matched"): 8, ("invert", ""): 1 + 2 + 4,
        }  # fmt: skip
        # The oracle: all of it under all stimuli, less what was not asked for.
        whole = dataclasses.replace(some, name="whole", controls=study.controls)
        run_study(whole, participants={"mine": tiny()}, pictures=pictures)
        all_rows = pd.read_parquet(Path(study.output) / "whole" / "table.parquet")
        kept = all_rows[(all_rows.stimulus == "intact") | (all_rows.control == "")].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept.drop(columns="study"), table.drop(columns="study"))
        against = pd.read_csv(Path(study.output) / study.name / "controls.csv")
        assert set(against.stimulus) == {"intact"}
        with pytest.raises(SettingError, match=r"controls\.stimuli\.0 is 'inverted', no stimulus .*invert"):
            dataclasses.replace(some, controls=dataclasses.replace(study.controls, stimuli=["inverted"]))

    def test_control_sets_are_damaged_in_the_participants_that_are_named(self, study, pictures):
        people = [{"network": "mine", "name": "one", "group": "us"}, {"network": "mine", "name": "two"}]
        contrasts = [
            {"name": "in one", "task": "objects", "lesion": "face units", "participants": ["one"]},
            {"name": "in both", "task": "objects", "lesion": "face units"},
        ]
        some = dataclasses.replace(
            study, participants=people, contrasts=contrasts, stimuli=["intact"],
            controls=dataclasses.replace(study.controls, participants=["us"]),
        )  # fmt: skip
        assert some.controls.participants == ("one",) and some.to_dict()["controls"]["participants"] == ["one"]
        networks = {"one": tiny(), "two": tiny()}
        run_study(some, participants=networks, pictures=pictures)
        folder = Path(study.output) / study.name
        table = pd.read_parquet(folder / "table.parquet")
        assert set(table[table.control != ""].participant) == {"one"}
        assert set(pd.read_csv(folder / "controls.csv").participant) == {"one"}
        found = pd.read_csv(folder / "contrasts.csv").set_index(["contrast", "participant"])
        assert found.p_random["in one", "one"] <= 1 and math.isnan(found.p_random["in both", "one"])
        # The oracle: everything with controls in everybody, less what was not asked for.
        whole = dataclasses.replace(some, name="whole", controls=study.controls)
        run_study(whole, participants=networks, pictures=pictures)
        everything = pd.read_parquet(Path(study.output) / "whole" / "table.parquet")
        kept = everything[(everything.participant == "one") | (everything.control == "")].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept.drop(columns="study"), table.drop(columns="study"))
        with pytest.raises(SettingError, match=r"controls\.participants\.0 is 'twoo', nobody who takes part: .*two"):
            dataclasses.replace(some, controls=dataclasses.replace(study.controls, participants=["twoo"]))

    def test_the_cost_counts_controls(self, study, pictures):
        assert "1 participant × 25 lesions" in dry_run(study, participants={"mine": tiny()}, pictures=pictures)


class TestAgainst:
    def table(self, values: dict[str, list[float]], better: str = "higher") -> pd.DataFrame:
        row = {
            "participant": "a", "lesion": "chosen", "step": 1, "dose": 0.1, "stimulus": "intact", "task": "who",
            "metric": "accuracy", "main": True, "better": better, "mismatch": 0.0,
        }  # fmt: skip
        rows = [row | {"lesion": "none", "control": "", "value": 1.0, "damage_hash": "none"}]
        for control, found in values.items():
            rows += [
                row | {"control": control, "value": value, "damage_hash": f"{control}{number}"}
                for number, value in enumerate(found)
            ]
        return pd.DataFrame(rows)

    def test_tasks_without_a_place_on_the_common_scale_keep_their_own_measure(self):
        table = self.table({"": [0.5], "random": [0.4]}).assign(draw=0)
        trials = pd.DataFrame(
            dict(participant="a", stimulus="intact", task="who", control=control, lesion=lesion, dose=dose, draw=0,
                 trial=range(2), person="p", other="", target="x", answer="x", value=1.0, right=True, section=section,
                 forced_choice=[0.0, 0.5])
            for control, lesion, dose in (("", "none", 0.1), ("", "chosen", 0.1), ("random", "chosen", 0.1))
            for section in ("",)
        )  # fmt: skip
        trials = trials.explode(["trial", "forced_choice"], ignore_index=True)
        trials = trials.astype({"forced_choice": float, "trial": int})
        common = on_common_scale(table, trials)
        assert (common.value == 0.25).all() and set(common.metric) == {"choice"} and len(common) == len(table)
        in_sections = on_common_scale(table, trials.assign(section="one"))
        pd.testing.assert_frame_equal(in_sections, table.reset_index(drop=True))

    def test_p_counts_the_sets_that_lose_as_much(self):
        found = against_controls(self.table({"": [0.5], "random": [0.4, 0.5, 0.6, 0.7]})).iloc[0]
        assert (found.p, found.floor, found.sets, found.distinct) == (3 / 5, 1 / 5, 4, 4)

    def test_a_set_that_was_found_again_and_again_counts_once(self):
        table = self.table({"": [0.1], "matched": [0.5] * 20 + [0.6] * 2})
        table["damage_hash"] = table["control"] + table["value"].astype(str)
        found = against_controls(table).iloc[0]
        assert (found.sets, found.distinct, found["mean"]) == (22, 2, pytest.approx(0.55))
        assert found.p == found.floor == 1 / 3  # not one in 23: so many units might not have been chosen

    def test_where_lower_is_better_a_rise_is_the_loss(self):
        found = against_controls(self.table({"": [0.9], "random": [0.4, 0.5, 0.6, 0.7]}, better="lower")).iloc[0]
        assert found.p == 1 / 5

    def test_random_and_matched_are_families_of_their_own(self):
        one = self.table({"": [0.1], "random": [0.5] * 19, "matched": [0.5] * 9})
        two = one.assign(task="other")
        found = against_controls(pd.concat([one, two])).set_index(["task", "control"])
        assert found.adjusted["who", "random"] == pytest.approx(1 / 20)
        assert found.adjusted["who", "matched"] == pytest.approx(1 / 10)

    def test_p_is_adjusted_over_all_rows_of_a_kind_of_control(self):
        lost = self.table({"": [0.1], "random": [0.5] * 19})
        kept = [self.table({"": [0.9], "random": [0.5] * 19}).assign(task=f"other {number}") for number in range(3)]
        found = against_controls(pd.concat([lost, *kept]))
        assert found.adjusted[found.task == "who"].item() == pytest.approx(4 / 20)

    def test_units_drawn_from_the_null_are_called_more_than_others_in_one_of_twenty(self):
        draw = torch.Generator().manual_seed(0)
        values = torch.randn(400, 20, generator=draw)
        p = [
            against_controls(self.table({"": [float(row[0])], "random": row[1:].tolist()})).p.iloc[0] for row in values
        ]
        assert 0.02 < sum(each <= 0.05 for each in p) / len(p) < 0.08

    def test_a_table_without_controls_is_told(self):
        with pytest.raises(Error, match="no controls"):
            against_controls(self.table({"": [0.5]}))


class TestReading:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"units": {"by": "selectiviti"}}, r"units\.by is 'selectiviti', which is no way .*selectivity"),
            ({"units": {"of": "faces"}}, r"units\.by"),
            ({"units": FACES | {"of": "face"}}, r"units\.of is 'face', .*faces"),
            ({"units": FACES | {"against": "faces"}}, r"units\.against names 'faces'"),
            ({"units": FACES | {"against": "eyes"}}, r"units\.against is 'eyes', .*faces"),
            ({"units": FACES | {"alfa": 0.1}}, r"units\.alfa is no setting of a ranking by selectivity"),
            ({"units": FACES | {"alpha": 2}}, "alpha lies between 0 and 1"),
            ({"units": {"by": "greedy", "risk": 0.5}}, "risk of a greedy ranking is at least 0 and less than 0.5"),
            ({"units": {"by": "greedy", "step": "few"}}, "step of a greedy ranking lies above 0"),
            ({"units": {"by": "causal", "of": "eyes"}}, r"units\.of is .* is for faces or objects"),
            ({"fraction": None}, "not how many"),
            ({"fraction": [0.1], "count": [1]}, "both lists"),
        ],
    )
    def test_a_choice_that_cannot_be_is_told_by_its_key(self, changes, says):
        with pytest.raises(SettingError, match=says):
            Study(lesions={"x": [{k: v for k, v in part(**changes).items() if v is not None}]})

    def test_controls_without_a_ranking_do_nothing_and_are_refused(self):
        with pytest.raises(SettingError, match="controls does nothing"):
            Study(lesions={"x": [{"kind": "Ablate", "site": "0", "count": [1]}]}, controls=Controls())

    def test_it_is_written_down_and_read_back(self, study):
        values = study.to_dict()
        assert values["controls"] == {"random": 5, "matched": 4, "stimuli": [], "participants": []}
        assert values["lesions"]["face units"][0]["units"] == FACES
        again = Study(**{**values, "pictures": SMALL, "controls": Controls(**values["controls"])})
        assert again.choices("face units") == study.choices("face units")

    def test_a_greedy_ranking_may_be_raced(self):
        choice = Choice.read({"by": "greedy", "of": "objects", "risk": 0.01}, "x")
        assert choice.way == Greedy(risk=0.01) and choice.of == "objects"

    def test_what_it_is_compared_with_is_everything_else_of_its_sort(self):
        assert Choice.read(FACES, "x").groups == ("faces", "objects")
        assert Choice.read({"by": "responsible", "of": "eyes"}, "x").groups == ("eyes", "eyebrows", "nose", "mouth")


def test_a_causal_loss_is_low_where_a_network_knows_who_is_who_and_counts_no_picture_as_its_own_memory():
    images = torch.eye(4).repeat_interleave(3, 0) + 0.01 * torch.rand(12, 4, generator=torch.Generator().manual_seed(1))
    labels = [name for name in "abcd" for _ in range(3)]
    loss = loss_of(nn.Identity(), images, labels)
    numbers = torch.arange(12)
    assert float(loss(images, numbers).max()) < 1e-5
    assert float(loss(images.roll(3, 0), numbers).min()) > 5
    # By hand, for the first picture.
    memory = [images[1:3].sum(0), *(images[3 * who : 3 * who + 3].sum(0) for who in (1, 2, 3))]
    unit = nn.functional.normalize(torch.stack(memory), dim=1)
    likeness = 16 * nn.functional.normalize(images[:1], dim=1) @ unit.T
    by_hand = nn.functional.cross_entropy(likeness, torch.tensor([0]))
    assert torch.allclose(loss(images[:1], numbers[:1]), by_hand, atol=1e-6)
