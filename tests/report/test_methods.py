"""The paragraph to paste: every number in it is the run's own, and another run has another paragraph."""

import dataclasses
import json
import re

import pandas as pd
import pytest

from facelesion.report import read_run, sections
from facelesion.report.methods import methods

# A word that is a name with digits in it, and years of sources, are no numbers of the run.
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w-])")


@pytest.fixture(scope="module")
def run(study_run):
    return read_run(study_run)


@pytest.fixture(scope="module")
def cases(run):
    tables = {str(name): part for name, part in run.table.groupby("participant", sort=False)}
    return sections.cases_of(tables, run.manifest.groups)


def text_of(run, cases):
    return "\n".join(methods(run, run.manifest.groups, cases, curves=True))


def known_numbers(run) -> set[str]:
    """Every number that the run folder holds, as it may be written, found without the paragraph's own code."""
    table, found = run.table, set()
    found |= {f"{value:g}" for value in table["dose"]} | {f"{value:.3g}" for value in table["chance"]}
    found |= {str(n) for n in table["n"]}
    for column in ("participant", "lesion", "task", "stimulus"):
        found.add(str(len(set(table[column]) - {"none"})))
    found |= {str(part["draw"].nunique()) for _, part in table.groupby("lesion")}
    found |= {str(len(part)) for _, part in run.pictures.groupby("role")}
    found |= {str(part["label"].nunique()) for _, part in run.pictures.groupby("role")}
    found |= {str(int(value)) for name in ("pictures", "people") for value in run.rankings[name]}
    found |= {f"{value:.2f}" for value in run.rankings["reliability"]}
    found |= {str(int(value)) for name in ("sets", "distinct") for value in run.controls[name]}
    found |= {f"{run.controls['mismatch'].abs().max():.2g}", f"{run.controls['floor'].max():.2g}"}
    found.add(str(len(run.controls) // run.controls["control"].nunique()))
    found.add(str(int((run.contrasts["participant"].isna()).sum())))
    found |= set(NUMBER.findall(json.dumps(run.config))) | set(map(str, run.manifest.seeds.values()))
    found |= {number for text in run.manifest.remarks for number in NUMBER.findall(text)}
    found.add(str(max(len(members) for members in run.manifest.groups.values()) - 1))
    return found


def test_every_number_is_the_run_s_own(run, cases):
    text = text_of(run, cases)
    for fixed in ("95 %", "it takes 10"):  # the level of the intervals, and the least number of controls
        text = text.replace(fixed, "")
    text = text.replace("2026-02-03", "").replace("facelesion 0.1.0", "").replace("torch 2.15.0", "")
    numbers = NUMBER.findall(text)
    assert len(numbers) > 30
    assert [number for number in numbers if number not in known_numbers(run)] == []


def test_it_names_participants_pictures_lesions_rankings_controls_tests_and_versions(run, cases):
    text = text_of(run, cases)
    for needed in (
        "3 networks took part", "one (weights aaaa00000001)", "one and two were trained alike",
        "facespace, variability 0.75",
        "digest a1b2c3d4e5f6", "probes 2 (2)", "2 tasks were asked", "who (20 trials; right names, chance 0.1)",
        "0.05, 0.1 and 0.3", "drawn once", "0.25, 0.5 and 2", "drawn 3 times each",
        "by selectivity for faces against objects",
        "by causal for faces", "160 pictures of 40 people", "0.80 to 0.80", "6 random sets", "6 matched sets",
        "the primary one was who against what", "Holm", "1 control participant,", "it takes 10", "c0ffee001122",
        "seed 7",
        "facelesion 0.1.0", "2026-02-03", "intact and mask eyes",
    ):  # fmt: skip
        assert needed in text, needed


def test_it_changes_with_the_study(run, cases):
    before = text_of(run, cases)
    changes = {
        "config": {**run.config, "pictures": {"source": "lfw"}},
        "table": run.table[run.table["lesion"] != "noise"],
        "pictures": run.pictures.iloc[:2],
        "rankings": run.rankings[run.rankings["by"] == "causal"],
        "controls": run.controls[run.controls["control"] == "random"],
        "contrasts": None,
        "trials": None,
        "manifest": dataclasses.replace(run.manifest, seeds={"pictures and lesions": 8}),
    }
    for name, value in changes.items():
        assert text_of(dataclasses.replace(run, **{name: value}), cases) != before, name


def test_a_bare_table_is_enough_and_says_nothing_that_it_does_not_hold(run):
    bare = dataclasses.replace(
        run, config={}, pictures=None, rankings=None, controls=None, contrasts=None, trials=None,
        manifest=dataclasses.replace(run.manifest, seeds={}, hashes={}, versions={}, remarks=(), groups={}, created=""),
    )  # fmt: skip
    text = "\n".join(methods(bare, {}, None))
    for absent in ("ranked", "sets", "trained alike", "control participants", ", seed", "Holm", "by role"):
        assert absent not in text
    assert "no claim is made" in text and "No contrast was named" in text
    whole = run.table["lesion"] == "none"
    assert "No network was damaged." in "\n".join(
        methods(dataclasses.replace(bare, table=run.table[whole]), {}, None)
    )


def test_single_cases_are_counted_where_there_are_enough_controls(run):
    made = pd.DataFrame({"p": [0.1, 0.2, float("nan")], "controls": 12, "minus": ["", "", "x"]})
    text = "\n".join(methods(run, {"trained alike": [f"net {number}" for number in range(13)]}, made))
    assert "up to 12 control participants" in text and "2 tests, Holm" in text
