"""Which axis of a tensor counts images, and which holds units, in networks with layouts of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    Changes,
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


def watched(model, path):
    seen = []
    handle = model.get_submodule(path).register_forward_hook(lambda m, i, o: seen.append(o.clone()))
    return seen, handle


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
        self.axes = "tnd,snd->nts", "nts,snd->tnd"

    def forward(self, x):  # (T, N, D)
        y = self.project(x)
        weights = torch.einsum(self.axes[0], y, y).softmax(-1)
        return self.mlp(torch.einsum(self.axes[1], weights, y))


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
        # Or did its author forget `batch_first`, and takes images first? Nobody can tell from the inside.
        inside = "inside.layers.0.linear1" if isinstance(model.inside, nn.TransformerEncoder) else "inside"
        for lesions in (
            [None, Ablate("before", units=[1])],
            [None, Ablate(inside, units=[1])],
            [Noise(inside, std=1.0), None],
        ):
            for images in (x, x[:4]):
                with (
                    pytest.raises(LesionError, match="not to be seen|count images"),
                    lesioned(model, lesions),
                ):
                    model(torch.cat([images, images], 1))
        if isinstance(model.inside, nn.TransformerEncoder):
            rows_agree(model.inside, x, [None, Ablate("layers.0.linear1", units=[1])], axis=1)

    def test_a_size_that_fits_one_axis_only_decides_where_nothing_says_it(self):
        model = Wrapped(OwnAttention()).eval()
        rows_agree(
            model,
            torch.randn(2, 7, 8),
            [None, Ablate("inside.mlp.1", units=[1]), Noise("inside.project", std=1.0)],
        )

    @pytest.mark.parametrize("shape", [(3, 6, 8), (2, 8, 8), (6, 6, 8)])
    @pytest.mark.parametrize("first", [True, False])
    def test_a_size_that_may_be_either_is_tried_with_one_row_less_or_refused(self, shape, first):
        """Two lesions, six rows, six tokens; or eight tokens, which may be four images' two."""
        lesions = [None, Ablate("inside.mlp.1", units=[1]), Noise("inside.project", std=1.0)]
        model, x = Wrapped(OwnAttention()).eval(), torch.randn(shape)
        if first:
            model.inside.axes = "ntd,nsd->nts", "nts,nsd->ntd"
            model.forward = lambda y: model.after(model.inside(model.before(y)).mean(1))
        for second in lesions[1:]:
            rows_agree(model, x, [None, second])
            # What somebody else's hooks see must be what the network was asked, so nothing is tried then.
            seen, handle = watched(model, "after")
            with (
                pytest.raises(LesionError, match="may count images"),
                lesioned(model, [None, second, None] if len(x) == 2 else [None, second]),
            ):
                model(torch.randn(shape[1], *shape[1:]))
            handle.remove()
            assert not seen

    def test_a_trial_leaves_no_trace(self):
        model, x = Wrapped(OwnAttention()).eval(), torch.randn(6, 6, 8)
        before = torch.get_rng_state()
        changes, alone = Changes(), Changes()
        with lesioned(model, Noise("inside.mlp.1", std=1.0), changes=changes):
            whole = model(x)
        with lesioned(model, Noise("inside.mlp.1", std=1.0), changes=alone):
            parts = torch.cat([model(part) for part in x.split(4)])
        torch.testing.assert_close(parts, whole)
        assert changes.relative()[0] == pytest.approx(alone.relative()[0])
        assert torch.equal(torch.get_rng_state(), before)

    def test_training_networks_and_nested_contexts_are_not_tried(self):
        model, x = Wrapped(OwnAttention()), torch.randn(6, 6, 8)
        with (
            pytest.raises(LesionError, match="may count images"),
            lesioned(model, Noise("inside.mlp.1", std=1.0)),
        ):
            model(x)
        model.eval()
        with (
            pytest.raises(LesionError, match="may count images"),
            lesioned(model, Scale("after", by=2.0)),
            lesioned(model, Noise("inside.mlp.1", std=1.0)),
        ):
            model(x)

    @pytest.mark.parametrize("places", [4, 6])
    def test_positions_are_no_images(self, places):
        class Places(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places, self.label = (
                    nn.Embedding(9, 8),
                    nn.Embedding(6, 8),
                    nn.Embedding(3, 8),
                )

            def forward(self, words, label=None):
                y = self.words(words) + self.places(torch.arange(words.shape[1]))
                return y.sum(1) if label is None else y.sum(1) + self.label(label)

        model, words = Places(), torch.randint(0, 9, (6, places))
        for lesion in (
            Noise("places", std=1.0),
            [None, Ablate("places")],
            [None, Prune("places", fraction=0.5)],
        ):
            with pytest.raises(LesionError, match="positions|which of its rows"), lesioned(model, lesion):
                model(words)
        with lesioned(model, Ablate("places")):
            torch.testing.assert_close(model(words), model.words(words).sum(1))
        with lesioned(model, [Ablate("label"), None]):
            both = model(words[:2].repeat(2, 1), torch.tensor([0, 1]).repeat(2))
        torch.testing.assert_close(both[:2], model(words[:2]))

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

    def test_copies_in_threads_are_refused(self):
        parallel = nn.DataParallel(nn.Sequential(nn.Linear(8, 4)))
        with lesioned(parallel, Noise("0", std=1.0)):  # no device but this one
            parallel(torch.randn(2, 8))
        parallel.device_ids = [0, 1]
        with pytest.raises(LesionError, match="DistributedDataParallel"), lesioned(parallel, Ablate("0")):
            pass


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
