"""That a lesion acts on what it says, where a network has habits of its own: or says that it cannot."""

from __future__ import annotations

import copy
import functools
import pickle
import types
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from facelesion.lesions import (
    Ablate,
    Changes,
    Lesion,
    LesionDidNotAct,
    LesionError,
    Prune,
    functional,
    lesioned,
    philox,
)


def pruned_by_hand(weight: torch.Tensor, fraction: float, path: str, seed: int = 0) -> torch.Tensor:
    order = philox.ranks(weight.numel(), "prune", seed, path).view(weight.shape)
    return functional.prune(weight.detach(), order, fraction)


class OwnProperty(nn.Linear):
    """Its weight is made whenever it is read."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.direction = self._parameters.pop("weight")

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        return self.direction * self.scale


class Standardised(nn.Linear):
    def forward(self, x):
        weight = self.weight - self.weight.mean(1, keepdim=True)
        return F.linear(x, weight, self.bias)


class Adapter(nn.Module):
    """Shows the weight of the layer inside it, as adapters for large models do."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = nn.Linear(6, 5)

    @property
    def weight(self):
        return self.base_layer.weight

    def forward(self, x):
        return self.base_layer(x)


class OnlyItsType(nn.Linear):
    """Reads its weight for its type alone."""

    def __init__(self) -> None:
        super().__init__(6, 5)
        self.inner = nn.Linear(6, 5)

    def forward(self, x):
        return self.inner(x.to(self.weight.dtype))


def torch_pruned(layer: nn.Module) -> nn.Module:
    prune.random_unstructured(layer, "weight", amount=0.3)
    return layer


MADE = {
    "weight_norm as a parametrization": lambda: parametrizations.weight_norm(nn.Linear(6, 5)),
    "spectral_norm as a parametrization": lambda: parametrizations.spectral_norm(nn.Linear(6, 5)),
    "older weight_norm": lambda: nn.utils.weight_norm(nn.Linear(6, 5)),
    "older spectral_norm": lambda: nn.utils.spectral_norm(nn.Linear(6, 5)),
    "torch's own prune": lambda: torch_pruned(nn.Linear(6, 5)),
    "a property": lambda: OwnProperty(6, 5),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class TestPrunedWeightsThatAreMade:
    @pytest.mark.parametrize("make", MADE.values(), ids=MADE)
    @pytest.mark.parametrize("fraction", [0.5, 1.0])
    @pytest.mark.filterwarnings("ignore:.*weight_norm.*")
    def test_the_weight_that_forward_reads_is_pruned(self, make, fraction):
        model, x = nn.Sequential(make()).eval(), torch.randn(4, 6)
        healthy = model(x)
        expected = F.linear(x, pruned_by_hand(model[0].weight, fraction, "0"), model[0].bias)
        with lesioned(model, Prune("0", fraction=fraction)):
            damaged = model(x)
        with lesioned(model, [None, Prune("0", fraction=fraction)]):
            rows = model(x.repeat(2, 1)).chunk(2)
        torch.testing.assert_close(damaged, expected)
        torch.testing.assert_close(rows[0], healthy)
        torch.testing.assert_close(rows[1], expected)
        assert torch.equal(model(x), healthy)

    @pytest.mark.filterwarnings("ignore:.*weight_norm.*")
    @pytest.mark.parametrize("make", MADE.values(), ids=MADE)
    def test_training_steps_reach_what_the_weight_is_made_of(self, make):
        model = nn.Sequential(make())
        with lesioned(model, Prune("0", fraction=0.5)):
            model(torch.randn(4, 6)).square().sum().backward()
        assert any(each.grad is not None and each.grad.any() for each in model.parameters() if each.ndim >= 0)

    def test_a_power_iteration_goes_on_as_often_as_without(self):
        once, twice = (nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 5))) for _ in range(2))
        twice.load_state_dict(once.state_dict())
        x = torch.randn(4, 6)
        once(x)
        with lesioned(twice, Prune("0", fraction=0.5), changes=Changes()):
            twice(x)
        for name, value in once.state_dict().items():
            assert torch.equal(value, twice.state_dict()[name]), name

    def test_a_forward_of_its_own_is_tried_and_acts(self):
        model, x = nn.Sequential(Standardised(6, 5)), torch.randn(4, 6)
        weight = pruned_by_hand(model[0].weight, 0.5, "0")
        with lesioned(model, Prune("0", fraction=0.5)):
            torch.testing.assert_close(
                model(x), F.linear(x, weight - weight.mean(1, keepdim=True), model[0].bias)
            )

    def test_a_silent_input_is_no_reason_to_refuse(self):
        model, x = nn.Sequential(Standardised(6, 5)), torch.zeros(4, 6)
        with lesioned(model, Prune("0", fraction=0.5)):
            assert torch.equal(model(x), model[0].bias.expand(4, 5))

    @pytest.mark.parametrize("make", [Adapter, OnlyItsType])
    def test_a_weight_that_forward_does_not_read_is_refused(self, make):
        model, x = nn.Sequential(make()), torch.randn(4, 6)
        for lesions in (Prune("0", fraction=0.5), [None, Prune("0", fraction=0.5)]):
            with pytest.raises(LesionError, match="does not read"), lesioned(model, lesions):
                model(x)
        healthy = model(x)
        assert torch.equal(model(x), healthy)

    @pytest.mark.parametrize("several", [True, False])
    def test_a_forward_that_was_replaced_on_the_instance_reads_the_pruned_weight(self, several):
        def louder(self, x):
            return 2 * F.linear(x, self.weight, self.bias)

        x = torch.randn(3, 6)
        for replace in (
            lambda layer, own: types.MethodType(louder, layer),
            lambda layer, own: lambda x: 2 * own(x),
            lambda layer, own: functools.partial(louder, layer),
        ):
            model = nn.Sequential(nn.Linear(6, 5))
            expected = 2 * F.linear(x, pruned_by_hand(model[0].weight, 0.5, "0"), model[0].bias)
            model[0].forward = replaced = replace(model[0], model[0].forward)
            healthy = model(x)
            with lesioned(model, [None, Prune("0", fraction=0.5)] if several else Prune("0", fraction=0.5)):
                damaged = model(x.repeat(2, 1) if several else x)[-3:]
            torch.testing.assert_close(damaged, expected)
            assert torch.equal(model(x), healthy) and model[0].forward == replaced
            assert "weight" not in model[0].__dict__ and isinstance(model[0].weight, nn.Parameter)

    def test_a_replaced_forward_that_reads_another_weight_is_refused(self):
        model, other = nn.Sequential(nn.Linear(6, 5)), nn.Linear(6, 5)
        model[0].forward = lambda x: other(x)
        with pytest.raises(LesionError, match="does not read"), lesioned(model, Prune("0", fraction=0.5)):
            model(torch.randn(2, 6))
        with lesioned(model, Ablate("0")):  # its output can be damaged all the same
            assert not model(torch.randn(2, 6)).any()
        model = nn.Sequential(OwnProperty(6, 5))
        own = model[0].forward
        model[0].forward = lambda x: own(x)
        with pytest.raises(LesionError, match="made anew"), lesioned(model, Prune("0", fraction=0.5)):
            model(torch.randn(2, 6))

    def test_a_layer_whose_weights_come_with_the_first_batch(self):
        model, x = nn.Sequential(nn.LazyLinear(4)), torch.randn(2, 6)
        with lesioned(model, [None, Prune("0", fraction=0.5)]):
            first = model(x.repeat(2, 1))
        expected = F.linear(x, pruned_by_hand(model[0].weight, 0.5, "0"), model[0].bias)
        torch.testing.assert_close(first, torch.cat([model(x), expected]))
        with pytest.raises(LesionError, match="half a weight"):
            with lesioned(nn.Sequential(model := nn.LazyLinear(4)), Prune("0", fraction=0.001)):
                model(x)

    def test_attention_with_a_made_projection_has_heads(self):
        model = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True)).eval()
        model[0].register_forward_pre_hook(lambda m, args: (args[0], args[0], args[0]))
        x = torch.randn(3, 5, 8)
        with lesioned(model, Ablate("0.heads", units=[1])):
            expected = model(x)[0]
        parametrize.register_parametrization(model[0].out_proj, "weight", nn.Identity())
        with lesioned(model, Ablate("0.heads", units=[1])):
            torch.testing.assert_close(model(x)[0], expected)


class TestWhatIsComputedAnew:
    def test_an_outer_lesion_stays_when_an_inner_one_prunes(self):
        model, x = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 5)), torch.randn(4, 6)
        with lesioned(model, Ablate("2", units=[0]) + Prune("2", fraction=0.5)):
            expected = model(x)
        with lesioned(model, Ablate("2", units=[0])), lesioned(model, Prune("2", fraction=0.5)):
            both = model(x)
        assert torch.equal(both, expected) and not both[:, 0].any()
        with lesioned(model, Prune("2", fraction=0.5)), lesioned(model, Ablate("2", units=[0])):
            assert torch.equal(model(x), expected)

    @pytest.mark.parametrize("before", [True, False])
    def test_the_users_own_hooks_act_on_what_is_pruned(self, before):
        model, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(4, 6)
        with lesioned(model, Prune("0", fraction=0.5)):
            expected = model(x) + 100
        if before:
            model[0].register_forward_hook(lambda m, i, o: o + 100)
        with lesioned(model, [Prune("0", fraction=0.5)]):
            if not before:
                model[0].register_forward_hook(lambda m, i, o: o + 100, prepend=True)
            assert torch.equal(model(x), expected)

    def test_hooks_for_all_modules_act_on_what_is_pruned(self):
        model, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(4, 6)
        with lesioned(model, Prune("0", fraction=0.5)):
            expected = model(x)
        seen = []
        handle = nn.modules.module.register_module_forward_hook(lambda m, i, o: seen.append(o))
        try:
            with lesioned(model, Prune("0", fraction=0.5)):
                model(x)
        finally:
            handle.remove()
        assert torch.equal(seen[0], expected)

    def test_two_prunings_add_up_whoever_came_first(self):
        model, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(12, 6)
        one, two, three = (Prune("0", fraction=0.3, seed=seed) for seed in range(3))

        def alone(lesion):
            with lesioned(model, lesion):
                return model(x)

        with lesioned(model, one), lesioned(model, two):
            assert torch.equal(model(x), alone(one + two))
        with lesioned(model, [one, None]), lesioned(model, [None, two, three]):
            rows = model(x).split(2)
        expected = [one, one, one + two, two, three, three]
        for number, lesion in enumerate(expected):
            torch.testing.assert_close(rows[number], alone(lesion).split(2)[number])

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_damaged_heads_keep_what_other_hooks_and_lesions_do(self, batch_first):
        model = nn.Sequential(nn.MultiheadAttention(8, 4, batch_first=batch_first)).eval()
        model[0].register_forward_pre_hook(lambda m, args: (args[0], args[0], args[0]))
        x = torch.randn(3, 3, 8)
        with lesioned(model, Ablate("0.heads", units=[1, 2])):
            expected = model(x)[0] * 2
        model[0].register_forward_hook(lambda m, i, o: (o[0] * 2, o[1]))
        with lesioned(model, Ablate("0.heads", units=[1])), lesioned(model, Ablate("0.heads", units=[2])):
            torch.testing.assert_close(model(x)[0], expected)

    def test_contexts_may_end_in_any_order(self):
        model, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(4, 6)
        healthy = model(x)
        first, second = lesioned(model, Prune("0", fraction=0.3)), lesioned(model, Prune("0", fraction=0.9))
        first.__enter__()
        second.__enter__()
        model(x)
        first.__exit__(None, None, None)
        weight = pruned_by_hand(model[0].weight, 0.9, "0")
        torch.testing.assert_close(model(x), F.linear(x, weight, model[0].bias))
        second.__exit__(None, None, None)
        assert torch.equal(model(x), healthy) and "forward" not in model[0].__dict__

    def test_copies_and_pickles_of_a_pruned_layer_are_healthy(self):
        model, x = nn.Sequential(nn.Linear(6, 5)), torch.randn(4, 6)
        healthy = model(x)
        with lesioned(model, Prune("0", fraction=0.5)):
            copied, stored = copy.deepcopy(model), pickle.dumps(model)
            assert not torch.equal(model(x), healthy)
        assert torch.equal(copied(x), healthy) and torch.equal(pickle.loads(stored)(x), healthy)
        with torch.no_grad():
            copied[0].weight.zero_()
        assert not torch.equal(copied(x), healthy)

    def test_what_a_forward_leaves_on_its_module_it_leaves_there(self):
        class Keeps(nn.Linear):
            def forward(self, x):
                self.last = super().forward(x)
                return self.last

        model = nn.Sequential(Keeps(6, 5))
        with lesioned(model, Prune("0", fraction=0.5)):
            answer = model(torch.randn(4, 6))
        assert model[0].last is answer


class TestPruningRows:
    def test_a_layer_called_by_keyword(self):
        class ByName(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(6, 5)
                self.pair = nn.Bilinear(5, 5, 3)

            def forward(self, x):
                y = self.layer(input=x)
                return self.pair(y, input2=y + 1)

        model, x = ByName(), torch.randn(4, 6)
        lesions = [None, Prune("layer", fraction=0.5), Prune("pair", fraction=0.5, seed=1), None]
        with lesioned(model, lesions):
            rows = model(x.repeat(4, 1)).chunk(4)
        for lesion, row in zip(lesions, rows, strict=True):
            with lesioned(model, lesion):
                torch.testing.assert_close(row, model(x))

    def test_further_arguments_that_are_no_rows(self):
        class Up(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.up = nn.ConvTranspose2d(3, 4, 3, stride=2)

            def forward(self, x):
                return self.up(x, output_size=[10, 10])

        model, x = Up(), torch.randn(2, 3, 4, 4)
        with lesioned(model, [None, Prune("up", fraction=0.5)]):
            rows = model(x.repeat(2, 1, 1, 1)).chunk(2)
        with lesioned(model, Prune("up", fraction=0.5)):
            torch.testing.assert_close(rows[1], model(x))
        torch.testing.assert_close(rows[0], model(x))

    def test_a_layer_that_does_not_answer_row_by_row_is_refused_for_a_list(self):
        class Bags(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.bag = nn.EmbeddingBag(9, 4)

            def forward(self, words):
                return self.bag(words.flatten(), torch.arange(len(words)) * words.shape[1])

        model, words = Bags(), torch.randint(0, 9, (4, 3))
        with lesioned(model, Prune("bag", fraction=0.5)):
            model(words)
        with pytest.raises(LesionError), lesioned(model, [None, Prune("bag", fraction=0.5)]):
            model(words)


@pytest.mark.parametrize("made", [torch.jit.script, lambda net: torch.jit.trace(net, torch.ones(1, 6))])
@pytest.mark.parametrize("lesion", [Prune("0", fraction=0.5), Ablate("0", units=[0])], ids=str)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_network_that_is_torchscript_itself_is_refused_in_words(made: Any, lesion: Lesion) -> None:
    model = made(nn.Sequential(nn.Linear(6, 5), nn.ReLU()).eval())
    with pytest.raises(LesionError, match="TorchScript"), lesioned(model, lesion):
        model(torch.ones(2, 6))


def test_a_module_whose_weights_are_read_by_its_parent_is_named() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    lesion = Ablate("self_attn.out_proj", units=[0])
    with pytest.raises(LesionDidNotAct, match=r"'self_attn.out_proj' did not run"), lesioned(model, lesion):
        model(torch.ones(2, 3, 8))
