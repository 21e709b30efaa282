"""`lesioned`: what it promises about acting, leaving no trace, rows, image numbers and randomness."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    Calibration,
    Clamp,
    Dropout,
    IgnoredByCompile,
    Keep,
    LesionDidNotAct,
    LesionError,
    NoCalibration,
    Noise,
    NoSuchUnit,
    Prune,
    RowsDoNotDivide,
    Scale,
    Shift,
    calibrate,
    lesioned,
    slots,
)


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


class Detour(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x)


class TestActing:
    def test_a_site_that_never_ran_is_an_error(self):
        model = Detour()
        with (
            pytest.raises(LesionDidNotAct, match="unused"),
            lesioned(model, Ablate("used") + Ablate("unused")),
        ):
            model(torch.rand(2, 4))
        assert hooks(model) == 0

    def test_a_call_that_never_came_is_an_error(self, toy, images):
        with pytest.raises(LesionDidNotAct, match=r"relu\[3\]"), lesioned(toy, Ablate("relu[3]")):
            toy(images)

    def test_one_forward_that_missed_is_enough(self, toy, images):
        with pytest.raises(LesionDidNotAct), lesioned(toy, Ablate("conv")):
            toy(images)
            toy.relu(images)
            toy.forward = lambda x: x
            toy(images)

    def test_no_forward_at_all_is_an_error(self, toy):
        with pytest.raises(LesionDidNotAct, match="no forward"), lesioned(toy, Ablate("conv")):
            pass

    def test_another_error_is_not_hidden(self, toy):
        with pytest.raises(ZeroDivisionError), lesioned(toy, Ablate("conv")):
            1 / 0  # noqa: B018

    def test_a_dose_too_small_for_one_unit_is_an_error(self, toy, images):
        with pytest.raises(NoSuchUnit, match="half a unit"), lesioned(toy, Ablate("conv", fraction=0.05)):
            toy(images)

    def test_a_dose_that_comes_to_nothing_here_is_an_error(self, toy, images):
        for lesion, says in (
            (Keep("conv", units=range(8)), "all 8 units"),
            (Keep("conv", fraction=0.99), "all 8 units"),
            (Prune("conv", fraction=0.001), "half a weight"),
        ):
            with pytest.raises(NoSuchUnit, match=says), lesioned(toy, lesion):
                toy(images)

    def test_a_unit_that_is_not_there_is_an_error(self, toy, images):
        with pytest.raises(NoSuchUnit, match="8 units: 9"), lesioned(toy, Ablate("conv", count=9)):
            toy(images)
        with pytest.raises(NoSuchUnit, match="8 units"), lesioned(toy, Ablate("conv", units=[8])):
            toy(images)

    def test_relative_doses_need_a_calibration(self, toy, images):
        for lesion in (
            Noise("conv", std=1, relative=True),
            Ablate("conv", to="mean"),
            Shift("conv", 1, relative=True),
        ):
            with pytest.raises(NoCalibration, match="calibrate"), lesioned(toy, lesion):
                pass
            with pytest.raises(NoCalibration, match="conv"), lesioned(toy, lesion, calibration=Calibration()):
                pass

    def test_parts_may_be_called_on_their_own(self, toy, images):
        with lesioned(toy, Noise("conv", std=1.0)):
            first, second = toy.conv(images[:2]), toy.conv(images[2:])
        with lesioned(toy, Noise("conv", std=1.0)):
            assert torch.equal(torch.cat([first, second]), toy.conv(images))

    def test_a_compiled_model_without_slots_is_refused(self, toy, images):
        with pytest.raises(IgnoredByCompile, match="slots"), lesioned(torch.compile(toy), Ablate("conv")):
            pass
        inside = nn.Sequential(torch.compile(toy.conv))
        with pytest.raises(IgnoredByCompile, match="'0'"), lesioned(inside, Ablate("0")):
            pass

    def test_a_compiled_copy_never_answers_healthy_without_a_word(self, toy, images):
        compiled = torch.compile(toy, backend="eager")
        healthy = compiled(images)
        try:
            with lesioned(toy, Ablate("conv")):
                damaged = compiled(images)
        except LesionDidNotAct:
            damaged = None
        assert damaged is None or not torch.equal(damaged, healthy)
        assert torch.equal(compiled(images), healthy)


class TestLeavingNoTrace:
    def test_in_place_activations_are_not_written_on(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.ReLU(inplace=True))
        x, seen = torch.randn(3, 4), []
        model[0].register_forward_hook(lambda m, i, o: seen.append((o, o.clone())))
        for lesion in (
            Ablate("1", units=[0]),
            Noise("1", std=1),
            Scale("1", by=2),
            Clamp("1", value=3, units=[1]),
        ):
            with lesioned(model, lesion):
                model(x)
            given, copied = seen.pop()
            assert torch.equal(given, copied)

    def test_after_an_error_the_model_is_healthy(self, toy, images):
        healthy = toy(images)
        with pytest.raises(ZeroDivisionError), lesioned(toy, Ablate("conv")):
            toy(images)
            1 / 0  # noqa: B018
        assert hooks(toy) == 0 and torch.equal(toy(images), healthy)

    def test_the_users_own_hooks_stay(self, toy, images):
        calls = []
        toy.conv.register_forward_hook(lambda *_: calls.append(1))
        with lesioned(toy, Ablate("conv")):
            toy(images)
        toy(images)
        assert len(calls) == 2 and hooks(toy) == 1

    def test_contexts_nest(self, toy, images):
        one, two = Ablate("conv", units=[1]), Scale("deep", by=0.5)
        with lesioned(toy, one + two):
            expected = toy(images)
        with lesioned(toy, one):
            alone = toy(images)
            with lesioned(toy, two):
                both = toy(images)
            assert torch.equal(toy(images), alone)
        assert torch.equal(both, expected) and hooks(toy) == 0

    def test_a_generator_that_is_dropped_lifts_its_lesion(self, toy, images):
        def damaged():
            with lesioned(toy, Ablate("conv")):
                while True:
                    yield toy(images)

        answers = damaged()
        next(answers)
        answers.close()
        assert hooks(toy) == 0

    def test_two_threads_with_two_models(self, images):
        torch.manual_seed(0)
        models = [nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()) for _ in range(2)]
        lesions = [Ablate("1", fraction=0.5, seed=1), Noise("1", std=1.0)]
        expected, answers = [], [[], []]
        for model, lesion in zip(models, lesions, strict=True):
            with lesioned(model, lesion):
                expected.append(model(images))

        def work(number):
            for _ in range(20):
                with lesioned(models[number], lesions[number]):
                    answers[number].append(models[number](images))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for number in range(2):
            assert len(answers[number]) == 20
            assert all(torch.equal(answer, expected[number]) for answer in answers[number])

    def test_healthy_means_untouched(self, toy, images):
        with lesioned(toy, None), lesioned(toy, [None, None]):
            assert hooks(toy) == 0


class TestRows:
    def test_rows_that_do_not_divide_are_an_error(self, toy, images):
        with pytest.raises(RowsDoNotDivide, match="5 rows"), lesioned(toy, [Ablate("conv"), None]):
            toy(images)

    def test_an_empty_list_or_a_stranger_is_an_error(self, toy):
        for given in ([], ["conv"], "conv"):
            with pytest.raises(LesionError), lesioned(toy, given):
                pass

    def test_image_numbers_run_on_and_can_be_given(self, toy, images):
        lesion = Dropout("conv", p=0.5)
        with lesioned(toy, lesion):
            whole = toy(images)
        with lesioned(toy, lesion):
            toy(images)
            other = toy(images)
        with lesioned(toy, lesion, ids=[3, 1]):
            given = torch.cat([toy(images[3:4]), toy(images[1:2])])
        assert not torch.allclose(whole, other)
        assert torch.allclose(given, whole[[3, 1]], atol=1e-6)

    def test_too_few_image_numbers_are_an_error(self, toy, images):
        with pytest.raises(RowsDoNotDivide, match="one per image"), lesioned(toy, Ablate("conv"), ids=[1, 2]):
            toy(images)

    def test_sixty_four_lesions_of_many_kinds_in_one_forward(self, toy, images):
        kinds = [
            lambda i: Ablate("conv", fraction=0.3, seed=i),
            lambda i: Noise("deep", std=i / 9, seed=i) + Ablate("relu[2]", units=[i % 12]),
            lambda i: Prune("deep", fraction=0.4, seed=i) + Keep("conv", units=[i % 8]),
            lambda i: None if i % 8 == 7 else Dropout("relu", p=0.3, seed=i, where=[[1, 0], [0, 1]]),
        ]
        kinds[3] = lambda i: None if i % 8 == 7 else Dropout("conv", p=0.3, seed=i, where=[[1, 0], [0, 1]])
        lesions = [kinds[i % 4](i) for i in range(64)]
        with lesioned(toy, lesions):
            together = toy(images.repeat(64, 1, 1, 1)).chunk(64)
        for lesion, answer in zip(lesions, together, strict=True):
            with lesioned(toy, lesion):
                assert torch.allclose(toy(images), answer, atol=1e-5), lesion

    def test_doses_of_two_lesions_that_draw_side_by_side_are_what_each_is_alone(self, toy, images):
        """Two doses of one seed have their numbers in common, those of another seed have others."""
        for kind, doses in ((Noise, {"std": (0.5, 1.0)}), (Dropout, {"p": (0.3, 0.6)})):
            ((field, (weak, strong)),) = doses.items()
            lesions = [kind("conv", **{field: dose}, seed=seed) for dose, seed in ((weak, 0), (strong, 1), (strong, 0))]
            with lesioned(toy, lesions):
                together = toy(images.repeat(3, 1, 1, 1)).chunk(3)
            for lesion, answer in zip(lesions, together, strict=True):
                with lesioned(toy, lesion):
                    assert torch.allclose(toy(images), answer, atol=1e-5), lesion


class TestRandomness:
    def test_two_equal_noises_are_independent(self):
        model, x = nn.Sequential(nn.Identity()), torch.zeros(4, 50, 10, 10)
        with lesioned(model, Noise("0", std=1) + Noise("0", std=1)):
            assert abs(model(x).var() - 2) < 0.1

    def test_another_seed_lesion_site_or_call_draws_other_numbers(self):
        model, x = nn.Sequential(nn.Identity(), nn.Identity()), torch.zeros(2, 4, 5, 5)

        def draw(lesion, seed=0):
            with lesioned(model, lesion, seed=seed):
                return model(x)

        same = draw(Noise("0", std=1))
        assert torch.equal(draw(Noise("0", std=1)), same)
        for other in (
            draw(Noise("0", std=1), seed=1),
            draw(Noise("0", std=1, seed=1)),
            draw(Noise("1", std=1)),
        ):
            assert not torch.allclose(other, same)

    def test_the_units_of_a_dose_do_not_depend_on_the_contexts_seed(self, toy, images):
        with lesioned(toy, Ablate("conv", fraction=0.5), seed=0):
            first = toy(images)
        with lesioned(toy, Ablate("conv", fraction=0.5), seed=9):
            assert torch.equal(toy(images), first)

    def test_torchs_own_generator_is_left_alone(self, toy, images):
        before = torch.get_rng_state()
        with lesioned(toy, Noise("conv", std=1) + Ablate("deep", fraction=0.5)):
            toy(images)
        assert torch.equal(torch.get_rng_state(), before)


class TestWhere:
    def test_only_places_under_the_mask_are_damaged(self):
        model, x = nn.Sequential(nn.Identity()), torch.ones(2, 3, 8, 8)
        mask = torch.zeros(224, 224)
        mask[:112] = 1
        with lesioned(model, Ablate("0", units=[1], where=mask)):
            y = model(x)
        assert not y[:, 1, :4].any() and y[:, 1, 4:].all() and y[:, [0, 2]].all()

    def test_a_map_that_is_wider_than_high_is_damaged_where_the_mask_says(self):
        model, x = nn.Sequential(nn.Identity()), torch.ones(1, 1, 2, 6)
        with lesioned(model, Ablate("0", where=["100", "000"])):
            assert model(x)[0, 0].tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]

    def test_a_mask_needs_a_map_and_must_cover_something(self):
        model = nn.Sequential(nn.Identity())
        with pytest.raises(LesionError, match="height, width"), lesioned(model, Ablate("0", where=[[1]])):
            model(torch.ones(2, 3))
        dot = torch.zeros(100, 100)
        dot[0, 0] = 1
        with pytest.raises(LesionError, match="half of any place"), lesioned(model, Ablate("0", where=dot)):
            model(torch.ones(2, 3, 4, 4))


class TestCalibration:
    def test_measures_every_unit_over_images_and_places(self, toy, images):
        got = calibrate(toy, [images[:2], (images[2:], "label")], "conv")
        y = toy.conv(images).movedim(1, 0).flatten(1).double()
        assert torch.allclose(got.means["conv"], y.mean(1).float(), atol=1e-6)
        assert torch.allclose(got.deviations["conv"], y.std(1, correction=0).float(), atol=1e-6)
        assert got.images == 5 and hooks(toy) == 0

    def test_calls_of_one_module_are_measured_apart(self, toy, images):
        assert list(calibrate(toy, images, Ablate("relu")).means) == ["relu[0]", "relu[1]", "relu[2]"]

    def test_leaves_the_mode_as_it_was(self, toy, images):
        toy.train()
        toy.conv.eval()
        calibrate(toy, images, "conv")
        assert toy.training and toy.deep.training and not toy.conv.training

    def test_another_networks_calibration_is_refused(self, toy, images):
        wrong = Calibration({"conv": torch.zeros(3)}, {"conv": torch.ones(3)})
        with (
            pytest.raises(NoCalibration, match="3 units"),
            lesioned(toy, Ablate("conv", to="mean"), calibration=wrong),
        ):
            toy(images)


class TestSlots:
    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def test_rows_steps_and_noise_agree_with_hooks(self, model):
        x = torch.randn(4, 6)
        lesions = [
            Ablate("1", units=[0, 3]) + Noise("1", std=0.5),
            None,
            Dropout("1", p=0.5) + Shift("1", 1.0),
        ]
        with lesioned(model, lesions, ids=[5, 6, 7, 8]):
            expected = model(x.repeat(3, 1))
        places = slots(model, "1", x, steps=2, random=True, blocks=3)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        with lesioned(compiled, lesions, ids=[5, 6, 7, 8]):
            assert torch.allclose(compiled(x.repeat(3, 1)), expected, atol=1e-5)
        places.remove()
        assert hooks(model) == 0

    @pytest.mark.parametrize(
        ("lesion", "says"),
        [
            (Ablate("2"), "no slot"),
            (Noise("1", std=1), "random=True"),
            (Ablate("1") + Scale("1", by=2), "steps="),
            ([Ablate("1"), None], "blocks="),
            (Prune("2", fraction=0.5), "no pruning"),
            (Ablate("1", to="resample"), "resample"),
        ],
    )
    def test_what_a_slot_cannot_hold_is_an_error(self, model, lesion, says):
        slots(model, "1", torch.randn(4, 6))
        with pytest.raises(LesionError, match=says), lesioned(model, lesion):
            pass

    def test_a_slot_that_did_not_run_is_an_error(self, model):
        slots(model, "1", torch.randn(4, 6))
        with pytest.raises(LesionDidNotAct), lesioned(model, Ablate("1")):
            pass


class TestWithoutWith:
    def test_images_where_a_block_should_be_are_an_error(self, toy, images):
        with pytest.raises(LesionError, match=r"takes a Tensor: write `with lesioned\(model, lesion\): model\(images"):
            lesioned(toy, Scale("0", by=0.5))(images)

    def test_a_function_runs_inside_at_every_call(self):
        network, images = nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 4)

        @lesioned(network, Scale("0", by=0.5))
        def damaged(pictures):
            return network(pictures)

        expected = 0.5 * network(images)
        assert damaged(images).equal(expected) and damaged(images).equal(expected)
        assert network(images).equal(2 * expected) and damaged.__name__ == "damaged"


@pytest.mark.parametrize(
    "lesion",
    [Ablate("0", units=[1]), Ablate("0", fraction=0.8), Noise("0", std=1), Dropout("0", p=0.5)],
    ids=str,
)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@torch.no_grad()
def test_the_layout_of_feature_maps_is_kept(lesion, layout):
    model, images = nn.Sequential(nn.Conv2d(3, 8, 3)), torch.rand(4, 3, 6, 6).contiguous(memory_format=layout)
    for lesions in (lesion, [lesion, None]):
        with lesioned(model, lesions):
            assert model(images).is_contiguous(memory_format=layout)
