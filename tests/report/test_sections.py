"""The report's further sections: who took part, half losses, rankings, single cases; and the order of the page."""

import dataclasses
import html as markup
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from facelesion.analysis.case_tables import judge_cases
from facelesion.analysis.claims import level_of
from facelesion.errors import Error
from facelesion.report import html, read_run, run_folder, sections, summary, write_report
from facelesion.report.findings import across, evidence, findings


@pytest.fixture(scope="module")
def page(study_run):
    return re.sub(r"\s+", " ", write_report(study_run).read_text(encoding="utf-8"))


def html_text(page):
    return markup.unescape(page)


def test_the_page_goes_from_question_to_limits_and_methods(page):
    order = [
        "lead",
        "asked",
        "contrasts",
        "participants",
        "results",
        "curves",
        "rankings",
        "cases",
        "networks",
        "limits",
        "methods",
    ]
    places = [page.index(f'id="{name}"') if name != "lead" else page.index('class="lead"') for name in order]
    assert places == sorted(places)
    assert page.index("Primary: who against what") < page.index('id="participants"')


def test_participants_stand_with_their_weights_their_group_and_their_intact_levels(study_run):
    run = read_run(study_run)
    tables = {str(name): part for name, part in run.table.groupby("participant", sort=False)}
    found = sections.participants(tables, sections.groups_of(run, tables), {})
    assert [(line["name"], line["group"]) for line in found["lines"]] == [
        ("one", "trained alike"), ("two", "trained alike"), ("untrained", "untrained")
    ]  # fmt: skip
    intact = run.table[(run.table["lesion"] == "none") & (run.table["stimulus"] == "intact")]
    one = intact[(intact["participant"] == "one") & (intact["task"] == "who")]["value"].iloc[0]
    assert found["lines"][0]["cells"][0].estimate == one


def test_without_named_groups_those_that_were_trained_are_compared_and_an_untrained_one_is_no_control(
    study_run,
):
    run = read_run(study_run)
    object.__setattr__(run.manifest, "groups", {})
    tables = {str(name): part for name, part in run.table.groupby("participant", sort=False)}
    assert sections.groups_of(run, tables) == {"": ["one", "two"]}


def test_an_untrained_network_is_called_a_baseline_and_no_control(page):
    assert "an untrained one is a baseline and no control participant" in page


def test_the_run_has_its_single_cases_and_curves_as_files(study_run, page):
    cases = pd.read_csv(study_run / run_folder.CASES, keep_default_na=False)
    assert {"one", "two", "untrained"} == set(cases["participant"])
    assert cases["words"].str.startswith("not testable").all()
    assert "9 more are needed" in page or "8 more are needed" in page
    curves = pd.read_csv(study_run / run_folder.CURVES)
    assert set(curves["participant"]) == {"one", "two", "untrained"}
    assert (curves.loc[curves["inside"] == True, "over"].str.startswith("people")).all()  # noqa: E712
    assert (study_run / run_folder.CURVES_COMPARED).is_file()


def test_what_was_not_tested_is_not_said_to_be_spared(study_run):
    run = read_run(study_run)
    table = run.table[run.table["participant"] == "one"]
    said = [finding.text for finding in findings(table, evidence(table, run.trials))]
    (untested,) = [text for text in said if text.startswith("Not tested here")]
    assert "face units, which was drawn once" in untested and "control sets" in untested
    assert not any("face units" in text for text in said if text.startswith(("who (", "what (")))


def test_with_one_kind_of_damage_that_is_said_and_not_that_nothing_was_drawn_twice(study_run):
    run = read_run(study_run)
    tables = {
        str(name): part[part["lesion"] != "face units"]
        for name, part in run.table.groupby("participant", sort=False)
    }
    trials = run.trials[run.trials["lesion"] != "face units"]
    told = {name: evidence(table, trials) for name, table in tables.items()}
    (over_all,) = [finding.text for finding in across(told)]
    assert "not testable with one kind of damage" in over_all
    assert over_all in [finding.text for finding in findings(tables["one"], told["one"])]


def test_a_loss_says_that_it_is_a_mean_over_doses_only_where_there_are_several(study_run):
    run = read_run(study_run)
    table = run.table[run.table["participant"] == "one"]
    single = table[table["dose"].isin([0.0, 2.0])], run.trials[run.trials["dose"].isin([0.0, 2.0])]
    whole = table, run.trials
    for (part, trials), words in ((whole, "right answers, mean over all doses"), (single, "right answers")):
        said = [finding.text for finding in findings(part, evidence(part, trials))]
        assert any(text.startswith(f"who ({words}): ") for text in said), said


def test_which_task_loses_more_is_told_as_a_difference_with_its_sign_in_words(page):
    assert "below 0 more of the second" in page and "<th>who less what</th>" in page


def test_a_measure_has_one_interval_in_the_whole_report_and_its_column_says_over_what(study_run):
    run = read_run(study_run)
    table = run.table[(run.table["participant"] == "one") & (run.table["stimulus"] == "intact")]
    own = run.trials[run.trials["participant"] == "one"]
    cells = ["task", "lesion", "dose", "draw"]
    means = own.groupby(cells)["forced_choice"].mean()
    keys = pd.MultiIndex.from_frame(table[cells])
    beaten = table.assign(metric="forced_choice", main=False, chance=0.5, value=means[keys].to_numpy())
    rest = table.assign(metric="top5", main=False, value=table["value"] ** 0.9)  # of which no trial tells
    whole = pd.concat([table, beaten, rest], ignore_index=True)
    found = evidence(whole, run.trials)
    told = sections.task_table(whole, "who", found.own, found.choice)
    by_name = dict(zip([each.name for each in told["measures"]], told["over"], strict=True))
    both = "people or people × draws"  # the chosen units are drawn once
    assert by_name == {"accuracy": both, "forced_choice": both, "top5": "draws"}
    column = [each.name for each in told["measures"]].index("forced_choice")
    for line in told["lines"]:
        if line["lesion"] == "noise":
            one = level_of(found.choice, "who", "noise", line["dose"])
            assert line["cells"][column]["interval"] == summary.show_interval(one, summary.SHARE)


def test_scores_that_agree_at_one_dose_by_chance_are_not_those_of_a_measure(study_run):
    run = read_run(study_run)
    table = run.table[(run.table["participant"] == "one") & (run.table["stimulus"] == "intact")]
    found = evidence(table, run.trials)
    other = table["value"].where(table["dose"] == 2.0, table["value"] / 2)
    curve = summary.dose_response(table.assign(value=other), "who", "accuracy", profile=found.own)
    assert set(curve.loc[curve["lesion"] == "noise", "over"]) == {"draws"}


class TestFew:
    def test_a_run_of_few_draws_and_few_people_says_so_and_what_to_do(self, study_run, page):
        said = sections.few(read_run(study_run))
        assert said in html_text(page) and "Little was measured: 3 draws of noise" in said
        assert "take 5 draws or more" in said and "face units" not in said  # they have control sets

    def test_only_people_who_were_asked_about_count(self, study_run):
        run = read_run(study_run)
        asked = [f"who {number}" for number in range(4)]
        told = [(role, name) for role in ("probes", "training") for name in (*asked, *"abcdefghijkl")]
        few = dataclasses.replace(run, pictures=pd.DataFrame(told, columns=["role", "label"]))
        assert "4 people among the probes" in sections.few(few) and "training" not in sections.few(few)

    def test_with_enough_of_both_nothing_is_said(self, study_run):
        run = read_run(study_run)
        often = pd.concat([run.table.assign(draw=run.table["draw"] + 3 * number) for number in range(2)])
        people = pd.DataFrame({"role": "probes", "label": [f"who {number}" for number in range(10)]})
        assert sections.few(dataclasses.replace(run, table=often, pictures=people)) == ""

    @pytest.mark.parametrize(("draws", "told"), [(1, True), (5, False)])
    def test_one_draw_is_few_only_where_the_study_draws_once(self, study_run, draws, told):
        run = read_run(study_run)
        once = run.table[run.table["draw"] == 0]
        found = sections.few(dataclasses.replace(run, table=once, pictures=None, config={"draws": draws}))
        assert ("1 draw of noise" in found) == told


def test_rankings_stand_with_their_reliability_and_agreement(study_run):
    found = sections.rankings(read_run(study_run))
    assert [each["ranking"] for each in found["reliable"]] == ["selectivity of faces", "causal of faces"]
    assert found["reliable"][0]["cells"] == [0.8, 0.8]
    (agree,) = found["agree"]
    assert agree["cells"][0].correlation == pytest.approx(1)


def test_a_contrast_says_whether_its_tasks_count_as_equally_hard_and_in_how_many_networks_it_is(page):
    said = r"Undamaged, these networks reach (.*?) on that scale.*?: so they (do not )?count as equally hard"
    told = re.search(said, page)
    assert told and "in who" in told[1] and "in what" in told[1]
    assert "Network by network, uncorrected: differs from 0 in" in page


def test_tasks_at_their_ceiling_are_named(study_run):
    run = read_run(study_run)
    table = run.table.copy()
    full = (table["task"] == "what") & (table["participant"] == "one") & (table["lesion"] == "none")
    table.loc[full, "value"] = 1.0
    tables = {str(name): part for name, part in table.groupby("participant", sort=False)}
    assert sections.participants(tables, sections.groups_of(run, tables), {})["ceiling"] == ["what"]


def many(seed: int, hit: float) -> pd.DataFrame:
    """Twelve networks alike, and a subject of which damage takes so much."""
    random = np.random.default_rng(seed)
    rows = [
        dict(participant=f"net {number}", lesion=lesion, dose=dose, draw=0, control="", stimulus="intact", task=task,
             metric="accuracy", main=True, n=80, share=True, ceiling=1.0, better="higher",
             value=float(random.binomial(80,
             0.8 - (hit if task == "who" and lesion != "none" and not number else 0)) / 80))
        for number in range(13) for task in ("who", "what") for lesion, dose in (("none", 0.0), ("noise", 0.5))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_with_enough_controls_the_case_is_told_in_words_against_both_kinds_of_control():
    groups = {"trained alike": [f"net {number}" for number in range(13)]}
    (told,) = sections.cases(judge_cases(many(0, 0.75), groups), groups)
    text = " ".join(told["sentences"])
    assert (
        told["tested"]
        and "net 0 under noise, against intact controls: who from 0.5 on (below more than 99.9 %" in text
    )
    assert "against controls with the same damage: who from 0.5 on" in text
    assert "A classical dissociation in net 0" in text
    line = next(line for line in told["lines"] if line["lesion"] == "noise")
    assert [cell["same"] for cell in line["cells"][0]] == [False, True] and line["cells"][0][0]["called"]
    assert re.fullmatch(r"(below|above) (more than )?\d+\.\d\u00a0%", line["cells"][1][0]["stands"])


def test_a_subject_like_the_others_is_said_to_be_so():
    groups = {"trained alike": [f"net {number}" for number in range(13)]}
    (told,) = sections.cases(judge_cases(many(1, 0.0), groups), groups)
    text = " ".join(told["sentences"])
    assert "no deficit after correction" in text and "No dissociation of two tasks is called" in text
    assert "Intact, no participant lies below networks trained alike" in text


@pytest.mark.parametrize("name", ["controls.csv", "contrasts.csv", "pictures.csv", "rankings.parquet"])
def test_a_table_that_lost_a_column_is_named_with_it(study_run, tmp_path, name):
    folder = tmp_path / "edited"
    shutil.copytree(study_run, folder)
    read, write = (pd.read_parquet, "to_parquet") if name.endswith("parquet") else (pd.read_csv, "to_csv")
    table = read(folder / name)
    column = "label" if name == "pictures.csv" else "participant"
    getattr(table.drop(columns=column), write)(folder / name, index=False)
    with pytest.raises(Error, match=rf"{name}: column {column} is missing"):
        read_run(folder)


def test_a_contrast_of_chosen_units_without_control_sets_says_so(study_run):
    run = read_run(study_run)
    name, lesion = "eyes under damage", run.controls["lesion"].iloc[0]
    missing = float("nan")
    row = {"contrast": name, "p_random": missing, "p_matched": missing}
    run.config["contrasts"] = [{"name": name, "lesion": lesion}, {"name": "eyes"}]
    assert html.without_sets([row], run)[0].startswith("Not compared with control sets")
    assert html.without_sets([row | {"p_matched": 0.5}], run) == []
    assert html.without_sets([row | {"contrast": "eyes"}], run) == []
