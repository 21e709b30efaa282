"""What leaves the page as text."""

from __future__ import annotations

import ast
import builtins

import pytest
import yaml

from facelesion.errors import Error
from facelesion.lab.code import as_python, as_study, as_yaml
from facelesion.lab.damage import DOSES, dose_of, written
from facelesion.lab.state import UNITS, Damage, Picture, State
from facelesion.lab.tour import TOUR
from facelesion.lesions import Series
from facelesion.lesions.kinds import KINDS
from facelesion.study.design import study_of
from facelesion.yaml_files import parse_yaml

STATES = {
    kind: State(damage=(Damage(kind=kind, dose=dose_of(kind).usual, options=dose_of(kind).options),)) for kind in KINDS
} | {
    units: State(damage=(Damage(units=units, dose=0.2, picked=(3, 5)),)) for units in UNITS if units != "all"
} | {
    "several": State(
        damage=(
            Damage(), Damage(kind="Noise", dose=1, units="faces", share=0.3), Damage(units="picked", picked=(1,)),
        )
    ),
    "a pattern": State(damage=(Damage(site="conv5_*", units="objects"),)),
    "a place and a pattern": State(
        damage=(Damage(site="conv4_3", units="faces"), Damage(site="conv5_*", units="objects"))
    ),
    "a stimulus": State(stimulus="mask eyes + invert", painted=("01", "00")),
    "foreign": State(network="torchvision/resnet18"),
    **{step.title: step.state for step in TOUR if step.state.damage},
}  # fmt: skip


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_study_is_what_facelesion_study_reads(state):
    study = study_of(parse_yaml(as_study(state), "from-the-lab.yaml"))
    assert study.people[0].name == state.network
    assert study.stimuli[-1] == state.shown_as
    doses = study.series("from the lab", state.network).doses
    assert len(doses) == 3 or state.damage[0].units == "picked"
    assert all(len(study.planned(person.name)) > 1 for person in study.people)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_the_lesion_s_yaml_is_the_dialect_of_studies(state):
    parts = yaml.safe_load(as_yaml(state))
    assert parts == [written(each) for each in state.damage]
    plain = [{key: value for key, value in part.items() if not isinstance(value, dict)} for part in parts]
    assert len(Series.from_list(plain).steps) == 1


@pytest.mark.parametrize("state", [*STATES.values(), State(damage=()), State(picture=Picture(source="thing"))])
def test_the_python_is_a_program_that_imports_what_it_calls(state):
    nodes = list(ast.walk(ast.parse(as_python(state))))
    imported = {each.name for node in nodes if isinstance(node, ast.ImportFrom | ast.Import) for each in node.names}
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    called = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert called <= imported | made | set(dir(builtins))


def test_an_intact_network_makes_no_study():
    with pytest.raises(Error, match="add a lesion"):
        as_study(State(damage=()))
    assert as_yaml(State(damage=())).startswith("#")


def test_a_dose_of_nothing_is_no_damage():
    for kind, slider in DOSES.items():
        if slider.none is not None:
            assert written(Damage(kind=kind, dose=slider.none)) is None
    assert written(Damage(units="picked")) is None
    assert written(Damage(kind="Noise", dose=1, share=0)) is None


def test_every_slider_s_usual_dose_is_damage():
    for kind in KINDS:
        assert written(Damage(kind=kind, dose=dose_of(kind).usual, options=dose_of(kind).options))
