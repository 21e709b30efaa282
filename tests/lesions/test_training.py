"""Damage during training: which epochs, which noise, and that it is gone afterwards."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from facelesion.lesions import Ablate, Lesion, LesionCallback, Noise, Prune, lesioned


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


def _one_rank(rank: int, folder: str) -> None:
    """Half of the images on each of two processes; writes the gradients that both agreed on."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        model, images, lesion = _setting()
        parallel = nn.parallel.DistributedDataParallel(model)
        mine = range(rank * 4, rank * 4 + 4)
        with lesioned(parallel, lesion, ids=mine):
            parallel(images[list(mine)]).square().mean().backward()
        torch.save([each.grad for each in model.parameters()], f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def _setting() -> tuple[nn.Module, torch.Tensor, Lesion]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    return model, torch.randn(8, 6), Noise("1", std=0.5) + Ablate("1", units=[2]) + Prune("2", fraction=0.3)


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_two_processes_agree_on_the_gradients_that_one_would_have(tmp_path):
    torch.multiprocessing.spawn(_one_rank, args=(str(tmp_path),), nprocs=2)
    model, images, lesion = _setting()
    with lesioned(model, lesion):
        model(images).square().mean().backward()
    here = [each.grad for each in model.parameters()]
    for rank in range(2):
        there = torch.load(tmp_path / f"{rank}.pt")
        for one, both in zip(here, there, strict=True):
            torch.testing.assert_close(both, one)
    assert not here[0][2].any() and here[0][3].any()  # the ablated unit learns nothing, on either process


def test_processes_of_one_training_draw_noise_of_their_own():
    class Trainer:
        def __init__(self, rank: int, size: int, epoch: int) -> None:
            self.global_rank, self.world_size, self.current_epoch = rank, size, epoch

    seen: list[torch.Tensor] = []
    model = nn.Sequential(nn.Identity())
    for trainer in (Trainer(0, 1, 3), Trainer(0, 2, 3), Trainer(1, 2, 3), Trainer(1, 2, 4)):
        callback = LesionCallback(Noise("0", std=1))
        callback.on_train_epoch_start(trainer, model)
        seen.append(model(torch.zeros(2, 4)))
        callback.on_train_end(trainer, model)
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(seen, 2))
