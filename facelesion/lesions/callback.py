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
    except ImportError:
        from lightning.pytorch import Callback

Schedule = Callable[[int], Lesion | None]


class LesionCallback(Callback):
    """Damages a network while it is trained.

    From epoch `from_epoch` until `to_epoch` begins, the lesion acts on every training batch, and on the validation
    batches between them as well. Every epoch draws other noise, and so
    does every process of a training on several. The damage is gone when training ends or fails.

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

    def at(self, epoch: int) -> Lesion | None:
        """The lesion of an epoch."""
        if epoch < self.from_epoch or (self.to_epoch is not None and epoch >= self.to_epoch):
            return None
        return self.lesion if isinstance(self.lesion, Lesion) else self.lesion(epoch)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._damage.close()
        lesion = self.at(trainer.current_epoch)
        if lesion is not None:
            model: nn.Module = pl_module if self.on is None else pl_module.get_submodule(self.on)
            # One seed for each epoch and process: image numbers begin again there, the noise must not.
            seed = self.seed * 1_000_003 + trainer.current_epoch
            seed = seed * trainer.world_size + trainer.global_rank
            self._damage.enter_context(lesioned(model, lesion, seed=seed, calibration=self.calibration))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._damage.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        # Told of the exception, the context leaves without asking whether its lesion acted.
        self._damage.__exit__(type(exception), exception, exception.__traceback__)
