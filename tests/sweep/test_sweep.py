"""Planned = naive: a sweep gives what plain hooks give, and does the work that its plan says."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    Clamp,
    Dropout,
    Keep,
    LesionDidNotAct,
    Noise,
    NoSuchSite,
    Prune,
    Scale,
    Shift,
    calibrate,
)
from facelesion.sweep import Options, SweepError, make_plan, stream, sweep


def random_lesion(sites, draw: random.Random):
    def one():
        site = draw.choice(sites)
        return draw.choice(
            [
                Ablate(site, fraction=draw.choice([0.3, 0.7]), seed=draw.randrange(3)),
                Ablate(site, fraction=0.5, to="mean"),
                Ablate(site, fraction=0.5, to="resample"),
                Keep(site, fraction=0.6),
                Noise(site, std=draw.choice([0.1, 0.5]), seed=draw.randrange(2)),
                Noise(site, std=0.3, relative=True),
                Noise(site, std=0.3, multiplicative=True),
                Dropout(site, p=draw.choice([0.2, 0.6])),
                Dropout(site, p=0.3, per="channel"),
                Clamp(site, min=-0.2, max=0.4),
                Shift(site, by=0.2),
                Scale(site, by=1.3, units=[0, 2]),
            ]
        )

    lesion = one()
    for _ in range(draw.choice([0, 0, 1, 2])):
        lesion = lesion + one()
    return lesion


def test_a_sweep_equals_naive_hooks_on_every_network_for_random_lesions(zoo, naive, close):
    network, images, sites = zoo
    draw = random.Random(0)
    lesions = {f"lesion {number}": random_lesion(sites, draw) for number in range(14)}
    lesions["healthy"] = None
    calibration = calibrate(network, images, list(sites))
    outputs = sweep(network, lesions, images, seed=7, calibration=calibration, batch_size=3)
    assert list(outputs) == list(lesions)
    for name, lesion in lesions.items():
        close(outputs[name], naive(network, lesion, images, seed=7, calibration=calibration, batch_size=3))


def test_every_network_is_cut_and_not_run_whole(zoo, multiply_adds):
    network, images, sites = zoo
    lesions = {f"{dose}": Shift(sites[-1], by=dose) for dose in (0.1, 0.2, 0.3, 0.4)}
    # Planning tries the recorded steps out on two images; that is not counted as sweeping.
    with multiply_adds() as planning:
        plan = make_plan(network, lesions, images)
    assert not plan.why_whole
    with multiply_adds() as full, torch.no_grad():
        network(images)
    with multiply_adds() as done:
        list(stream(network, lesions, images))
    # Fused attention hides its products from this count, in both the same.
    assert done() - planning() < 0.75 * 4 * full()
    assert plan.multiply_adds < 0.75 * plan.naive_multiply_adds


def test_the_multiply_adds_done_are_those_planned(vgg, images, multiply_adds):
    lesions = {
        f"{site} {f}": Ablate(site, fraction=f)
        for site in ("conv2_1", "conv4_2", "conv5_3")
        for f in (0.2, 0.5)
    }
    lesions["healthy"] = None
    with multiply_adds() as planning:
        plan = make_plan(vgg, lesions, images)
    with multiply_adds() as done:
        sweep(vgg, lesions, images)
    assert done() - planning() == plan.multiply_adds * len(images)


def test_lesions_that_begin_alike_share_their_damage(vgg, images, swept_as_naive):
    first = Noise("conv2_1", std=0.2) + Ablate("conv3_1", fraction=0.3)
    lesions = {f"{n}": first + Dropout("conv5_2", p=0.1 * n) for n in range(1, 6)} | {
        "first": first,
        "again": first,
    }
    plan = make_plan(vgg, lesions, images)
    apart = sum(make_plan(vgg, {name: lesion}, images).multiply_adds for name, lesion in lesions.items())
    assert plan.multiply_adds < apart / 3
    outputs = swept_as_naive(vgg, lesions, images)
    assert torch.equal(outputs["first"], outputs["again"])


def test_random_patterns_over_several_sites_draw_the_same_when_shared(vgg, images, swept_as_naive):
    shared = Noise("conv3_*", std=0.3) + Dropout("re:features\\.(18|20)", p=0.3)
    lesions = {f"{f}": shared + Ablate("conv5_2", fraction=f) for f in (0.2, 0.4)}
    lesions["listed"] = Noise("conv3_1, conv5_2", std=0.2) + Ablate("conv5_3", fraction=0.2)
    lesions["listed too"] = Noise("conv3_1, conv5_2", std=0.2) + Ablate("conv5_3", fraction=0.4)
    swept_as_naive(vgg, lesions, images)


def test_pruned_weights_count_from_the_layer_that_reads_them(vgg, images, swept_as_naive):
    lesions = {f"{f}": Prune("conv4_1", fraction=f) + Shift("conv5_1", by=0.1) for f in (0.3, 0.6)}
    swept_as_naive(vgg, lesions, images)


def test_results_do_not_hang_on_batch_or_chunk_sizes(vgg, images, close):
    lesions = {
        "a": Noise("conv3_1", std=0.3),
        "b": Dropout("conv4_1", p=0.3),
        "c": Ablate("conv3_1", fraction=0.2),
    }
    once = sweep(vgg, lesions, images)
    for options in (
        Options(batch_size=2),
        Options(batch_size=3, rows=1),
        Options(rows=40),
        Options(trace=False),
    ):
        other = sweep(vgg, lesions, images, options=options)
        for name in lesions:
            close(other[name], once[name])


def test_image_numbers_key_the_noise(vgg, images, naive, close):
    ids = torch.tensor([9, 3, 4, 4, 100])
    lesion = Noise("conv4_1", std=0.4)
    close(sweep(vgg, {"n": lesion}, images, ids=ids, batch_size=2)["n"], naive(vgg, lesion, images, ids=ids))


def test_a_sweep_leaves_network_and_images_as_they_were(vgg, images, naive):
    before, copy = naive(vgg, None, images), images.clone()
    first = nn.Sequential(nn.ReLU(inplace=True), vgg).eval()
    sweep(first, {"none": None, "a": Shift("0", by=0.1), "b": Scale("1.features.1", by=2.0)}, images - 0.5)
    sweep(vgg, {"none": None, "a": Ablate("features.0", fraction=0.2)}, images)
    assert torch.equal(images, copy)
    assert torch.equal(naive(vgg, None, images), before)
    assert not any(module._forward_hooks for module in vgg.modules())


def test_in_place_steps_do_not_reach_what_other_lesions_need(vgg, images, naive, close):
    # features.0 is followed by an in-place ReLU: every lesion must find its output as it was.
    lesions = {f"{by}": Shift("features.0", by=by) for by in (-0.3, 0.1, 0.3)} | {
        "later": Shift("features.2", by=1.0)
    }
    outputs = sweep(vgg, lesions, images, options=Options(rows=5))
    for name, lesion in lesions.items():
        close(outputs[name], naive(vgg, lesion, images))


def test_the_users_own_hooks_still_act(images, swept_as_naive):
    from facelesion.models.vgg import VGGFace

    network = VGGFace(width=0.125).eval()
    handle = network.features.register_forward_hook(lambda module, args, output: output * 2)
    lesions = {"a": Ablate("conv5_3", fraction=0.5), "none": None}
    swept_as_naive(network, lesions, images)
    handle.remove()


class Branching(nn.Module):
    """Looks at its numbers: no tracer gets through."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        return self.second(-x if float(x.sum()) < -1e9 else x)


def test_what_cannot_be_cut_runs_whole_and_says_so(swept_as_naive):
    network, images = Branching().eval(), torch.rand(6, 4)
    lesions = {"none": None, "a": Ablate("first", units=[1]), "b": Noise("second", std=0.3)}
    plan = make_plan(network, lesions, images)
    assert "torch.fx" in plan.why_whole and "runs whole" in plan.explain()
    swept_as_naive(network, lesions, images)


def test_a_part_that_cannot_be_looked_into_is_one_step(swept_as_naive):
    network, images = nn.Sequential(nn.Linear(4, 4), Branching(), nn.Linear(2, 2)).eval(), torch.rand(6, 4)
    lesions = {"none": None, "a": Ablate("1.first", units=[1]), "b": Noise("2", std=0.3)}
    plan = make_plan(network, lesions, images)
    assert not plan.why_whole and plan.steps == ("0", "1", "2")
    swept_as_naive(network, lesions, images)


def test_metrics_take_outputs_in_as_they_come(vgg, images):
    class Mean:
        def __init__(self):
            self.total, self.rows = 0.0, []

        def update(self, outputs, rows):
            self.total, self.rows = self.total + float(outputs.sum()), self.rows + list(rows)

        def compute(self):
            assert self.rows == list(range(5))
            return self.total / len(self.rows)

    lesions = {"none": None, "a": Ablate("conv4_1", fraction=0.5)}
    kept = sweep(vgg, lesions, images, batch_size=2)
    means = sweep(vgg, lesions, images, batch_size=2, reduce=lambda name: Mean())
    for name in lesions:
        assert means[name] == pytest.approx(float(kept[name].sum(1).mean()), rel=1e-5)


def test_options_for_speed_state_their_error(vgg, images):
    lesions = {"a": Ablate("conv2_1", fraction=0.2)}
    exact = sweep(vgg, lesions, images, options=Options(channels_last=False))["a"]
    scale = float(exact.abs().max())
    last = sweep(vgg, lesions, images, options=Options(channels_last=True))["a"]
    assert float((last - exact).abs().max()) < 1e-5 * scale
    low = sweep(vgg, lesions, images, options=Options(autocast=torch.bfloat16))["a"].float()
    assert float((low - exact).abs().max()) < 0.1 * scale


def test_shards_are_sweeps_of_their_own_and_hold_every_lesion_once(vgg, images, close):
    lesions = {
        f"{s} {f}": Ablate(s, fraction=f) for s in ("conv2_1", "conv4_1", "conv5_1") for f in (0.2, 0.4, 0.6)
    }
    lesions["none"] = None
    shards = make_plan(vgg, lesions, images).shards(3)
    assert sorted(name for shard in shards for name in shard) == sorted(lesions)
    assert len(shards) == 3
    whole = sweep(vgg, lesions, images)
    for shard in shards:
        for name, output in sweep(vgg, {name: lesions[name] for name in shard}, images).items():
            close(output, whole[name])


def test_memory_that_runs_out_halves_the_chunks(vgg, images, close, monkeypatch):
    from facelesion.sweep import engine

    lesions = {f"{by}": Shift("conv4_1", by=by / 10) for by in range(1, 9)}
    whole = sweep(vgg, lesions, images, options=Options(rows=40))
    original, seen = engine.lesioned, []

    def scarce(network, lesions, **settings):
        seen.append(len(lesions))
        if len(lesions) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(network, lesions, **settings)

    monkeypatch.setattr(engine, "lesioned", scarce)
    outputs = sweep(vgg, lesions, images, options=Options(rows=40))
    assert seen == [8, 4, 2, 2, 2, 2]
    for name in lesions:
        close(outputs[name], whole[name])

    def none(*given, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "lesioned", none)
    with pytest.raises(SweepError, match="smaller batch_size"):
        sweep(vgg, lesions, images)


def test_mistakes_are_told(vgg, images):
    with pytest.raises(NoSuchSite):
        sweep(vgg, {"a": Ablate("conv9_1")}, images)
    with pytest.raises(SweepError, match="nothing to sweep"):
        sweep(vgg, {}, images)
    with pytest.raises(SweepError, match="ids names 2 images"):
        sweep(vgg, {"a": None}, images, ids=[1, 2])
    with pytest.raises(SweepError, match=r"model\.eval\(\)"):
        sweep(nn.Sequential(nn.Linear(3, 3), nn.Dropout()), {"a": None}, torch.rand(2, 3))

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(LesionDidNotAct):
        sweep(Idle().eval(), {"a": Ablate("idle")}, torch.rand(2, 3))
