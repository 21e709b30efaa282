"""Damage during training with PyTorch Lightning: a callback, so that damage can begin, grow or heal over epochs.

A module of its own, because it imports Lightning: `from facelesion.lesions.callback import LesionCallback`. The
package hands it out on demand as well.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from torch import nn

from .calibration import Calibration
from .context import lesioned
from .kinds import Lesion

if TYPE_CHECKING:
    from pytorch_lightning import Callback
else:
    try:
        from pytorch_lightning import Callback
    except ImportError as missing:
        try:
            from lightning.pytorch import Callback
        except ImportError:
            raise missing from None

Schedule = Callable[[int], Lesion | None]


class LesionCallback(Callback):
    """Damages a network while it is trained.

    From epoch `from_epoch` until `to_epoch` begins, the lesion acts on every training batch, on the validation batches
    between them, and on those of Lightning's sanity check. A training that goes on inside an epoch is damaged again
    from its first batch on, with noise of its own. Every epoch draws other noise, and so does every process of a
    training on several. The damage is gone when training ends or fails.

    It acts in `Trainer.fit` alone: `validate`, `test` and `predict` see the healthy network. To ask the damaged one,
    call them inside `with lesioned(...)`.

    Args:
        lesion: a lesion, or a function from the epoch's number to a lesion or None: damage that grows or heals.
        from_epoch, to_epoch: the first damaged epoch, and the first healthy one after; None: to the end.
        on: name of the damaged part in the LightningModule, whose sites the lesion names; None: the module itself.
        seed, calibration: as in `lesioned`.

    Example:
        >>> from facelesion.lesions import Ablate
        >>> growing = LesionCallback(lambda epoch: Ablate("conv5_3", fraction=0.1 * epoch), from_epoch=1)
    """

    def __init__(
        self,
        lesion: Lesion | Schedule,
        from_epoch: int = 0,
        to_epoch: int | None = None,
        *,
        on: str | None = None,
        seed: int = 0,
        calibration: Calibration | None = None,
    ) -> None:
        self.lesion, self.from_epoch, self.to_epoch, self.on = lesion, from_epoch, to_epoch, on
        self.seed, self.calibration = seed, calibration
        self._damage = ExitStack()
        self._begun: int | None = None  # the epoch whose damage is in place, where there is one

    def at(self, epoch: int) -> Lesion | None:
        """The lesion of an epoch."""
        if epoch < self.from_epoch or (self.to_epoch is not None and epoch >= self.to_epoch):
            return None
        return self.lesion if isinstance(self.lesion, Lesion) else self.lesion(epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin(trainer, pl_module, 0)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # Where a training goes on inside an epoch, Lightning does not say that the epoch starts.
        if self._begun != trainer.current_epoch:
            self._begin(trainer, pl_module, batch_idx)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        # Before any training batch: the sanity check, or a training that was stopped before it validated.
        if trainer.state.fn == "fit" and self._begun != trainer.current_epoch:
            self._begin(trainer, pl_module, -1)

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        self._leave_unasked(TrainingIsOver())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._begun = None
        self._damage.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._leave_unasked(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._leave_unasked(TrainingIsOver())

    def _begin(self, trainer: Any, pl_module: Any, batch: int) -> None:
        """Take the last epoch's damage away, which may say that it never acted, and put this epoch's on."""
        self._begun = None
        self._damage.close()
        epoch = trainer.current_epoch
        lesion = self.at(epoch)
        if lesion is not None:
            model: nn.Module = pl_module if self.on is None else pl_module.get_submodule(self.on)
            # One seed for each epoch and process: image numbers begin again there, the noise must not. Nor where an
            # epoch is gone on with from a later batch; the sanity check counts as a batch that is never reached.
            seed = self.seed * 1_000_003 + epoch + batch % 2**20 * 1_000_000_007
            seed = seed * trainer.world_size + trainer.global_rank
            self._damage.enter_context(lesioned(model, lesion, seed=seed, calibration=self.calibration))
        self._begun = epoch

    def _leave_unasked(self, reason: BaseException) -> None:
        """Take the damage away; told of an exception, the context leaves without asking whether its lesion acted."""
        self._begun = None
        self._damage.__exit__(type(reason), reason, reason.__traceback__)


class TrainingIsOver(Exception):
    """Training is over, or has not yet begun: a lesion that did not act then is no mistake."""
