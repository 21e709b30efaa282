"""Wrong values: one line that says what is wrong, wherever a value enters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
import yaml
from torch import nn

from facelesion.lesions import (
    Ablate,
    Calibration,
    Changes,
    Clamp,
    Compound,
    Dropout,
    Keep,
    Lesion,
    LesionError,
    Noise,
    Prune,
    Scale,
    Shift,
    calibrate,
    lesion_sites,
    lesioned,
    sites,
    slots,
)


def refused(make: Callable[[], object], says: str = "") -> str:
    with pytest.raises(LesionError, match=says or None) as raised:
        make()
    message = str(raised.value)
    assert "\n" not in message and 20 < len(message) < 400, message
    return message


def deep(levels: int) -> Any:
    value: Any = [1]
    for _ in range(levels):
        value = [value]
    return value


def loop() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


NO_UNITS = [
    "3,7", "eyes", [None], [[1, 2]], [[1], [2, 3]], {"a": 1}, [1.5], [3.0], [True], ["3"], [math.nan], [math.inf],
    [10**30], [-1], [10**400], deep(50_000), loop(), b"3", object(), 1.5, True, range(10**9), torch.tensor([0.5]),
    torch.tensor([True]), numpy.array(["a"]), numpy.array([1.5]),
]  # fmt: skip
NO_MASK = [
    "eyes", 5, [], [[]], [1, 2], [[1, 2], [3]], [["a"]], [[None]], ["012"], ["01", "0"], [[math.nan, 1]], [[math.inf]],
    [[[1]]], {"eyes": 1}, [["0", "1"], deep(50_000)], loop(), torch.zeros(2, 2, 2), torch.ones(3), object(),
    [[10**400]],
    torch.ones(2, 2, dtype=torch.complex64), b"01",
]  # fmt: skip
NO_NUMBER = [
    math.nan, math.inf, -math.inf, "much", None, [1], {"a": 1}, True, False, 10**400, 1e39, "nan", "inf", "1e999",
    deep(50_000), 1j, object(), torch.ones(2), torch.tensor(math.nan),
]  # fmt: skip
NO_SEED = [
    -1, 1.5, math.inf, math.nan, None, "3", "seed", [1], True, 10**30, 2**63, -(10**400), 10**5000, object(), 1e300,
]  # fmt: skip
NO_SITE = [
    3,
    None,
    1.5,
    b"a",
    {"a": 1},
    [],
    [3],
    ["a", None],
    "",
    "  ",
    ["a", ""],
    object(),
    "a" * 5000,
    [["a"]],
    True,
]


def ids(value: object) -> str:
    return type(value).__name__


class TestValuesOfALesion:
    @pytest.mark.parametrize("units", NO_UNITS, ids=ids)
    def test_units(self, units):
        refused(lambda: Ablate("a", units=units), "units")
        refused(lambda: Keep("a", units=units), "units")
        refused(lambda: Lesion.from_dict({"kind": "Ablate", "site": "a", "units": units}), "units")

    @pytest.mark.parametrize("where", NO_MASK, ids=ids)
    def test_where(self, where):
        refused(lambda: Ablate("a", where=where), "where")
        refused(lambda: Lesion.from_dict({"kind": "Shift", "by": 1, "site": "a", "where": where}), "where")

    @pytest.mark.parametrize("value", NO_NUMBER, ids=ids)
    def test_numbers(self, value):
        makes = [
            lambda: Noise("a", std=value), lambda: Shift("a", by=value), lambda: Scale("a", by=value),
            lambda: Dropout("a", p=value), lambda: Prune("a", fraction=value),
        ]  # fmt: skip
        if value is not None:  # which is no bound, no share
            makes += [
                lambda: Clamp("a", value=value), lambda: Clamp("a", min=value), lambda: Clamp("a", max=value),
                lambda: Ablate("a", fraction=value),
            ]  # fmt: skip
        for make in makes:
            refused(make)
        refused(lambda: Lesion.from_dict({"kind": "Shift", "site": "a", "by": value}))

    @pytest.mark.parametrize("seed", NO_SEED, ids=ids)
    def test_seeds(self, seed):
        for make in (
            lambda: Ablate("a", fraction=0.5, seed=seed),
            lambda: Prune("a", fraction=0.5, seed=seed),
            lambda: Noise("a", std=1, seed=seed),
            lambda: Lesion.from_dict({"kind": "Ablate", "site": "a", "seed": seed}),
            lambda: lesioned(nn.Sequential(nn.ReLU()), Ablate("0"), seed=seed).__enter__(),
        ):
            refused(make, "seed")

    @pytest.mark.parametrize("site", NO_SITE, ids=ids)
    def test_sites(self, site):
        refused(lambda: Ablate(site))
        refused(lambda: Prune(site, fraction=0.5))
        refused(lambda: Lesion.from_dict({"kind": "Ablate", "site": site}))

    @pytest.mark.parametrize("value", [1, 0, "yes", None, [True], 1.0], ids=str)
    def test_truth_values(self, value):
        refused(lambda: Noise("a", std=1, relative=value), "true or false")
        refused(lambda: Dropout("a", p=0.5, rescale=value), "true or false")

    @pytest.mark.parametrize("word", [1, None, ["zero"], {"to": "zero"}, "ZERO", deep(50_000)], ids=ids)
    def test_words(self, word):
        refused(lambda: Ablate("a", to=word), "to is")
        refused(lambda: Dropout("a", p=0.5, per=word), "per is")

    def test_a_regular_expression_in_a_list(self):
        refused(lambda: Ablate(["a", "re:b"]), "stands alone")
        assert Ablate(["re:a|b"]).site == "re:a|b"

    def test_numbers_of_other_kinds_are_numbers(self):
        assert Shift("a", by=numpy.float32(0.5)) == Shift("a", by=torch.tensor(0.5)) == Shift("a", by="5e-1")
        assert Ablate("a", units=numpy.arange(3), seed=numpy.int64(2)) == Ablate("a", units=range(3), seed=2)
        assert Ablate("a", seed=2.0) == Ablate("a", seed=2) and Ablate("a", units=5) == Ablate("a", units=[5])
        where = Ablate("a", where=numpy.eye(2))
        assert where == Ablate("a", where=["10", "01"]) == Ablate("a", where=[[True, False], [0.0, 3]])


class TestDosesOfNothing:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: Shift("a", by=0), lambda: Shift("a", by=-0.0), lambda: Shift("a", by=1e-60),
            lambda: Shift("a", by=0, relative=True), lambda: Noise("a", std=0), lambda: Noise("a", std=1e-50),
            lambda: Noise("a", std=0, multiplicative=True), lambda: Dropout("a", p=0), lambda: Scale("a", by=1),
            lambda: Scale("a", by=1 + 1e-12), lambda: Ablate("a", fraction=0), lambda: Ablate("a", units=[]),
            lambda: Ablate("a", count=0), lambda: Scale("a", by=2, count=0),
            lambda: Ablate("a", units=(), to="mean"), lambda: Noise("a", std=1, units=[]),
            lambda: Scale("a", by=2, fraction=0.0), lambda: Shift("a", by=1, units=torch.tensor([], dtype=torch.int64)),
            lambda: Keep("a"), lambda: Keep("a", fraction=1), lambda: Prune("a", fraction=0),
            lambda: Clamp("a", max=1, units=range(0)),
            lambda: Lesion.from_dict({"kind": "Ablate", "site": "a", "units": []}),
            lambda: Ablate("a") + Shift("a", by=0.0),
        ],
    )  # fmt: skip
    def test_it_is_refused_and_told_how_nothing_is_asked_for(self, make):
        assert "None" in refused(make)

    def test_what_acts_is_not_refused(self):
        for lesion in (
            Keep("a", units=[]), Keep("a", fraction=0), Scale("a", by=0), Scale("a", by=-1), Clamp("a", value=0),
            Clamp("a", min=0), Dropout("a", p=1, rescale=False), Ablate("a", fraction=1), Noise("a", std=1e-3),
        ):  # fmt: skip
            assert lesion.parts == (lesion,)

    def test_nothing_is_asked_for_by_name(self):
        model, x = nn.Sequential(nn.Linear(4, 4)), torch.rand(2, 4)
        doses = {0.0: None, 0.5: Ablate("0", fraction=0.5)}
        with lesioned(model, list(doses.values())):
            intact, damaged = model(x.repeat(2, 1)).chunk(2)
        assert torch.equal(intact, model(x)) and not torch.equal(damaged, intact)


class TestWrittenLesions:
    @pytest.mark.parametrize(
        "values",
        [
            None, [], "Ablate", 3, {}, {"kind": ["Ablate"], "site": "a"}, {"kind": {"a": 1}}, {"kind": None},
            {"kind": 3},
            {"kind": "a" * 10**6}, {"kind": deep(50_000)}, {"kind": "Ablate"}, {"kind": "Ablate", 3: 4, "site": "a"},
            {"kind": "Ablate", None: 1, "site": "a"}, {"kind": "Ablate", "site": "a", "self": 1},
            {"kind": "Ablate", "site": "a", "x" * 10**6: 1}, {"kind": "Ablate", "site": "a", "version": True},
            {"kind": "Ablate", "site": "a", "version": [1]}, {"kind": "Ablate", "site": "a", "version": 1.0},
            {"kind": "Compound", "parts": {}}, {"kind": "Compound", "parts": [None]},
            {"kind": "Compound", "parts": "ab"},
            {"kind": "Compound", "parts": [{"kind": "Ablate", "site": "a"}], "site": "b"},
            {"kind": "Compound", "parts": 3},
            {"kind": "Compound", "members": [{"kind": "Ablate", "site": "a"}]}, {"kind": "Lesion", "site": "a"},
            {"kind": "SiteLesion", "site": "a"},
        ],
        ids=ids,
    )  # fmt: skip
    def test_what_is_no_lesion(self, values):
        refused(lambda: Lesion.from_dict(values))

    def test_many_levels_and_many_parts_do_not_hang_or_crash(self):
        nested: Any = {"kind": "Ablate", "site": "a"}
        for _ in range(100_000):
            nested = {"kind": "Compound", "parts": [nested]}
        refused(lambda: Lesion.from_dict(nested), "levels")
        laughs: Any = {"kind": "Ablate", "site": "a"}
        for _ in range(15):
            laughs = {"kind": "Compound", "parts": [laughs] * 10}
        refused(lambda: Lesion.from_dict(laughs), "parts")
        itself: dict[str, Any] = {"kind": "Compound"}
        itself["parts"] = [itself]
        refused(lambda: Lesion.from_dict(itself), "levels")

    def test_a_few_levels_are_read_in_order(self):
        a, b, c = Ablate("a"), Noise("b", std=1), Scale("c", by=2)
        written = {
            "kind": "Compound",
            "parts": [a.to_dict(), {"kind": "Compound", "parts": [b.to_dict(), c.to_dict()]}],
        }
        assert Lesion.from_dict(written) == a + b + c
        assert Lesion.from_dict({"kind": "Compound", "parts": [a.to_dict()]}) == Compound((a,))

    def test_what_yaml_makes_of_a_slip(self):
        for text in (
            "{kind: Ablate, site: a, units: '3,7'}",
            "{kind: Ablate, site: a, units: [null]}",
            "{kind: Ablate, site: a, where: eyes}",
            "{kind: Ablate, site: a, seed: .inf}",
            "{kind: [Ablate], site: a}",
            "{kind: Noise, site: a, std: .nan}",
            "{kind: Noise, site: a, std: yes}",
            "{kind: Ablate, site: 3}",
            "{kind: Ablate, site: a, fraction: 1e400}",
            "{kind: Shift, site: a, by: 2024-01-01}",
        ):
            refused(lambda text=text: Lesion.from_dict(yaml.load(text, yaml.UnsafeLoader)))
        assert Lesion.from_dict(yaml.safe_load("{kind: Noise, site: a, std: 1e-3}")) == Noise("a", std=1e-3)

    @pytest.mark.parametrize(
        "members", [(), [], None, "ab", ("a",), (None,), (Ablate("a") + Ablate("b"),)], ids=str
    )
    def test_a_compound_of_something_else(self, members):
        refused(lambda: Compound(members))


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


class TestWhatIsHandedToAContext:
    @pytest.mark.parametrize(
        "lesion",
        [5, "1", b"1", {"a": Ablate("1")}, [], ["1"], [Ablate("1"), 3], Ablate, [Ablate], [[Ablate("1")]], object(),
         True],
        ids=ids,
    )  # fmt: skip
    def test_lesions(self, model, lesion):
        refused(lambda: lesioned(model, lesion).__enter__())
        assert not any(each._forward_hooks for each in model.modules())

    def test_a_generator_of_lesions_is_a_list_of_them(self, model):
        x = torch.rand(2, 4)
        with lesioned(model, (each for each in (None, Ablate("2")))):
            assert torch.equal(model(x.repeat(2, 1))[2:], torch.zeros(2, 3))

    @pytest.mark.parametrize("model", ["vgg", None, 3, nn.ReLU, lambda x: x], ids=ids)
    def test_models(self, model):
        for make in (
            lambda: lesioned(model, Ablate("1")).__enter__(),
            lambda: lesioned(model, None).__enter__(),
            lambda: sites(model),
            lambda: lesion_sites(model, Ablate("1")),
            lambda: calibrate(model, torch.rand(2, 4), "1"),
            lambda: slots(model, "1", torch.rand(2, 4)),
        ):
            refused(make, "torch.nn.Module")

    @pytest.mark.parametrize(
        "calibration", [{}, "file.pt", 3, Calibration, {"mean/1": torch.zeros(3)}], ids=ids
    )
    def test_calibrations(self, model, calibration):
        refused(lambda: lesioned(model, Ablate("1"), calibration=calibration).__enter__(), "calibrate")

    @pytest.mark.parametrize(
        "ids",
        [[0.5, 1.5], ["a", "b"], [None], [True, False], 3, "01", [10**30], [math.nan], torch.rand(2),
         [[1], [2, 3]]],
        ids=ids,
    )  # fmt: skip
    def test_image_numbers(self, model, ids):
        refused(lambda: lesioned(model, Ablate("1"), ids=ids).__enter__(), "ids")

    @pytest.mark.parametrize("changes", [True, {}, [], Changes, "yes"], ids=ids)
    def test_changes(self, model, changes):
        refused(lambda: lesioned(model, Ablate("1"), changes=changes).__enter__(), "Changes")

    @pytest.mark.parametrize("site", [3, None, b"1", 1.5, ["1"], object()], ids=ids)
    def test_sites(self, model, site):
        refused(lambda: sites(model, site), "text")

    @pytest.mark.parametrize("wanted", [3, None, [3], [None], ["1", 3], 1.5], ids=ids)
    def test_wanted_sites(self, model, wanted):
        refused(lambda: calibrate(model, torch.rand(2, 4), wanted), "patterns or lesions")
        refused(lambda: slots(model, wanted, torch.rand(2, 4)), "patterns or lesions")

    @pytest.mark.parametrize(
        "pattern",
        ["1[99999999999999999999999]", "1[" + "9" * 5000 + "]", "1@" + "9" * 5000, "re:(",
         "re:" + "(" * 5000 + ")" * 5000,
         "re:a{99999999999}", "a,,b", ",", "nothing", "1\n2", "\0", "->", "[0]", "x" * 100_000, "1->0->1"],
        ids=lambda text: text[:12].replace("\0", "NUL"),
    )  # fmt: skip
    def test_patterns(self, model, pattern):
        refused(lambda: sites(model, pattern))

    @pytest.mark.parametrize("units", [[6], range(7), [0, 100]], ids=str)
    def test_units_beyond_the_site(self, model, units):
        calibration = calibrate(model, torch.rand(2, 4), "1")
        for lesion in (
            Ablate("1", units=units), Keep("1", units=units), Shift("1", by=1, units=units),
            Ablate("1", units=units, to="mean"),
        ):  # fmt: skip
            for lesions in (lesion, [None, lesion]):
                with lesioned(model, None):
                    pass

                def run(lesions=lesions):
                    with lesioned(model, lesions, calibration=calibration):
                        model(torch.rand(4, 4))

                refused(run, "6 units")


class TestCalibrations:
    @pytest.mark.parametrize(
        "images",
        [3, None, "images", [], iter([]), [None], ["a"], [[]], torch.rand(0, 4), torch.tensor(1.0),
         {"a": torch.rand(2, 4)},
         numpy.ones((2, 4)), [numpy.ones((2, 4))]],
        ids=ids,
    )  # fmt: skip
    def test_images(self, model, images):
        refused(lambda: calibrate(model, images, "1"))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Calibration({"a": torch.zeros(3)}, {}), lambda: Calibration({"a": [1.0]}, {"a": [1.0]}),
            lambda: Calibration({3: torch.zeros(3)}, {3: torch.zeros(3)}), lambda: Calibration([], []),
            lambda: Calibration({"a": torch.zeros(3, 3)}, {"a": torch.zeros(3, 3)}),
            lambda: Calibration({"a": torch.zeros(3).long()}, {"a": torch.zeros(3).long()}),
            lambda: Calibration.from_dict({}), lambda: Calibration.from_dict([]), lambda: Calibration.from_dict(None),
            lambda: Calibration.from_dict({"images": 3, "mean/a": torch.zeros(3)}),
        ],
    )  # fmt: skip
    def test_what_is_none(self, make):
        refused(make)

    def test_numbers_that_are_not_finite_calibrate_nothing(self, model):
        broken = Calibration({"1": torch.zeros(6)}, {"1": torch.full((6,), math.nan)})
        refused(
            lambda: lesioned(model, Noise("1", std=1, relative=True), calibration=broken).__enter__(),
            "not finite",
        )
