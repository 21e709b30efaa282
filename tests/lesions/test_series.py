"""A series: lesions that differ in their dose alone, written with a list where the dose is."""

from __future__ import annotations

import dataclasses

import pytest

from facelesion.lesions import Ablate, Clamp, Dropout, Keep, Lesion, LesionError, Noise, Prune, Scale, Shift
from facelesion.lesions.kinds import KINDS, Compound
from facelesion.lesions.series import Series, meaning_of, usual_dose

ABLATION = {"kind": "Ablate", "site": "conv5_3", "fraction": [0.1, 0.2]}
NOISE = {"kind": "Noise", "site": "conv3_2", "std": [0.5, 1], "relative": True}
# One lesion of each kind with every dose that it can have.
DOSED = [
    (Ablate("a", fraction=0.5), {"fraction": (0.1, 0.2)}),
    (Keep("a", fraction=0.5), {"fraction": (0.1, 0.2)}),
    (Noise("a", std=1.0, fraction=0.5), {"std": (0.5, 2.0), "fraction": (0.1, 0.2)}),
    (Dropout("a", p=0.5, fraction=0.5), {"p": (0.1, 0.2), "fraction": (0.1, 0.2)}),
    (Clamp("a", value=1.0, fraction=0.5), {"value": (0.0, 2.0), "fraction": (0.1, 0.2)}),
    (Clamp("a", min=0.5, max=1.0), {"min": (0.1, 0.2), "max": (2.0, 3.0)}),
    (Shift("a", by=1.0, fraction=0.5), {"by": (-1.0, 2.0), "fraction": (0.1, 0.2)}),
    (Scale("a", by=0.5, fraction=0.5), {"by": (0.0, 2.0), "fraction": (0.1, 0.2)}),
    (Prune("a", fraction=0.5), {"fraction": (0.1, 0.2)}),
    (Ablate("a", count=5), {"count": (1, 2)}),
    (Keep("a", count=5), {"count": (1, 2)}),
    (Noise("a", std=1.0, count=5), {"count": (1, 2)}),
    (Dropout("a", p=0.5, count=5), {"count": (1, 2)}),
    (Clamp("a", value=1.0, count=5), {"count": (1, 2)}),
    (Shift("a", by=1.0, count=5), {"count": (1, 2)}),
    (Scale("a", by=0.5, count=5), {"count": (1, 2)}),
]
EVERY_DOSE = [(lesion, field, doses) for lesion, fields in DOSED for field, doses in fields.items()]


def test_no_kind_and_no_dose_is_left_out_here():
    tried = {(type(lesion).__name__, field) for lesion, field, _ in EVERY_DOSE}
    assert tried == {(name, field) for name, kind in KINDS.items() for field in kind.doses}


@pytest.mark.parametrize(("lesion", "field", "doses"), EVERY_DOSE, ids=lambda value: str(value))
def test_every_dose_of_every_kind_steps(lesion, field, doses):
    series = Series.from_list(lesion.to_dict() | {field: list(doses)})
    assert (series.doses, series.field, len(series)) == (doses, field, 2)
    assert list(series) == [dataclasses.replace(lesion, **{field: dose}) for dose in doses]
    assert series.meaning == type(lesion).doses[field]
    assert Series.of(list(series)) == series
    assert Series.from_list(series.to_list()) == series
    assert "version" not in series.to_list()[0]


def test_parts_act_together_and_step_together():
    series = Series.from_list([ABLATION, NOISE])
    assert series.steps == (
        Ablate("conv5_3", fraction=0.1) + Noise("conv3_2", std=0.5, relative=True),
        Ablate("conv5_3", fraction=0.2) + Noise("conv3_2", std=1, relative=True),
    )
    assert (series.doses, series.field, series.sites) == ((0.1, 0.2), "fraction", ("conv5_3", "conv3_2"))
    assert Series.from_list([NOISE, ABLATION]).doses == (0.5, 1.0)


def test_a_part_without_a_list_is_the_same_at_every_step():
    series = Series.from_list([{"kind": "Scale", "site": "conv4_3", "by": 0.5}, ABLATION])
    assert series.doses == (0.1, 0.2) and series.field == "fraction"
    assert {step.parts[0] for step in series} == {Scale("conv4_3", by=0.5)}
    assert Series.from_list(series.to_list()) == series == Series.of(list(series))


@pytest.mark.parametrize("listed", [{"units": [3, 4]}, {"where": ["10", "01"]}, {"units": [7], "where": ["10"]}])
def test_fields_that_are_lists_by_themselves_are_no_doses(listed):
    (lesion,) = Series.from_list({"kind": "Ablate", "site": "conv5_3", **listed})
    assert lesion == Lesion.from_dict({"kind": "Ablate", "site": "conv5_3", **listed})
    series = Series.from_list({"kind": "Scale", "site": "conv5_3", "by": [0.5, 2], **listed})
    assert series.doses == (0.5, 2.0)
    assert all(lesion.units == (tuple(listed["units"]) if "units" in listed else None) for lesion in series)


@pytest.mark.parametrize(
    ("lesion", "field", "dose", "meaning"),
    [
        (Ablate("a", fraction=0.3), "fraction", 0.3, "share of the units removed"),
        (Ablate("a", units=[1, 2, 3]), "units", 3.0, "number of units"),
        (Ablate("a"), "fraction", 1.0, "share of the units removed"),
        (Keep("a", units=[1]), "units", 1.0, "number of units"),
        (Noise("a", std=2.0, units=[1]), "std", 2.0, "standard deviation of the noise"),
        (Clamp("a", max=0.5), "max", 0.5, "largest activation let through"),
        (Clamp("a", value=0.0), "value", 0.0, "activation at which units are held"),
        (Prune("a", fraction=0.4), "fraction", 0.4, "share of the incoming synapses cut"),
    ],
)
def test_a_series_of_one_lesion_has_its_usual_dose(lesion, field, dose, meaning):
    assert usual_dose(lesion) == (field, dose) and meaning_of(lesion, field) == meaning
    series = Series.from_list(lesion.to_dict())
    assert (series.field, series.doses, series.meaning) == (field, (dose,), meaning)
    assert Series.of(lesion) == series and list(series) == [lesion]


def test_a_seed_draws_every_part_anew_and_nothing_else():
    series = Series.from_list([ABLATION, {"kind": "Scale", "site": "conv4_3", "by": 0.5}, NOISE])
    drawn = series.lesion(1, seed=7)
    assert isinstance(drawn, Compound)
    assert [getattr(part, "seed", None) for part in drawn.parts] == [7, 0, 7]
    assert drawn.with_seed(0) == series.steps[1] == series.lesion(1)
    assert series.lesion(1, seed=7).hash != series.lesion(1, seed=8).hash


@pytest.mark.parametrize(
    ("part", "draws"),
    [
        (ABLATION, True), (NOISE, True),
        ({"kind": "Ablate", "site": "a", "units": [1]}, False),
        ({"kind": "Ablate", "site": "a", "units": [1], "to": "resample"}, True),
        ({"kind": "Scale", "site": "a", "by": [0.5, 2]}, False),
        ({"kind": "Scale", "site": "a", "by": [0.5, 2], "fraction": 0.5}, True),
        ({"kind": "Dropout", "site": "a", "p": [0.5]}, True), ({"kind": "Prune", "site": "a", "fraction": [0.5]}, True),
        ({"kind": "Clamp", "site": "a", "max": [0.5]}, False),
    ],
)  # fmt: skip
def test_a_series_draws_where_its_lesions_hang_on_a_seed(part, draws):
    series = Series.from_list(part)
    assert series.draws is draws
    assert (series.lesion(0, seed=5).hash != series.lesion(0, seed=6).hash) is draws
    beside = {"kind": "Clamp", "site": "b", "value": 0.0}
    assert Series.from_list([beside, part]).draws is draws


WRONG = [
    ([], "damage is a list of lesions"),
    ("Ablate", "damage is a list of lesions.*'Ablate'"),
    (3, "damage is a list of lesions.*3"),
    (None, "damage is a list of lesions.*None"),
    (["Ablate"], "a part of a lesion is keys and values.*'Ablate'"),
    ([ABLATION, None], "a part of a lesion is keys and values.*None"),
    ({"site": "a"}, "no kind of lesion is called"),
    ({"kind": ["Ablate"], "site": "a"}, "no kind of lesion is called"),
    ({"kind": "ablat", "site": "a"}, "did you mean 'Ablate'"),
    (ABLATION | {"fraction": []}, "fraction is an empty list"),
    (ABLATION | {"fraction": [0.1, 0.1]}, "fraction has a dose twice"),
    (ABLATION | {"fraction": [0.1, 3]}, "fraction must lie in 0 to 1"),
    (ABLATION | {"fraction": [0.1, None]}, "fraction"),
    (ABLATION | {"fraction": [0.1, "much"]}, "fraction"),
    (ABLATION | {"fraction": [[0.1]]}, "fraction"),
    (ABLATION | {"fraction": [0.1, float("nan")]}, "fraction"),
    (ABLATION | {"to": ["zero", "mean"]}, "to is a list and no dose"),
    (ABLATION | {"seed": [1, 2]}, "seed is a list and no dose"),
    (ABLATION | {"fractoin": [0.1]}, "fractoin is a list and no dose: did you mean fraction"),
    (NOISE | {"fraction": [0.1, 0.2]}, "(std and fraction|fraction and std) are both lists: one dose steps"),
    ([ABLATION, NOISE | {"std": [1, 2, 3]}], "equally many doses: Ablate has 2, Noise has 3"),
    ([ABLATION, NOISE | {"std": [1]}], "equally many doses: Ablate has 2, Noise has 1"),
]


@pytest.mark.parametrize(("parts", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_no_series_is_told_in_one_line(parts, said):
    with pytest.raises(LesionError, match=said) as told:
        Series.from_list(parts)
    assert "\n" not in str(told.value) and len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("lesions", "said"),
    [
        ([], "a series is made of lesions"),
        (["Ablate"], "a series is made of lesions"),
        ([Ablate("a", fraction=0.1), None], "a series is made of lesions"),
        ([Ablate("a", fraction=0.1), Ablate("b", fraction=0.2)], "differ in site"),
        ([Ablate("a", fraction=0.1), Keep("a", fraction=0.2)], "differ in kind"),
        ([Noise("a", std=1.0, fraction=0.1), Noise("a", std=2.0, fraction=0.2)], "differ in one dose; these differ in"),
        ([Ablate("a", fraction=0.1), Ablate("a", fraction=0.2) + Scale("a", by=2)], "have the same parts"),
        ([Ablate("a", fraction=0.1, seed=1), Ablate("a", fraction=0.2, seed=2)], "these differ in.*seed"),
        ([Ablate("a", fraction=0.1), Ablate("a", fraction=0.1)], "the same lesion twice"),
        ([Ablate("a", units=[1]), Ablate("a", units=[1, 2])], "differ in units"),
    ],
)  # fmt: skip
def test_lesions_that_differ_in_more_than_a_dose_are_no_series(lesions, said):
    with pytest.raises(LesionError, match=said):
        Series.of(lesions)


def test_a_dose_in_one_part_alone_makes_a_series_of_compounds():
    lesions = [Ablate("a", fraction=share) + Scale("b", by=0.5) for share in (0.1, 0.2)]
    series = Series.of(lesions)
    assert list(series) == lesions and series.doses == (0.1, 0.2)
    later = Series.of([Scale("b", by=0.5) + Ablate("a", fraction=share) for share in (0.1, 0.2)])
    assert later.doses == (0.1, 0.2) and later.field == "fraction"
