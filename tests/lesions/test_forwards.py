"""Forwards and their images: stopped ones, recomputed ones, and which axis of a tensor counts images."""

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
    RowsDoNotDivide,
    Scale,
    Shift,
    calibrate,
    lesioned,
    slots,
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


class Wrapped(nn.Module):
    """Images first on the outside; time first inside."""

    def __init__(self, inside: nn.Module, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before, self.inside, self.after = before or nn.Identity(), inside, nn.Linear(8, 3)

    def forward(self, x):
        return self.after(self.inside(self.before(x).transpose(0, 1)).mean(0))


class Direct(nn.Module):
    """Time first, outside as well as inside."""

    def __init__(self, inside: nn.Module, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before, self.inside = before or nn.Identity(), inside

    def forward(self, x):
        return self.inside(self.before(x))


class OwnAttention(nn.Module):
    """Written out by hand, time first; nothing in it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.mlp = nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x):  # (T, N, D)
        y = self.project(x)
        weights = torch.einsum("tnd,snd->nts", y, y).softmax(-1)
        return self.mlp(torch.einsum("nts,snd->tnd", weights, y))


def encoder(**options):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def rows_agree(model, images, lesions, axis=0):
    """A list of lesions answers row by row what each alone answers."""
    with torch.no_grad():
        with lesioned(model, lesions):
            together = model(torch.cat([images] * len(lesions), axis))
        together = together.chunk(len(lesions), axis if together.ndim > 2 else 0)
        for lesion, rows in zip(lesions, together, strict=True):
            with lesioned(model, lesion):
                torch.testing.assert_close(rows, model(images), msg=str(lesion))


class TestTheBatchsAxis:
    SITES = ("layers.0.linear1", "layers.1.norm2", "layers.0", "layers.1.self_attn", "layers.0.dropout1")

    @pytest.mark.parametrize("images", [2, 3, 7])
    def test_a_transformer_with_time_first_damages_the_rows_it_is_told(self, images):
        model = encoder().eval()
        lesions = [
            None,
            *(Noise(site, std=0.5) for site in self.SITES),
            Prune("layers.1.linear2", fraction=0.5),
        ]
        rows_agree(model, torch.randn(7, images, 8), lesions, axis=1)

    @pytest.mark.parametrize("images", [2, 3])
    def test_so_does_one_inside_a_network_that_takes_images_first(self, images):
        model = Wrapped(encoder()).eval()
        lesions = [
            None,
            *(Ablate(f"inside.{site}", units=[1]) for site in self.SITES),
            Noise("before", std=1.0),
        ]
        rows_agree(model, torch.randn(images, 6, 8), lesions)

    def test_the_heads_of_such_an_attention(self):
        model = Wrapped(encoder()).eval()
        rows_agree(model, torch.randn(3, 5, 8), [None, Ablate("inside.layers.*.self_attn.heads", units=[1])])

    @pytest.mark.parametrize("make", [lambda: encoder(), lambda: nn.Sequential(nn.Linear(8, 8), encoder())])
    def test_noise_goes_by_image_there_too(self, make):
        model, x = make().eval(), torch.randn(5, 4, 8)
        site = "layers.0.linear1" if isinstance(model, nn.TransformerEncoder) else "1.layers.0.linear1"
        with torch.no_grad(), lesioned(model, Noise(site, std=1.0)):
            whole = model(x)
        with torch.no_grad(), lesioned(model, Noise(site, std=1.0)):
            parts = torch.cat([model(part) for part in x.split(2, dim=1)], 1)
        torch.testing.assert_close(parts, whole)

    def test_a_list_of_image_numbers_counts_images(self):
        """As for CLIP's transformer, whose tokens come first."""
        model, x = Wrapped(encoder()).eval(), torch.randn(2, 6, 8)
        with torch.no_grad():
            with lesioned(model, Noise("inside.layers.0.linear1", std=1.0), ids=[5, 3]):
                first = model(x)
            with lesioned(model, Noise("inside.layers.0.linear1", std=1.0), ids=[3, 5]):
                torch.testing.assert_close(model(x.flip(0)).flip(0), first)

    @pytest.mark.parametrize("layer", [lambda: encoder(), lambda: nn.MultiheadAttention(8, 2)])
    def test_a_network_of_ones_own_that_takes_time_first_is_found_out(self, layer):
        class Own(Direct):
            def forward(self, x):
                y = self.before(x)
                return (
                    self.inside(y, y, y)[0]
                    if isinstance(self.inside, nn.MultiheadAttention)
                    else super().forward(x)
                )

        model, x = Own(layer(), nn.Linear(8, 8)).eval(), torch.randn(6, 2, 8)
        inside = "inside.layers.0.linear1" if isinstance(model.inside, nn.TransformerEncoder) else "inside"
        rows_agree(model, x, [None, Ablate(inside, units=[1])], axis=1)
        # What stands before shows nothing: it is refused once the attention has shown it.
        with (
            pytest.raises(LesionError, match="batch second"),
            lesioned(model, [None, Ablate("before", units=[1])]),
        ):
            model(torch.cat([x, x], 1))

    def test_a_size_that_fits_one_axis_only_decides_where_nothing_says_it(self):
        model = Wrapped(OwnAttention()).eval()
        rows_agree(
            model,
            torch.randn(2, 7, 8),
            [None, Ablate("inside.mlp.1", units=[1]), Noise("inside.project", std=1.0)],
        )

    @pytest.mark.parametrize("shape", [(3, 6, 8), (2, 8, 8)])
    def test_a_size_that_may_be_either_is_refused(self, shape):
        """Two lesions, six rows, six tokens; or eight tokens, which may be four images' two."""
        model = Wrapped(OwnAttention()).eval()
        for lesions in ([None, Ablate("inside.mlp.1", units=[1])], [None, Noise("inside.project", std=1.0)]):
            with pytest.raises(LesionError, match="count images|which of its rows"), lesioned(model, lesions):
                model(torch.randn(shape).repeat(2, 1, 1))

    def test_one_lesion_that_draws_nothing_needs_no_axis(self):
        model, x = Wrapped(OwnAttention()).eval(), torch.randn(6, 6, 8)
        healthy = model(x)
        with lesioned(model, Ablate("inside.mlp.1")):
            assert not torch.allclose(model(x), healthy)

    def test_rows_that_hold_other_things_than_images_are_refused(self):
        class Folded(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(8, 8)

            def forward(self, x):  # (N, T, D): all tokens in a row, time before images
                return self.layer(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (x.shape[1], -1)).mean(0)

        model, x = Folded(), torch.randn(2, 6, 8)
        for lesion in (
            [None, Ablate("layer", units=[0])],
            Noise("layer", std=1.0),
            [None, Prune("layer", fraction=0.5)],
        ):
            with pytest.raises(LesionError, match="2 rows came in|4 rows came in"), lesioned(model, lesion):
                model(torch.cat([x, x]) if isinstance(lesion, list) else x)
        with lesioned(model, Ablate("layer")):
            assert not model(x).any()

    def test_two_pictures_at_once_in_one_batch_are_refused(self):
        class Siamese(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = nn.Linear(8, 4)

            def forward(self, one, two):
                return self.net(torch.cat([one, two])).chunk(2)

        model, x = Siamese(), torch.randn(4, 8)
        with pytest.raises(LesionError, match="which of its rows"), lesioned(model, [None, Ablate("net")]):
            model(x, x)

    def test_attention_weights_count_images_first_whatever_the_layout(self):
        class Shows(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.attention = nn.MultiheadAttention(8, 2)

            def forward(self, x):
                y = x.transpose(0, 1)
                return self.attention(y, y, y)[1]

        rows_agree(
            Shows(),
            torch.randn(2, 5, 8),
            [None, Scale("attention->1", by=2.0), Noise("attention->1", std=1.0)],
        )

    def test_a_single_sequence_without_a_batch_has_no_rows(self):
        model = nn.Sequential(nn.LSTM(8, 4, batch_first=True))
        with pytest.raises(LesionError, match="give batches"), lesioned(model, Noise("0", std=1.0)):
            model(torch.randn(5, 8))

    def test_slots_know_the_axis_as_well(self):
        model, x = Wrapped(encoder()).eval(), torch.randn(2, 5, 8)
        lesions = [None, Ablate("inside.layers.0.linear1", units=[1])]
        with lesioned(model, lesions):
            expected = model(torch.cat([x, x]))
        places = slots(model, "inside.layers.0.linear1", x, blocks=2)
        with lesioned(model, lesions):
            torch.testing.assert_close(model(torch.cat([x, x])), expected)
        places.remove()

    def test_calibration_counts_images(self):
        assert calibrate(encoder().eval(), torch.randn(7, 3, 8), "layers.0.linear1").images == 3
        assert (
            calibrate(Wrapped(encoder()).eval(), torch.randn(3, 7, 8), "inside.layers.0.linear1").images == 3
        )

    def test_rows_that_do_not_divide_are_told_by_what_came_in(self):
        model = Wrapped(encoder()).eval()
        with pytest.raises(RowsDoNotDivide, match="5 rows"):
            with lesioned(model, [None, Ablate("inside.layers.0.linear1")]):
                model(torch.randn(5, 4, 8))


class FirstNorm(nn.LayerNorm):
    """ConvNeXt's: channels first outside, last inside."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class OwnNorm(nn.Module):
    def __init__(self, size: int, axis: int) -> None:
        super().__init__()
        self.weight, self.axis = nn.Parameter(torch.rand(size) + 0.5), axis

    def forward(self, x):
        scaled = x / x.square().mean(self.axis, keepdim=True).sqrt()
        return (scaled.movedim(self.axis, -1) * self.weight).movedim(-1, self.axis)


class TestTheUnitsAxis:
    @pytest.mark.parametrize(
        ("module", "shape", "axis"),
        [
            (FirstNorm(4), (2, 4, 4, 4), 1),
            (FirstNorm(4), (2, 4, 5, 4), 1),
            (FirstNorm(4, elementwise_affine=False), (2, 4, 4, 4), 1),
            (nn.LayerNorm(4), (2, 4, 4, 4), 3),
            (nn.LayerNorm(4), (2, 4, 4), 2),
            (nn.LayerNorm([4, 4, 4]), (2, 4, 4, 4), 1),
            (nn.LayerNorm([4, 4]), (2, 4, 4), 2),
            (nn.RMSNorm(4), (2, 3, 5, 4), 3),
            (nn.RMSNorm(4), (2, 4, 4, 4), 3),
            (OwnNorm(4, 1), (2, 4, 4, 4), 1),
            (OwnNorm(4, -1), (2, 4, 4, 4), 3),
            (OwnNorm(4, -1), (2, 3, 5, 4), 3),
            (OwnNorm(4, 1), (2, 4, 4), 1),
            (nn.GroupNorm(2, 4), (2, 4, 6), 1),
            (nn.LocalResponseNorm(2), (2, 4, 6), 1),
            (nn.SyncBatchNorm(4).eval(), (2, 4, 6), 1),
            (nn.PReLU(4), (2, 4, 6), 1),
            (nn.InstanceNorm2d(4), (2, 4, 4, 4), 1),
        ],
        ids=str,
    )
    def test_a_norm_is_damaged_along_the_axis_it_was_made_for(self, module, shape, axis):
        model, x = nn.Sequential(module), torch.randn(shape)
        healthy = model(x)
        with lesioned(model, Ablate("0", units=[1])):
            damaged = model(x)
        expected = healthy.clone()
        expected.select(axis, 1).zero_()
        assert torch.equal(damaged, expected)

    def test_a_norm_that_does_not_show_its_axis_is_refused_and_can_be_told(self):
        class OpenNorm(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(4))

            def forward(self, x):
                return x

        model, x = nn.Sequential(OpenNorm()), torch.randn(2, 4, 4, 4)
        with pytest.raises(LesionError, match="say which"), lesioned(model, Ablate("0", units=[1])):
            model(x)
        with lesioned(model, Ablate("0@3", units=[1])):
            assert not model(x)[..., 1].any()

    @pytest.mark.parametrize(
        ("module", "shape"),
        [(nn.Conv2d(3, 4, 1), (3, 5, 5)), (nn.Conv1d(3, 4, 1), (3, 5)), (nn.MaxPool2d(2), (3, 6, 6))],
        ids=str,
    )
    def test_a_single_image_without_a_batch_is_refused(self, module, shape):
        with pytest.raises(LesionError, match="give batches"):
            with lesioned(nn.Sequential(module), Shift("0", by=1, units=[0])):
                module(torch.randn(shape))

    def test_convnext_at_a_size_that_equals_its_channels(self):
        from torchvision.models.convnext import LayerNorm2d

        model, x = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), LayerNorm2d(8)), torch.randn(2, 3, 32, 32)
        with lesioned(model, Ablate("1", fraction=0.25)):
            silent = (model(x) == 0).all(dim=(0, 2, 3))
        assert int(silent.sum()) == 2
