"""Forwards that stop on the way, and forwards that run again for their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from facelesion.lesions import (
    Ablate,
    Changes,
    Dropout,
    LesionDidNotAct,
    LesionError,
    Noise,
    Prune,
    Scale,
    lesioned,
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Stop(Exception):
    pass


class Interrupt(BaseException):
    pass


def watched(model, path):
    seen = []
    handle = model.get_submodule(path).register_forward_hook(lambda m, i, o: seen.append(o.clone()))
    return seen, handle


class TestStoppedForwards:
    """A hook that raises once it has what it wants is a usual way to read features."""

    @pytest.fixture
    def model(self):
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    @pytest.mark.parametrize("error", [Stop, Interrupt, RuntimeError, StopIteration])
    @pytest.mark.parametrize("where", ["1", "2"])
    def test_every_batch_has_the_noise_of_its_own_images(self, model, error, where):
        images, lesion = torch.randn(6, 4), Noise("1", std=1.0)
        with lesioned(model, lesion):
            seen, handle = watched(model, "1")
            model(images)
            handle.remove()

        def stop(*_):
            raise error

        with lesioned(model, lesion):
            parts, handle = watched(model, "1")
            stopping = model.get_submodule(where).register_forward_hook(stop)
            for batch in images.split(2):
                with pytest.raises((error, RuntimeError)):
                    model(batch)
            stopping.remove()
            handle.remove()
        assert torch.equal(torch.cat(parts), seen[0])

    def test_it_may_stop_before_later_sites_which_are_no_miss_then(self, model):
        def stop(*_):
            raise Stop

        with lesioned(model, Noise("0", std=1.0) + Scale("2", by=2)):
            handle = model[1].register_forward_hook(stop)
            with pytest.raises(Stop):
                model(torch.randn(2, 4))
            handle.remove()
            model(torch.randn(2, 4))

    def test_a_site_that_no_forward_ever_reached_did_not_act(self, model):
        def stop(*_):
            raise Stop

        model[1].register_forward_hook(stop)
        with (
            pytest.raises(LesionDidNotAct, match="'2'"),
            lesioned(model, Noise("0", std=1.0) + Scale("2", by=2)),
        ):
            with pytest.raises(Stop):
                model(torch.randn(2, 4))

    def test_one_that_failed_in_a_hook_before_it_began(self, model):
        images = torch.randn(4, 4)

        def fail(*_):
            raise Stop

        with lesioned(model, Noise("0", std=1.0)):
            handle = model.register_forward_pre_hook(fail)
            with pytest.raises(Stop):
                model(images)
            handle.remove()
            second = model(images)
        with lesioned(model, Noise("0", std=1.0), ids=range(4, 8)):
            assert torch.equal(model(images), second)

    def test_inside_an_except_clause_a_forward_is_a_forward(self, model):
        images = torch.randn(4, 4)
        with lesioned(model, Noise("0", std=1.0)):
            whole = model(images)
        with lesioned(model, Noise("0", std=1.0)):
            try:
                raise Stop
            except Stop:
                parts = [model(part) for part in images.split(2)]
        torch.testing.assert_close(torch.cat(parts), whole)

    def test_who_runs_out_of_memory_tries_the_same_images_again(self, model):
        images = torch.randn(4, 4)
        with lesioned(model, Noise("0", std=1.0)):
            whole = model(images)

        def full(*_):
            raise torch.OutOfMemoryError

        with lesioned(model, Noise("0", std=1.0)):
            handle = model[1].register_forward_hook(full)
            with pytest.raises(torch.OutOfMemoryError):
                model(images)
            handle.remove()
            parts = [model(part) for part in images.split(2)]
        torch.testing.assert_close(torch.cat(parts), whole)

    def test_a_network_that_calls_itself_is_one_forward(self):
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 4)

            def forward(self, x, again=True):
                y = self.layer(x)
                return self(y, again=False) if again else y

        model, images = Twice(), torch.randn(4, 4)
        with lesioned(model, Noise("layer", std=1.0)):
            whole = model(images)
        with lesioned(model, Noise("layer", std=1.0)):
            torch.testing.assert_close(torch.cat([model(part) for part in images.split(1)]), whole)
        with lesioned(model, Scale("layer[1]", by=0.0)):
            assert not model(images).any()


class Checkpointed(nn.Module):
    """Three blocks, of which some run again in the backward pass."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        self.second = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        if self.how == "none":
            return self.last(self.second(self.first(x)))
        if self.how == "sequential":
            blocks = nn.Sequential(self.first, self.second, self.last)
            return checkpoint_sequential(blocks, 2, x, use_reentrant=False)
        again = self.how == "reentrant"
        if self.how == "nested":
            inner = lambda y: checkpoint(self.second, y, use_reentrant=False)  # noqa: E731
            return self.last(checkpoint(lambda y: inner(self.first(y)), x, use_reentrant=False))
        y = checkpoint(self.first, x, use_reentrant=again)
        return self.last(checkpoint(self.second, y, use_reentrant=again))


HOW = ["reentrant", "other", "sequential", "nested"]
LESIONS = [
    Ablate("first.1", units=[1]) + Scale("second.1", by=0.5),
    Noise("first.1", std=0.5) + Dropout("second.0", p=0.3),
    Noise("second.1", std=0.5) + Prune("second.0", fraction=0.5),
    Prune("first.0", fraction=0.5) + Ablate("second.1", to="resample"),
    [None, Noise("first.0", std=1.0), Prune("second.0", fraction=0.5)],
]


def gradients(model, images, lesion, *, later=False, forwards=1, blocks=1):
    """Gradients of a loss over some forwards; `later`: after the context has ended."""
    model.zero_grad()
    given = images.clone().requires_grad_()
    with lesioned(model, lesion):
        loss = sum(model((given + n).repeat(blocks, 1)).square().mean() for n in range(forwards))
        if not later:
            loss.backward()
    if later:
        loss.backward()
    return [given.grad, *(each.grad for each in model.parameters())]


class TestActivationCheckpointing:
    @pytest.mark.parametrize("how", HOW)
    @pytest.mark.parametrize("lesion", LESIONS, ids=lambda lesion: str(lesion)[:60])
    @pytest.mark.parametrize("later", [False, True])
    @pytest.mark.parametrize("forwards", [1, 2])
    def test_gradients_are_those_without_it(self, how, lesion, later, forwards):
        plain, saving = Checkpointed("none"), Checkpointed(how)
        saving.load_state_dict(plain.state_dict())
        images = torch.randn(4, 4)
        blocks = len(lesion) if isinstance(lesion, list) else 1
        expected = gradients(plain, images, lesion, forwards=forwards, blocks=blocks)
        found = gradients(saving, images, lesion, later=later, forwards=forwards, blocks=blocks)
        for one, other in zip(expected, found, strict=True):
            torch.testing.assert_close(other, one)
        assert not any(each._forward_hooks or "forward" in each.__dict__ for each in saving.modules())

    @pytest.mark.parametrize("again", [True, False])
    @pytest.mark.parametrize("later", [False, True])
    def test_a_whole_network_may_be_checkpointed_and_called_twice_in_a_part(self, again, later):
        model, images = Checkpointed("none"), torch.randn(4, 4)
        lesion = Noise("first.1", std=0.5)

        def run(part):
            model.zero_grad()
            given = images.clone().requires_grad_()
            with lesioned(model, lesion):
                loss = part(given).square().mean()
                if not later:
                    loss.backward()
            if later:
                loss.backward()
            return given.grad

        twice = lambda x: model(x) + model(x + 1)  # noqa: E731
        expected = run(twice)
        torch.testing.assert_close(run(lambda x: checkpoint(twice, x, use_reentrant=again)), expected)

    @pytest.mark.parametrize("again", [True, False])
    def test_parts_called_on_their_own_and_nested_contexts(self, again):
        model, images = Checkpointed("none"), torch.randn(4, 4)

        def run(save, later):
            model.zero_grad()
            given = images.clone().requires_grad_()
            outer = lesioned(model.first, Noise("1", std=0.5))
            with outer, lesioned(model.first, Scale("1", by=3.0) + Prune("0", fraction=0.3)):
                loss = sum(save(model.first, given + n).square().mean() for n in range(2))
                if not later:
                    loss.backward()
            if later:
                loss.backward()
            return given.grad

        expected = run(lambda part, x: part(x), False)
        for later in (False, True):
            found = run(lambda part, x: checkpoint(part, x, use_reentrant=again), later)
            torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("how", HOW)
    def test_images_and_changes_are_counted_once(self, how):
        plain, saving = Checkpointed("none"), Checkpointed(how)
        saving.load_state_dict(plain.state_dict())
        found, answers = [], []
        for model in (plain, saving):
            changes = Changes()
            with lesioned(model, Noise("first.1", std=0.5) + Scale("second.1", by=0.5), changes=changes):
                model(torch.ones(4, 4, requires_grad=True)).sum().backward()
                answers.append(model(torch.ones(4, 4)))
            found.append(changes.relative()[0])
        assert found[0] == pytest.approx(found[1])
        torch.testing.assert_close(answers[0], answers[1])

    @pytest.mark.parametrize("later", [False, True])
    def test_parts_that_are_checkpointed_by_their_own_hooks_or_store_elsewhere(self, later):
        from torch.distributed._composable import checkpoint as by_hooks

        lesion = Noise("first.1", std=0.5) + Prune("second.0", fraction=0.5) + Dropout("second.1", p=0.3)
        plain, hooked, stored = Checkpointed("none"), Checkpointed("none"), Checkpointed("none")
        for each in (hooked, stored):
            each.load_state_dict(plain.state_dict())
        by_hooks(hooked.first)
        by_hooks(hooked.second)

        def both(x):
            with torch.autograd.graph.save_on_cpu():
                return stored.second(stored.first(x))

        stored.forward = lambda x: stored.last(checkpoint(both, x, use_reentrant=False))
        images = torch.randn(4, 4)
        expected = gradients(plain, images, lesion, forwards=2)
        for model in (hooked, stored):
            for one, other in zip(
                expected, gradients(model, images, lesion, later=later, forwards=2), strict=True
            ):
                torch.testing.assert_close(other, one)

    def test_another_way_of_recomputing_is_refused_where_numbers_are_drawn(self):
        class Own(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, block):
                ctx.block = block
                ctx.save_for_backward(x)
                with torch.no_grad():
                    return block(x)

            @staticmethod
            def backward(ctx, gradient):
                with torch.enable_grad():
                    x = ctx.saved_tensors[0].detach().requires_grad_()
                    ctx.block(x).backward(gradient)
                return x.grad, None

        class Saves(Checkpointed):
            def forward(self, x):
                return self.last(Own.apply(x, self.first))

        model, images = Saves("own"), torch.randn(4, 4, requires_grad=True)
        with lesioned(model, Scale("first.1", by=0.5)):
            model(images).sum().backward()
        for lesion in (Noise("first.1", std=0.5), [Scale("first.1", by=0.5), None]):
            with pytest.raises(LesionError, match="backward pass"), lesioned(model, lesion):
                model(images).sum().backward()
