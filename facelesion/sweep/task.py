"""What a task loses without units of one site of a network: its images, its loss, and the network tried once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from facelesion.errors import NO_WAY_BACK, no_way_back
from facelesion.lesions.locate import unit_axis
from facelesion.sweep import arguments
from facelesion.sweep.arguments import name_of
from facelesion.sweep.errors import SweepError
from facelesion.sweep.kept import Kept
from facelesion.sweep.options import Options
from facelesion.sweep.trial import Trial, tried
from facelesion.sweep.units import Reduce, collected, stream_units

# Outputs (images, ...) and the images' numbers to one loss per image.
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Task:
    """One site of a network, the images of a task, its loss and how it is run, looked at once."""

    def __init__(
        self,
        model: nn.Module,
        site: object,
        images: object,
        loss: object,
        options: object = None,
        batch_size: object = None,
    ) -> None:
        self.options: Options = arguments.options_of(options, batch_size)
        self.model = arguments.network(model)
        found = arguments.sites_of(self.model, site, "site")
        if len(found) != 1:
            raise SweepError(
                f"{site!r} names {len(found)} sites, a ranking is of one: rank them one after another"
            )
        self.site = found[0]
        if self.site.call is not None or self.site.output or self.site.heads:
            raise SweepError(f"{self.site}: a ranking takes a whole module")
        self.name = name_of(self.site)
        self.module = self.model.get_submodule(self.site.path)
        self.images = arguments.one_tensor(images)
        if not callable(loss):
            raise SweepError(f"loss is a function of outputs and image numbers, not a {type(loss).__name__}")
        self.loss = loss
        self.device = arguments.device_of(self.model)
        self.trial: Trial = tried(self.model, self.images, arguments.readout_of(None))
        self.kept: Kept | None = None

    def batches(self) -> Iterator[tuple[range, torch.Tensor]]:
        """Image numbers and images on the network's device, copied: a first step may write into them."""
        for rows, batch in arguments.in_batches(self.images, self.options.batch_size):
            yield rows, batch.to(self.device).clone()

    def per_image(self, output: torch.Tensor, rows: range | torch.Tensor) -> torch.Tensor:
        """The loss of each of some images."""
        numbers = torch.arange(rows.start, rows.stop) if isinstance(rows, range) else rows
        value = self.loss(output, numbers)
        if not isinstance(value, torch.Tensor) or value.shape != (len(rows),):
            told = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise SweepError(
                f"loss gives one number per image, ({len(rows)},) here, and not {told}: use reduction='none'"
            )
        return value

    def losses(self, outputs: torch.Tensor, rows: range) -> torch.Tensor:
        """Losses of (units, images, ...) outputs, summed over the images: float64 (units,)."""
        return torch.stack([self.per_image(output, rows).double().sum() for output in outputs])

    def keep(self) -> None:
        """Walk the images through the healthy part of the network once, for many sweeps, if memory allows."""
        self.kept = Kept.of(self.model, self.name, self.images, self.options, self.trial)

    def summed(self, **chosen: Any) -> torch.Tensor:
        """The loss without each unit, summed over all images."""
        return self._swept(torch.arange(len(self.images)), self.losses, **chosen)

    def apart(self, numbers: torch.Tensor, **chosen: Any) -> torch.Tensor:
        """The loss without each unit on each of some images: float64 (units, images)."""

        def kept(outputs: torch.Tensor, rows: range) -> torch.Tensor:
            losses = torch.zeros(len(outputs), len(numbers), dtype=torch.float64)
            here = numbers[rows.start : rows.stop]
            losses[:, rows.start : rows.stop] = torch.stack(
                [self.per_image(output, here).double().cpu() for output in outputs]
            )
            return losses

        return self._swept(numbers, kept, **chosen)

    def _swept(
        self,
        numbers: torch.Tensor,
        reduce: Reduce,
        units: Sequence[int] | None = None,
        removed: Sequence[int] = (),
        progress: bool = False,
    ) -> torch.Tensor:
        """What `reduce` makes of the outputs without each unit, added up over batches."""
        if self.kept is not None:
            parts = self.kept.stream(numbers, units, removed, progress)
        else:
            whole = len(numbers) == len(self.images)
            images = self.images if whole else self.images[numbers.to(self.images.device)]
            parts = stream_units(
                self.model, self.name, images, units=units, removed={self.name: removed}, progress=progress,
                options=self.options, trial=self.trial,
            )  # fmt: skip
        return next(iter(collected(parts, reduce).values()))

    def products(
        self, removed: Sequence[int] = ()
    ) -> Iterator[tuple[range, torch.Tensor, list[torch.Tensor]]]:
        """Batch by batch the loss of each image, and minus gradient times activation of every call of the site.

        Args:
            removed: units that are gone.

        Yields:
            Image numbers, losses (n,), and the products, units first.
        """
        found = self._through_network(removed) if self.kept is None else self._from_kept(self.kept, removed)
        for rows, held, output in found:
            with torch.inference_mode(False), torch.enable_grad():
                losses = self.per_image(output, rows)
                if not losses.requires_grad:
                    raise SweepError("loss: no gradient leads from it to the site; first_order needs one")
                try:
                    gradients = torch.autograd.grad(losses.sum(), held, allow_unused=True)
                except RuntimeError as error:
                    if no_way_back(error):
                        raise SweepError(NO_WAY_BACK) from None
                    raise
            parts = []
            for leaf, gradient in zip(held, gradients, strict=True):
                # A call whose output nobody reads changes nothing.
                slope = torch.zeros_like(leaf) if gradient is None else gradient
                parts.append(-(leaf.detach() * slope).movedim(unit_axis(self.module, leaf, self.site), 0))
            yield rows, losses.detach(), parts

    def _through_network(
        self, removed: Sequence[int]
    ) -> Iterator[tuple[range, list[torch.Tensor], torch.Tensor]]:
        """Batch by batch what the site answered, call by call, and the network's output that hangs on it."""
        held: list[torch.Tensor] = []

        def hold(_: nn.Module, __: object, output: object) -> torch.Tensor:
            # A leaf of its own: no gradient has to reach parameters. A clone goes on, which a step in place may change.
            held.append(self._leaf(self.one_tensor(output), removed))
            return held[-1].clone()

        handle = self.module.register_forward_hook(hold)
        try:
            for rows, batch in self.batches():
                held.clear()
                with torch.inference_mode(False), torch.enable_grad():
                    output = self.model(batch.clone())
                if not held:
                    raise SweepError(f"{self.name} never runs in a forward: name a site in use")
                yield rows, held, output
        finally:
            handle.remove()

    def _from_kept(
        self, kept: Kept, removed: Sequence[int]
    ) -> Iterator[tuple[range, list[torch.Tensor], torch.Tensor]]:
        """As `_through_network`, from behind the site on."""
        for numbers in torch.arange(len(self.images)).split(self.options.batch_size):
            with torch.inference_mode(False), torch.enable_grad():
                state = kept.state_of(numbers)
                leaf = self._leaf(state[kept.name], removed)
                rows = range(int(numbers[0]), int(numbers[-1]) + 1)
                yield rows, [leaf], kept.output(state | {kept.name: leaf.clone()})

    def _leaf(self, output: torch.Tensor, removed: Sequence[int]) -> torch.Tensor:
        leaf = output.detach().clone()
        if removed:
            gone = torch.tensor(removed, device=leaf.device)
            leaf.index_fill_(unit_axis(self.module, leaf, self.site), gone, 0)
        return leaf.requires_grad_()

    def estimated(self, removed: Sequence[int] = ()) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each image, and by how much it rises without each unit to first order.

        Returns:
            float64 (images,) and (images, units).
        """
        losses_of, rows_of = [], []
        for rows, losses, parts in self.products(removed):
            if any(part.ndim < 2 or part.shape[1] != len(rows) for part in parts):
                raise SweepError(f"{self.site}: its output has no row per image: use first_order")
            calls = [part.flatten(2).double().sum(2) if part.ndim > 2 else part.double() for part in parts]
            losses_of.append(losses.double())
            rows_of.append(sum(calls[1:], calls[0]).T)
        return torch.cat(losses_of).cpu(), torch.cat(rows_of).cpu()  # no batch is waited for before the last

    def healthy(self) -> torch.Tensor:
        """The intact network's loss of each image: float64 (images,)."""
        with torch.no_grad():
            parts = [self.per_image(self.model(batch), rows).double() for rows, batch in self.batches()]
        return torch.cat(parts).cpu()

    def one_tensor(self, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise SweepError(
                f"{self.name} answers with a {type(output).__name__}: a ranking needs one tensor"
            )
        return output

    def units(self) -> int:
        """How many units the site has."""
        seen: list[int] = []

        def look(_: nn.Module, __: object, output: object) -> None:
            seen.append(
                self.one_tensor(output).shape[unit_axis(self.module, self.one_tensor(output), self.site)]
            )

        handle = self.module.register_forward_hook(look)
        try:
            with torch.no_grad():
                self.model(self.images[:1].to(self.device).clone())
        finally:
            handle.remove()
        if not seen:
            raise SweepError(
                f"{self.name} never runs in a forward of {type(self.model).__name__}: name a site in use"
            )
        return seen[0]
