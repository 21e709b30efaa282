"""Damage during training: which epochs, which noise, and that it is gone afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate, LesionCallback, Noise, Prune, lesioned


def test_pruned_weights_are_not_trained_and_the_others_are():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 1))
    before = model[0].weight.detach().clone()
    step = torch.optim.SGD(model.parameters(), lr=0.5)
    with lesioned(model, Prune("0", fraction=0.5)):
        model(torch.randn(8, 6)).sum().backward()
    step.step()
    assert int((model[0].weight == before).sum()) == 15


@pytest.mark.parametrize(
    ("begin", "end", "damaged"), [(1, None, [False, True, True]), (0, 2, [True, True, False])]
)
def test_a_callback_damages_its_epochs_only(begin, end, damaged, tmp_path):
    pl = pytest.importorskip("pytorch_lightning")
    seen: list[torch.Tensor] = []

    class Tiny(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 1)

        def training_step(self, batch, number):
            y = self.body(batch)
            seen.append(y.detach())
            return self.out(y).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-6)

    torch.manual_seed(0)
    module = Tiny()
    callback = LesionCallback(Ablate("1", units=[0, 1]), from_epoch=begin, to_epoch=end, on="body")
    data = torch.utils.data.DataLoader(torch.rand(8, 4) + 1, batch_size=4)
    module.body[0].bias.data.fill_(9.0)
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=[callback],
    )  # fmt: skip
    trainer.fit(module, data)
    assert [not y[:, :2].any() for y in seen[::2]] == damaged
    assert all(y[:, 2:].all() for y in seen)
    assert not any(each._forward_hooks for each in module.modules())


def test_damage_can_grow_and_every_epoch_draws_other_noise():
    callback = LesionCallback(lambda epoch: Noise("0", std=epoch), from_epoch=1)
    assert callback.at(0) is None and callback.at(2) == Noise("0", std=2)
