"""What a lesion hands on to the next step: memory of its own, the layout it found, the kind of output it found."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from facelesion.lesions import (
    Ablate,
    Changes,
    Clamp,
    LesionDidNotAct,
    LesionError,
    Noise,
    Prune,
    Scale,
    Shift,
    calibrate,
    lesioned,
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class TestWhatIsHandedOn:
    @pytest.mark.parametrize(
        "lesion",
        [
            Ablate("0", to="mean"), Clamp("0", value=0.5), Ablate("0"), Ablate("0", to="resample"), Scale("0", by=2),
            Shift("0", by=1), Noise("0", std=1), Clamp("0", min=0.0, max=1.0), Ablate("0", to="mean", units=[1]),
            Clamp("0", value=0.5, units=range(4)),
        ],
        ids=str,
    )  # fmt: skip
    @pytest.mark.parametrize("several", [True, False])
    def test_an_in_place_step_behind_may_write_on_it(self, lesion, several):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4).eval())
        images = torch.randn(3, 3, 6, 6)
        calibration = calibrate(model, images, "0")
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                with lesioned(model, [lesion, None] if several else lesion, calibration=calibration):
                    model(images.repeat(2 if several else 1, 1, 1, 1))
        with lesioned(model, lesion, calibration=calibration):
            model(images).sum().backward()

    @pytest.mark.parametrize(
        "lesion",
        [
            Ablate("0", to="mean"), Clamp("0", value=0.5, units=[1]), Ablate("0", fraction=0.9), Noise("0", std=1.0),
            Ablate("0", to="resample"), Noise("0", std=1.0, units=[2]),
        ],
        ids=str,
    )  # fmt: skip
    @pytest.mark.parametrize("several", [True, False])
    def test_it_keeps_the_layout_so_that_a_view_behind_works(self, lesion, several):
        class Viewed(nn.Module):
            def forward(self, y):
                return y.view(y.shape[0], -1)

        rows = 4 if several else 2
        for layer, x in (
            (nn.Linear(6, 5), torch.randn(rows, 3, 6)),
            (nn.Conv2d(3, 5, 3), torch.randn(rows, 3, 6, 6)),
            (nn.Conv1d(3, 5, 3), torch.randn(rows, 3, 6)),
        ):
            model = nn.Sequential(layer, Viewed())
            with lesioned(model, [lesion, None] if several else lesion, calibration=calibrate(model, x, "0")):
                model(x)

    def test_one_context_serves_inference_and_training(self):
        model, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), torch.randn(3, 4)
        with lesioned(model, Scale("0", by=0.5) + Prune("0", fraction=0.5)):
            with torch.inference_mode():
                model(x)
            model(x).sum().backward()
        assert model[0].weight.grad is not None


class TestRecords:
    """Outputs that are dataclasses."""

    @pytest.mark.parametrize("frozen", [True, False])
    def test_they_are_damaged_by_field_in_a_copy(self, frozen):
        @dataclasses.dataclass(frozen=frozen)
        class Output:
            name: str
            logits: torch.Tensor
            hidden: list[torch.Tensor]
            size: int = dataclasses.field(init=False, default=3)

        class Says(nn.Module):
            def forward(self, x):
                return Output("x", x, [x + 1])

        class Whole(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.says = Says()

            def forward(self, x):
                y = self.says(x)
                return torch.cat([y.logits, y.hidden[0]], 1)

        model, x = Whole(), torch.rand(2, 3) + 1
        for site, columns in (
            ("says", range(3)),
            ("says->logits", range(3)),
            ("says->hidden.0", range(3, 6)),
        ):
            with lesioned(model, Ablate(site)):
                silent = (model(x) == 0).all(0)
            assert silent.nonzero().flatten().tolist() == list(columns)
        with (
            pytest.raises(LesionError, match="name, logits, hidden, size"),
            lesioned(model, Ablate("says->other")),
        ):
            model(x)


class TestVmap:
    def test_images_under_vmap_get_no_noise_that_they_would_share(self):
        model, images = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), torch.randn(5, 4)
        for lesion in (Noise("0", std=1.0), Ablate("0", to="resample")):
            for mapped in (
                lambda: torch.func.vmap(lambda image: model(image[None])[0])(images),
                lambda: torch.func.vmap(torch.func.grad(lambda image: model(image[None]).sum()))(images),
                lambda: torch.vmap(lambda image: model(torch.stack([image, image])))(images),
            ):
                with pytest.raises(LesionError, match="vmap"), lesioned(model, lesion):
                    mapped()

    @pytest.mark.parametrize(
        "lesion",
        [
            Ablate("0", units=[1]), Scale("0", by=2), Clamp("0", value=1.0), Shift("0", by=1, units=[0, 2, 3, 4, 5]),
            Prune("0", fraction=0.5), Ablate("0", to="mean"),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_draws_no_numbers_is_right_under_vmap(self, lesion):
        model, images = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), torch.randn(5, 4)
        with lesioned(model, lesion, calibration=calibrate(model, images, "0")):
            mapped = torch.func.vmap(lambda image: model(image[None])[0])(images)
            torch.testing.assert_close(mapped, model(images))

    def test_a_change_is_not_measured_under_vmap(self):
        model, images = nn.Sequential(nn.Linear(4, 6)), torch.randn(5, 4)
        for lesion in (Scale("0", by=2), Prune("0", fraction=0.5)):
            with pytest.raises(LesionError, match="vmap"), lesioned(model, lesion, changes=Changes()):
                torch.func.vmap(lambda image: model(image[None])[0])(images)

    def test_gradients_of_images_in_a_batch_are_those_of_the_same_noise(self):
        model, images = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), torch.randn(5, 4)
        with lesioned(model, Noise("0", std=1.0)):
            first = torch.func.grad(lambda batch: model(batch).sum())(images)
        with lesioned(model, Noise("0", std=1.0), changes=Changes()):
            second = torch.autograd.grad(model(images.requires_grad_()).sum(), images)[0]
        torch.testing.assert_close(first, second)


def test_a_fused_forward_that_passes_a_layer_by_is_an_error_or_is_damaged():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        healthy = layer(x)
        try:
            with lesioned(layer, Prune("linear1", fraction=1.0)):
                damaged = layer(x)
        except LesionDidNotAct:
            return
    assert not torch.allclose(damaged, healthy)
