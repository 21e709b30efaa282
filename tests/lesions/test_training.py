"""Damage during training: which epochs, which noise, and that it is gone afterwards."""

from __future__ import annotations

import gc
import itertools
import os

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
    torch.save(_gradients_of(rank), f"{folder}/{rank}.pt")
    # A process that leaves while the other is still at it can take gloo's threads down with it: both leave together,
    # when nothing holds the group any more, and without the interpreter's farewell.
    gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)


def _gradients_of(rank: int) -> list[torch.Tensor | None]:
    model, images, lesion = _setting()
    parallel = nn.parallel.DistributedDataParallel(model)
    mine = range(rank * 4, rank * 4 + 4)
    with lesioned(parallel, lesion, ids=mine):
        parallel(images[list(mine)]).square().mean().backward()
    return [each.grad for each in model.parameters()]


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


class Stop(Exception):
    pass


def body_of(calls, **settings):
    """A network that notes for every pass: which loop, whether two units were silenced, and its noise."""
    pl = pytest.importorskip("pytorch_lightning")

    class Tiny(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body, self.out = nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 1)
            self.body[0].bias.data.fill_(9.0)
            self.stop_at = settings.get("stop_at")

        def seen(self, loop, batch):
            y = self.body(batch)
            epoch = self.trainer.current_epoch
            calls.append((loop, epoch, not y[:, :2].any(), y.detach().clone()))
            return self.out(y).square().mean()

        def training_step(self, batch, number):
            if self.stop_at == (self.trainer.current_epoch, number):
                raise Stop
            return self.seen("train", batch)

        def validation_step(self, batch, number):
            self.seen("validate", batch)

        def test_step(self, batch, number):
            self.seen("test", batch)

        def predict_step(self, batch, number):
            self.seen("predict", batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-6)

    return Tiny()


def trained(folder, callback, module, *, resume=None, **settings):
    pl = pytest.importorskip("pytorch_lightning")
    keep = pl.callbacks.ModelCheckpoint(folder, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    options = {"max_epochs": 2, "num_sanity_val_steps": 0} | settings
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=[callback, keep], **options,
    )  # fmt: skip
    data = torch.utils.data.DataLoader(torch.rand(16, 4, generator=torch.Generator().manual_seed(1)) + 1, 4)
    trainer.fit(module, data, data, ckpt_path=resume)
    return trainer, data


SILENT = Ablate("1", units=[0, 1])


def test_a_training_that_goes_on_inside_an_epoch_is_damaged_at_once(tmp_path):
    first: list = []
    with pytest.raises(Stop):
        trained(tmp_path, LesionCallback(SILENT, on="body"), body_of(first, stop_at=(1, 2)))
    calls: list = []
    trained(tmp_path, LesionCallback(SILENT, on="body"), body_of(calls), resume=tmp_path / "step=6.ckpt")
    assert [(loop, epoch) for loop, epoch, *_ in calls] == [("train", 1)] * 2 + [("validate", 1)] * 4
    assert all(silent for _, _, silent, _ in calls)


@pytest.mark.parametrize(("begin", "damaged"), [(1, False), (2, True)])
def test_a_training_that_goes_on_inside_an_epoch_before_or_after_its_damage_is_healthy(
    begin, damaged, tmp_path
):
    with pytest.raises(Stop):
        trained(tmp_path, LesionCallback(SILENT, on="body"), body_of([], stop_at=(1, 2)))
    calls: list = []
    callback = LesionCallback(SILENT, from_epoch=begin, to_epoch=2 if not damaged else None, on="body")
    trained(tmp_path, callback, body_of(calls), resume=tmp_path / "step=6.ckpt", max_epochs=3)
    silent = {epoch: {each for _, at, each, _ in calls if at == epoch} for epoch in (1, 2)}
    assert silent == ({1: {False}, 2: {True}} if damaged else {1: {True}, 2: {False}})


def test_noise_does_not_begin_again_where_an_epoch_is_gone_on_with(tmp_path):
    lesion, first, second = Noise("1", std=1.0), [], []
    with pytest.raises(Stop):
        trained(tmp_path, LesionCallback(lesion, on="body"), body_of(first, stop_at=(1, 2)))
    module = body_of(second)
    trained(tmp_path, LesionCallback(lesion, on="body"), module, resume=tmp_path / "step=6.ckpt")
    images = torch.rand(16, 4, generator=torch.Generator().manual_seed(1)) + 1
    healthy = body_of([]).body(images).detach()
    noise = [each[3] - healthy[4 * row : 4 * row + 4] for row, each in enumerate(first[-2:])]
    later = [each[3] - healthy[8 + 4 * row : 12 + 4 * row] for row, each in enumerate(second[:2])]
    assert min(float((one - other).abs().max()) for one in noise for other in later) > 0.1


def test_the_sanity_check_and_validation_inside_an_epoch_see_the_damaged_network(tmp_path):
    calls: list = []
    callback = LesionCallback(SILENT, on="body")
    trained(tmp_path, callback, body_of(calls), num_sanity_val_steps=2, val_check_interval=2)
    assert [loop for loop, *_ in calls[:4]] == ["validate", "validate", "train", "train"]
    assert all(silent for _, _, silent, _ in calls)


def test_what_training_sees_does_not_depend_on_the_sanity_check(tmp_path):
    lesion = Noise("1", std=1.0)
    runs: list[list] = [[], []]
    for calls, steps in zip(runs, (0, 2), strict=True):
        trained(
            tmp_path / str(steps),
            LesionCallback(lesion, on="body"),
            body_of(calls),
            num_sanity_val_steps=steps,
        )
    first, second = ([y for loop, _, _, y in calls if loop == "train"] for calls in runs)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("loop", ["validate", "test", "predict"])
def test_outside_of_a_training_the_network_is_healthy_unless_it_is_lesioned(loop, tmp_path):
    calls: list = []
    module = body_of(calls)
    trainer, data = trained(tmp_path, LesionCallback(SILENT, on="body"), module)
    del calls[:]
    getattr(trainer, loop)(module, data)
    assert [(name, silent) for name, _, silent, _ in calls] == [(loop, False)] * 4
    with lesioned(module.body, SILENT):
        getattr(trainer, loop)(module, data)
    assert [silent for _, _, silent, _ in calls[4:]] == [True] * 4


def test_a_training_that_fails_leaves_a_healthy_network_and_can_be_tried_again(tmp_path):
    calls: list = []
    module, callback = body_of(calls, stop_at=(0, 1)), LesionCallback(SILENT, on="body")
    with pytest.raises(Stop):
        trained(tmp_path / "one", callback, module)
    assert not any(each._forward_hooks for each in module.modules())
    module.stop_at = None
    del calls[:]
    trained(tmp_path / "two", callback, module)
    assert len(calls) == 16 and all(silent for _, _, silent, _ in calls)
    assert not any(each._forward_hooks for each in module.modules())


def test_fitting_twice_damages_both_times_and_gradients_may_be_gathered(tmp_path):
    calls: list = []
    module, callback = body_of(calls), LesionCallback(SILENT, on="body")
    for name in ("one", "two"):
        trained(tmp_path / name, callback, module, max_epochs=1, accumulate_grad_batches=2)
    assert len(calls) == 16 and all(silent for _, _, silent, _ in calls)


def test_two_callbacks_damage_together_and_leave_nothing(tmp_path):
    pl = pytest.importorskip("pytorch_lightning")
    calls: list = []
    module = body_of(calls)
    callbacks = [LesionCallback(Ablate("1", units=[unit]), from_epoch=unit, on="body") for unit in (0, 1)]
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=callbacks, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(torch.rand(8, 4) + 1, 4))
    assert [silent for _, _, silent, _ in calls] == [False] * 2 + [True] * 4
    assert all(not y[:, 0].any() and y[:, 2:].all() for *_, y in calls)
    assert not any(each._forward_hooks for each in module.modules())
