"""The page's numbers: those of the program that the page shows, of the library called by hand, and of nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from facelesion.errors import Error
from facelesion.lab import Damage, Picture, State, answer, readouts
from facelesion.lab.answers import mapped, truth
from facelesion.lab.code import as_python
from facelesion.lab.damage import hit_units, lesion_of
from facelesion.lab.pictures import first_picture, second_of
from facelesion.lesions import Ablate

pytestmark = pytest.mark.slow  # readouts are fitted once, which takes seconds

STATES = {
    "random": State(damage=(Damage(site="conv4_3", dose=0.3, seed=2),)),
    "ranked": State(damage=(Damage(site="conv5_1", dose=0.2, units="faces"),), map_of="identity", second="lookalike"),
    "picked, masked": State(
        damage=(Damage(units="picked", picked=(3, 40)),), stimulus="mask eyes + invert", second="other"
    ),
    "noise and weights": State(
        damage=(
            Damage(kind="Noise", site="conv3_2", dose=1, units="all", options=(("relative", True),), seed=3),
            Damage(kind="Prune", site="conv5_2", dose=0.4, seed=1),
        ),
        picture=Picture(person=7, caricature=1.5, looks=(("smile", 1.5),)), painted=("0110", "0000"), site="conv5_1",
    ),
    "a pattern of ranked units": State(damage=(Damage(site="conv5_*", dose=0.1, units="objects"),)),
    "a thing": State(
        picture=Picture(source="thing", thing="cup", number=2), damage=(Damage(kind="Dropout", dose=0.5),)
    ),
    "intact": State(damage=()),
}  # fmt: skip


def held_to_the_program(state: State) -> None:
    """What the page shows is what its Python finds, to 1e-5."""
    found = answer(state)
    names: dict = {}
    exec(compile(as_python(state), "from_the_lab.py", "exec"), names)
    for name, seen in (("healthy", found.healthy), ("damaged", found.damaged)):
        told = names["found"][name]
        assert told["evidence for a face"] == pytest.approx(seen.evidence, abs=1e-5)
        assert told["alike"] == pytest.approx(seen.alike, abs=1e-5)
        assert list(told["nearest"]) == [label for label, _ in seen.people]
        assert list(told["nearest"].values()) == pytest.approx([value for _, value in seen.people], abs=1e-5)
        assert dict(seen.kinds) == pytest.approx(told["things"], abs=1e-5)
        assert torch.allclose(told["map"], seen.heat, atol=1e-5)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_the_numbers_are_those_of_the_python_that_is_shown(state, capsys):
    held_to_the_program(state)


def test_a_photograph_s_numbers_are_those_of_the_python_that_is_shown(tmp_path, monkeypatch, capsys):
    from PIL import Image

    from facelesion.lab.photographs import cut_out

    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    points = [0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.8, 0.65, 0.8]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels).save("PHOTOGRAPH.jpg", "PNG")
    upload = (tmp_path / "PHOTOGRAPH.jpg").read_bytes()
    for picture in (cut_out(upload, points), cut_out(upload, thing=True)):
        held_to_the_program(State(picture=picture, stimulus="mask mouth", damage=(Damage(dose=0.3),)))


def test_the_numbers_are_those_of_plain_hooks():
    state = STATES["random"]
    known, picture = readouts("builtin"), first_picture(state)
    units = torch.tensor(sorted(hit_units(state, lesion_of(state), "conv4_3", 128).nonzero().flatten().tolist()))

    def silence(_module, _given, output):
        output = output.clone()
        output[:, units] = 0
        return output

    handle = known.subject.module.get_submodule("features.22").register_forward_hook(silence)
    with torch.no_grad():
        seen = known.subject.module(known.subject.preprocess(picture.images))
    handle.remove()
    assert answer(state).damaged.evidence == pytest.approx(float(known.face(seen)), abs=1e-5)


def test_the_site_s_units_are_those_that_the_next_layer_gets():
    found = answer(State(damage=(Damage(dose=0.5),)))
    assert len(found.hit) == 128 and int(found.hit.sum()) == 64
    assert (found.damaged.units[found.hit] == 0).all()
    assert torch.allclose(found.damaged.units[~found.hit], found.healthy.units[~found.hit], atol=1e-6)
    assert found.changes["features.29"] > 0


def test_asking_leaves_the_network_as_it_was():
    before = answer(State(damage=()))
    answer(STATES["noise and weights"])
    after = answer(State(damage=(), site="conv4_1"))
    assert before.healthy.evidence == pytest.approx(after.healthy.evidence, abs=1e-5)
    hooks = [module._forward_hooks for module in readouts("builtin").subject.module.modules()]
    assert not any(hooks)


def test_health_knows_people_and_what_is_a_face():
    for person in (0, 11, 23):
        seen = answer(State(picture=Picture(person=person), damage=())).healthy
        assert seen.people[0][0] == f"person-2-{person}" and seen.evidence > 0
    assert answer(STATES["a thing"]).healthy.evidence < 0
    assert answer(STATES["a thing"]).healthy.kinds[0][0] == "cup"


def test_the_truth_is_told_where_it_is_known():
    assert truth(State()) == ("person-2-0", True)
    assert truth(State(second="other")) == ("person-2-0", False)
    assert truth(State(picture=Picture(person=45))) == (None, True)
    assert truth(State(picture=Picture(likeness=0.5))) == (None, True)
    assert truth(STATES["a thing"]) == (None, None)
    assert second_of(State(second="other")).person != 0


def test_a_readout_is_fixed_in_health_and_asks_nobody_whom_it_was_fitted_on():
    from facelesion.lab.known import materials

    pictures = materials()
    trained = set(pictures.training.labels)
    assert not trained & (set(pictures.enrolment.labels) | set(pictures.strangers.labels))
    assert set(pictures.enrolment.labels) == {f"person-2-{number}" for number in range(40)}


def test_another_network_answers_too():
    network = "untrained"
    readouts(network)
    site = mapped(network)[-1]
    found = answer(State(network=network, site=site, damage=(Damage(site=site, dose=0.3),)))
    assert np.isfinite([found.damaged.evidence, found.damaged.alike]).all() and found.hit.any()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(damage=(Damage(site="conv9_9"),)), "conv9_9"), (State(site="pool9"), "pool"),
        (State(damage=(Damage(dose=0.001),)), "less than half a unit"),
        (State(damage=(Damage(units="picked", picked=(999,)),)), "no unit 999"),
        (State(network="vgg_face"), "vgg_face"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_told_in_one_line(state, words):
    with pytest.raises(Error, match=words) as told:
        answer(state)
    assert "\n" not in str(told.value).strip()


def test_a_result_can_be_kept_as_a_picture():
    from PIL import Image

    from facelesion.lab.drawing import result

    with Image.open(io.BytesIO(result(answer(STATES["random"])))) as opened:
        assert opened.format == "PNG" and opened.size[0] > 1000
        assert len(set(opened.convert("L").getdata())) > 50


def test_a_lesion_by_hand_is_the_library_s():
    assert lesion_of(State(damage=(Damage(dose=0.2, seed=3),))) == Ablate("conv5_3", fraction=0.2, seed=3)
    assert lesion_of(State(damage=())) is None


def test_the_tour_says_what_is_so():
    from facelesion.lab.tour import TOUR

    face, small, large = (answer(step.state) for step in TOUR[:3])
    assert face.healthy.evidence > 0 and face.healthy.people[0][0] == truth(TOUR[0].state)[0]
    assert int(small.hit.sum()) == 13  # a tenth of 128
    assert large.damaged.evidence > 0 and large.damaged.people[0][0] != truth(TOUR[2].state)[0]
    assert large.healthy.alike < large.same_above < large.damaged.alike
    assert truth(TOUR[2].state) == ("person-2-11", False)
