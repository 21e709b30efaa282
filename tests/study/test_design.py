"""A study's file: the library's own dialect, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from facelesion import Ablate, Noise
from facelesion.analysis.contrasts import Contrast
from facelesion.errors import Error
from facelesion.lesions import Lesion
from facelesion.lesions.kinds import KINDS
from facelesion.study import Participant, Study, read_study
from facelesion.weights import registry

ROOT = Path(__file__).resolve().parents[2]
GOOD = """\
name: mine
participants: [builtin, {network: untrained, seed: 3, name: newborn}]
pictures: {source: facespace, variability: 0.8}
lesions:
  ablation:
    - {kind: Ablate, site: "conv5_*", fraction: [0.1, 0.2]}
  both:
    - {kind: Scale, site: conv4_3, by: [0.8, 0.6]}
    - {kind: Noise, site: conv3_2, std: [0.5, 1], relative: true}
stimuli: [intact, {kind: mask, region: eyes, fill: mean}]
tasks: [detection, memory]
draws: 2
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("config", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_a_study(config):
    study = read_study(config)
    assert len(study.planned(study.people[0].name)) > 1


def test_what_is_written_is_what_is_planned(tmp_path):
    study = read_study(written(tmp_path, GOOD))
    assert [each.name for each in study.people] == ["builtin", "newborn"]
    planned = study.planned("builtin")
    assert [(p.series, p.step, p.dose, p.draw) for p in planned] == [
        ("none", 0, 0.0, 0),
        ("ablation", 1, 0.1, 0), ("ablation", 1, 0.1, 1), ("ablation", 2, 0.2, 0), ("ablation", 2, 0.2, 1),
        ("both", 1, 0.8, 0), ("both", 1, 0.8, 1), ("both", 2, 0.6, 0), ("both", 2, 0.6, 1),
    ]  # fmt: skip
    assert "scale" in str(planned[5].lesion) and "noise" in str(planned[5].lesion)
    assert len({p.lesion.hash for p in planned[1:]}) == 8
    assert str(study.stimuli[1]) == "mask eyes (fill=mean)"


def test_a_study_is_written_and_read_back(tmp_path):
    import yaml

    study = read_study(written(tmp_path, GOOD))
    again = read_study(written(tmp_path, yaml.safe_dump(study.to_dict(), sort_keys=False)))
    assert again.to_dict() == study.to_dict()
    assert [str(p.lesion) for p in again.planned("newborn")] == [str(p.lesion) for p in study.planned("newborn")]


def test_lesions_from_python_are_the_same_as_from_a_file():
    steps = [Ablate("conv5_3", fraction=f) + Noise("conv3_2", std=s) for f, s in ((0.1, 1.0), (0.2, 2.0))]
    parts = [
        {"kind": "Ablate", "site": "conv5_3", "fraction": [0.1, 0.2]},
        {"kind": "Noise", "site": "conv3_2", "std": [1.0, 2.0]},
    ]
    one, other = (Study(lesions={"x": each}).planned("builtin") for each in (steps, parts))
    assert [p.lesion for p in one] == [p.lesion for p in other]


BESIDE = {"kind": "Ablate", "site": "conv4_3", "fraction": 0.5}
EVERY_KIND = [
    {"kind": "Ablate", "site": "conv5_3", "fraction": [0.1, 0.2], "to": "mean"},
    {"kind": "Ablate", "site": "conv5_3", "fraction": [0.1, 0.2], "to": "resample"},
    {"kind": "Ablate", "site": "conv5_3", "units": [3, 4], "where": ["11", "00"]},
    {"kind": "Keep", "site": "conv5_3", "fraction": [0.5, 0.2]},
    {"kind": "Noise", "site": "conv5_3", "std": [0.1, 0.2], "multiplicative": True},
    {"kind": "Noise", "site": "conv5_3", "std": 0.5, "fraction": [0.1, 0.2], "relative": True},
    {"kind": "Dropout", "site": "conv5_3", "p": [0.1, 0.2], "per": "channel"},
    {"kind": "Clamp", "site": "conv5_3", "value": [0.1, 0.2], "units": [1]},
    {"kind": "Clamp", "site": "conv5_3", "max": [2.0, 1.0]},
    {"kind": "Clamp", "site": "conv5_3", "min": [0.1, 0.2], "max": 1.0, "where": ["10", "01"]},
    {"kind": "Noise", "site": "conv5_3", "std": [0.1, 0.2], "where": ["10", "01"]},
    {"kind": "Dropout", "site": "conv5_3", "p": [0.1, 0.2], "rescale": False, "units": [1, 2]},
    {"kind": "Keep", "site": "conv5_3", "fraction": [0.5, 0.2], "to": "mean"},
    {"kind": "Keep", "site": "conv5_3", "units": [3, 4], "to": "resample"},
    {"kind": "Shift", "site": "conv5_3", "by": 1, "fraction": [0.1, 0.2]},
    {"kind": "Scale", "site": "conv5_3", "by": [0.5, 2], "units": [1], "where": ["10"]},
    {"kind": "Shift", "site": "conv5_3", "by": [-1, 1], "relative": True},
    {"kind": "Scale", "site": "conv5_3", "by": [0.5, 2]},
    {"kind": "Prune", "site": "conv5_3", "fraction": [0.1, 0.2]},
]


@pytest.mark.parametrize("part", EVERY_KIND, ids=lambda part: f"{part['kind']} {len(part)}")
def test_every_kind_of_damage_can_be_in_a_study_with_all_its_settings(part):
    planned = Study(lesions={"x": [part]}, draws=1).planned("builtin")[1:]
    listed = [key for key, value in part.items() if isinstance(value, list) and key not in ("units", "where")]
    assert len(planned) == (len(part[listed[0]]) if listed else 1)
    for step, each in enumerate(planned):
        plain = {key: value[step] if key in listed else value for key, value in part.items()}
        assert each.lesion == Lesion.from_dict(plain)


def test_there_is_no_kind_of_damage_that_is_not_tried_here():
    assert {part["kind"] for part in EVERY_KIND} == set(KINDS)


@pytest.mark.parametrize("part", EVERY_KIND, ids=lambda part: f"{part['kind']} {len(part)}")
def test_every_kind_of_damage_is_read_from_a_file_and_written_back(tmp_path, part):
    import yaml

    text = yaml.safe_dump({"lesions": {"alone": [part], "with another": [part, BESIDE]}, "draws": 2})
    study = read_study(written(tmp_path, text))
    from_python = Study(lesions={"alone": [part], "with another": [part, BESIDE]}, draws=2)
    assert [p.lesion for p in study.planned("builtin")] == [p.lesion for p in from_python.planned("builtin")]
    again = read_study(written(tmp_path, yaml.safe_dump(study.to_dict())))
    assert again.planned("builtin") == study.planned("builtin")
    together = [p for p in study.planned("builtin") if p.series == "with another"]
    assert {len(p.lesion.parts) for p in together} == {2}
    assert study.series("alone", "builtin").meaning


@pytest.mark.parametrize(
    ("part", "field", "meaning"),
    [
        (EVERY_KIND[0], "fraction", "share of the units removed"),
        ({"kind": "Ablate", "site": "conv5_3", "units": [3, 4]}, "units", "number of units"),
        ({"kind": "Noise", "site": "conv5_3", "std": [1, 2], "relative": True}, "std",
         "standard deviation of the noise, in units of the unit's own standard deviation"),
        ({"kind": "Noise", "site": "conv5_3", "std": [1, 2], "multiplicative": True}, "std",
         "standard deviation of the noise, in units of the activation"),
        ({"kind": "Noise", "site": "conv5_3", "std": 1, "fraction": [0.1]}, "fraction",
         "share of the units under noise"),
        ({"kind": "Dropout", "site": "conv5_3", "p": [0.1]}, "p", "probability that an activation is dropped"),
        ({"kind": "Dropout", "site": "conv5_3", "p": [0.1], "per": "channel"}, "p",
         "probability that a unit is dropped, anew for every image"),
        ({"kind": "Shift", "site": "conv5_3", "by": [1], "relative": True}, "by",
         "what is added to the activation, in units of the unit's own standard deviation"),
        ({"kind": "Prune", "site": "conv5_3", "fraction": [0.1]}, "fraction", "share of the incoming synapses cut"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_the_dose_is_the_field_with_the_list_and_its_kind_says_what_it_means(part, field, meaning):
    series = Study(lesions={"x": [part]}).series("x", "builtin")
    assert (series.field, series.meaning) == (field, meaning)


def test_what_does_not_draw_is_there_once():
    study = Study(lesions={"gain": [{"kind": "Scale", "site": "conv5_3", "by": [0.5, 0.2]}]}, draws=7)
    assert len(study.planned("builtin")) == 3


def test_a_site_may_be_given_by_participant():
    part = {"kind": "Ablate", "site": {"builtin": "conv5_3", "other": "layer4"}, "fraction": [0.1]}
    study = Study(participants=["builtin", {"network": "untrained", "name": "other"}], lesions={"x": [part]})
    assert study.series("x", "builtin").sites == ("conv5_3",)
    assert study.series("x", "other").sites == ("layer4",)
    sites = {name: {p.lesion.site for p in study.planned(name)[1:]} for name in ("builtin", "other")}
    assert sites == {"builtin": {"conv5_3"}, "other": {"layer4"}}


def test_participants_are_damaged_alike_but_for_their_sites():
    one, other = ({"kind": "Ablate", "site": s, "fraction": [0.1, 0.2]} for s in ("conv5_3", "layer4"))
    both = {**one, "site": {"builtin": "conv5_3", "untrained": "layer4"}}
    study = Study(participants=["builtin", "untrained"], lesions={"x": [both], "y": [one]}, draws=2)
    seeds = {name: [(p.series, p.dose, p.draw) for p in study.planned(name)] for name in ("builtin", "untrained")}
    assert seeds["builtin"] == seeds["untrained"]
    alone = Study(lesions={"x": [other]}, draws=2).planned("builtin")[1:]
    assert [p.lesion for p in study.planned("untrained") if p.series == "x"] == [p.lesion for p in alone]


WRONG = [
    ("seed: 0", "seed: -1", "line 13: seed is -1"),
    ("draws: 2", "draws: many", "line 12: draws is 'many': it must be a whole number"),
    ("draws: 2", "drews: 2", "line 12: drews is no setting: did you mean draws?"),
    ("kind: Ablate", "kind: Ablat", "line 6: lesions.ablation.0 cannot be read.*did you mean 'Ablate'"),
    ("fraction: [0.1, 0.2]", "fractoin: [0.1, 0.2]", "line 6: lesions.ablation.0.*fractoin"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1, 2]", "line 6: lesions.ablation.0.*0 to 1"),
    ("fraction: [0.1, 0.2]", "fraction: []", "line 6: lesions.ablation.0.*empty list"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1, 0.1]", "line 6: lesions.ablation.0.*twice"),
    ("fraction: [0.1, 0.2]", "fraction: [0, 0.2]", "line 6: lesions.ablation.0.*changes nothing"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1], seed: 3", "line 6: lesions.ablation.0.seed does nothing"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1], to: [mean, zero]", "line 6: lesions.ablation.0.*to is a list"),
    ("std: [0.5, 1]", "std: [0.5, 1], fraction: [0.1, 0.2]", "line 9: lesions.both.1.*both lists"),
    ("std: [0.5, 1]", "std: [0.5, 1, 2]", "line 7: lesions.both.*equally many doses"),
    ("source: facespace", "source: facspace", "line 3: pictures.source is 'facspace'.*did you mean 'facespace'"),
    ("variability: 0.8", "variabilty: 0.8", "line 3: pictures.variabilty is no setting: did you mean variability"),
    ("variability: 0.8", "variability: -1", "line 3: pictures.variability is -1"),
    ("variability: 0.8", "root: here", "line 3: pictures.root is no setting"),
    ("variability: 0.8", "new_people: 1000000000", "line 3: pictures.new_people is 1000000000"),
    ("[detection, memory]", "[detection, memry]", "line 11: tasks.1 is 'memry'.*did you mean 'memory'"),
    ("[detection, memory]", "[detection, detection]", "line 11: tasks.*twice"),
    ("[intact, ", "[mask nose, ", "line 10: stimuli must begin with `intact`"),
    ("region: eyes", "region: eyse", "line 10: stimuli.1 cannot be read"),
    ("name: newborn", "name: builtin", "line 2: participants names 'builtin' twice"),
    ("draws: 2", "approaches: {}", "line 12: approaches is no setting any more: write `lesions"),
    ("draws: 2", "model: builtin", "line 12: model is no setting any more: write `participants"),
    ("draws: 2", "data: {}", "line 12: data is no setting any more: write `pictures"),
    ('{kind: Ablate, site: "conv5_*", fraction: [0.1, 0.2]}',
     "{damage: ablate, sites: [conv5_3], doses: [0.1]}", "line 6: lesions.ablation.0.*earlier version"),
    ("draws: 2", "batch_size: 0", "line 12: batch_size is 0"),
    ("draws: 2", "processes: 0", "line 12: processes is 0"),
    ("name: mine", "name: ../elsewhere", "line 1: name is '../elsewhere'"),
    ("name: mine", "name: ''", "line 1: name is ''"),
    ("name: mine", "name: [mine]", r"line 1: name is \['mine'\]: it must be text"),
    ("name: mine", "name: mine\nname: yours", "line 2: 'name' stands here again, after line 1"),
    ("[builtin, {network: untrained, seed: 3, name: newborn}]", "[]", "line 2: participants is \\[\\]"),
    ("[builtin, {network: untrained, seed: 3, name: newborn}]", "builtin", "line 2: participants is 'builtin'"),
    ("network: untrained", "netwrok: untrained", "line 2: participants.1.netwrok is no setting.*network"),
    ("{network: untrained, seed: 3, name: newborn}", "{seed: 3}", "line 2: participants.1.network"),
    ("seed: 3, name", "seed: -3, name", "line 2: participants.1.seed is -3"),
    ("seed: 3, name", "seed: three, name", "line 2: participants.1.seed is 'three'"),
    ("{network: untrained, seed: 3, name: newborn}", "[untrained]", r"line 2: participants.1 is \['untrained'\]"),
    ("{source: facespace, variability: 0.8}", "facespace", "line 3: pictures must be settings"),
    ("source: facespace", "source: [facespace]", r"line 3: pictures.source is \['facespace'\], which is no source"),
    ("source: facespace", "source: {lfw: here}", "line 3: pictures.source is {'lfw': 'here'}, which is no source"),
    ("source: facespace", "source: 3", "line 3: pictures.source is 3, which is no source"),
    ("source: facespace", "source: lfw", "line 3: pictures.variability is no setting"),
    ("{source: facespace, variability: 0.8}", "{source: people}", "line 3: pictures.root"),
    ("variability: 0.8", "enrolled_people: 1", "line 3: pictures.enrolled_people is 1"),
    ("variability: 0.8", "training_people: [3]", "line 3: pictures.training_people is \\[3\\]"),
    ("variability: 0.8", "objects: ''", "line 3: pictures.objects is ''"),
    ("kind: Ablate", "knid: Ablate", "line 6: lesions.ablation.0 cannot be read"),
    ("kind: Ablate", "kind: 3", "line 6: lesions.ablation.0 cannot be read: no kind of lesion is called 3"),
    ('site: "conv5_*"', "sit: conv5_3", "line 6: lesions.ablation.0 cannot be read.*site"),
    ('site: "conv5_*"', "site: 3", 'line 6: lesions.ablation.0.site is 3, no text: write it in quotes, such as "3"'),
    ('site: "conv5_*"', "site: {builtin: 3, newborn: conv5_3}", "line 6: lesions.ablation.0.site is 3, no text"),
    ('site: "conv5_*"', "site: true", "line 6: lesions.ablation.0.site is True, no text"),
    ('site: "conv5_*"', "site: null", "line 6: lesions.ablation.0 cannot be read.*site"),
    ("[detection, memory]", "[2020-01-01]", "line 11: tasks.0 is '2020-01-01', which is no task"),
    ("[detection, memory]", "[true]", "line 11: tasks.0 is 'true', which is no task"),
    ("[intact, {", "[intact, 2, {", "line 10: stimuli.1 is 2: it must be a name such as `mask eyes`, or settings"),
    ("[intact, {", "[intact, true, {", "line 10: stimuli.1 is True: it must be a name"),
    ("[intact, {", "[intact, [mask], {", r"line 10: stimuli.1 is \['mask'\]: it must be a name"),
    ("[intact, {", "[intact, null, {", "line 10: stimuli.1 is None: it must be a name"),
    ("[builtin, {", "[null, {", "line 2: participants.0 is null"),
    ("  both:", "  null:", "line 7: a key is missing before the colon"),
    ('site: "conv5_*"', "site: {builtin: conv5_3}", "line 6: lesions.ablation.0.site says no site.*'newborn'"),
    ('site: "conv5_*"', "site: {builtin: conv5_3, newborn: conv5_3, newbron: conv5_3}",
     "line 6: lesions.ablation.0.site names 'newbron', who takes no part: did you mean 'newborn'"),
    ("fraction: [0.1, 0.2]", "fraction: much", "line 6: lesions.ablation.0 cannot be read.*fraction"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1, much]", "line 6: lesions.ablation.0 cannot be read.*fraction"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1, [0.2]]", "line 6: lesions.ablation.0 cannot be read.*fraction"),
    ("fraction: [0.1, 0.2]", "fraction: [.nan]", "line 6: lesions.ablation.0 cannot be read.*fraction"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1], to: nothing", "line 6: lesions.ablation.0.*zero, mean or resample"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1], units: [3]", "line 6: lesions.ablation.0.*units or fraction, not both"),
    ("fraction: [0.1, 0.2]", "fraction: [0.1], where: [ab]", "line 6: lesions.ablation.0 cannot be read.*ab"),
    ('- {kind: Ablate, site: "conv5_*", fraction: [0.1, 0.2]}', "[]", "line 5: lesions.ablation must be a list"),
    ('- {kind: Ablate, site: "conv5_*", fraction: [0.1, 0.2]}', "- Ablate", "line 6: lesions.ablation.0 must be"),
    ("  ablation:", "  none:", "line 5: lesions.none is what the intact network is called"),
    ("  both:", "  ablation:", "line 7: 'ablation' stands here again, after line 5"),
    ("by: [0.8, 0.6]", "by: [0.8, 1]", "line 8: lesions.both.0 cannot be read.*changes nothing"),
    ("relative: true", "relative: often", "line 9: lesions.both.1 cannot be read.*relative"),
    ("relative: true", "relative: true, multiplicative: true", "line 9: lesions.both.1.*not both"),
    ("relative: true", "per: channel", "line 9: lesions.both.1 cannot be read.*per"),
    ("std: [0.5, 1]", "std: [-1]", "line 9: lesions.both.1 cannot be read.*std must be 0 or more"),
    ("fill: mean", "fill: gold", "line 10: stimuli.1 cannot be read.*gold"),
    ("fill: mean", "fil: mean", "line 10: stimuli.1 cannot be read.*fil"),
    ("kind: mask", "kind: mas", "line 10: stimuli.1 cannot be read.*mas"),
    ("[intact, {", "[intact, intact, {", "line 10: stimuli names 'intact' twice"),
    ("[intact, {kind: mask, region: eyes, fill: mean}]", "[]", "line 10: stimuli is \\[\\]"),
    ("[intact, {kind: mask, region: eyes, fill: mean}]", "intact", "line 10: stimuli is 'intact'"),
    ("[detection, memory]", "detection", "line 11: tasks is 'detection'"),
    ("[detection, memory]", "[3]", "line 11: tasks.0 is '3'"),
    ("draws: 2", "draws: [2, 3]", "line 12: draws is \\[2, 3\\]"),
    ("draws: 2", "draws: 0", "line 12: draws is 0"),
    ("draws: 2", "overwrite: perhaps", "line 12: overwrite is 'perhaps'"),
    ("draws: 2", "device: abacus", "line 12: device is 'abacus'"),
    ("draws: 2", "output: ''", "line 12: output is ''"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[new for _, new, _ in WRONG])
def test_what_cannot_be_is_told_in_one_line_with_its_place(tmp_path, old, new, said):
    text = GOOD + "seed: 0\n"
    assert old in text
    with pytest.raises(Error, match=said) as told:
        read_study(written(tmp_path, text.replace(old, new, 1)))
    assert "\n" not in str(told.value) and len(str(told.value)) < 400


def test_fifty_mistakes_and_more_are_tried():
    assert len({new for _, new, _ in WRONG}) >= 50


def test_names_that_look_like_numbers_or_dates_are_the_names_they_are_written_as(tmp_path):
    import yaml

    text = GOOD.replace("  ablation:", "  2020-01-01:").replace("  both:", "  1.50:").replace("newborn", "007")
    study = read_study(written(tmp_path, text))
    assert list(study.lesions) == ["2020-01-01", "1.50"] and study.people[1].name == "007"
    again = read_study(written(tmp_path, yaml.safe_dump(study.to_dict(), sort_keys=False)))
    assert again.to_dict() == study.to_dict()


class TestAGroupOfParticipants:
    def test_a_group_stands_for_all_of_its_networks_that_are_not_named_before(self):
        names = [each.name for each in Study(participants=["builtin_seed1", "trained alike", "untrained"]).people]
        assert names[0] == "builtin_seed1" and names[-1] == "untrained"
        assert set(names) == {"untrained", *registry.groups()["trained alike"]} and len(names) == len(set(names))

    def test_participants_belong_to_the_group_that_the_registry_or_the_setting_says(self):
        mine = Participant("mine.safetensors", group="trained alike")
        study = Study(participants=["builtin", mine, "untrained"])
        assert study.groups == {"trained alike": ("builtin", "mine")}
        assert Study(participants=["untrained"]).groups == {}

    def test_a_contrast_may_be_measured_in_a_group(self):
        crossed = Contrast("more", tasks=("identification", "objects"), participants=["trained alike"])
        study = Study(participants=["trained alike", "untrained"], contrasts=[crossed])
        assert study.contrasts[0].participants == registry.groups()["trained alike"]

    def test_it_is_written_down_by_its_networks_and_read_back(self):
        study = Study(participants=["trained alike"])
        assert study.to_dict()["participants"] == list(registry.groups()["trained alike"])
