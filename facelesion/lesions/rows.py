"""Which axis counts images: told by the batch that came in, and by the layers that say it of themselves.

Most networks keep images along the first axis everywhere. Transformers and recurrent networks of PyTorch's default
layout put time first, some transpose on their way, and some fold other things into the first axis. A size that fits
one axis only decides; what stays open is an error, where it matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .errors import LesionError
from .locate import Site

_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)
# What treats every place alike, so that it does not tell which axis is which.
_ANY_LAYOUT = (
    nn.Linear, nn.Embedding, nn.LayerNorm, nn.Identity, nn.Dropout, nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU,
)  # fmt: skip


class EitherAxis(LesionError):
    """Two axes have the size of the batch, and nothing says which one counts images.

    Example:
        >>> batch_axis((5, 5, 8), 2, Site("mlp"), rows=5, said=None, mixed=True)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.lesions.rows.EitherAxis: mlp: its output has shape (5, 5, 8), and both 5 may ...
    """


@dataclass(frozen=True)
class Rows:
    """How many rows a forward's batch has; `other`, where the network may as well take its batch second."""

    count: int
    other: int | None = None


def time_first(module: nn.Module) -> bool | None:
    """Whether a layer puts time before images; None where it does not say."""
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention | nn.Transformer):
        return not module.batch_first
    if isinstance(module, _LAYERS):
        return time_first(module.self_attn)
    if isinstance(module, _STACKS):
        return next((time_first(layer) for layer in module.layers), None)
    return None


def time_first_at(model: nn.Module, path: str) -> bool | None:
    """What the module at a path, or the nearest one around it that knows, says of its layout."""
    names = path.split(".") if path else []
    for depth in range(len(names), -1, -1):
        said = time_first(model.get_submodule(".".join(names[:depth])))
        if said is not None:
            return said
    return None


def _taken_first(model: nn.Module) -> bool | None:
    """Whether a network takes time first, as far as its first layers say."""
    if isinstance(model, nn.Sequential):
        for child in model:
            if not isinstance(child, _ANY_LAYOUT):
                return _taken_first(child)
        return None
    return time_first(model)


def came_in(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], wanted: int | None = None
) -> Rows | None:
    """The rows of a batch that a network is called with; None where its arguments do not show them.

    Args:
        wanted: a count that holds if any argument has so many rows (a piece of a network is given many things).

    Example:
        >>> import torch
        >>> came_in(nn.Conv2d(3, 4, 3), (torch.zeros(5, 3, 8, 8),), {})
        Rows(count=5, other=None)
        >>> came_in(nn.TransformerEncoderLayer(8, 2), (torch.zeros(7, 5, 8),), {})
        Rows(count=5, other=None)
    """
    tensors: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        inside = list(value.values()) if isinstance(value, Mapping) else [value]
        if (
            not tensors
            and isinstance(value, list | tuple)
            and any(isinstance(each, Tensor) for each in value)
        ):
            return None
        tensors += [each for each in inside if isinstance(each, Tensor) and each.ndim]
    if not tensors:
        return None
    first = tensors[0]
    said = _taken_first(model)
    tokens = not first.is_floating_point() and first.ndim == 2
    if said:
        return Rows(first.shape[1]) if tokens or first.ndim == 3 else None
    if wanted is not None and any(each.shape[0] == wanted for each in tensors):
        return Rows(wanted)
    maybe_second = said is None and (tokens or (first.ndim == 3 and first.is_floating_point()))
    return Rows(first.shape[0], first.shape[1] if maybe_second else None)


def embeds_images(given: tuple[tuple[Any, ...], Mapping[str, Any]] | None) -> bool:
    """Whether a network is given one whole number for each image (a label), among other things or alone."""
    if given is None:
        return True
    return any(
        isinstance(each, Tensor) and each.ndim == 1 and not each.is_floating_point()
        for each in (*given[0], *given[1].values())
    )


def one_less(
    given: tuple[tuple[Any, ...], Mapping[str, Any]], count: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a forward, with the last of `count` rows left out."""

    def less(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == count:
            return value[:-1]
        return {key: less(each) for key, each in value.items()} if type(value) is dict else value

    return tuple(map(less, given[0])), {key: less(each) for key, each in given[1].items()}


def witnesses(model: nn.Module) -> list[str]:
    """Layers that put time first, and that show by their own outputs which axis of the input counted images."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention) and time_first(module)
    ]


def said_axis(module: nn.Module, said: bool | None, site: Site, axes: int) -> int | None:
    """The axis that a layer's kind names: recurrent layers and attention know where their images are."""
    place = site.output[:1] or ("0",)
    if isinstance(module, nn.RNNBase):
        if axes < 3:
            raise LesionError(
                f"{site}: without a batch there are no rows to tell apart; give batches (N, ...)"
            )
        return 1 if place != ("0",) else int(bool(said))
    if isinstance(module, nn.MultiheadAttention):
        if axes < 3:
            raise LesionError(
                f"{site}: without a batch there are no rows to tell apart; give batches (N, ...)"
            )
        return 0 if place != ("0",) else int(bool(said))
    return None if said is None or axes < 3 else int(said)


def batch_axis(
    shape: Iterable[int],
    units: int | None,
    site: Site,
    rows: int | None,
    said: int | None,
    mixed: bool | None,
) -> int:
    """Which axis of a tensor of this shape counts images.

    Args:
        units: the axis that holds the units.
        rows: of the batch that came in; None: not known.
        said: the axis that the module's kind names, if it does.
        mixed: whether the network has layers that put time first; None: it has none that say.

    Raises:
        LesionError: it cannot be told.

    Example:
        >>> batch_axis((5, 7, 8), 2, Site("mlp"), rows=5, said=None, mixed=False)
        0
        >>> batch_axis((7, 5, 8), 2, Site("mlp"), rows=5, said=None, mixed=False)
        1
    """
    shape = tuple(shape)
    if said is not None and (rows is None or shape[said] == rows):
        return said
    second = units != 1 and len(shape) > 2
    told = f"{site}: its output has shape {shape}"
    if rows is None:
        if mixed and second:
            raise LesionError(f"{told}, and which axis counts images is not known: call the whole network")
        return 0
    if rows == 1 and shape[0] == 1:
        return 0
    fits = [axis for axis in (0, 1) if axis < len(shape) and shape[axis] == rows and (axis == 0 or second)]
    if said is None and fits == [0]:
        return 0
    if said is None and fits == [0, 1] and (mixed is False or (mixed is None and len(shape) > 3)):
        return 0
    if said is None and fits == [1] and (mixed or (len(shape) == 3 and shape[0] % rows)):
        return 1
    if said is None and fits and fits != [0]:
        raise EitherAxis(f"{told}, and both {rows} may count images: give batches of another size")
    raise LesionError(
        f"{told}, where {rows} rows came in: which of its rows belong to which image is not known, so no lesion that "
        "draws numbers and no list of lesions can act here; take a site before or behind, or one lesion at a time"
    )
